//! What the arbiter knows of one worker.
//!
//! ```text
//! Forking → Booting → Waiting → Serving → Retiring → Leaving → (reaped)
//!                        │         ↑↓         ↑↓         ↑
//!                        │         └→ Parked ←┘          │
//!                        └─────────────┴─────────────────┘ (from any)
//! ```
//! Independent of the phase is the force used against it: none, SIGABRT, SIGKILL, never less than
//! before.

use std::time::Duration;

use super::{Pid, WorkerId};

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that were reported or ordered, each on its own and true in every phase"
)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) slot: usize,
    pub(super) generation: u32,
    /// Forked for a restart, and not yet put in service.
    pub(super) candidate: bool,
    /// `None` while the fork is under way.
    pub(super) pid: Option<Pid>,
    pub(super) phase: Phase,
    pub(super) force: Force,
    /// When the next step of force is due.
    pub(super) deadline: Option<Duration>,
    /// When it was forked.
    pub(super) forked_at: Duration,
    /// When it became ready.
    pub(super) ready_at: Option<Duration>,
    /// The logs were reopened while it booted, when it could not be told.
    pub(super) owes_reopening: bool,
    /// It asked for a successor.
    pub(super) worn: bool,
    /// No thread of it has come out of the application for a while.
    pub(super) saturated: bool,
    /// It is saturated, connections wait in it, and nobody takes them.
    pub(super) waited_for: bool,
    /// It was told to give its connections to a sibling because of that, and not since to serve.
    pub(super) gives: bool,
    /// Number of the last giving to it out of need, counted over all workers.
    pub(super) taken_at: u64,
    /// When it last gave a share of what waited in it to a sibling.
    pub(super) gave_share_at: Option<Duration>,
    /// When it last took such a share.
    pub(super) took_share_at: Option<Duration>,
    /// Why it does not become ready, in its own words.
    pub(super) excuse: Option<String>,
    /// It has outgrown its memory, and asks for a successor at this time.
    pub(super) renew_at: Option<Duration>,
    /// It hangs, and is aborted at this time; until then its connections may be rescued.
    pub(super) rescue_until: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Forking,
    Booting,
    /// Ready, and not yet told to serve.
    Waiting,
    Serving,
    /// Serves, but wants a successor.
    Retiring,
    /// Relieved by a newer generation: accepts nothing, and may be told to serve again.
    Parked,
    /// Told to go, or going by itself.
    Leaving,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Force {
    #[default]
    None,
    Aborted,
    Killed,
}

impl Worker {
    pub(super) fn new(id: WorkerId, slot: usize, generation: u32, candidate: bool) -> Self {
        Self {
            id,
            slot,
            generation,
            candidate,
            pid: None,
            phase: Phase::Forking,
            force: Force::None,
            deadline: None,
            forked_at: Duration::ZERO,
            ready_at: None,
            owes_reopening: false,
            worn: false,
            saturated: false,
            waited_for: false,
            gives: false,
            taken_at: 0,
            gave_share_at: None,
            took_share_at: None,
            excuse: None,
            renew_at: None,
            rescue_until: None,
        }
    }

    /// It serves, or will when it has booted or is put in service.
    pub(super) fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Leaving | Phase::Parked)
    }

    /// Fills its slot, as far as the wanted number of workers is concerned.
    pub(super) fn fills_slot(&self) -> bool {
        self.is_active() && !self.candidate
    }

    /// Answers requests now, as far as the arbiter knows.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Retiring) && self.force == Force::None
    }

    /// Has installed its signal handlers: a worker reports ready only after that.
    pub(super) fn has_handlers(&self) -> bool {
        self.ready_at.is_some()
    }

    /// Why it is not ready, to be appended to a sentence; empty if it did not say.
    pub(super) fn excuse_in_brackets(&self) -> String {
        let excuse = self.excuse.as_ref();
        excuse.map_or_else(String::new, |excuse| format!(" ({excuse})"))
    }

    pub(super) fn shorten_deadline(&mut self, until: Duration) {
        self.deadline = Some(self.deadline.map_or(until, |deadline| deadline.min(until)));
    }
}
