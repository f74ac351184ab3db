//! How much memory this worker occupies, and what it does when that is too much (`max_worker_memory`): it asks for a
//! successor, as after `max_requests`. Invariant: nobody wakes up to look; it is looked when a request is done, and at most
//! once a second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oxicorn_engine::Now;

use super::{Crew, tell};

/// Milliseconds between two looks.
const INTERVAL: u64 = 1_000;

/// What is allowed, and when to look again.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    /// Bytes; 0 for no limit.
    limit: u64,
    /// Monotonic milliseconds.
    next_look: AtomicU64,
    told: AtomicBool,
}

impl MemoryLimit {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            next_look: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// Whether it is time, and nobody else looks.
    fn is_due(&self, now: Now) -> bool {
        let due = self.next_look.load(Ordering::Relaxed);
        let (relaxed, next) = (Ordering::Relaxed, now.mono + INTERVAL);
        now.mono >= due
            && self
                .next_look
                .compare_exchange(due, next, relaxed, relaxed)
                .is_ok()
    }
}

impl Crew {
    /// A request is done.
    pub(crate) fn watch_memory(&self) {
        if self.memory.limit > 0 && self.memory.is_due(Now::read()) {
            self.look_at_memory();
        }
    }

    fn look_at_memory(&self) {
        let limit = self.memory.limit;
        let Some(used) = resident().filter(|used| *used > limit) else {
            return;
        };
        if !self.memory.told.swap(true, Ordering::Relaxed) {
            tell("outgrown", self.channel.outgrown(used, limit));
        }
    }
}

/// The bytes of this process that are in memory, shared ones included: `statm`'s second field (`proc_pid_statm(5)`).
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}
