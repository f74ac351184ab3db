//! Who fills the slots: forking, retiring, succession.
//!
//! A *slot* is a place for one serving worker, counted from 0; the lowest free ones are filled
//! first. A worker that asks to retire keeps its slot and serves on until its *successor*, forked
//! into the same slot, is ready. One succession at a time, so a fleet that reaches `max_requests`
//! together is renewed one by one.

use std::collections::BTreeSet;
use std::time::Duration;

use super::restart::Restart;
use super::stopping::Mode;
use super::worker::{Force, Phase, Worker};
use super::{Action, Level, Pid, Signal, State, WorkerId};

/// A retiring worker and the one that takes its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Succession {
    pub(super) old: WorkerId,
    pub(super) new: WorkerId,
}

impl State {
    /// Changes how many workers there should be; the slots are filled or emptied at the event's
    /// end.
    pub(super) fn set_target(&mut self, new: usize) {
        let old = std::mem::replace(&mut self.target, new);
        self.act(Action::WorkersChanged {
            new,
            old: Some(old),
        });
        if let Some(restart) = &mut self.restart {
            let next = &mut restart.policy.workers;
            *next = (*next + new).saturating_sub(old).max((*next).min(1));
        }
        self.shed();
    }

    /// Somebody asked for so many workers.
    pub(super) fn scale(&mut self, workers: usize) {
        if self.mode == Mode::Serving && workers > 0 && workers != self.target {
            let text = format!(
                "The number of workers becomes {workers}, from {}.",
                self.target
            );
            self.log(Level::Info, text);
            self.set_target(workers);
        }
    }

    /// The worker with this process, if it can be replaced.
    ///
    /// # Errors
    /// Why not, in words for the person who asked.
    pub fn replaceable(&self, pid: Pid) -> Result<WorkerId, String> {
        let mut workers = self.workers.values();
        match workers.find(|worker| worker.pid == Some(pid)) {
            Some(worker) if worker.is_serving() => Ok(worker.id),
            Some(worker) => Err(format!(
                "the worker with pid {pid} does not serve now ({}): see `oxicornctl status`",
                worker.state()
            )),
            None => Err(format!(
                "there is no worker with pid {pid}: see `oxicornctl status`"
            )),
        }
    }

    /// Retires those above the wanted number; their connections go to those that stay.
    pub(super) fn shed(&mut self) {
        while let [id, others @ ..] = &self.to_go()[..] {
            self.give_to_a_sibling(*id, others);
            self.retire(*id);
        }
    }

    /// Where no worker is to stay, as after WINCH, nobody can take; nor can those that go next.
    fn give_to_a_sibling(&mut self, id: WorkerId, next: &[WorkerId]) {
        let serves = |worker: &&Worker| worker.fills_slot() && worker.is_serving();
        let mut siblings = self.by_slot(serves);
        let Some(at) = siblings.iter().position(|sibling| *sibling == id) else {
            return;
        };
        siblings.remove(at);
        siblings.retain(|sibling| !next.contains(sibling));
        if let Some(to) = self.partner(id, &siblings).filter(|_| self.target > 0) {
            self.act(Action::Connect { from: id, to });
        }
    }

    /// Forks what is missing and may be forked now.
    pub(super) fn fill_the_slots(&mut self) {
        if self.mode != Mode::Serving {
            return;
        }
        for slot in self.vacant_slots() {
            let ready = self.has_room() && self.can_fork(self.generation);
            if ready && self.resume_at(slot) <= self.now {
                self.fork(slot, self.generation, false);
            }
        }
        self.start_succession();
    }

    /// When the next fork is due that only waits for its time.
    pub(super) fn next_fork_at(&self) -> Option<Duration> {
        if self.mode != Mode::Serving {
            return None;
        }
        let vacant = self
            .vacant_slots()
            .into_iter()
            .map(|slot| self.resume_at(slot));
        let heirs = self.next_to_succeed().map(|(_, slot)| self.resume_at(slot));
        vacant.chain(heirs).filter(|at| *at > self.now).min()
    }

    /// Tells a worker to finish and leave. One that is being aborted or killed goes anyway.
    pub(super) fn retire(&mut self, id: WorkerId) {
        let until = self.now.saturating_add(self.policy.graceful_timeout);
        let unforced = |worker: &Worker| worker.force == Force::None;
        if self.workers.get(&id).is_some_and(unforced) {
            self.act(Action::SendDrain { worker: id });
            self.signal_worker(id, Signal::Term);
        }
        self.leaves(id, until);
    }

    pub(super) fn leaves(&mut self, id: WorkerId, until: Duration) {
        self.end_succession_of(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            // One that boots has nobody to wait for, and no more time to leave than it had to become ready.
            let boots = worker.phase == Phase::Booting;
            let limit = worker.deadline.filter(|_| boots).unwrap_or(until);
            worker.phase = Phase::Leaving;
            match worker.force {
                Force::None => worker.deadline = Some(until.min(limit)),
                Force::Aborted => worker.shorten_deadline(until),
                Force::Killed => {}
            }
        }
    }

    /// The worker asks for a successor.
    pub(super) fn retiring(&mut self, id: WorkerId) {
        let serves = |w: &&mut Worker| matches!(w.phase, Phase::Serving | Phase::Parked) && !w.worn;
        let Some(worker) = self.workers.get_mut(&id).filter(serves) else {
            return;
        };
        worker.worn = true;
        if worker.phase == Phase::Serving {
            worker.phase = Phase::Retiring;
        }
        let pid = worker.pid.unwrap_or_default();
        self.log(
            Level::Info,
            format!("Worker (pid:{pid}) asks to be replaced."),
        );
    }

