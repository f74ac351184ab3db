//! Workers that outgrow `max_worker_memory`: they are replaced as those that reached `max_requests`,
//! by the rules of `population.rs`.
//!
//! A limit below what the application needs must not make the server boot workers for ever. So
//! whoever is too large in its first minute is replaced at once only the first time; the next ones in
//! its slot wait, longer each time, and serve meanwhile.
//!
//! Invariant: a worker's wish is granted once, and never while it no longer serves.

use std::time::Duration;

use super::decide::seconds;
use super::worker::{Phase, Worker};
use super::{Level, State, WorkerId};

/// A worker that is too large before this time since it was ready may never have been smaller.
const YOUNG: Duration = Duration::from_secs(60);

impl State {
    /// The worker uses more than its limit; both in bytes.
    pub(super) fn outgrown(&mut self, id: WorkerId, used: u64, limit: u64) {
        let asks = |w: &&Worker| serves(w) && !w.worn && w.renew_at.is_none();
        let Some(worker) = self.workers.get(&id).filter(asks) else {
            return;
        };
        let (slot, pid) = (worker.slot, worker.pid.unwrap_or_default());
        let ready_at = worker.ready_at.unwrap_or_default();
        let age = self.now.saturating_sub(ready_at);
        let (used, limit) = (mebibytes(used), mebibytes(limit));
        let wait = self
            .slots
            .entry(slot)
            .or_default()
            .outgrown_early(age < YOUNG);
        if wait.is_zero() {
            let text = format!("Worker (pid:{pid}) uses {used}, and max_worker_memory is {limit}.");
            self.log(Level::Info, text);
            return self.retiring(id);
        }
        let text = format!(
            "Worker (pid:{pid}) uses {used} within {} of its boot, and max_worker_memory is {limit}: \
             perhaps the application needs more. The worker will be replaced in {}.",
            seconds(age),
            seconds(wait)
        );
        self.log(Level::Warning, text);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.renew_at = Some(self.now.saturating_add(wait));
        }
    }

    /// When the next worker that waits for it may be replaced.
    pub(super) fn renewed_at(&self) -> Option<Duration> {
        let waiting = self.workers.values().filter(|worker| serves(worker));
        waiting.filter_map(|worker| worker.renew_at).min()
    }

    /// Those that have waited long enough ask for a successor.
    pub(super) fn renew_when_due(&mut self) {
        let now = self.now;
        let due = |w: &&Worker| serves(w) && w.renew_at.is_some_and(|at| at <= now);
        for id in self.by_slot(due) {
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.renew_at = None;
            }
            self.retiring(id);
        }
    }
}

fn serves(worker: &Worker) -> bool {
    matches!(worker.phase, Phase::Serving | Phase::Parked)
}

/// An amount of memory for a log line, rounded down.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
