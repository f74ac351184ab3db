//! Moving connections between the engines of two processes, in both roles: who gives (`giving`, `giver`), and who takes
//! (`taking`, `taker`). What a connection is as data is in `capsule` and `parcel`; sockets and limits in `link` and `room`.
//! Here is what both roles share with the engine. The record of decisions is `docs/design/0005-moving-connections.md`.
//!
//! ```text
//!  giver                                  taker
//!    │ Ask ───────────────────────────────▶ │
//!    │ ◀─────────────────────────────── Room │
//!    │ Prepare, capsules and descriptors ─▶ │   both hold the sockets, neither reads
//!    │ ◀───────────────────────────── Accept │
//!    │ Commit ────────────────────────────▶ │   the giver closes its copies, the taker reads
//! ```
//!
//! Invariant: at most one process reads, writes or ends a connection, whichever of them dies between any two messages.

mod giver;
mod giving;
mod link;
mod message;
#[cfg(test)]
mod model;
mod parcel;
mod returned;
mod room;
mod sharing;
mod taker;
mod taking;

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use mio::Interest;
use mio::unix::SourceFd;
use oxicorn_board::Count;

use crate::capsule::{Place, Stage, Unsent};
use crate::clock::Now;
use crate::connection::{Arrival, Connection, Phase};
use crate::engine::{Engine, token};
use crate::outbox::{FilePart, Outbox};
use crate::slab::Id;
use crate::stats::forget;
use crate::transport::Transport;

pub(crate) use giving::Giving;
pub(crate) use taking::Taking;

use message::Refusal;
use parcel::Parcel;

/// News of a hand-over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// Everything that can move has moved. Told again whenever that has changed.
    Given {
        /// Connections moved since [`Engine::give_to`].
        moved: u64,
        /// Connections still here: their request is inside the application, or they are only being ended.
        left: usize,
    },
    /// Giving is over: what was not moved is served here again, and the listeners are back.
    Ended {
        /// Connections moved since [`Engine::give_to`].
        moved: u64,
        /// Why; `None` after [`Engine::stop_giving`].
        failure: Option<Failure>,
    },
    /// After [`Engine::share_with`]: the other process takes them. [`Engine::share`] is to be called with so many requests
    /// at the most.
    Welcome {
        /// So many may go.
        most: usize,
    },
    /// What [`Engine::share_with`] began is over.
    Shared {
        /// Connections moved.
        moved: u64,
        /// Why not all that were to move; `None` if there is no fault.
        failure: Option<Failure>,
    },
    /// A giver is gone, and what it gave is served here.
    Taken {
        /// Connections taken from it.
        moved: u64,
    },
}

/// Why giving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The other process is gone.
    Gone,
    /// It did not answer in time.
    Silent,
    /// It speaks another version of the encoding.
    Version,
    /// It could not read what it was sent, or said what nobody understands.
    Malformed,
    /// It is leaving itself.
    Leaving,
    /// The system would not send it.
    Unsendable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the other process is gone",
            Self::Silent => "the other process did not answer in time",
            Self::Version => "the other process speaks another version",
            Self::Malformed => "the two processes do not understand each other",
            Self::Leaving => "the other process is leaving itself",
            Self::Unsendable => "the system refuses to send connections",
        })
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Version => Self::Version,
            Refusal::Malformed | Refusal::Room => Self::Malformed,
            Refusal::Leaving => Self::Leaving,
        }
    }
}

impl Engine {
    /// Registers a connection that was none of this engine's until now, and goes on with it. Registration announces what
    /// is in the socket already.
    fn enter(&mut self, mut connection: Connection) -> Option<Id> {
        connection.readable = false;
        connection.queued = false;
        connection.offered = false;
        connection.queued_deadline = u64::MAX;
        let (deadline, peer) = (connection.deadline, connection.peer);
        connection.show(self.board, connection.state());
        let shown = connection.shown;
        let has_work = !connection.inbuf.is_empty() || connection.outbox.is_some();
        let registry = &self.registry;
        let entered = self.connections.insert_with(|id| {
            let fd = connection.transport.as_fd().as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered = registry.register(&mut SourceFd(&fd), token(id.token()), interest);
            registered.ok().map(|()| connection)
        });
        let Some(id) = entered else {
            log::error!(target: "oxicorn", "A moved connection from {peer} could not be registered and was closed");
            forget(self.board, shown);
            return None;
        };
        self.set_deadline(id, deadline);
        if has_work {
            self.enqueue(id);
        }
        Some(id)
    }