    /// The worker has begun to leave on its own account.
    pub(super) fn draining(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).filter(|w| w.phase != Phase::Leaving) else {
            return;
        };
        let pid = worker.pid.unwrap_or_default();
        let on_trial = worker.candidate && self.is_on_trial(worker);
        self.log(Level::Debug, format!("Worker (pid:{pid}) is leaving."));
        self.leaves(id, self.now.saturating_add(self.policy.graceful_timeout));
        if on_trial {
            self.fail_restart(&format!("Worker (pid:{pid}) left before it served."));
        }
    }

    /// The worker is ready; if it was a successor, the one before it gives its connections to it and
    /// goes.
    pub(super) fn complete_succession_by(&mut self, id: WorkerId) {
        let serves = |id: &WorkerId| self.workers.get(id).is_some_and(Worker::is_serving);
        if !serves(&id) {
            return;
        }
        if let Some(Succession { old, .. }) = self.succession.filter(|s| s.new == id) {
            if serves(&old) {
                self.act(Action::Connect { from: old, to: id });
            }
            self.hasten_rescue(old);
            self.retire(old);
        }
    }

    pub(super) fn end_succession_of(&mut self, id: WorkerId) {
        self.succession.take_if(|s| s.old == id || s.new == id);
    }

    fn start_succession(&mut self) {
        let Some((old, slot)) = self.next_to_succeed() else {
            return;
        };
        let generation = self
            .workers
            .get(&old)
            .map_or(self.generation, |w| w.generation);
        let ready = self.has_room() && self.can_fork(generation);
        if ready && self.resume_at(slot) <= self.now {
            let new = self.fork(slot, generation, false);
            self.succession = Some(Succession { old, new });
        }
    }

    fn next_to_succeed(&self) -> Option<(WorkerId, usize)> {
        let waiting = |w: &&Worker| w.phase == Phase::Retiring && w.force == Force::None;
        let first = || self.workers.values().find(waiting).map(|w| (w.id, w.slot));
        if self.succession.is_none() {
            first()
        } else {
            None
        }
    }

    pub(super) fn fork(&mut self, slot: usize, generation: u32, candidate: bool) -> WorkerId {
        self.last_id += 1;
        let id = self.last_id;
        let mut worker = Worker::new(id, slot, generation, candidate);
        let action = if self.preloads(generation) {
            let limit = self.boot_limit(generation);
            worker.deadline = limit.map(|limit| self.now.saturating_add(limit));
            Action::Order {
                worker: id,
                slot,
                generation,
            }
        } else {
            Action::Fork {
                worker: id,
                slot,
                generation,
            }
        };
        self.workers.insert(id, worker);
        self.act(action);
        id
    }

    /// Whether one more worker may be alive: the limit is one above what this generation and another
    /// one want.
    pub(super) fn has_room(&self) -> bool {
        let claims = |restart: &Restart| restart.claims(self.outgoing);
        let other = self.restart.as_ref().map_or(self.outgoing, claims);
        self.workers.len() <= self.target + other
    }

    /// No process of another generation is left, so none has a claim any more.
    pub(super) fn forget_the_outgoing(&mut self) {
        let other = |worker: &Worker| worker.generation != self.generation;
        if self.restart.is_none() && !self.workers.values().any(other) {
            self.outgoing = 0;
        }
    }

    /// The lowest free slots, as many as workers are missing.
    fn vacant_slots(&self) -> Vec<usize> {
        let taken: BTreeSet<usize> = self
            .workers
            .values()
            .filter(|w| w.fills_slot())
            .map(|w| w.slot)
            .collect();
        let missing = self.wanted().saturating_sub(self.active());
        (0..)
            .filter(|slot| !taken.contains(slot))
            .take(missing)
            .collect()
    }

    /// How many active workers there should be: a successor comes on top of the target, and so does
    /// what a phased restart has put into slots above it.
    fn wanted(&self) -> usize {
        let above = |worker: &&Worker| worker.fills_slot() && worker.slot >= self.target;
        let rolled = |restart: &Restart| {
            let newcomer = |w: &&Worker| w.generation == restart.generation && above(w);
            self.workers.values().filter(newcomer).count()
        };
        let booting = self.restart.as_ref().filter(|restart| restart.is_booting());
        let grown = booting.map_or(0, rolled);
        self.target + usize::from(self.succession.is_some()) + grown
    }

    fn active(&self) -> usize {
        self.workers
            .values()
            .filter(|worker| worker.fills_slot())
            .count()
    }

    /// Those above the wanted number: the oldest, but those that want to go anyway before them.
    fn to_go(&self) -> Vec<WorkerId> {
        let active = self.workers.values().filter(|worker| worker.fills_slot());
        let mut active: Vec<&Worker> = active.collect();
        let surplus = active.len().saturating_sub(self.wanted());
        active.sort_by_key(|worker| worker.phase != Phase::Retiring);
        let first = active.into_iter().take(surplus);
        first.map(|worker| worker.id).collect()
    }

    fn resume_at(&self, slot: usize) -> Duration {
        self.slots
            .get(&slot)
            .map_or(Duration::ZERO, |slot| slot.resume_at)
    }
}
