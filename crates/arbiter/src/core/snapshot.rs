//! The state written down for the next version of the arbiter, and read by it.
//!
//! What is written is what is true between two restarts: an upgrade begins in no other moment. The
//! policy is the one in force; what the new version has read itself comes with its restart.
//!
//! Invariant: a state that was read decides as the one that was written would have.

use std::time::Duration;

use super::backoff::Slot;
use super::ledger::{Damaged, Entries, Ledger, Word, Words};
use super::population::Succession;
use super::restart::Request;
use super::status::{End, Record};
use super::stem::{self, Stem};
use super::stopping::Mode;
use super::tally::Tally;
use super::upgrade::{Stage, Upgrade, UpgradeRecord};
use super::worker::{Force, Phase, Worker};
use super::{Policy, State};

impl State {
    /// What [`from_text`](Self::from_text) needs to go on from here.
    pub fn to_text(&self) -> String {
        let mut ledger = Ledger::default();
        self.write(&mut ledger);
        ledger.finish().0
    }

    /// The state as it was, after an upgrade.
    ///
    /// # Errors
    /// What of the text cannot be understood.
    pub fn from_text(text: &str) -> Result<Self, String> {
        Self::read(&Entries::of(text)).map_err(|damaged| damaged.to_string())
    }

    /// Every field is named, so that none can be forgotten. Those that are not written are what they
    /// are between two restarts.
    pub(crate) fn write(&self, ledger: &mut Ledger) {
        let Self {
            policy,
            now,
            mode: _,
            target,
            generation,
            last_generation,
            last_id,
            workers,
            slots,
            stems,
            stem_retry,
            succession,
            restart: _,
            reading: _,
            room: _,
            follow_up,
            askers: _,
            record,
            upgrade,
            upgrade_record,
            outgoing,
            ever_ready,
            announced,
            stop_at: _,
            gifts,
            tally,
            dance: _,
            orphans: _,
            actions: _,
        } = self;
        let counters = [
            now.write(),
            target.write(),
            generation.write(),
            last_generation.write(),
            last_id.write(),
            outgoing.write(),
            gifts.write(),
            ever_ready.write(),
            announced.write(),
        ];
        ledger.put("counters", counters);
        tally.write(ledger);
        policy.write(ledger);
        for worker in workers.values() {
            worker.write(ledger);
        }
        for (number, slot) in slots {
            slot.write(&format!("slot {number}"), ledger);
        }
        for (generation, stem) in stems {
            stem.write(*generation, ledger);
        }
        stem_retry.write("stem-retry", ledger);
        if let Some(Succession { old, new }) = succession {
            ledger.put("succession", [old.write(), new.write()]);
        }
        if let Some(record) = record {
            record.write(ledger);
        }
        if let Some(record) = upgrade_record {
            record.write(ledger);
        }
        for asker in upgrade.iter().flat_map(|upgrade| &upgrade.askers) {
            ledger.put("asks-for-upgrade", [asker.write()]);
        }
        if let Some(Request { mode, askers }) = follow_up {
            ledger.put("follow-up", [mode.write()]);
            for asker in askers {
                ledger.put("asks-for-restart", [asker.write()]);
            }
        }
    }

