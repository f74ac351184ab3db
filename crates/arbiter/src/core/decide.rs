//! The state of the arbiter and the one way to change it.
//!
//! This file routes each event to its rule: the wanted number of workers and who fills it
//! (`population.rs`), exits and crash loops (`exits.rs`), restarts (`restart.rs`, `rollback.rs`),
//! stems (`stem.rs`), memory (`outgrown.rs`, `room.rs`), connections that leave workers in trouble
//! (`balance.rs`), a second arbiter (`dance.rs`), workers of one that was killed (`orphans.rs`), the
//! arbiter's own upgrade (`upgrade.rs`), shutting down (`stopping.rs`), what a service manager is told
//! (`service.rs`). What a deadline means is decided here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backoff::Slot;
use super::dance::Dance;
use super::orphans::Orphans;
use super::population::Succession;
use super::restart::{Request, Restart};
use super::status::Record;
use super::stem::Stem;
use super::stopping::Mode;
use super::tally::Tally;
use super::upgrade::{Upgrade, UpgradeRecord};
use super::worker::{Force, Phase, Worker};
use super::{Action, Asker, Event, Level, Pid, Policy, Room, Signal, StuckRequest, WorkerId};

/// Everything that the arbiter's decisions depend on.
#[derive(Debug)]
pub struct State {
    pub(super) policy: Policy,
    pub(super) now: Duration,
    pub(super) mode: Mode,
    /// How many workers there should be: `workers`, then what TTIN, TTOU and WINCH made of it.
    pub(super) target: usize,
    /// The generation that serves.
    pub(super) generation: u32,
    /// The newest generation of which there ever was a worker; no number is used twice.
    pub(super) last_generation: u32,
    pub(super) last_id: WorkerId,
    /// Every worker that was forked and not yet reaped.
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) slots: BTreeMap<usize, Slot>,
    /// Every stem that was forked and not yet reaped, by its generation.
    pub(super) stems: BTreeMap<u32, Stem>,
    /// When the generation that serves may boot another stem.
    pub(super) stem_retry: Slot,
    pub(super) succession: Option<Succession>,
    pub(super) restart: Option<Restart>,
    /// The restart for which the configuration is being read.
    pub(super) reading: Option<Request>,
    /// The memory that there is for it.
    pub(super) room: Option<Room>,
    /// The restart that follows the one under way.
    pub(super) follow_up: Option<Request>,
    /// Who waits for the end of the restart under way.
    pub(super) askers: Vec<Asker>,
    /// The restart under way, or the last one, for those who look.
    pub(super) record: Option<Record>,
    /// The upgrade of the arbiter that is under way.
    pub(super) upgrade: Option<Upgrade>,
    /// The same, or the last one, for those who look.
    pub(super) upgrade_record: Option<UpgradeRecord>,
    /// How many workers another generation had of which some are still alive.
    pub(super) outgoing: usize,
    /// Some worker has been ready once: the application can be loaded.
    pub(super) ever_ready: bool,
    /// The service manager was told that the server is ready.
    pub(super) announced: bool,
    /// When the stop begins that was asked for (`shutdown_delay`).
    pub(super) stop_at: Option<Duration>,
    /// How often connections were given away out of need, or taken from another arbiter's workers.
    pub(super) gifts: u64,
    pub(super) tally: Tally,
    pub(super) dance: Dance,
    pub(super) orphans: Orphans,
    pub(super) actions: Vec<Action>,
}

impl State {
    /// A state without workers, which waits for [`Event::Started`].
    ///
    /// `now` is the time on the caller's monotonic clock, here and in [`handle`](Self::handle).
    pub fn new(policy: Policy, now: Duration) -> Self {
        Self {
            target: policy.workers,
            policy,
            now,
            mode: Mode::Idle,
            generation: 1,
            last_generation: 1,
            last_id: 0,
            workers: BTreeMap::new(),
            slots: BTreeMap::new(),
            stems: BTreeMap::new(),
            stem_retry: Slot::default(),
            succession: None,
            restart: None,
            reading: None,
            room: None,
            follow_up: None,
            askers: Vec::new(),
            record: None,
            upgrade: None,
            upgrade_record: None,
            outgoing: 0,
            ever_ready: false,
            announced: false,
            stop_at: None,
            gifts: 0,
            tally: Tally::default(),
            dance: Dance::default(),
            orphans: Orphans::default(),
            actions: Vec::new(),
        }
    }

