//! What the arbiter tells those who look: its workers, and how its restarts go.
//!
//! A picture of one moment, made of what the rules know anyway, and the times of the restart under
//! way or of the last one. Nothing here is read by a rule.
//!
//! Invariant: a restart is recorded from the moment when it begins until the next one begins.

use std::time::Duration;

use oxicorn_settings::RestartMode;

use super::restart::Stage;
use super::stem::{self, Stem};
use super::stopping::Mode;
use super::tally::Tally;
use super::worker::{Force, Phase, Worker};
use super::{OrphanStatus, Pid, State, UpgradeStatus, WorkerId};

/// The arbiter at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether it serves, rather than stops.
    pub serving: bool,
    /// The generation that serves.
    pub generation: u32,
    /// How many workers there should be.
    pub target: usize,
    /// What has happened so often.
    pub tally: Tally,
    /// Every worker that was forked and not yet reaped, the oldest first.
    pub workers: Vec<WorkerStatus>,
    /// Every stem that was forked and not yet reaped, the oldest generation's first.
    pub stems: Vec<StemStatus>,
    /// Every worker of a killed arbiter that was found and has not left, by process.
    pub orphans: Vec<OrphanStatus>,
    /// The restart under way, or the last one.
    pub restart: Option<RestartStatus>,
    /// The upgrade of the arbiter under way, or the last one.
    pub upgrade: Option<UpgradeStatus>,
}

/// The process that forks a generation's workers, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StemStatus {
    /// Whose workers it forks.
    pub generation: u32,
    /// Its process; `None` while it is being forked.
    pub pid: Option<Pid>,
    /// What it does: `booting`, `ready`, `leaving`, `aborting`, `killed`.
    pub state: &'static str,
    /// How long ago it was forked.
    pub age: Duration,
}

/// A worker at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its number, counted from 1 over the whole life of the arbiter.
    pub id: WorkerId,
    /// Its place, counted from 0.
    pub slot: usize,
    /// Its process; `None` while it is being forked.
    pub pid: Option<Pid>,
    /// Which loading of the application it belongs to.
    pub generation: u32,
    /// What it does, in one word or two: `serving`, `standing by`.
    pub state: &'static str,
    /// How long ago it was forked.
    pub age: Duration,
    /// Whether it has been ready: its application is loaded.
    pub booted: bool,
}

/// A restart at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartStatus {
    /// The number of the new generation; not used up if the configuration was refused.
    pub generation: u32,
    /// How it goes about it; `None` until the configuration is read.
    pub mode: Option<RestartMode>,
    /// What it does (`reading the configuration`, `booting`, `observing`, `replacing`), or how it
    /// ended (`confirmed`, `rolled back`, `refused`).
    pub state: &'static str,
    /// Why it failed.
    pub reason: Option<String>,
    /// How long ago it began.
    pub age: Duration,
    /// From its beginning until the new generation served.
    pub served_after: Option<Duration>,
    /// From its beginning until its end; `None` while it is under way.
    pub ended_after: Option<Duration>,
}

/// The times of a restart, on the clock of the events.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) generation: u32,
    pub(super) mode: Option<RestartMode>,
    pub(super) began_at: Duration,
    pub(super) served_at: Option<Duration>,
    pub(super) end: Option<End>,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) at: Duration,
    pub(super) failure: Option<String>,
}

impl State {
    /// What there is to see now, at the time `now` on the clock of [`handle`](Self::handle).
    pub fn status(&self, now: Duration) -> Status {
        let now = self.now.max(now);
        let workers = self.workers.values();
        Status {
            serving: self.mode == Mode::Serving && self.stop_at.is_none(),
            generation: self.generation,
            target: self.target,
            tally: self.tally,
            workers: workers.map(|worker| worker.status(now)).collect(),
            stems: self
                .stems
                .iter()
                .map(|(g, it)| it.status(*g, now))
                .collect(),
            orphans: self.orphans.status(),
            restart: self.record.as_ref().map(|record| RestartStatus {
                generation: record.generation,
                mode: record.mode,
                state: self.restart_state(record),
                reason: record.end.as_ref().and_then(|end| end.failure.clone()),
                age: now.saturating_sub(record.began_at),
                served_after: record.served_at.map(|at| record.since_beginning(at)),
                ended_after: record
                    .end
                    .as_ref()
                    .map(|end| record.since_beginning(end.at)),
            }),
            upgrade: self.upgrade_status(now),
        }
    }

    fn restart_state(&self, record: &Record) -> &'static str {
        match (
            &record.end,
            self.restart.as_ref().map(|restart| restart.stage),
        ) {
            (Some(End { failure: None, .. }), _) => "confirmed",
            (Some(_), _) if record.mode.is_some() => "rolled back",
            (Some(_), _) => "refused",
            (None, None) => "reading the configuration",
            (None, Some(Stage::Booting)) => "booting",
            (None, Some(Stage::Observing { .. })) => "observing",
            (None, Some(Stage::Replacing)) => "replacing",
        }
    }

    pub(super) fn record_request(&mut self, generation: u32) {
        self.tally.restarts += 1;
        self.record = Some(Record {
            generation,
            mode: None,
            began_at: self.now,
            served_at: None,
            end: None,
        });
    }

    pub(super) fn record_boot(&mut self, mode: RestartMode) {
        if let Some(record) = &mut self.record {
            record.mode = Some(mode);
        }
    }

    pub(super) fn record_service(&mut self) {
        if let Some(record) = &mut self.record {
            record.served_at = Some(self.now);
        }
    }

    pub(super) fn record_end(&mut self, failure: Option<&str>) {
        if let Some(record) = &mut self.record {
            record.end = Some(End {
                at: self.now,
                failure: failure.map(str::to_owned),
            });
        }
    }
}

impl Record {
    fn since_beginning(&self, at: Duration) -> Duration {
        at.saturating_sub(self.began_at)
    }
}

impl Stem {
    fn status(&self, generation: u32, now: Duration) -> StemStatus {
        let age = self.pid.map(|_| now.saturating_sub(self.forked_at));
        StemStatus {
            generation,
            pid: self.pid,
            state: match (self.force, self.phase) {
                (Force::Killed, _) => "killed",
                (Force::Aborted, _) => "aborting",
                (Force::None, stem::Phase::Booting) => "booting",
                (Force::None, stem::Phase::Ready) => "ready",
                (Force::None, stem::Phase::Leaving) => "leaving",
            },
            age: age.unwrap_or_default(),
        }
    }
}

impl Worker {
    fn status(&self, now: Duration) -> WorkerStatus {
        let age = self.pid.map(|_| now.saturating_sub(self.forked_at));
        WorkerStatus {
            id: self.id,
            slot: self.slot,
            pid: self.pid,
            generation: self.generation,
            state: self.state(),
            age: age.unwrap_or_default(),
            booted: self.ready_at.is_some(),
        }
    }

    pub(super) fn state(&self) -> &'static str {
        match (self.force, self.phase) {
            (Force::Killed, _) => "killed",
            (Force::Aborted, _) => "aborting",
            (Force::None, Phase::Forking) => "forking",
            (Force::None, Phase::Booting) => "booting",
            (Force::None, Phase::Waiting) => "ready",
            (Force::None, Phase::Serving) => "serving",
            (Force::None, Phase::Retiring) => "retiring",
            (Force::None, Phase::Parked) => "standing by",
            (Force::None, Phase::Leaving) => "leaving",
        }
    }
}