    /// The state as it was.
    pub(crate) fn read(entries: &Entries<'_>) -> Result<Self, Damaged> {
        let policy = entries.one("policy", Policy::read)?;
        let mut state = Self::new(policy, Duration::ZERO);
        state.mode = Mode::Serving;
        entries.one("counters", |words| {
            state.now = words.take()?;
            state.target = words.take()?;
            state.generation = words.take()?;
            state.last_generation = words.take()?;
            state.last_id = words.take()?;
            state.outgoing = words.take()?;
            state.gifts = words.take()?;
            state.ever_ready = words.take()?;
            state.announced = words.take()?;
            Ok(())
        })?;
        state.tally = Tally::read(entries)?;
        let workers = entries.all("worker", Worker::read)?;
        state.workers = workers.into_iter().map(|one| (one.id, one)).collect();
        let slots = entries.all("slot", |words| Ok((words.take()?, Slot::read(words)?)))?;
        state.slots = slots.into_iter().collect();
        let stems = entries.all("stem", |words| Ok((words.take()?, Stem::read(words)?)))?;
        state.stems = stems.into_iter().collect();
        state.stem_retry = entries.one("stem-retry", Slot::read)?;
        state.succession = entries.maybe("succession", |words| {
            let (old, new) = (words.take()?, words.take()?);
            Ok(Succession { old, new })
        })?;
        state.record = entries.maybe("restart", Record::read)?;
        state.upgrade_record = entries.maybe("upgrade", UpgradeRecord::read)?;
        state.upgrade = Some(Upgrade {
            askers: entries.all("asks-for-upgrade", Words::take)?,
            stage: Stage::Replacing,
        });
        let askers = entries.all("asks-for-restart", Words::take)?;
        let mode = entries.maybe("follow-up", Words::take)?;
        state.follow_up = mode.map(|mode| Request::of(mode, askers));
        Ok(state)
    }
}

impl Policy {
    fn write(&self, ledger: &mut Ledger) {
        let Self {
            workers,
            graceful_timeout,
            shutdown_delay,
            boot_timeout,
            daemon,
            restart_mode,
            observe_timeout,
            preload,
        } = self;
        let words = [
            workers.write(),
            graceful_timeout.write(),
            shutdown_delay.write(),
            boot_timeout.write(),
            daemon.write(),
            restart_mode.write(),
            observe_timeout.write(),
            preload.write(),
        ];
        ledger.put("policy", words);
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            workers: words.take()?,
            graceful_timeout: words.take()?,
            shutdown_delay: words.take()?,
            boot_timeout: words.take()?,
            daemon: words.take()?,
            restart_mode: words.take()?,
            observe_timeout: words.take()?,
            preload: words.take()?,
        })
    }
}

impl Slot {
    fn write(&self, name: &str, ledger: &mut Ledger) {
        let Self {
            early_deaths,
            fork_failures,
            early_growths,
            resume_at,
        } = self;
        let words = [
            early_deaths.write(),
            fork_failures.write(),
            early_growths.write(),
            resume_at.write(),
        ];
        ledger.put(name, words);
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            early_deaths: words.take()?,
            fork_failures: words.take()?,
            early_growths: words.take()?,
            resume_at: words.take()?,
        })
    }
}

impl Stem {
    /// Every field is named, so that none can be forgotten.
    fn write(&self, generation: u32, ledger: &mut Ledger) {
        let Self {
            pid,
            phase,
            force,
            deadline,
            forked_at,
            ready_at,
            excuse,
        } = self;
        let words = [
            generation.write(),
            pid.write(),
            phase.write(),
            force.write(),
            deadline.write(),
            forked_at.write(),
            ready_at.write(),
            excuse.write(),
        ];
        ledger.put("stem", words);
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            pid: words.take()?,
            phase: words.take()?,
            force: words.take()?,
            deadline: words.take()?,
            forked_at: words.take()?,
            ready_at: words.take()?,
            excuse: words.take()?,
        })
    }
}