    /// Takes one event in and gives back what to do, in order.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        if self.mode != Mode::Ended {
            self.route(event);
            self.advance_dance();
            self.stop_when_due();
            self.end_overdue_check();
            self.renew_when_due();
            self.force_the_overdue();
            self.forget_the_outgoing();
            self.advance_restart();
            // Whoever was told to go just now may have no time left.
            self.force_the_overdue();
            self.tend_stems();
            self.fill_the_slots();
            self.balance();
            self.say_standing();
            self.relieve_orphans();
        }
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::DeadlineReached`] is due, on the same clock as `handle`; `None` while there is
    /// nothing to wait for.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.workers
            .values()
            .filter_map(|worker| worker.deadline)
            .chain(self.rescued_at())
            .chain(self.renewed_at())
            .chain(self.give_up_at())
            .chain(self.stop_at)
            .chain(self.hurry_at())
            .chain(self.rest_at())
            .chain(self.observed_at())
            .chain(self.checked_at())
            .chain(self.next_fork_at())
            .chain(self.next_stem_deadline())
            .min()
    }

    /// How many workers there should be at the moment.
    pub fn target(&self) -> usize {
        self.target
    }

    /// The policy in force: that of the generation that serves.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The pid of a worker that has been forked and not yet reaped.
    pub fn pid(&self, worker: WorkerId) -> Option<Pid> {
        self.workers.get(&worker)?.pid
    }

    fn route(&mut self, event: Event) {
        match event {
            Event::Started => self.start(),
            Event::DeadlineReached => {}
            Event::Forked { worker, pid } => self.forked(worker, pid),
            Event::ForkFailed { worker, error } => self.fork_failed(worker, &error),
            Event::ForkRefused {
                worker,
                code,
                reason,
            } => self.fork_refused(worker, code, &reason),
            Event::HookRaised { code, reason } => self.hook_raised(code, &reason),
            Event::StemForked { generation, pid } => self.stem_forked(generation, pid),
            Event::StemForkFailed { generation, error } => {
                self.stem_fork_failed(generation, &error);
            }
            Event::StemUnready { generation, reason } => self.stem_unready(generation, &reason),
            Event::StemReady { generation } => self.stem_ready(generation),
            Event::Restart { mode, asker } => self.asked_to_restart(mode, asker),
            Event::Scale { workers } => self.scale(workers),
            Event::Upgrade { from, asker } => self.asked_to_upgrade(from, asker),
            Event::UpgradeChecked { version } => self.upgrade_checked(version),
            Event::UpgradeFailed { reason } => self.upgrade_failed(&reason),
            Event::Upgraded => self.upgraded(),
            Event::RoomMeasured(room) => self.room = Some(room),
            Event::ConfigurationRead { policy } => self.configuration_read(policy),
            Event::ConfigurationRefused { reason } => self.configuration_refused(reason),
            Event::WorkerReady { worker } => self.ready(worker),
            Event::WorkerUnready { worker, reason } => self.unready(worker, &reason),
            Event::WorkerOutgrown {
                worker,
                used,
                limit,
            } => self.outgrown(worker, used, limit),
            Event::WorkerStuck { worker, request } => self.stuck(worker, &request),
            Event::WorkerRetiring { worker } => self.retiring(worker),
            Event::WorkerGave { worker } => self.gave(worker),
            Event::WorkerStranded { worker } => self.stranded(worker),
            Event::WorkerSaturated { worker, waiting } => self.saturated(worker, waiting),
            Event::WorkerCrowded {
                worker,
                waiting,
                beside,
            } => self.crowded(worker, waiting, &beside),
            Event::WorkerRelieved { worker } => self.relieved(worker),
            Event::WorkerDraining { worker } => self.draining(worker),
            Event::WorkerExited { pid, exit, oom } => self.exited(pid, exit, oom),
            Event::Dance(cue) => self.cued(cue),
            Event::OrphanFound { orphan, pid } => self.orphan_found(orphan, pid),
            Event::OrphanGone { orphan } => self.orphan_gone(orphan),
            Event::Signal(signal) => self.signalled(signal),
        }
    }

    fn start(&mut self) {
        self.mode = Mode::Serving;
        self.act(Action::WorkersChanged {
            new: self.target,
            old: None,
        });
        self.tell_booting();
    }

    fn forked(&mut self, id: WorkerId, pid: Pid) {
        let limit = self.boot_timeout(id);
        let until = limit.map(|limit| self.now.saturating_add(limit));
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.pid = Some(pid);
        self.tally.spawned += 1;
        worker.forked_at = self.now;
        let slot = worker.slot;
        match (worker.force, worker.phase) {
            (Force::None, Phase::Forking) => {
                worker.phase = Phase::Booting;
                worker.deadline = until;
            }
            (Force::None | Force::Aborted, _) => self.signal_worker(id, Signal::Term),
            (Force::Killed, _) => self.signal_worker(id, Signal::Kill),
        }
        self.slots.entry(slot).or_default().forked();
    }

    fn fork_failed(&mut self, id: WorkerId, error: &str) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        self.end_succession_of(id);
        if !worker.is_active() {
            return self.finish_when_empty();
        }
        if worker.candidate && self.is_on_trial(&worker) {
            self.fail_restart(&format!("Cannot fork a worker: {error}."));
            return;
        }
        let wait = self
            .slots
            .entry(worker.slot)
            .or_default()
            .fork_failed(self.now);
        self.log(
            Level::Error,
            format!(
                "Cannot fork a worker: {error}. Trying again in {}.",
                seconds(wait)
            ),
        );
        self.finish_when_empty();
    }

    fn ready(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let (Some(pid), None) = (worker.pid, worker.ready_at) else {
            return;
        };
        worker.ready_at = Some(self.now);
        let reopen = std::mem::take(&mut worker.owes_reopening);
        if worker.phase == Phase::Booting && worker.force == Force::None {
            worker.phase = Phase::Waiting;
            worker.deadline = None;
        }
        self.ever_ready = true;
        self.log(Level::Debug, format!("Worker (pid:{pid}) is ready."));
        if reopen {
            self.act(Action::Signal {
                pid,
                signal: Signal::Usr1,
            });
        }
        self.engage(id);
        self.complete_succession_by(id);
        if self.stops_quickly() {
            self.signal_worker(id, Signal::Quit);
        }
    }

    /// The worker writes its Python stacks on SIGABRT; one that cannot even do that is killed.
    fn stuck(&mut self, id: WorkerId, request: &StuckRequest) {
        let Some(worker) = self
            .workers
            .get(&id)
            .filter(|worker| worker.force == Force::None && worker.rescue_until.is_none())
        else {
            return;
        };
        let Some(pid) = worker.pid else {
            return;
        };
        self.log(
            Level::Critical,
            format!(
                "WORKER TIMEOUT (pid:{pid}): \"{}\" from {} has been running for {}.",
                printable(&request.line),
                printable(&request.client),
                seconds(request.age),
            ),
        );
        if !self.is_rescued_first(id) {
            self.abort(id);
        }
    }

    fn force_the_overdue(&mut self) {
        for id in self.take_rescued() {
            self.abort(id);
        }
        let now = self.now;
        let overdue: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.deadline.is_some_and(|deadline| deadline <= now))
            .map(|worker| worker.id)
            .collect();
        for id in overdue {
            self.force(id);
        }
        self.force_the_overdue_stems();
        self.give_up_when_due();
    }

    fn force(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let (phase, force, generation) = (worker.phase, worker.force, worker.generation);
        let Some(pid) = worker.pid else {
            self.blame_stem(generation);
            return self.kill(id);
        };
        match (phase, force) {
            (Phase::Booting, Force::None) => {
                let limit = seconds(self.boot_timeout(id).unwrap_or_default());
                let excuse = worker.excuse_in_brackets();
                let text = format!("Worker (pid:{pid}) was not ready within {limit}{excuse}");
                self.log(Level::Error, format!("{text}: aborting it."));
                self.abort(id);
                if self.workers.get(&id).is_some_and(|w| self.is_on_trial(w)) {
                    self.fail_restart(&format!("{text}."));
                }
            }
            (Phase::Leaving, Force::None) => {
                self.log(
                    Level::Warning,
                    format!("Worker graceful timeout (pid:{pid})"),
                );
                self.kill(id);
            }
            (_, Force::None | Force::Aborted | Force::Killed) => self.kill(id),
        }
    }

    fn boot_timeout(&self, id: WorkerId) -> Option<Duration> {
        self.boot_limit(self.workers.get(&id)?.generation)
    }

    fn gave(&mut self, id: WorkerId) {
        if let Some(pid) = self.pid(id) {
            let text = format!("Worker (pid:{pid}) gave its connections away.");
            self.log(Level::Debug, text);
        }
    }

    /// While the server serves, nobody waits for the worker's end, and its stacks are worth the time
    /// they take; a stop keeps to its deadline.
    fn abort(&mut self, id: WorkerId) {
        let until = self.now.saturating_add(Policy::ABORT_GRACE);
        let stops = self.mode != Mode::Serving;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.force = Force::Aborted;
        worker.rescue_until = None;
        if worker.phase == Phase::Leaving && stops {
            worker.shorten_deadline(until);
        } else {
            worker.deadline = Some(until);
        }
        self.signal_worker(id, Signal::Abrt);
    }

    fn kill(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.force = Force::Killed;
            worker.rescue_until = None;
            worker.deadline = None;
        }
        self.signal_worker(id, Signal::Kill);
    }

    pub(super) fn signal_worker(&mut self, id: WorkerId, signal: Signal) {
        if let Some(pid) = self.pid(id) {
            self.act(Action::Signal { pid, signal });
        }
    }

    pub(super) fn signal_ready_workers(&mut self, signal: Signal) {
        let ready: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.has_handlers())
            .map(|w| w.id)
            .collect();
        for id in ready {
            self.signal_worker(id, signal);
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn log(&mut self, level: Level, text: impl Into<String>) {
        self.act(Action::Log {
            level,
            text: text.into(),
        });
    }
}

/// A time for a log line: `2 s`, `0.5 s`.
pub(super) fn seconds(time: Duration) -> String {
    let tenths = time.as_millis().div_ceil(100);
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} s"),
        (whole, tenth) => format!("{whole}.{tenth} s"),
    }
}

/// Text from the network, made safe for one line of a log.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}
