//! What the embedder is told, and what it answers: its hooks may fail.
//!
//! Invariant: a hook that failed is an event like any other, and so comes after what led to it.

use super::{Arbiter, own_pid};
use crate::core::{Event, WorkerId};
use crate::host::{Host, Notice, Raised};
use crate::translate::TARGET;

impl<H: Host> Arbiter<H> {
    pub(super) fn announce(&mut self) {
        let urls = self.urls().join(",");
        log::info!(target: TARGET, "Listening at: {urls} ({})", own_pid());
        let told = self.host.notify(Notice::Ready {
            listeners: &self.listeners,
        });
        self.heed(told);
    }

    pub(super) fn notify(&mut self, notice: Notice<'_>) {
        let told = self.host.notify(notice);
        self.heed(told);
    }

    fn heed(&mut self, told: Result<(), Raised>) {
        if let Err(Raised { code, reason }) = told {
            self.events.push_back(Event::HookRaised { code, reason });
        }
    }

    /// Whether a hook forbids it; then the core is told.
    pub(super) fn is_fork_refused(&mut self, worker: WorkerId, generation: u32) -> bool {
        let Err(Raised { code, reason }) = self.host.before_fork(worker, generation) else {
            return false;
        };
        self.events.push_front(Event::ForkRefused {
            worker,
            code,
            reason,
        });
        true
    }
}
