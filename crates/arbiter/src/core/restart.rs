//! Restarts: a new generation of workers boots beside the one that serves, and takes over only once
//! it has proved that it can.
//!
//! ```text
//! asked → configuration read → Booting ──all ready──→ Observing ──time passes──→ committed
//!                                 │ hot, phased          │
//!                                 └──── any failure ─────┴──→ rolled back
//! regular:                     Booting ──one ready──→ Replacing ──old ones gone──→ committed
//! ```
//!
//! A worker forked for a restart is a *candidate* until it is put in service; until then it fills no
//! slot and the rules of `population.rs` do not see it. *Hot* puts all candidates in service
//! together, *phased* one after the other. A worker of the old generation that is relieved gives its
//! connections to a partner and is *parked*: it accepts nothing and lives, so that it can be told
//! to serve again. What a failure undoes is in `rollback.rs`.
//!
//! Invariants: one restart at a time, further requests become one follow-up; the generation number
//! and the policy change only together; a candidate serves before the worker that it relieves stops
//! accepting.

use std::collections::BTreeSet;
use std::time::Duration;

use oxicorn_settings::RestartMode;

use super::backoff::Slot;
use super::decide::seconds;
use super::stopping::Mode;
use super::worker::{Force, Phase, Worker};
use super::{Action, Asker, Level, Policy, State, WorkerId};

/// What was asked for: a way to restart, or the configured one.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) mode: Option<RestartMode>,
    /// Who is to be told how it ended.
    pub(super) askers: Vec<Asker>,
}

impl Request {
    pub(super) fn of(mode: Option<RestartMode>, askers: Vec<Asker>) -> Self {
        Self { mode, askers }
    }
}

/// A restart under way.
#[derive(Debug)]
pub(super) struct Restart {
    pub(super) mode: RestartMode,
    /// The number of the new generation.
    pub(super) generation: u32,
    /// The policy of the new generation.
    pub(super) policy: Policy,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// Candidates boot; some may serve already (phased).
    Booting,
    /// The new generation serves, the old one is parked.
    Observing { until: Duration, before: Before },
    /// The old generation leaves, the new one waits for that (regular).
    Replacing,
}

impl Restart {
    pub(super) fn is_booting(&self) -> bool {
        matches!(self.stage, Stage::Booting)
    }

    /// How many processes the other generation may have, besides the wanted ones. A regular restart
    /// is for those who have no room for two.
    pub(super) fn claims(&self, outgoing: usize) -> usize {
        match self.stage {
            Stage::Booting => self.policy.workers.max(outgoing),
            Stage::Observing { .. } => outgoing,
            Stage::Replacing => 0,
        }
    }
}

/// Why there is no restart any more.
pub(super) const STOPS: &str = "the server stops";

/// What a rollback puts back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub(super) generation: u32,
    pub(super) policy: Policy,
    pub(super) target: usize,
}

impl State {
    pub(super) fn asked_to_restart(&mut self, mode: Option<RestartMode>, asker: Option<Asker>) {
        let mut askers = Vec::from_iter(asker);
        if self.mode != Mode::Serving || self.stop_at.is_some() {
            return self.answer(askers, Some(STOPS));
        }
        if self.restart.is_none() && self.reading.is_none() && self.upgrade.is_none() {
            return self.read_configuration(Request { mode, askers });
        }
        let text = if self.upgrade.is_some() {
            "An upgrade is under way: a restart will follow it."
        } else {
            "A restart is under way: one more will follow it."
        };
        self.log(Level::Info, text);
        let earlier = self.follow_up.take().map(|request| request.askers);
        askers.splice(0..0, earlier.unwrap_or_default());
        self.follow_up = Some(Request { mode, askers });
    }

    pub(super) fn configuration_read(&mut self, policy: Policy) {
        let Some(request) = self.reading.take() else {
            return;
        };
        let mode = self.mode_with_room(request.mode, policy.restart_mode, policy.workers);
        self.last_generation += 1;
        let (old, generation) = (self.generation, self.last_generation);
        self.record_boot(mode);
        let text = format!("Restart ({mode}): generation {generation} boots beside {old}.");
        self.tell_progress(&text);
        self.log(Level::Info, text);
        self.restart = Some(Restart {
            mode,
            generation,
            policy,
            stage: Stage::Booting,
        });
    }

    pub(super) fn configuration_refused(&mut self, reason: String) {
        self.room = None;
        if self.reading.take().is_none() {
            return;
        }
        let text = format!(
            "Restart refused, generation {} goes on serving: {reason}",
            self.generation
        );
        self.log(Level::Error, text);
        self.restart_ended(Some(reason));
    }

    /// Takes the steps that have become possible.
    pub(super) fn advance_restart(&mut self) {
        if self.mode != Mode::Serving {
            return;
        }
        match self.restart.as_ref().map(|restart| restart.stage) {
            Some(Stage::Booting) => self.advance_boot(),
            Some(Stage::Observing { until, .. }) if until <= self.now => self.commit(),
            Some(Stage::Replacing) if !self.others_live() => self.end_replacement(),
            Some(_) | None => {}
        }
    }

