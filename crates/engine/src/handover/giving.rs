//! Giving connections away: which ones, when, and what becomes of those that come back. The order of messages is the
//! giver's; this is what its words do to the engine. Invariant: a connection in a batch is in no poller, no work list and
//! no slab, so nothing of the engine can touch it until it is given or kept.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::Interest;
use mio::unix::SourceFd;
use oxicorn_board::Count;

use super::giver::{Giver, Word};
use super::link::{Link, Received, Unsent};
use super::message::Message;
use super::parcel::{Outgoing, descriptors, weight};
use super::sharing::Scope;
use super::{Failure, Handover};
use crate::capsule::VERSION;
use crate::clock::Now;
use crate::connection::Connection;
use crate::engine::{Engine, GIVING, Notice, token};
use crate::outbox::Outbox;
use crate::slab::Id;

/// Bytes after which a batch is closed.
const WEIGHT: usize = 1 << 20;

/// A connection with more descriptors than this stays until it has sent some.
pub(super) const MOST: usize = 16;

/// Packets read before everything else gets a turn.
const PACKETS: usize = 16;

/// Bytes of the application's own objects in a connection's queue: they can be in no other process.
fn kept(connection: &Connection) -> usize {
    connection.outbox.as_deref().map_or(0, Outbox::kept)
}

/// The hand-over to one other process.
#[derive(Debug)]
pub(crate) struct Giving {
    link: Link,
    pub(super) giver: Giver<Vec<Connection>>,
    pub(super) scope: Scope,
    /// Connections to look at: each is there once, and may have become one that cannot move.
    pub(super) candidates: VecDeque<Id>,
    /// Candidates are not read: they are about to be offered.
    holds_back: bool,
    moved: u64,
    /// What was said last of how far it has come.
    told: Option<(u64, usize)>,
    failure: Option<Failure>,
}

impl Giving {
    pub(super) fn has_work(&self, now: Now) -> bool {
        let offers = !self.candidates.is_empty() && self.giver.allowance(now.mono).is_some();
        self.link.readable
            || offers
            || self.giver.is_over()
            || self.giver.next_word(now.mono).is_some()
            || self.giver.asks(now.mono)
    }

    pub(super) fn deadline(&self, now: Now) -> Option<u64> {
        self.giver.deadline(now.mono)
    }

    /// Whether candidates are left unread, since they are about to be offered.
    pub(super) fn holds_back(&self) -> bool {
        self.holds_back
    }

    /// Whether everything that becomes movable is a candidate.
    pub(super) fn is_of_everything(&self) -> bool {
        self.scope == Scope::Everything
    }

    pub(super) fn in_between(&self) -> usize {
        self.giver.cargo().map(Vec::len).sum()
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.giver.close();
    }
}

impl Engine {
    /// Gives every connection to the engine at the other end of `link`, one of a connected pair of sequenced-packet
    /// sockets, as soon as it has no request inside the application; also those that become so later. Meanwhile the
    /// listeners rest. [`Handover::Given`] tells how far it has come; until [`Engine::stop_giving`], or
    /// [`Handover::Ended`] when it fails. An error leaves everything as it was.
    pub fn give_to(&mut self, link: OwnedFd, now: Now) -> io::Result<()> {
        self.begin_giving(link, Scope::Everything, now)?;
        let mut candidates = VecDeque::with_capacity(self.connections.len());
        for (id, connection) in self.connections.iter_mut() {
            connection.offered = true;
            candidates.push_back(id);
        }
        if let Some(giving) = &mut self.giving {
            giving.candidates = candidates;
        }
        self.disarm_listeners();
        if self.draining {
            self.relax_idle();
        }
        self.arm_timer();
        Ok(())
    }

    /// To the other end of `link`, with no candidates yet.
    pub(super) fn begin_giving(&mut self, link: OwnedFd, scope: Scope, now: Now) -> io::Result<()> {
        if self.giving.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let link = Link::new(link)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let raw = link.as_raw_fd();
        self.registry
            .register(&mut SourceFd(&raw), token(GIVING), interest)?;
        self.giving = Some(Box::new(Giving {
            link,
            giver: Giver::new(now.mono),
            scope,
            candidates: VecDeque::new(),
            holds_back: false,
            moved: 0,
            told: None,
            failure: None,
        }));
        Ok(())
    }

