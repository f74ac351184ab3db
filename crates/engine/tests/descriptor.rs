//! The engine is one descriptor: whoever watches it from outside, in a loop of its own, is told of everything exactly once,
//! and of nothing while nothing happens. All in real time.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use oxicorn_engine::{Notice, Turn};
use support::{End, GET, PATIENCE, Rig, post, response};

/// Long enough for anything that would come by itself.
const QUIET: Duration = Duration::from_millis(150);

/// An event loop that watches the engine's descriptor.
enum Outside {
    /// Level-triggered, as asyncio's and gevent's: it asks anew each time.
    Level(RawFd),
    /// Edge-triggered: told only of what is new.
    Edge(Poll),
}

impl Outside {
    fn level(rig: &Rig) -> Self {
        Self::Level(rig.poller.as_raw_fd())
    }

    fn edge(rig: &Rig) -> Self {
        Self::Edge(watching(rig.poller.as_raw_fd()))
    }

    /// Whether the loop would call back within `wait`.
    fn calls(&mut self, wait: Duration) -> bool {
        let mut events = Events::with_capacity(4);
        match self {
            Self::Level(fd) => watching(*fd).poll(&mut events, Some(wait)).unwrap(),
            Self::Edge(poll) => poll.poll(&mut events, Some(wait)).unwrap(),
        }
        !events.is_empty()
    }

    /// Lets the engine do what there is to do. A new connection is announced twice: by its listener, and by its socket,
    /// which has room to write.
    fn settles(&mut self, rig: &mut Rig) {
        while self.calls(QUIET) {
            turn(rig);
        }
    }

    /// One event: one call back, after which the descriptor is silent.
    fn is_called_once(&mut self, rig: &mut Rig, why: &str) {
        assert!(self.calls(PATIENCE), "no call for {why}");
        turn(rig);
        assert!(!self.calls(QUIET), "a second call for {why}");
    }
}

fn watching(fd: RawFd) -> Poll {
    let poll = Poll::new().unwrap();
    let mut source = SourceFd(&fd);
    poll.registry()
        .register(&mut source, Token(0), Interest::READABLE)
        .unwrap();
    poll
}

/// What a driver does when it is called: one wait without waiting, then turns until the engine is idle.
fn turn(rig: &mut Rig) {
    rig.round(Duration::ZERO);
    while rig.wants_more() {
        rig.round(Duration::ZERO);
    }
}

fn quiet_rig() -> Rig {
    let mut rig = Rig::in_real_time(|options| options.keep_alive = 60_000);
    turn(&mut rig);
    rig
}

#[test]
fn a_new_connection_calls_and_then_there_is_silence() {
    let mut rig = quiet_rig();
    let mut outside = Outside::level(&rig);
    assert!(!outside.calls(QUIET));
    let _client = rig.client();
    assert!(outside.calls(PATIENCE));
    let turns = rig.turns;
    outside.settles(&mut rig);
    assert_eq!(rig.stats().connections, 1);
    assert!(rig.turns - turns <= 2, "{} turns", rig.turns - turns);
}

#[test]
fn bytes_call_once_for_each_arrival() {
    let mut rig = quiet_rig();
    let mut client = rig.client();
    let mut outside = Outside::level(&rig);
    outside.settles(&mut rig);
    for part in [&GET[..10], &GET[10..20], &GET[20..]] {
        client.push(part);
        outside.is_called_once(&mut rig, "bytes");
    }
    assert!(rig.has_exchange());
}

#[test]
fn an_edge_triggered_loop_is_called_for_each_arrival_too() {
    let mut rig = quiet_rig();
    let mut outside = Outside::edge(&rig);
    let mut client = rig.client();
    outside.settles(&mut rig);
    for part in [&GET[..10], &GET[10..]] {
        client.push(part);
        outside.is_called_once(&mut rig, "bytes");
    }
    assert!(rig.has_exchange());
}

#[test]
fn a_deadline_calls_once() {
    let mut rig = Rig::in_real_time(|options| options.head_timeout = 1_500);
    turn(&mut rig);
    let mut outside = Outside::level(&rig);
    let mut client = rig.client();
    outside.settles(&mut rig);
    outside.is_called_once(&mut rig, "a deadline");
    assert_eq!(client.pull(), Some(End::Closed));
}

#[test]
fn the_waker_calls_once_and_costs_no_work() {
    let mut rig = quiet_rig();
    let mut outside = Outside::level(&rig);
    let waker = rig.poller.waker();
    std::thread::spawn(move || waker.wake().unwrap())
        .join()
        .unwrap();
    outside.is_called_once(&mut rig, "the waker");
    waker_twice(&rig);
    outside.is_called_once(&mut rig, "two wakes");
}

