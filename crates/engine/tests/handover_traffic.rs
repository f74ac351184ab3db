//! Connections move to and fro while their clients never rest: every request is answered, once, in its order, with its own
//! body. Requests come in pieces, pipelined, with bodies of every kind; answers are small and large.

mod support;

use std::time::Duration;

use oxicorn_engine::{Ending, Exchange};
use support::pair::Pair;
use support::{Client, Rig, body, response, target};

/// Random numbers, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides
    }
}

/// A client that always has something to send.
struct Restless {
    client: Client,
    number: usize,
    asked: usize,
    unsent: Vec<u8>,
    expected: Vec<u8>,
    /// So much of what was expected was got.
    checked: usize,
}

impl Restless {
    fn ask(&mut self, dice: &mut Dice) {
        self.asked += 1;
        let path = format!("/{}/{}", self.number, self.asked);
        let content = vec![
            b'a' + u8::try_from(self.asked % 26).unwrap_or(0);
            [0, 10, 3_000, 200_000][dice.roll(4)]
        ];
        let head = format!("POST {path} HTTP/1.1\r\nHost: example\r\n");
        self.unsent.extend(head.bytes());
        if dice.roll(2) == 0 {
            self.unsent
                .extend(format!("Content-Length: {}\r\n\r\n", content.len()).bytes());
            self.unsent.extend(&content);
        } else {
            self.unsent.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in content.chunks(70_000) {
                self.unsent.extend(format!("{:x}\r\n", chunk.len()).bytes());
                self.unsent.extend(chunk);
                self.unsent.extend(b"\r\n");
            }
            self.unsent.extend(b"0\r\n\r\n");
        }
        self.expected.extend(response(&echo(&path, &content)));
    }

    /// Sends a piece, reads a piece.
    fn live(&mut self, dice: &mut Dice) {
        let most = [1, 7, 500, 40_000, 400_000][dice.roll(5)].min(self.unsent.len());
        let sent = self.client.push(&self.unsent[..most]);
        self.unsent.drain(..sent);
        if dice.roll(3) > 0 {
            self.client.pull_once([100, 100_000][dice.roll(2)]);
        }
        assert_eq!(
            self.client.end, None,
            "client {} lost its connection",
            self.number
        );
        let end = self.client.got.len();
        let fresh = self.client.got.get(self.checked..end);
        let right = fresh == self.expected.get(self.checked..end);
        assert!(right, "client {} got something else", self.number);
        self.checked = end;
    }

    fn is_done(&self) -> bool {
        self.unsent.is_empty() && self.client.got.len() == self.expected.len()
    }
}

/// What is answered: what was asked, and for some much more.
fn echo(path: &str, content: &[u8]) -> Vec<u8> {
    let times = if path.ends_with('7') { 10_000 } else { 1 };
    let sum: usize = content.iter().map(|&byte| usize::from(byte)).sum();
    format!("{path} {} {sum};", content.len())
        .repeat(times)
        .into_bytes()
}

fn answer(rig: &mut Rig, exchange: Box<Exchange>) {
    let answer = echo(&target(&exchange), &body(&exchange));
    for block in response(&answer).chunks(300_000) {
        rig.push(&exchange, block);
    }
    rig.finish(exchange, Ending::Complete);
}

/// Answers some of the requests that wait; the others stay in the application for longer.
#[expect(clippy::vec_box, reason = "exchanges travel as boxes")]
fn answer_some(rig: &mut Rig, kept: &mut Vec<Box<Exchange>>, dice: &mut Dice) {
    while let Some(exchange) = rig.waiting() {
        kept.push(exchange);
    }
    while !kept.is_empty() && dice.roll(3) > 0 {
        let at = dice.roll(kept.len());
        let exchange = kept.swap_remove(at);
        answer(rig, exchange);
    }
}

#[test]
fn clients_that_never_rest_notice_nothing_of_their_moves() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut pair = Pair::with(|options| {
        options.response_memory = 100_000;
        options.response_spool = 1 << 30;
    });
    let mut kept = [Vec::new(), Vec::new()];
    let connect = |number| Restless {
        client: Client::connect(pair.old.address),
        number,
        asked: 0,
        unsent: Vec::new(),
        expected: Vec::new(),
        checked: 0,
    };
    let mut clients: Vec<_> = (0..30).map(connect).collect();
    for round in 0..600 {
        for client in &mut clients {
            if client.unsent.len() < 10_000 && round < 500 && dice.roll(20) == 0 {
                client.ask(&mut dice);
            }
            client.live(&mut dice);
        }
        pair.old.round(Duration::ZERO);
        pair.new.round(Duration::ZERO);
        answer_some(&mut pair.old, &mut kept[0], &mut dice);
        answer_some(&mut pair.new, &mut kept[1], &mut dice);
        if round % 30 == 0 {
            // Whoever took gives now: it stops the other one, which still may have some on their way.
            let now = pair.old.now();
            pair.old.engine.stop_giving(now);
            pair.old.nudge();
            std::mem::swap(&mut pair.old, &mut pair.new);
            kept.swap(0, 1);
            pair.connect();
        }
    }
    pair.until("all answers", |pair| {
        for client in &mut clients {
            client.live(&mut dice);
        }
        answer_some(&mut pair.old, &mut kept[0], &mut dice);
        answer_some(&mut pair.new, &mut kept[1], &mut dice);
        clients.iter().all(Restless::is_done)
    });
    let asked: usize = clients.iter().map(|client| client.asked).sum();
    let moves = pair.old.stats().given + pair.new.stats().given;
    assert!(
        asked > 200 && moves > 200,
        "{asked} requests, {moves} moves"
    );
}