    /// Offers nothing any more; what is not given yet is served here again, and so are the listeners.
    pub fn stop_giving(&mut self, now: Now) {
        if let Some(giving) = &mut self.giving {
            giving.giver.close();
            self.give(now);
            self.arm_timer();
        }
    }

    /// Whether all connections are being given away.
    pub fn is_giving(&self) -> bool {
        self.giving
            .as_ref()
            .is_some_and(|giving| giving.is_of_everything() && !giving.giver.is_closing())
    }

    /// Whether [`Engine::give_to`] may be called: an earlier giving is over, and all that it offered is settled.
    pub fn can_give(&self) -> bool {
        self.giving.is_none()
    }

    pub(crate) fn giving_ready(&mut self, readable: bool, writable: bool, now: Now) {
        if let Some(giving) = &mut self.giving {
            giving.link.readable |= readable;
            if writable {
                giving.giver.resume();
            }
            self.give(now);
        }
    }

    /// Whether a connection is left unread: the next process is about to read it, sooner than the application here would
    /// come back to it. What was announced is remembered.
    pub(crate) fn is_held_back(&mut self, id: Id) -> bool {
        let holds_back = self.giving.as_ref().is_some_and(|giving| giving.holds_back);
        holds_back
            && self
                .connections
                .get_mut(id)
                .is_some_and(|found| found.offered)
    }

    /// Puts a connection on the list of those to give away, once.
    pub(crate) fn offer(&mut self, id: Id) {
        let Some(giving) = self.giving.as_mut().filter(|one| one.is_of_everything()) else {
            return;
        };
        let found = self.connections.get_mut(id);
        if let Some(connection) = found.filter(|found| !found.offered && found.is_movable()) {
            connection.offered = true;
            giving.candidates.push_back(id);
        }
    }

    /// Does what there is to do for giving: answers first, then what they ask for, then new offers.
    pub(crate) fn give(&mut self, now: Now) {
        let Some(mut giving) = self.giving.take() else {
            return;
        };
        // A share is short, and its answers do not wait for the events before them.
        giving.link.readable |= !giving.is_of_everything();
        self.hear(&mut giving, now);
        if giving.giver.is_late(now.mono) {
            // Their event may not have been looked at yet.
            giving.link.readable = true;
            self.hear(&mut giving, now);
        }
        if giving.giver.is_late(now.mono) {
            giving.fail(Failure::Silent);
        }
        self.ask(&mut giving, now);
        while self.offer_batch(&mut giving, now) {}
        if !giving.candidates.is_empty() {
            giving.giver.wants_more(now.mono);
        }
        self.say(&mut giving, now);
        self.advance_sharing(&mut giving, now);
        let holds_back = giving.giver.flows(now.mono);
        if giving.holds_back && !holds_back {
            self.release_all(&giving.candidates);
        }
        giving.holds_back = holds_back;
        if giving.giver.is_over() {
            self.end_giving(&giving, now);
        } else {
            self.tell_given(&mut giving);
            self.giving = Some(giving);
        }
    }

    fn hear(&mut self, giving: &mut Giving, now: Now) {
        for _ in 0..PACKETS {
            if !giving.link.readable {
                return;
            }
            match giving.link.receive() {
                Ok(Received::Packet(packet)) => self.on_answer(giving, &packet.bytes, now),
                Ok(Received::Nothing) => return,
                Ok(Received::End) => return self.lose(giving),
                Err(error) => {
                    log::error!(target: "oxicorn", "The hand-over's socket failed: {error}");
                    giving.link.readable = false;
                    // Not lost: the other process may be there, and must be told.
                    return giving.fail(Failure::Unsendable);
                }
            }
        }
    }

