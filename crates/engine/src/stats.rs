//! The counters of one engine. They are kept on a board, where other processes may read them at any time; what a connection
//! is counted under there is a fact of the connection. Invariant: at rest the board says of every connection of the engine
//! what its phase says.

use oxicorn_board::{Board, Count};

use crate::connection::{Connection, Phase};
use crate::engine::Engine;

/// What the engine has seen since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now, those included that are on their way from or to another process.
    pub connections: usize,
    /// Requests handed to the application.
    pub requests: u64,
    /// Requests refused by the parser or a limit.
    pub refused: u64,
    /// Connections closed by a timeout of the client's making (head, body, write).
    pub timed_out: u64,
    /// Idle connections closed to make room for new ones.
    pub evicted: u64,
    /// Connections given to other processes.
    pub given: u64,
    /// Connections taken from other processes.
    pub taken: u64,
    /// Bytes of the application's own objects that are kept for slow clients now.
    pub kept: usize,
    /// Requests now inside the application.
    pub in_application: usize,
}

impl Engine {
    /// The counters.
    pub fn stats(&self) -> Stats {
        let of = |count| self.board.number(count);
        Stats {
            accepted: of(Count::Accepted),
            connections: self.connections.len() + self.in_between(),
            requests: of(Count::Requests),
            refused: of(Count::Refused),
            timed_out: of(Count::TimedOut),
            evicted: of(Count::Evicted),
            given: of(Count::Given),
            taken: of(Count::Taken),
            kept: self.kept.bytes(),
            in_application: usize::try_from(of(Count::Request)).unwrap_or(usize::MAX),
        }
    }

    /// Whether the board says what is the case. Looks at every connection.
    pub(crate) fn is_shown_truly(&mut self) -> bool {
        let truth = Board::default();
        let moving = self.offered();
        truth.add(Count::Moving, moving as u64);
        truth.add(Count::Open, (self.connections.len() + moving) as u64);
        let mut connections = self.connections.iter_mut();
        let each = connections.all(|(_, connection)| {
            let state = connection.state();
            if let Some(state) = state {
                truth.add(state, 1);
            }
            connection.shown == state
        });
        let same = |count: &Count| truth.number(*count) == self.board.number(*count);
        each && OF_CONNECTIONS.iter().all(same)
    }
}

/// What the engine keeps true for its connections.
const OF_CONNECTIONS: [Count; 7] = [
    Count::Open,
    Count::Head,
    Count::Body,
    Count::Request,
    Count::Sending,
    Count::Closing,
    Count::Moving,
];

impl Connection {
    /// What it is to be counted under.
    pub(crate) fn state(&self) -> Option<Count> {
        match self.phase {
            Phase::Head if self.inbuf.is_empty() => None,
            Phase::Head | Phase::Handshake => Some(Count::Head),
            Phase::Body(_) | Phase::Skip { .. } => Some(Count::Body),
            Phase::App { .. } => Some(Count::Request),
            Phase::Flush { .. } => Some(Count::Sending),
            Phase::Parting | Phase::Linger { .. } => Some(Count::Closing),
        }
    }

    /// Counts it under `state` from now on.
    #[inline]
    pub(crate) fn show(&mut self, board: &Board, state: Option<Count>) {
        if self.shown == state {
            return;
        }
        if let Some(before) = self.shown {
            board.sub(before, 1);
        }
        if let Some(now) = state {
            board.add(now, 1);
        }
        self.shown = state;
    }
}

/// A connection that was counted under `shown` is gone.
pub(crate) fn forget(board: &Board, shown: Option<Count>) {
    board.sub(Count::Open, 1);
    if let Some(state) = shown {
        board.sub(state, 1);
    }
}
