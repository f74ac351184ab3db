//! Properties that must hold for any bytes: no panic, everything consumed, and the same events and
//! answers however the input is cut. The inputs are conversations, damaged at random but reproducibly.

mod support;

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};

use oxicorn_websocket::deflate::{Agreement, Policy};
use oxicorn_websocket::{Event, State, Violation};
use support::{Compressor, FIN, RSV1, Random, Server, agreement, frame};

const LIMIT: usize = 3000;
const TEXTS: [&str; 4] = ["Hello", "κόσμε and more κόσμε", "🦄🦄🦄", ""];

/// How the client's side of a connection is set up.
#[derive(Clone, Copy)]
enum Setup {
    Plain,
    Compressed,
    Takeover,
}

impl Setup {
    fn agreement(self) -> Option<Agreement> {
        let takeover = match self {
            Self::Plain => return None,
            Self::Compressed => false,
            Self::Takeover => true,
        };
        let policy = Policy {
            server_takeover: takeover,
            client_takeover: takeover,
            threshold: 0,
            ..Policy::default()
        };
        agreement("permessage-deflate", &policy)
    }

    fn server(self) -> Server {
        Server::new(LIMIT, self.agreement())
    }
}

/// A client that says something, correctly.
struct Client {
    setup: Setup,
    compressor: Compressor,
}

impl Client {
    fn new(setup: Setup) -> Self {
        let compressor = Compressor::new(15);
        Self { setup, compressor }
    }

    /// All that it says on one connection.
    fn conversation(&mut self, random: &mut Random) -> Vec<u8> {
        self.compressor.reset();
        let mut bytes = Vec::new();
        for _ in 0..=random.below(5) {
            match random.below(5) {
                0 => bytes.extend(control(random)),
                _ => bytes.extend(self.message(random)),
            }
        }
        if random.below(3) == 0 {
            let closes: [&[u8]; 3] = [b"", b"\x03\xe8", b"\x03\xe9bye"];
            bytes.extend(frame(FIN | 0x8, closes[random.below(3)]));
        }
        bytes
    }

    fn message(&mut self, random: &mut Random) -> Vec<u8> {
        let (opcode, content) = content(random);
        if matches!(self.setup, Setup::Plain) || random.below(3) == 0 {
            return fragmented(opcode, &content, random);
        }
        if matches!(self.setup, Setup::Compressed) {
            self.compressor.reset();
        }
        let payload = if content.is_empty() {
            vec![0]
        } else {
            self.compressor.message(&content)
        };
        fragmented(RSV1 | opcode, &payload, random)
    }
}

/// An opcode and what a message of the kind may contain; sometimes just around the limit.
fn content(random: &mut Random) -> (u8, Vec<u8>) {
    let times = match random.below(8) {
        0 => LIMIT / 5 + random.below(20),
        _ => random.below(6),
    };
    match random.below(2) {
        0 => (1, random.pick(&TEXTS).repeat(times.min(200)).into_bytes()),
        _ => (
            2,
            (0..times * 5)
                .map(|_| *random.pick(b"\0\x7f\x80\xffaaaa"))
                .collect(),
        ),
    }
}

fn control(random: &mut Random) -> Vec<u8> {
    let payload = vec![b'x'; *random.pick(&[0, 1, 4, 124, 125])];
    frame(FIN | *random.pick(&[0x9, 0xa]), &payload)
}

/// A message in fragments, with control frames between some.
fn fragmented(first: u8, mut payload: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut first = first;
    for _ in 0..random.below(3) {
        let (front, back) = payload.split_at(random.below(payload.len() + 1));
        bytes.extend(frame(first, front));
        if random.below(2) == 0 {
            bytes.extend(control(random));
        }
        (first, payload) = (0, back);
    }
    bytes.extend(frame(FIN | first, payload));
    bytes
}