    fn on_answer(&mut self, giving: &mut Giving, packet: &[u8], now: Now) {
        match Message::read(packet) {
            Some(Message::Room { version, room }) if version == VERSION => {
                giving.giver.on_room(room);
            }
            Some(Message::Room { .. }) => giving.fail(Failure::Version),
            Some(Message::Accept { batch, room }) => {
                giving.giver.on_accept(batch, room);
                self.say(giving, now);
            }
            Some(Message::Refuse { batch, reason, .. }) => {
                log::warn!(target: "oxicorn", "Connections came back from the hand-over: {reason:?}");
                if reason != super::Refusal::Room {
                    giving.failure.get_or_insert(reason.into());
                }
                if let Some(kept) = giving.giver.on_refuse(batch, reason) {
                    self.keep(giving, kept);
                }
            }
            _ => giving.fail(Failure::Malformed),
        }
    }

    /// Says what has to be said about batches that are out.
    fn say(&mut self, giving: &mut Giving, now: Now) {
        while let Some(word) = giving.giver.next_word(now.mono) {
            let message = match word {
                Word::Commit(batch) => Message::Commit { batch },
                Word::Abort(batch) => Message::Abort { batch },
            };
            match giving.link.send(&message.write(), &[]) {
                Ok(()) => {
                    let cargo = giving.giver.said(word).unwrap_or_default();
                    if matches!(word, Word::Commit(_)) {
                        giving.moved += cargo.len() as u64;
                        self.count_given(cargo.len() as u64);
                        // Dropped, not shut down: the other process has these sockets too.
                        drop(cargo);
                    } else {
                        self.keep(giving, cargo);
                    }
                }
                Err(Unsent::Gone) => return self.lose(giving),
                // Without the word neither side may go on: it is said again until it is heard, or the other one is gone.
                Err(Unsent::Later | Unsent::Never(_)) => return giving.giver.pause(now.mono),
            }
        }
    }

    fn ask(&mut self, giving: &mut Giving, now: Now) {
        if !giving.giver.asks(now.mono) {
            return;
        }
        let wanted = self.connections.len() + self.connections.len() / 4 + 64;
        let question = Message::Ask {
            version: VERSION,
            wanted,
        };
        match giving.link.send(&question.write(), &[]) {
            Ok(()) => giving.giver.asked(now.mono),
            Err(Unsent::Gone) => self.lose(giving),
            Err(Unsent::Later) => giving.giver.pause(now.mono),
            Err(Unsent::Never(error)) => {
                log::error!(target: "oxicorn", "Nothing can be sent for the hand-over: {error}");
                giving.fail(Failure::Unsendable);
            }
        }
    }

    /// Offers one batch. Whether there may be another one at once.
    fn offer_batch(&mut self, giving: &mut Giving, now: Now) -> bool {
        let Some(allowance) = giving.giver.allowance(now.mono) else {
            return false;
        };
        let (cargo, count) = self.pick(giving, allowance);
        if cargo.is_empty() {
            return false;
        }
        let number = giving.giver.next_number();
        let sent = match Outgoing::pack(&cargo, &self.places, now) {
            Ok(batch) => giving
                .link
                .send(&batch.packet(number), &batch.descriptors()),
            Err(error) => Err(error.into()),
        };
        match sent {
            Ok(()) => {
                // One more: the capsules may be in a file.
                giving.giver.offered(cargo, count + 1, now.mono);
                return true;
            }
            Err(Unsent::Gone) => self.lose(giving),
            Err(Unsent::Later) => giving.giver.pause(now.mono),
            Err(Unsent::Never(error)) => {
                log::error!(target: "oxicorn", "Connections cannot be sent for the hand-over: {error}");
                giving.fail(Failure::Unsendable);
            }
        }
        self.keep(giving, cargo);
        false
    }

    /// Takes connections for a batch out of the engine: as many as go into `allowance` descriptors, and how many those are.
    fn pick(&mut self, giving: &mut Giving, allowance: usize) -> (Vec<Connection>, usize) {
        let (mut cargo, mut count, mut bytes) = (Vec::new(), 0, 0);
        while bytes < WEIGHT
            && let Some(id) = giving.candidates.pop_front()
        {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            connection.offered = false;
            let needs = descriptors(connection);
            if !connection.is_movable() || needs > MOST {
                self.enqueue_if_announced(id);
                continue;
            }
            if kept(connection) > 0 {
                self.spill(giving, id);
                break;
            }
            if count + needs > allowance {
                connection.offered = true;
                giving.candidates.push_front(id);
                if cargo.is_empty() {
                    giving.giver.is_short();
                }
                break;
            }
            bytes += weight(connection);
            count += needs;
            cargo.extend(self.take_out(id));
        }
        (cargo, count)
    }

