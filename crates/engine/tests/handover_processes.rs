//! Hand-over between two processes, where one is killed at any moment or has no descriptors left. This program starts
//! itself again for the other side, which talks through its standard input (the link) and output (what it has done).
//! Without a harness: a child must not be a test.

#![expect(clippy::unwrap_used, reason = "a test may fail")]
#![expect(clippy::print_stdout, reason = "a child says there what it has done")]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::pair::{ends, open_descriptors, told};
use support::{Client, GET, PATIENCE, Rig, logged, raise_file_limit, response};

const ROLE: &str = "OXICORN_TEST_ROLE";

/// Connections in the tests that kill.
const MANY: usize = 600;

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("taker") => take(),
        Ok("giver") => give(),
        Ok("poor taker") => take_with_little_room(),
        Ok("exhausted taker") => take_without_room(),
        _ => run_all(),
    }
}

fn run_all() {
    let tests: [(&str, fn()); 5] = [
        (
            "four_thousand_connections_move_half_of_them_with_unread_bytes",
            thousands,
        ),
        (
            "a_new_process_that_is_killed_costs_only_what_it_was_given",
            a_killed_taker,
        ),
        (
            "an_old_process_that_is_killed_costs_only_what_it_did_not_offer",
            a_killed_giver,
        ),
        ("a_process_takes_as_much_as_it_has_room_for", a_poor_taker),
        (
            "descriptors_that_did_not_arrive_stay_where_they_were",
            an_exhausted_taker,
        ),
    ];
    let asked = |what: &str| std::env::args().any(|arg| arg == what);
    if asked("--list") {
        // As the standard harness does; none is ignored.
        let listed = tests.iter().filter(|_| !asked("--ignored"));
        return listed.for_each(|(name, _)| println!("{name}: test"));
    }
    let wanted = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    raise_file_limit();
    for (name, test) in tests {
        if wanted.as_ref().is_none_or(|wanted| name.contains(wanted)) {
            test();
            println!("test {name} ... ok");
        }
    }
}

// The other process

fn rig() -> Rig {
    Rig::in_real_time(|options| {
        options.keep_alive = 600_000;
        options.head_timeout = 0;
    })
}

/// The end of the link that the parent gave.
fn link() -> OwnedFd {
    rustix::io::dup(std::io::stdin()).unwrap()
}

fn say(word: &str) {
    println!("{word}");
    std::io::stdout().flush().unwrap();
}

fn answer_as(rig: &mut Rig, name: [u8; 3]) {
    rig.round(Duration::from_millis(5));
    while let Some(exchange) = rig.waiting() {
        rig.respond(exchange, &name);
    }
}

fn serve_for_ever(rig: &mut Rig) -> ! {
    loop {
        answer_as(rig, *b"new");
    }
}

fn take() {
    raise_file_limit();
    let mut rig = rig();
    let now = rig.now();
    rig.engine.take_from(link(), now).unwrap();
    rig.nudge();
    serve_for_ever(&mut rig);
}

fn give() {
    raise_file_limit();
    let mut rig = rig();
    say(&rig.address.to_string());
    rig.until("the clients", |rig| rig.stats().connections == MANY);
    let now = rig.now();
    rig.engine.give_to(link(), now).unwrap();
    rig.nudge();
    loop {
        answer_as(&mut rig, *b"old");
    }
}

/// The limit that this process, and nobody in it, can raise.
fn limit_files(limit: usize) {
    let limit = Some(limit as u64);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )
    .unwrap();
}

fn take_with_little_room() {
    let mut rig = rig();
    limit_files(open_descriptors() + 64 + 20);
    let now = rig.now();
    rig.engine.take_from(link(), now).unwrap();
    rig.nudge();
    serve_for_ever(&mut rig);
}

fn take_without_room() {
    let mut rig = rig();
    limit_files(open_descriptors() + 64 + 300);
    let now = rig.now();
    rig.engine.take_from(link(), now).unwrap();
    rig.nudge();
    // The question is there, the offer comes only after the word: its answer promises what is gone then.
    rig.round(PATIENCE);
    let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    say("full");
    rig.until("the refusal", |_| logged("were not taken over: Room"));
    say("refused");
    drop(files);
    serve_for_ever(&mut rig);
}

// This one

/// A child, killed at the latest when it is not needed any more.
struct Other {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(role: &str) -> (Self, OwnedFd) {
        let (ours, theirs) = ends();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, role)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        (Self { child, said }, ours)
    }

    fn hear(&mut self) -> String {
        self.said.next().unwrap().unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn clients(address: SocketAddr, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client::connect(address)).collect()
}

