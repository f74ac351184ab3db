//! What a failure of the new generation undoes.
//!
//! The workers that were parked serve again, first of all; those of the new generation give back
//! what connections they have and leave. The old stem, if there is one, forks old workers again. Once
//! a new worker serves, no old one is left that could, and no stem, there is nothing to go back to:
//! the new generation stays, and the rules for crashing workers (`exits.rs`) see to it.
//!
//! Invariant: after a rollback generation, policy and number of workers are those of before.

use super::restart::{Restart, Stage};
use super::worker::{Force, Phase, Worker};
use super::{Action, Level, State, WorkerId};

impl State {
    /// Whether the worker was forked by a restart that can still be undone.
    pub(super) fn is_on_trial(&self, worker: &Worker) -> bool {
        matches!(&self.restart, Some(restart)
            if restart.generation == worker.generation && !matches!(restart.stage, Stage::Replacing))
    }

    /// A worker on trial failed.
    pub(super) fn fail_restart(&mut self, reason: &str) {
        if self.can_go_back() {
            self.roll_back(reason);
        } else {
            self.keep_new_generation();
        }
    }

    pub(super) fn roll_back(&mut self, reason: &str) {
        let Some(restart) = self.restart.take() else {
            return;
        };
        self.put_back(&restart);
        let text = format!(
            "Restart rolled back, generation {} goes on serving: {reason}",
            self.generation
        );
        self.log(Level::Error, text);
        let old = self.by_slot(|worker| can_return(worker));
        for id in &old {
            self.serve(*id);
        }
        for id in self.by_slot(|worker| leaves_with(&restart, worker)) {
            self.give_back(id, &old);
        }
        self.shed();
        self.restart_ended(Some(reason.to_owned()));
    }

    fn can_go_back(&self) -> bool {
        let Some(restart) = &self.restart else {
            return false;
        };
        let old =
            |w: &Worker| w.generation != restart.generation && (w.is_serving() || can_return(w));
        let begun = !restart.is_booting() || !self.newcomers(restart.generation).is_empty();
        !begun || self.workers.values().any(old) || self.has_ready_stem(self.generation_before())
    }

    /// The generation that serves again after a rollback.
    fn generation_before(&self) -> u32 {
        match &self.restart {
            Some(Restart {
                stage: Stage::Observing { before, .. },
                ..
            }) => before.generation,
            _ => self.generation,
        }
    }

    fn keep_new_generation(&mut self) {
        let Some(restart) = &self.restart else {
            return;
        };
        let text = format!(
            "No worker is left to go back to: generation {} stays.",
            restart.generation
        );
        let booting = restart.is_booting();
        self.log(Level::Warning, text);
        if booting {
            self.observe();
        }
        self.commit();
    }

    fn put_back(&mut self, restart: &Restart) {
        if let Stage::Observing { before, .. } = restart.stage {
            self.become_generation(before.generation, before.policy, before.target);
        } else {
            self.outgoing = self.outgoing.max(restart.policy.workers);
        }
    }

    fn give_back(&mut self, id: WorkerId, old: &[WorkerId]) {
        let serves = self.workers.get(&id).is_some_and(Worker::is_serving);
        if let Some(to) = self.partner(id, old).filter(|_| serves) {
            self.act(Action::Connect { from: id, to });
        }
        self.retire(id);
    }
}

fn can_return(worker: &Worker) -> bool {
    worker.phase == Phase::Parked && worker.force == Force::None
}

/// One that is being aborted writes its stacks at this moment, and is left alone.
fn leaves_with(restart: &Restart, worker: &Worker) -> bool {
    worker.generation == restart.generation && worker.is_active() && worker.force == Force::None
}