    /// A connection from another process becomes one of ours.
    fn adopt(&mut self, parcel: Parcel, now: Now) {
        let Parcel { socket, capsule } = parcel;
        let listener = self.listener_at(&capsule.listener);
        let connected = capsule.origin.map_or(capsule.peer, |origin| origin.proxy);
        let trusted = self.options.trust.trusts(connected);
        let transport = Transport::plain(socket);
        let mut connection = Connection::new(transport, capsule.peer, listener, trusted, now);
        connection.origin = capsule.origin.map(Box::new);
        connection.language = capsule.language;
        connection.served = capsule.served;
        connection.active = now.mono.saturating_sub(capsule.idle);
        connection.deadline = capsule
            .remaining
            .map_or(u64::MAX, |left| now.mono.saturating_add(left));
        if let Stage::Sending { close } = capsule.stage {
            connection.phase = Phase::Flush { close };
        }
        connection.inbuf = capsule.input.into_owned();
        connection.arrival = capsule.begun.map(|begun| {
            let stored = begun.stored.map(|stored| stored.map(File::from));
            let since = now.mono.saturating_sub(begun.age);
            Box::new(Arrival { since, stored })
        });
        connection.outbox = outbox(capsule.unsent);
        self.board.add(Count::Open, 1);
        if let Some(id) = self.enter(connection) {
            self.board.add(Count::Taken, 1);
            // It may be on its way to a third process.
            self.offer(id);
        }
    }

    /// The listener bound to this address; one of the same port that is bound to all addresses; or the first.
    fn listener_at(&self, place: &Place) -> usize {
        let find = |fits: &dyn Fn(&Place) -> bool| self.places.iter().position(fits);
        let covers = |ours: &Place| match (ours, place) {
            (Place::Ip(ours), Place::Ip(theirs)) => {
                ours.ip().is_unspecified() && ours.port() == theirs.port()
            }
            _ => false,
        };
        find(&|ours| ours == place)
            .or_else(|| find(&covers))
            .unwrap_or(0)
    }

    /// Whether connections may go on after their response: here, or in the process that takes them.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.is_giving() || !self.draining
    }

    /// Whether this connection may: one that cannot move ends here, when everything else leaves.
    pub(crate) fn goes_on(&mut self, id: Id) -> bool {
        let found = self.connections.get_mut(id);
        let moves = found.is_none_or(|found| found.transport.moves());
        self.keeps_alive() && (moves || !self.is_giving())
    }

    /// Hand-over work that no event announces. Whether there is more to do at once.
    pub(crate) fn hand_over(&mut self, now: Now) -> bool {
        self.give(now);
        let takes = self.take(now);
        takes
            || self
                .giving
                .as_ref()
                .is_some_and(|giving| giving.has_work(now))
    }

    /// Whether hand-over has work that no event announces.
    pub(crate) fn has_handover_work(&self, now: Now) -> bool {
        let gives = self
            .giving
            .as_ref()
            .is_some_and(|giving| giving.has_work(now));
        gives || self.taking.iter().flatten().any(Taking::has_work)
    }

    /// Monotonic milliseconds when hand-over has something to do without an event.
    pub(crate) fn handover_deadline(&self, now: Now) -> Option<u64> {
        let gives = self.giving.as_ref().and_then(|giving| giving.deadline(now));
        let takes = self.taking.iter().flatten().filter_map(Taking::deadline);
        takes.chain(gives).min()
    }

    /// Connections that another process was asked to take.
    pub(crate) fn offered(&self) -> usize {
        let giving = self.giving.as_ref();
        giving.map_or(0, |giving| giving.in_between())
    }

    /// Connections that are ours and that no event can reach: the other side was asked to take them, or we were.
    pub(crate) fn in_between(&self) -> usize {
        let takes = self.taking.iter().flatten().map(Taking::in_between);
        takes.chain([self.offered()]).sum()
    }
}

fn outbox(unsent: Vec<Unsent<'static, std::os::fd::OwnedFd>>) -> Option<Box<Outbox>> {
    let mut outbox = Box::<Outbox>::default();
    for part in unsent {
        match part {
            Unsent::Bytes(bytes) => outbox.push_memory(&bytes),
            Unsent::File { file, offset, len } => outbox.push_file(FilePart {
                file: file.into(),
                offset,
                len,
            }),
        }
    }
    (!outbox.is_empty()).then_some(outbox)
}