/// What random damage does not hit upon.
const RARE: [&[u8]; 5] = [
    b"\x82\xfe\x00\x7dmask",
    b"\x82\xff\x80\0\0\0\0\0\0\0mask",
    b"\x89\xfe\x00\x7emask",
    b"\x88\x81\0\0\0\0\x03",
    b"\x88\x83\0\0\0\0\x03\xe8\xff",
];

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len().max(1));
    let bit = 1 << random.below(8);
    match random.below(5) {
        _ if bytes.is_empty() => bytes.push(bit),
        0 => bytes[at] ^= bit,
        1 => bytes.insert(at, bit),
        2 => drop(bytes.remove(at)),
        3 => bytes.extend(*random.pick(&RARE)),
        _ => {
            // There the head of the first frame is.
            let at = random.below(bytes.len().min(10));
            bytes[at] ^= bit;
        }
    }
}

fn pieces<'b>(bytes: &'b [u8], random: &mut Random) -> Vec<&'b [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (front, back) = rest.split_at(1 + random.below(rest.len().min(40)));
        pieces.push(front);
        rest = back;
    }
    pieces
}

/// All that can be seen from outside.
#[derive(PartialEq, Debug)]
struct Seen {
    events: Vec<Event<'static>>,
    written: Vec<u8>,
    state: State,
    amid: bool,
}

fn observe<'b>(setup: Setup, pieces: impl IntoIterator<Item = &'b [u8]>) -> Seen {
    let mut server = setup.server();
    Seen {
        events: server.receive_all(pieces),
        written: server.written(),
        state: server.connection.state(),
        amid: server.connection.is_amid(),
    }
}

#[derive(Default)]
struct Variety {
    events: HashSet<Discriminant<Event<'static>>>,
    violations: HashSet<Violation>,
}

impl Variety {
    fn add(&mut self, seen: &Seen) {
        for event in &seen.events {
            self.events.insert(discriminant(event));
            if let Event::Failed(violation) = event {
                self.violations.insert(*violation);
            }
        }
    }
}

fn every_cut_gives_the_same(setup: Setup, seed: u64) -> Variety {
    let mut random = Random::new(seed);
    let mut client = Client::new(setup);
    let mut variety = Variety::default();
    for round in 0..2_000 {
        let mut bytes = client.conversation(&mut random);
        (0..random.below(3)).for_each(|_| damage(&mut bytes, &mut random));
        let whole = observe(setup, [&bytes[..]]);
        let cut = pieces(&bytes, &mut random);
        assert_eq!(
            observe(setup, cut),
            whole,
            "round {round}: {}",
            bytes.escape_ascii()
        );
        let bytewise = observe(setup, bytes.chunks(1));
        assert_eq!(bytewise, whole, "round {round}: {}", bytes.escape_ascii());
        variety.add(&whole);
    }
    variety
}

#[test]
fn plain_conversations_give_the_same_events_however_they_are_cut() {
    let variety = every_cut_gives_the_same(Setup::Plain, 1);
    assert_eq!(variety.events.len(), 5);
    assert_eq!(
        variety.violations.len(),
        14,
        "all but Compression: {:?}",
        variety.violations
    );
}

#[test]
fn compressed_conversations_give_the_same_events_however_they_are_cut() {
    for (setup, seed) in [(Setup::Compressed, 2), (Setup::Takeover, 3)] {
        let variety = every_cut_gives_the_same(setup, seed);
        assert_eq!(variety.events.len(), 5);
        assert!(variety.violations.contains(&Violation::Compression));
        assert!(variety.violations.contains(&Violation::MessageTooLarge));
    }
}

#[test]
fn undamaged_conversations_are_never_failed_but_for_their_size() {
    let mut random = Random::new(4);
    for setup in [Setup::Plain, Setup::Compressed, Setup::Takeover] {
        let mut client = Client::new(setup);
        for _ in 0..2_000 {
            let bytes = client.conversation(&mut random);
            let seen = observe(setup, pieces(&bytes, &mut random));
            let failed = seen.events.iter().find(|event| {
                matches!(event, Event::Failed(violation) if *violation != Violation::MessageTooLarge)
            });
            assert_eq!(failed, None, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::new(5);
    let telling = b"\x00\x01\x02\x08\x09\x0a\x40\x41\x80\x81\x82\x84\x88\x89\x8a\xc1\xc2\xfe\xff";
    for setup in [Setup::Plain, Setup::Compressed, Setup::Takeover] {
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.below(60))
                .map(|_| *random.pick(telling))
                .collect();
            observe(setup, pieces(&bytes, &mut random));
        }
    }
}