fn waker_twice(rig: &Rig) {
    rig.poller.waker().wake().unwrap();
    rig.poller.waker().wake().unwrap();
}

#[test]
fn a_waker_ends_the_wait_of_another_thread() {
    let mut rig = quiet_rig();
    let waker = rig.poller.waker();
    let thread = std::thread::spawn(move || waker.wake());
    assert_eq!(rig.poller.wait(Some(PATIENCE)).unwrap(), 1);
    thread.join().unwrap().unwrap();
}

#[test]
fn a_watched_descriptor_calls_once_and_is_named() {
    let mut rig = quiet_rig();
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let other = std::os::unix::net::UnixStream::pair().unwrap();
    let first = rig.engine.watch(OwnedFd::from(other.0)).unwrap();
    let second = rig.engine.watch(OwnedFd::from(theirs)).unwrap();
    turn(&mut rig);
    let mut outside = Outside::level(&rig);
    ours.write_all(b"news").unwrap();
    outside.is_called_once(&mut rig, "a watched descriptor");
    assert_ne!(first, second);
    assert_eq!(rig.notices, [Notice::Watched(second)]);
}

#[test]
fn what_is_not_watched_any_more_is_closed_and_silent() {
    let mut rig = quiet_rig();
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let copy = theirs.try_clone().unwrap();
    let id = rig.engine.watch(OwnedFd::from(theirs)).unwrap();
    turn(&mut rig);
    rig.engine.unwatch(id);
    let mut outside = Outside::level(&rig);
    ours.write_all(b"news").unwrap();
    assert!(!outside.calls(QUIET), "another copy is open");
    drop(copy);
    assert!(ours.write_all(b"news").is_err(), "it is open");
    rig.engine.unwatch(id);
    let other = std::os::unix::net::UnixStream::pair().unwrap();
    assert_ne!(rig.engine.watch(OwnedFd::from(other.0)).unwrap(), id);
}

#[test]
fn room_for_a_queued_response_calls() {
    let mut rig = quiet_rig();
    let (mut client, exchange) = rig.request(GET);
    let given = rig.fill(&exchange);
    turn(&mut rig);
    let mut outside = Outside::level(&rig);
    assert!(!outside.calls(QUIET), "the socket is full");
    while client.got.len() < given {
        client.pull();
        if outside.calls(Duration::from_millis(1)) {
            turn(&mut rig);
        }
    }
    assert_eq!(client.got.len(), given);
}

#[test]
fn every_event_of_a_whole_conversation_calls_and_then_there_is_silence() {
    let mut rig = quiet_rig();
    let mut outside = Outside::level(&rig);
    let mut client = rig.client_sending(&post(b"body"));
    let exchange = rig.exchange();
    rig.respond(exchange, b"first");
    turn(&mut rig);
    assert!(!outside.calls(QUIET), "an idle connection is silent");
    client.push(GET);
    outside.is_called_once(&mut rig, "the second request");
    let exchange = rig.exchange();
    rig.respond(exchange, b"second");
    turn(&mut rig);
    drop(client);
    outside.is_called_once(&mut rig, "the client's leaving");
    assert_eq!(rig.stats().connections, 0);
}

#[test]
fn an_idle_engine_makes_no_wake_ups() {
    let mut rig = quiet_rig();
    let clients: Vec<_> = (0..50).map(|_| rig.idle_client()).collect();
    turn(&mut rig);
    let turns = rig.turns;
    let mut outside = Outside::level(&rig);
    assert!(!outside.calls(Duration::from_secs(1)), "nothing happened");
    assert_eq!(rig.poller.wait(Some(Duration::ZERO)).unwrap(), 0);
    assert_eq!((rig.turns, clients.len()), (turns, 50));
}

#[test]
fn a_pipelined_request_is_work_that_the_engine_asks_to_be_called_for() {
    let mut rig = quiet_rig();
    let (_client, exchange) = rig.request(&GET.repeat(2));
    turn(&mut rig);
    rig.respond(exchange, b"");
    let turned = rig.engine.turn(rig.now());
    let more = matches!(turned, Turn::Idle { again: true } | Turn::Exchange(_));
    assert!(more, "no event will come for bytes that were read already");
}

#[test]
fn accepting_is_off_while_told_so_and_nobody_is_lost() {
    let mut rig = quiet_rig();
    rig.engine.set_accepting(false);
    let mut client = rig.client_sending(GET);
    for _ in 0..5 {
        rig.round(Duration::from_millis(2));
    }
    assert_eq!(rig.stats().accepted, 0);
    rig.engine.set_accepting(true);
    rig.nudge();
    rig.serve("the answer", |_| {
        client.pull();
        !client.got.is_empty()
    });
    assert_eq!(client.got, response(b"/"));
}
