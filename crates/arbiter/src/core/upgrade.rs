//! An upgrade of the arbiter in place: the process goes on as a newer version of its own program.
//!
//! ```text
//! asked → Checking ──check passed──→ Replacing ──exec──→ (the new version) adopted → restart
//!            │ refused, hangs           │ exec failed        │ cannot go on
//!            └──────────────────────────┴────────────────────┴──→ undone: as before
//! ```
//! The check is a process that the new version runs on a copy of the state. The workers serve all the
//! time and are told nothing; when the new version has taken over, an ordinary restart replaces
//! them, and its end is what those who wait are told. How the state travels is `upgrade/`'s.
//!
//! Invariants: no upgrade during a restart, a stop or another upgrade; a restart that is asked for
//! during an upgrade follows it; everybody who waits is told once, by whichever version it falls to.

use std::time::Duration;

use super::decide::seconds;
use super::restart::{Request, STOPS};
use super::status::End;
use super::stopping::Mode;
use super::{Action, Asker, Level, State};

/// An upgrade under way.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// Who is to be told how it ended.
    pub(super) askers: Vec<Asker>,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// The new version checks the state.
    Checking { until: Duration },
    /// It is to be executed, or is being.
    Replacing,
}

/// An upgrade at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeStatus {
    /// The version that was to replace itself.
    pub from: String,
    /// The version that replaces it; `None` until the check has said so.
    pub to: Option<String>,
    /// What it does (`checking`, `replacing`), or how it ended (`done`, `refused`, `undone`).
    pub state: &'static str,
    /// Why it failed.
    pub reason: Option<String>,
    /// How long ago it began.
    pub age: Duration,
    /// From its beginning until its end; `None` while it is under way.
    pub ended_after: Option<Duration>,
}

/// What is remembered of an upgrade, on the clock of the events.
#[derive(Debug)]
pub(super) struct UpgradeRecord {
    pub(super) from: String,
    pub(super) to: Option<String>,
    pub(super) began_at: Duration,
    pub(super) end: Option<End>,
}

/// How long a check takes at most, if a worker may not take longer to boot.
const CHECK: Duration = Duration::from_secs(10);

impl State {
    /// Why there can be no upgrade now; `None` if there can.
    pub fn refuses_upgrade(&self) -> Option<&'static str> {
        if self.mode != Mode::Serving || self.stop_at.is_some() {
            return Some(STOPS);
        }
        if self.upgrade.is_some() {
            return Some("an upgrade is under way");
        }
        if self.dances() {
            return Some(
                "there is a second arbiter, or WINCH has sent the workers away: end that first",
            );
        }
        let restarts = self.restart.is_some() || self.reading.is_some();
        restarts.then_some("a restart is under way: wait for its end")
    }

    pub(super) fn asked_to_upgrade(&mut self, from: String, asker: Option<Asker>) {
        let askers = Vec::from_iter(asker);
        if let Some(reason) = self.refuses_upgrade() {
            self.log(Level::Error, format!("Upgrade refused: {reason}."));
            return self.answer(askers, Some(reason));
        }
        let limit = self.policy.boot_timeout.unwrap_or(CHECK).max(CHECK);
        let until = self.now.saturating_add(limit);
        let stage = Stage::Checking { until };
        self.upgrade = Some(Upgrade { askers, stage });
        self.upgrade_record = Some(UpgradeRecord {
            from,
            to: None,
            began_at: self.now,
            end: None,
        });
        let text = "Upgrade: the new version checks whether it can take over.";
        self.log(Level::Info, text);
        self.tell_progress(text);
        self.act(Action::CheckUpgrade);
    }

    pub(super) fn upgrade_checked(&mut self, version: String) {
        let Some(stage @ Stage::Checking { .. }) = self.upgrade.as_mut().map(|one| &mut one.stage)
        else {
            return;
        };
        *stage = Stage::Replacing;
        let text = format!("Upgrade: version {version} takes over.");
        if let Some(record) = &mut self.upgrade_record {
            record.to = Some(version);
        }
        self.log(Level::Info, text.clone());
        self.tell_progress(&text);
        self.act(Action::Upgrade);
    }

    /// The new version cannot take over, or could not: this one goes on.
    pub(super) fn upgrade_failed(&mut self, reason: &str) {
        let Some(upgrade) = self.upgrade.take() else {
            return;
        };
        let what = match upgrade.stage {
            Stage::Checking { .. } => "refused",
            Stage::Replacing => "undone",
        };
        let text = format!("Upgrade {what}, the server goes on as it was: {reason}");
        self.log(Level::Error, text.clone());
        self.tell_progress(&text);
        self.record_upgrade_end(Some(reason));
        self.answer(upgrade.askers, Some(reason));
        if let Some(request) = self.follow_up.take() {
            self.read_configuration(request);
        }
    }

    /// This is the new version, and it has taken over.
    pub(super) fn upgraded(&mut self) {
        let record = self.upgrade_record.as_ref();
        let versions = record.map(|record| (record.from.clone(), record.to.clone()));
        let (from, to) = versions.unwrap_or_default();
        let text = format!(
            "Upgraded from {from} to {}; the workers are replaced next.",
            to.unwrap_or_default()
        );
        self.log(Level::Info, text);
        self.record_upgrade_end(None);
        if let Some(upgrade) = self.upgrade.take() {
            self.read_configuration(Request::of(None, upgrade.askers));
        }
    }

    /// Forgets the upgrade, since the server stops.
    pub(super) fn cancel_upgrade(&mut self) {
        if let Some(upgrade) = self.upgrade.take() {
            self.record_upgrade_end(Some(STOPS));
            self.act(Action::AbandonUpgrade);
            self.answer(upgrade.askers, Some(STOPS));
        }
    }

    /// When the check has to be over.
    pub(super) fn checked_at(&self) -> Option<Duration> {
        match self.upgrade.as_ref()?.stage {
            Stage::Checking { until } => Some(until),
            Stage::Replacing => None,
        }
    }

    pub(super) fn end_overdue_check(&mut self) {
        let Some(until) = self.checked_at().filter(|until| *until <= self.now) else {
            return;
        };
        let began = self.upgrade_record.as_ref().map(|record| record.began_at);
        let limit = until.saturating_sub(began.unwrap_or(until));
        self.act(Action::AbandonUpgrade);
        let reason = format!(
            "the new version did not finish its check within {}.",
            seconds(limit)
        );
        self.upgrade_failed(&reason);
    }

    fn record_upgrade_end(&mut self, failure: Option<&str>) {
        let at = self.now;
        if let Some(record) = &mut self.upgrade_record {
            let failure = failure.map(str::to_owned);
            record.end = Some(End { at, failure });
        }
    }

    pub(super) fn upgrade_status(&self, now: Duration) -> Option<UpgradeStatus> {
        let record = self.upgrade_record.as_ref()?;
        let end = record.end.as_ref();
        let ended = end.map(|end| (end.failure.is_none(), record.to.is_some()));
        let checking = matches!(
            self.upgrade.as_ref().map(|upgrade| upgrade.stage),
            Some(Stage::Checking { .. })
        );
        Some(UpgradeStatus {
            from: record.from.clone(),
            to: record.to.clone(),
            state: match ended {
                Some((true, _)) => "done",
                Some((false, true)) => "undone",
                Some((false, false)) => "refused",
                None if checking => "checking",
                None => "replacing",
            },
            reason: end.and_then(|end| end.failure.clone()),
            age: now.saturating_sub(record.began_at),
            ended_after: end.map(|end| end.at.saturating_sub(record.began_at)),
        })
    }
}
