//! What the arbiter knows of one worker.
//!
//! ```text
//! Forking → Booting → Serving → Retiring → Leaving → (reaped)
//!              └─────────┴──────────┴─────────↑
//! ```
//! Independent of the phase is the force used against it: none, SIGABRT, SIGKILL, never less than
//! before.

use std::time::Duration;

use super::{Pid, WorkerId};

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) slot: usize,
    /// `None` while the fork is under way.
    pub(super) pid: Option<Pid>,
    pub(super) phase: Phase,
    pub(super) force: Force,
    /// When the next step of force is due.
    pub(super) deadline: Option<Duration>,
    /// When it became ready.
    pub(super) ready_at: Option<Duration>,
    /// The logs were reopened while it booted, when it could not be told.
    pub(super) owes_reopening: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Forking,
    Booting,
    Serving,
    /// Serves, but wants a successor.
    Retiring,
    /// Told to go, or going by itself.
    Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Force {
    None,
    Aborted,
    Killed,
}

impl Worker {
    pub(super) fn new(id: WorkerId, slot: usize) -> Self {
        Self {
            id,
            slot,
            pid: None,
            phase: Phase::Forking,
            force: Force::None,
            deadline: None,
            ready_at: None,
            owes_reopening: false,
        }
    }

    /// Fills its slot: it serves, or will when it has booted.
    pub(super) fn is_active(&self) -> bool {
        self.phase != Phase::Leaving
    }

    /// Answers requests now, as far as the arbiter knows.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Retiring) && self.force == Force::None
    }

    /// Has installed its signal handlers: a worker reports ready only after that.
    pub(super) fn has_handlers(&self) -> bool {
        self.ready_at.is_some()
    }

    pub(super) fn shorten_deadline(&mut self, until: Duration) {
        self.deadline = Some(self.deadline.map_or(until, |deadline| deadline.min(until)));
    }
}