impl Worker {
    /// Every field is named, so that none can be forgotten.
    fn write(&self, ledger: &mut Ledger) {
        let Self {
            id,
            slot,
            generation,
            candidate,
            pid,
            phase,
            force,
            deadline,
            forked_at,
            ready_at,
            owes_reopening,
            worn,
            saturated,
            waited_for,
            gives,
            taken_at,
            gave_share_at,
            took_share_at,
            excuse,
            renew_at,
            rescue_until,
        } = self;
        let words = [
            id.write(),
            slot.write(),
            generation.write(),
            candidate.write(),
            pid.write(),
            phase.write(),
            force.write(),
            deadline.write(),
            forked_at.write(),
            ready_at.write(),
            owes_reopening.write(),
            worn.write(),
            saturated.write(),
            waited_for.write(),
            gives.write(),
            taken_at.write(),
            gave_share_at.write(),
            took_share_at.write(),
            excuse.write(),
            renew_at.write(),
            rescue_until.write(),
        ];
        ledger.put("worker", words);
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            id: words.take()?,
            slot: words.take()?,
            generation: words.take()?,
            candidate: words.take()?,
            pid: words.take()?,
            phase: words.take()?,
            force: words.take()?,
            deadline: words.take()?,
            forked_at: words.take()?,
            ready_at: words.take()?,
            owes_reopening: words.take()?,
            worn: words.take()?,
            saturated: words.take()?,
            waited_for: words.take()?,
            gives: words.take()?,
            taken_at: words.take()?,
            gave_share_at: words.take()?,
            took_share_at: words.take()?,
            excuse: words.take()?,
            renew_at: words.take()?,
            rescue_until: words.take()?,
        })
    }
}

/// How something ended, or that it has not.
fn written(end: Option<&End>) -> [String; 2] {
    let failure = end.and_then(|end| end.failure.clone());
    [end.map(|end| end.at).write(), failure.write()]
}

fn end(words: &mut Words<'_>) -> Result<Option<End>, Damaged> {
    let (at, failure) = (words.take::<Option<_>>()?, words.take()?);
    Ok(at.map(|at| End { at, failure }))
}

impl Record {
    fn write(&self, ledger: &mut Ledger) {
        let [ended_at, failure] = written(self.end.as_ref());
        let words = [
            self.generation.write(),
            self.mode.write(),
            self.began_at.write(),
            self.served_at.write(),
            ended_at,
            failure,
        ];
        ledger.put("restart", words);
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            generation: words.take()?,
            mode: words.take()?,
            began_at: words.take()?,
            served_at: words.take()?,
            end: end(words)?,
        })
    }
}

impl UpgradeRecord {
    fn write(&self, ledger: &mut Ledger) {
        let [ended_at, failure] = written(self.end.as_ref());
        let words = [
            self.from.write(),
            self.to.write(),
            self.began_at.write(),
            ended_at,
            failure,
        ];
        ledger.put("upgrade", words);
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            from: words.take()?,
            to: words.take()?,
            began_at: words.take()?,
            end: end(words)?,
        })
    }
}

impl Word for Phase {
    fn write(&self) -> String {
        match self {
            Self::Forking => "forking",
            Self::Booting => "booting",
            Self::Waiting => "waiting",
            Self::Serving => "serving",
            Self::Retiring => "retiring",
            Self::Parked => "parked",
            Self::Leaving => "leaving",
        }
        .to_owned()
    }
    fn read(word: &str) -> Option<Self> {
        let all = [
            Self::Forking,
            Self::Booting,
            Self::Waiting,
            Self::Serving,
            Self::Retiring,
            Self::Parked,
            Self::Leaving,
        ];
        all.into_iter().find(|phase| phase.write() == word)
    }
}

impl Word for stem::Phase {
    fn write(&self) -> String {
        match self {
            Self::Booting => "booting",
            Self::Ready => "ready",
            Self::Leaving => "leaving",
        }
        .to_owned()
    }
    fn read(word: &str) -> Option<Self> {
        let all = [Self::Booting, Self::Ready, Self::Leaving];
        all.into_iter().find(|phase| phase.write() == word)
    }
}

impl Word for Force {
    fn write(&self) -> String {
        match self {
            Self::None => "none",
            Self::Aborted => "aborted",
            Self::Killed => "killed",
        }
        .to_owned()
    }
    fn read(word: &str) -> Option<Self> {
        let all = [Self::None, Self::Aborted, Self::Killed];
        all.into_iter().find(|force| force.write() == word)
    }
}