    /// When the observation ends.
    pub(super) fn observed_at(&self) -> Option<Duration> {
        match self.restart.as_ref()?.stage {
            Stage::Observing { until, .. } => Some(until),
            Stage::Booting | Stage::Replacing => None,
        }
    }

    /// A worker that is ready may have to wait until it is put in service.
    pub(super) fn engage(&mut self, id: WorkerId) {
        let replacing = |restart: &Restart| matches!(restart.stage, Stage::Replacing);
        let held = self.restart.as_ref().is_some_and(replacing) && self.others_live();
        let ready = |w: &Worker| w.phase == Phase::Waiting && !w.candidate;
        if !held && self.workers.get(&id).is_some_and(ready) {
            self.serve(id);
        }
    }

    pub(super) fn serve(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.candidate = false;
            worker.gives = false;
            worker.phase = if worker.worn {
                Phase::Retiring
            } else {
                Phase::Serving
            };
            let generation = worker.generation;
            self.act(Action::SendServe { worker: id });
            self.tell_served(generation);
        }
    }

    pub(super) fn restart_ended(&mut self, failure: Option<String>) {
        self.tell_restart_ended(failure.as_deref());
        self.record_end(failure.as_deref());
        let askers = std::mem::take(&mut self.askers);
        self.answer(askers, failure.as_deref());
        self.act(Action::RestartEnded {
            generation: self.generation,
            failure,
        });
        self.forget_the_outgoing();
        if let Some(request) = self.follow_up.take() {
            self.read_configuration(request);
        }
    }

    /// Forgets every restart, since the server stops.
    pub(super) fn cancel_restarts(&mut self) {
        self.cancel_upgrade();
        self.dismiss_follow_up(STOPS);
        let reading = self.reading.take().is_some();
        if self.restart.take().is_some() || reading {
            self.restart_ended(Some(STOPS.to_owned()));
        }
    }

    /// The restart that was to follow will not be.
    pub(super) fn dismiss_follow_up(&mut self, reason: &str) {
        if let Some(request) = self.follow_up.take() {
            self.answer(request.askers, Some(reason));
        }
    }

    pub(super) fn answer(&mut self, askers: Vec<Asker>, failure: Option<&str>) {
        for asker in askers {
            self.act(Action::Answer {
                asker,
                generation: self.generation,
                failure: failure.map(str::to_owned),
            });
        }
    }

    /// The workers of the new generation that serve, by slot.
    pub(super) fn newcomers(&self, generation: u32) -> Vec<WorkerId> {
        let serving = |w: &&Worker| w.generation == generation && w.is_serving();
        self.by_slot(serving)
    }

    pub(super) fn by_slot(&self, which: impl Fn(&&Worker) -> bool) -> Vec<WorkerId> {
        let mut found: Vec<&Worker> = self.workers.values().filter(which).collect();
        found.sort_by_key(|worker| (worker.slot, worker.id));
        found.into_iter().map(|worker| worker.id).collect()
    }

    /// The partner of a worker: slot `i` belongs to the `i`-th of the others, counted round.
    pub(super) fn partner(&self, id: WorkerId, others: &[WorkerId]) -> Option<WorkerId> {
        let others = self.best_takers(others);
        let slot = self.workers.get(&id)?.slot;
        others.get(slot.checked_rem(others.len())?).copied()
    }

    /// Replaces what is decided by the policy; the number of workers is the new policy's.
    pub(super) fn become_generation(&mut self, generation: u32, policy: Policy, target: usize) {
        self.outgoing = self.outgoing.max(self.target);
        self.generation = generation;
        self.policy = policy;
        self.stem_retry = Slot::default();
        let old = std::mem::replace(&mut self.target, target);
        if old != target {
            self.act(Action::WorkersChanged {
                new: target,
                old: Some(old),
            });
        }
    }

    pub(super) fn commit(&mut self) {
        let Some(restart) = self.restart.take() else {
            return;
        };
        let text = format!("Generation {} is confirmed.", restart.generation);
        self.log(Level::Info, text);
        self.slots.clear();
        for id in self.by_slot(|worker| worker.phase == Phase::Parked) {
            self.retire(id);
        }
        self.restart_ended(None);
    }

    /// The candidates are in service: the old generation is parked, and the new one is watched.
    pub(super) fn observe(&mut self) {
        let Some(restart) = &self.restart else {
            return;
        };
        let (generation, policy) = (restart.generation, restart.policy);
        let before = Before {
            generation: self.generation,
            policy: self.policy,
            target: self.target,
        };
        self.relieve(|_| true);
        // More boot than are wanted by now.
        for id in self.by_slot(|worker| worker.candidate && worker.is_active()) {
            self.retire(id);
        }
        self.become_generation(generation, policy, policy.workers);
        let until = self.now.saturating_add(policy.observe_timeout);
        if let Some(restart) = &mut self.restart {
            restart.stage = Stage::Observing { until, before };
        }
        self.record_service();
        let text = format!(
            "Generation {generation} serves; {} stands by for {}.",
            before.generation,
            seconds(policy.observe_timeout)
        );
        self.tell_progress(&text);
        self.log(Level::Info, text);
        self.shed();
    }

    pub(super) fn read_configuration(&mut self, mut request: Request) {
        self.askers.append(&mut request.askers);
        self.reading = Some(request);
        self.tell_reloading();
        let generation = self.last_generation + 1;
        self.record_request(generation);
        self.act(Action::ReadConfiguration { generation });
    }

    fn advance_boot(&mut self) {
        let Some(Restart {
            mode,
            policy,
            generation,
            ..
        }) = self.restart
        else {
            return;
        };
        if !self.is_rooted(generation) {
            return;
        }
        let ready = |w: &&Worker| w.phase == Phase::Waiting && w.force == Force::None;
        let waiting = self.by_slot(|w| w.generation == generation && ready(w));
        match mode {
            RestartMode::Hot if waiting.len() >= policy.workers => self.switch(&waiting),
            RestartMode::Phased => self.roll(&waiting),
            RestartMode::Regular if !waiting.is_empty() || policy.workers == 0 => self.replace(),
            RestartMode::Hot | RestartMode::Regular => {}
        }
        self.fork_candidates();
    }

    /// Hot: all at once.
    fn switch(&mut self, candidates: &[WorkerId]) {
        for id in candidates {
            self.serve(*id);
        }
        self.observe();
        self.advance_restart();
    }

    /// Phased: the worker of the same slot is relieved; after the last slot, all others.
    fn roll(&mut self, candidates: &[WorkerId]) {
        for id in candidates {
            self.serve(*id);
            let slot = self.workers.get(id).map(|worker| worker.slot);
            self.relieve(|worker| Some(worker.slot) == slot);
        }
        let done =
            |restart: &Restart| self.newcomers(restart.generation).len() >= restart.policy.workers;
        if self.restart.as_ref().is_some_and(done) {
            self.observe();
            self.advance_restart();
        }
    }

    /// Regular: the application loads, so the old generation may go; the new one serves after that.
    fn replace(&mut self) {
        let Some(restart) = &mut self.restart else {
            return;
        };
        restart.stage = Stage::Replacing;
        let (generation, policy) = (restart.generation, restart.policy);
        let text = format!("Generation {generation} loads; {} leaves.", self.generation);
        self.log(Level::Info, text);
        self.become_generation(generation, policy, policy.workers);
        self.slots.clear();
        for worker in self.workers.values_mut() {
            worker.candidate &= worker.generation != generation;
        }
        for id in self.by_slot(|w| w.generation != generation && w.fills_slot()) {
            self.retire(id);
        }
        self.shed();
        self.advance_restart();
    }

    fn end_replacement(&mut self) {
        let waiting = self.by_slot(|w| w.phase == Phase::Waiting && w.force == Force::None);
        for id in waiting {
            self.serve(id);
        }
        self.record_service();
        self.commit();
    }

    /// Whether a worker of another generation may still serve; one that was sent SIGKILL does not.
    fn others_live(&self) -> bool {
        let other = |w: &Worker| w.generation != self.generation && w.force != Force::Killed;
        self.workers.values().any(other)
    }

    /// Parks those of the old generation that serve, with their connections given to a partner.
    /// Those that do not serve are of no use any more.
    fn relieve(&mut self, which: impl Fn(&Worker) -> bool) {
        let Some(generation) = self.restart.as_ref().map(|restart| restart.generation) else {
            return;
        };
        let newcomers = self.newcomers(generation);
        let old = self.by_slot(|w| w.generation != generation && w.fills_slot() && which(w));
        for id in old {
            if self.workers.get(&id).is_some_and(Worker::is_serving) {
                self.park(id, self.partner(id, &newcomers));
            } else {
                self.retire(id);
            }
        }
    }

    fn park(&mut self, id: WorkerId, partner: Option<WorkerId>) {
        self.end_succession_of(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.phase = Phase::Parked;
        }
        self.act(match partner {
            Some(to) => Action::Connect { from: id, to },
            None => Action::SendPark { worker: id },
        });
    }

    fn fork_candidates(&mut self) {
        let Some(restart) = &self.restart else {
            return;
        };
        if !restart.is_booting() {
            return;
        }
        let generation = restart.generation;
        let ours = |w: &&Worker| w.generation == generation && w.is_active();
        let taken: BTreeSet<usize> = self.workers.values().filter(ours).map(|w| w.slot).collect();
        let booting = self.workers.values().filter(|w| ours(w) && w.candidate);
        let at_once = match restart.mode {
            RestartMode::Hot => restart.policy.workers,
            RestartMode::Phased | RestartMode::Regular => 1_usize.saturating_sub(booting.count()),
        };
        let free = (0..restart.policy.workers).filter(|slot| !taken.contains(slot));
        for slot in free.take(at_once).collect::<Vec<_>>() {
            if self.has_room() && self.can_fork(generation) {
                self.fork(slot, generation, true);
            }
        }
    }
}
