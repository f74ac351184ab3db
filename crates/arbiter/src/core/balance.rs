//! Balance and rescue: connections leave a worker that cannot come to them.
//!
//! A worker none of whose threads has come out of the application for a while is *saturated*. It
//! gives its other connections, and the requests that wait on them, to a sibling that is not, until
//! a thread of its own is free again. So a request that hangs keeps only its own client waiting, and
//! whoever is aborted over it has nothing else left. Where no sibling could take them, a successor is
//! forked before the abort and has [`Policy::RESCUE`] to get ready.
//!
//! Invariants: a saturated worker never takes from another saturated one; there is at most one new
//! giving for each report, and a worker reports once for each time that it is saturated.

use std::time::Duration;

use super::stopping::Mode;
use super::worker::{Force, Phase, Worker};
use super::{Action, Level, Policy, State, WorkerId};

impl State {
    /// The worker reports anew when nobody takes from it any more.
    pub(super) fn saturated(&mut self, id: WorkerId, waiting: u32) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.saturated = true;
            worker.waited_for = waiting > 0;
        }
    }

    pub(super) fn relieved(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.saturated = false;
        worker.waited_for = false;
        worker.rescue_until = None;
        worker.gives = false;
        if worker.is_serving() {
            // Also where nobody took: it may have stopped accepting for a sibling that is gone since.
            self.act(Action::SendServe { worker: id });
        }
    }

    /// Connects those that are saturated with those that are not.
    pub(super) fn balance(&mut self) {
        if self.mode != Mode::Serving {
            return;
        }
        let needy = |w: &&Worker| w.fills_slot() && w.is_serving() && w.waited_for;
        for from in self.by_slot(needy) {
            let Some(to) = self.least_recent_taker() else {
                return;
            };
            self.count_gift(to);
            if let Some(worker) = self.workers.get_mut(&from) {
                worker.waited_for = false;
                worker.gives = true;
            }
            let [giver, taker] = [from, to].map(|id| self.pid(id).unwrap_or_default());
            let text = format!(
                "Worker (pid:{giver}) is saturated: its connections go to worker (pid:{taker})."
            );
            self.log(Level::Debug, text);
            self.act(Action::Connect { from, to });
        }
    }

    /// Who is to take connections of another arbiter's worker: best one that is not saturated, at
    /// least one that does not give itself.
    pub(super) fn next_taker(&mut self) -> Option<WorkerId> {
        let any = || self.by_slot(|worker| keeps(worker)).first().copied();
        let taker = self.least_recent_taker().or_else(any)?;
        self.count_gift(taker);
        Some(taker)
    }

    /// Whoever took the connections of a worker that was relieved has gone, or is going: somebody else
    /// may take them. (One that is saturated says so again.)
    pub(super) fn stranded(&mut self, id: WorkerId) {
        let leaves = |w: &Worker| matches!(w.phase, Phase::Parked | Phase::Leaving);
        let may_give = |w: &Worker| leaves(w) && w.force == Force::None;
        if self.mode != Mode::Serving || !self.workers.get(&id).is_some_and(may_give) {
            return;
        }
        let newcomers = self.newcomers(self.generation);
        if let Some(to) = self.partner(id, &newcomers) {
            self.act(Action::Connect { from: id, to });
        }
    }

    /// Whether somebody could take them.
    pub(super) fn has_taker(&self) -> bool {
        self.workers.values().any(keeps)
    }

    fn count_gift(&mut self, to: WorkerId) {
        self.gifts += 1;
        let gifts = self.gifts;
        if let Some(worker) = self.workers.get_mut(&to) {
            worker.taken_at = gifts;
        }
    }

    fn least_recent_taker(&self) -> Option<WorkerId> {
        let serving = self.workers.values().filter(|w| w.is_serving());
        serving
            .filter(|worker| worker.fills_slot() && !worker.saturated)
            .min_by_key(|worker| (worker.taken_at, worker.slot, worker.id))
            .map(|worker| worker.id)
    }

    /// A worker that hangs while connections wait in it, and nobody takes them: its successor may.
    /// Whether there is time for that.
    pub(super) fn is_rescued_first(&mut self, id: WorkerId) -> bool {
        let serves = self.mode == Mode::Serving;
        let until = self.now.saturating_add(Policy::RESCUE);
        let lonely = |w: &&mut Worker| w.is_serving() && w.waited_for;
        let found = self.workers.get_mut(&id).filter(|_| serves);
        let Some(worker) = found.filter(lonely) else {
            return false;
        };
        worker.rescue_until = Some(until);
        self.retiring(id);
        true
    }

    /// The successor takes the connections now, which is a matter of milliseconds.
    pub(super) fn hasten_rescue(&mut self, id: WorkerId) {
        let until = self.now.saturating_add(Policy::MOVE);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.rescue_until = worker.rescue_until.map(|at| at.min(until));
        }
    }

    /// When the first rescue has to be over.
    pub(super) fn rescued_at(&self) -> Option<Duration> {
        let rescues = self.workers.values().filter_map(|w| w.rescue_until);
        rescues.min()
    }

    /// Those whose rescue is over, one way or the other.
    pub(super) fn take_rescued(&mut self) -> Vec<WorkerId> {
        let now = self.now;
        let over = |worker: &&mut Worker| worker.rescue_until.is_some_and(|at| at <= now);
        let mut ids = Vec::new();
        for worker in self.workers.values_mut().filter(over) {
            worker.rescue_until = None;
            ids.push(worker.id);
        }
        ids
    }

    /// Those of `others` that come to new connections soonest.
    pub(super) fn best_takers(&self, others: &[WorkerId]) -> Vec<WorkerId> {
        let which = |fits: fn(&Worker) -> bool| -> Vec<WorkerId> {
            let fits = |id: &&WorkerId| self.workers.get(id).is_some_and(fits);
            others.iter().filter(fits).copied().collect()
        };
        let free = which(|worker| !worker.saturated);
        if free.is_empty() {
            // Whoever takes stops giving.
            return which(|worker| !worker.gives);
        }
        free
    }
}

/// Serves, and keeps what it has.
fn keeps(worker: &Worker) -> bool {
    worker.fills_slot() && worker.is_serving() && !worker.gives
}