/// Every client asks, and gets an answer or an end: how many answers by the old one and the new one, how many ends.
fn outcome(rig: &mut Rig, name: [u8; 3], clients: &mut [Client]) -> (usize, usize, usize) {
    for client in clients.iter_mut() {
        client.got.clear();
        client.push(GET);
    }
    let len = response(b"old").len();
    let deadline = Instant::now() + PATIENCE;
    while !clients
        .iter_mut()
        .all(|client| client.pull().is_some() || client.got.len() >= len)
    {
        assert!(
            Instant::now() < deadline,
            "somebody waits: {:?}",
            rig.stats()
        );
        answer_as(rig, name);
    }
    let count = |text: &[u8]| clients.iter().filter(|client| client.got == text).count();
    let (old, new) = (count(&response(b"old")), count(&response(b"new")));
    let ended = clients
        .iter()
        .filter(|client| client.got.is_empty())
        .count();
    assert_eq!(
        old + new + ended,
        clients.len(),
        "something else was answered"
    );
    (old, new, ended)
}

fn a_killed_taker() {
    for enough in [0, 1, 249, 251, 500] {
        let mut old = rig();
        let mut clients = clients(old.address, MANY);
        old.until("accept", |rig| rig.stats().connections == MANY);
        let (mut other, link) = Other::start("taker");
        let now = old.now();
        old.engine.give_to(link, now).unwrap();
        old.nudge();
        old.until("the moment", |rig| rig.stats().given >= enough);
        other.kill();
        old.until("the notice", |rig| {
            let over = |news| matches!(news, oxicorn_engine::Handover::Ended { .. });
            told(rig).into_iter().any(over)
        });
        let given = usize::try_from(old.stats().given).unwrap();
        let seen = outcome(&mut old, *b"old", &mut clients);
        assert_eq!(seen, (MANY - given, 0, given), "killed after {enough}");
    }
}

fn a_killed_giver() {
    for enough in [0, 1, 249, 251, 500] {
        let mut new = rig();
        let (mut other, link) = Other::start("giver");
        let mut clients = clients(other.hear().parse().unwrap(), MANY);
        let now = new.now();
        new.engine.take_from(link, now).unwrap();
        new.nudge();
        new.until("the moment", |rig| rig.stats().taken >= enough);
        other.kill();
        new.until("the notice", |rig| !told(rig).is_empty());
        let taken = usize::try_from(new.stats().taken).unwrap();
        let seen = outcome(&mut new, *b"new", &mut clients);
        assert_eq!(seen, (0, taken, MANY - taken), "killed after {enough}");
    }
}

fn thousands() {
    let mut old = rig();
    let mut clients = clients(old.address, 4_000);
    old.until("accept", |rig| rig.stats().connections == 4_000);
    let (_other, link) = Other::start("taker");
    let answer = rustix::io::dup(&link).unwrap();
    let now = old.now();
    old.engine.give_to(link, now).unwrap();
    old.nudge();
    // The question is out. What arrives behind the answer is not read here any more.
    old.round(Duration::ZERO);
    poll(&mut [PollFd::new(&answer, PollFlags::IN)], None).unwrap();
    for client in clients.iter_mut().step_by(2) {
        client.push(GET);
    }
    let started = Instant::now();
    old.until("the move", |rig| rig.stats().given == 4_000);
    let moved = started.elapsed();
    for client in clients.iter_mut().skip(1).step_by(2) {
        client.push(GET);
    }
    let answered = |client: &mut Client| client.pull().is_some() || client.got == response(b"new");
    old.until("all answers", |_| clients.iter_mut().all(answered));
    assert!(clients.iter().all(|client| client.end.is_none()));
    println!("4000 connections moved to another process in {moved:?}");
}

fn a_poor_taker() {
    let mut old = rig();
    let mut clients = clients(old.address, 100);
    old.until("accept", |rig| rig.stats().connections == 100);
    let (_other, link) = Other::start("poor taker");
    let now = old.now();
    old.engine.give_to(link, now).unwrap();
    old.nudge();
    old.until("what there is room for", |rig| rig.stats().given >= 10);
    let (by_old, by_new, ended) = outcome(&mut old, *b"old", &mut clients);
    assert_eq!((by_old + by_new, ended), (100, 0));
    assert!((10..=20).contains(&by_new), "{by_new}");
    assert!(old.engine.is_giving());
    // Those that were moved leave; soon the next ones find room.
    clients.retain(|client| client.got == response(b"old"));
    old.until("the next ones", |rig| rig.stats().given > by_new as u64);
    let (_, by_new, ended) = outcome(&mut old, *b"old", &mut clients);
    assert!(by_new > 0 && ended == 0);
}

fn an_exhausted_taker() {
    let before = open_descriptors();
    {
        let mut old = rig();
        let mut clients = clients(old.address, 100);
        old.until("accept", |rig| rig.stats().connections == 100);
        let (mut other, link) = Other::start("exhausted taker");
        let now = old.now();
        old.engine.give_to(link, now).unwrap();
        old.nudge();
        old.round(Duration::ZERO);
        assert_eq!(other.hear(), "full");
        old.until("the refusal", |_| {
            logged("came back from the hand-over: Room")
        });
        assert_eq!(other.hear(), "refused");
        assert_eq!(outcome(&mut old, *b"old", &mut clients), (100, 0, 0));
        // There is room again, and a second later it is asked for.
        old.until("the move", |rig| rig.stats().given == 100);
        assert_eq!(outcome(&mut old, *b"old", &mut clients), (0, 100, 0));
    }
    assert_eq!(open_descriptors(), before);
}