    /// One slice of the application's objects that wait in the queue of a candidate goes to its spool file. It is looked at
    /// again, unless that fails: then it stays until more of its queue is sent.
    fn spill(&mut self, giving: &mut Giving, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(outbox) = connection.outbox.as_mut() else {
            return;
        };
        match outbox.spill(WEIGHT, &self.options.spool_dir) {
            Ok(()) => {
                connection.offered = true;
                giving.candidates.push_back(id);
            }
            Err(error) => {
                log::debug!(target: "oxicorn", "A response cannot be spooled to move its connection: {error}");
                self.enqueue_if_announced(id);
            }
        }
    }

    /// Out of the poller before anything else: a registration belongs to the open socket, which the other process shares.
    fn take_out(&mut self, id: Id) -> Option<Connection> {
        let mut connection = self.connections.remove(id)?;
        connection.show(self.board, Some(Count::Moving));
        let fd = connection.transport.as_fd().as_raw_fd();
        // An error only means that it was not registered.
        let _ = self.registry.deregister(&mut SourceFd(&fd));
        Some(connection)
    }

    fn count_given(&self, moved: u64) {
        self.board.add(Count::Given, moved);
        self.board.sub(Count::Moving, moved);
        self.board.sub(Count::Open, moved);
    }

    /// These stay ours. If giving goes on they are offered again.
    fn keep(&mut self, giving: &mut Giving, kept: Vec<Connection>) {
        for connection in kept {
            if let Some(id) = self.enter(connection)
                && let Some(connection) = self.connections.get_mut(id)
            {
                connection.offered = true;
                giving.candidates.push_back(id);
            }
        }
    }

    fn lose(&mut self, giving: &mut Giving) {
        giving.fail(Failure::Gone);
        giving.link.readable = false;
        for kept in giving.giver.lost() {
            self.keep(giving, kept);
        }
    }

    /// Goes on with candidates that were held back.
    fn release_all(&mut self, candidates: &VecDeque<Id>) {
        for &id in candidates {
            self.enqueue_if_announced(id);
        }
    }

    pub(super) fn enqueue_if_announced(&mut self, id: Id) {
        let found = self.connections.get_mut(id);
        if found.is_some_and(|found| found.readable || !found.inbuf.is_empty()) {
            self.enqueue(id);
        }
    }

    fn end_giving(&mut self, giving: &Giving, now: Now) {
        let raw = giving.link.as_raw_fd();
        // Closing it would do as well, unless a process forked by the application holds a copy.
        let _ = self.registry.deregister(&mut SourceFd(&raw));
        for &id in &giving.candidates {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.offered = false;
            }
        }
        if let Some(failure) = giving.failure {
            log::warn!(target: "oxicorn", "Connections are not given away any more: {failure}");
        }
        let (moved, failure) = (giving.moved, giving.failure);
        let news = if giving.is_of_everything() {
            self.arm_listeners();
            Handover::Ended { moved, failure }
        } else {
            Handover::Shared { moved, failure }
        };
        if self.draining {
            self.hurry_idle(now);
        }
        self.notices.push_back(Notice::Handover(news));
    }

    fn tell_given(&mut self, giving: &mut Giving) {
        if !giving.is_of_everything() {
            return;
        }
        let left = self.connections.len();
        let quiet =
            giving.giver.is_met() && giving.giver.is_quiet() && giving.candidates.is_empty();
        if quiet && giving.told != Some((giving.moved, left)) {
            giving.told = Some((giving.moved, left));
            let moved = giving.moved;
            self.notices
                .push_back(Notice::Handover(Handover::Given { moved, left }));
        }
    }
}
