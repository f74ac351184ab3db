//! Two engines on one listener, as two workers of two generations: the old one gives its connections, the new one takes
//! them. Each answers with its own name.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use oxicorn_engine::{Handover, Notice, Options};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{Client, PATIENCE, Rig, get, response};

/// The two ends of a hand-over.
pub(crate) fn ends() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) old: Rig,
    pub(crate) new: Rig,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl Fn(&mut Options)) -> Self {
        Self::beside(Rig::with(&change), change)
    }

    /// Both in the machine's time.
    pub(crate) fn in_real_time(change: impl Fn(&mut Options)) -> Self {
        Self::beside(Rig::in_real_time(&change), change)
    }

    fn beside(old: Rig, change: impl Fn(&mut Options)) -> Self {
        let new = old.heir(None, change);
        let mut pair = Self { old, new };
        // The new one does not accept yet: what comes before the hand-over is the old one's.
        pair.new.engine.set_accepting(false);
        pair
    }

    /// The old one begins to give, the new one to take.
    pub(crate) fn connect(&mut self) {
        let (giver, taker) = ends();
        self.take_from(taker);
        self.give_to(giver);
    }

    pub(crate) fn give_to(&mut self, link: OwnedFd) {
        let now = self.old.now();
        self.old.engine.give_to(link, now).unwrap();
        self.old.nudge();
    }

    pub(crate) fn take_from(&mut self, link: OwnedFd) {
        let now = self.new.now();
        self.new.engine.take_from(link, now).unwrap();
        self.new.engine.set_accepting(true);
        self.new.nudge();
    }

    /// Goes round with both until `done`.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "never came: {what}; old {:?}, new {:?}",
                self.old.stats(),
                self.new.stats(),
            );
            self.old.round(Duration::from_millis(1));
            self.new.round(Duration::from_millis(1));
        }
    }

    /// Waits until `count` connections have moved.
    pub(crate) fn moved(&mut self, count: u64) {
        self.until("the move", |pair| {
            pair.old.stats().given == count && pair.new.stats().taken == count
        });
    }

    /// Everything that was open moves.
    pub(crate) fn move_all(&mut self) {
        let count = self.old.stats().connections as u64;
        self.connect();
        self.moved(count);
        assert_eq!(self.old.stats().connections, 0);
    }

    /// Sends all of `bytes` while both go round.
    pub(crate) fn send(&mut self, client: &mut Client, bytes: &[u8]) {
        let mut sent = 0;
        self.until("room for the client's bytes", |_| {
            sent += client.push(&bytes[sent..]);
            sent == bytes.len()
        });
    }

    /// The new one goes round until it has answered all that it was asked, and the old one does not.
    pub(crate) fn until_answered(&mut self) {
        while self.new.round(Duration::from_millis(20)) || self.new.wants_more() {}
    }

    /// Each answers what it is asked, with its name, until the client has got `count` bytes.
    pub(crate) fn answer(&mut self, client: &mut Client, count: usize) {
        self.until("the answer", |pair| {
            pair.answer_waiting();
            client.pull();
            assert_eq!(client.end, None, "closed after {}", client.text());
            client.got.len() >= count
        });
    }

    pub(crate) fn answer_waiting(&mut self) {
        for (rig, name) in [(&mut self.old, b"old"), (&mut self.new, b"new")] {
            while let Some(exchange) = rig.waiting() {
                rig.respond(exchange, name);
            }
        }
    }

    /// A request on an open connection is answered by the one with this name.
    pub(crate) fn asks(&mut self, client: &mut Client, name: &[u8]) {
        client.got.clear();
        self.send(client, &get("/asks"));
        self.expect(client, name);
    }

    /// The next answer comes from the one with this name.
    pub(crate) fn expect(&mut self, client: &mut Client, name: &[u8]) {
        self.answer(client, response(name).len());
        assert_eq!(client.text(), String::from_utf8(response(name)).unwrap());
        client.got.clear();
    }

    /// Virtual time for both.
    pub(crate) fn advance(&mut self, millis: u64) {
        self.old.advance(millis);
        self.new.advance(millis);
    }

    /// What the old one has told of the hand-over.
    pub(crate) fn told(&self) -> Vec<Handover> {
        told(&self.old)
    }
}

/// What an engine has told of hand-overs.
pub(crate) fn told(rig: &Rig) -> Vec<Handover> {
    let handovers = rig.notices.iter().filter_map(|notice| match notice {
        Notice::Handover(handover) => Some(handover.clone()),
        _ => None,
    });
    handovers.collect()
}

/// Descriptors open in this process.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
