//! Stems: the processes that import the application once and fork a generation's workers (`preload`).
//!
//! ```text
//! Booting ──ready──→ Ready ──not wanted any more──→ Leaving → (reaped)
//!    └────────────── not wanted any more ─ SIGKILL ────┘
//! ```
//! A generation whose stem cannot boot has failed: the server ends if nothing ever served, or the
//! restart is rolled back. A stem that dies later costs no worker: another one boots, and a worker
//! that is missing waits for it. The stem of the generation that stands by stays, since its memory is
//! the only place where the old code may still be; if it dies no other takes its place, for that
//! would import the new code. Not here: how a stem forks (`crate::stem`).
//!
//! Invariants: one stem for each generation, never more than two; an order goes to a stem only when
//! it is ready and every order before was answered.

use std::time::Duration;

use super::decide::seconds;
use super::exits::{excuse, excused, killed_by};
use super::restart::{Restart, Stage};
use super::stopping::Mode;
use super::worker::{Force, Worker};
use super::{Action, Exit, Level, Pid, Policy, Signal, State, WorkerId, signal_name};

/// The most stems at one time: that of the generation which serves, and another one.
const MOST: usize = 2;

/// The exit code when the application cannot be preloaded at the start, as with gunicorn.
const PRELOAD_ERROR: u8 = 1;

/// What the arbiter knows of one stem.
#[derive(Debug, Default)]
pub(super) struct Stem {
    /// `None` while the fork is under way.
    pub(super) pid: Option<Pid>,
    pub(super) phase: Phase,
    pub(super) force: Force,
    /// When the next step of force is due.
    pub(super) deadline: Option<Duration>,
    pub(super) forked_at: Duration,
    pub(super) ready_at: Option<Duration>,
    /// Why it will not become ready.
    pub(super) excuse: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Imports the application.
    #[default]
    Booting,
    /// Waits for orders, or carries one out.
    Ready,
    /// Told to go.
    Leaving,
}

impl State {
    /// Whether a worker of this generation can be forked now.
    pub(super) fn can_fork(&self, generation: u32) -> bool {
        let pending = |w: &Worker| w.generation == generation && w.pid.is_none();
        let free = || !self.workers.values().any(pending);
        !self.preloads(generation) || (self.has_ready_stem(generation) && free())
    }

    /// Whether the workers of this generation are forked by a stem.
    pub(super) fn preloads(&self, generation: u32) -> bool {
        self.policy_of(generation).is_some_and(|it| it.preload)
    }

    /// Whether the generation has what it takes to fork workers.
    pub(super) fn is_rooted(&self, generation: u32) -> bool {
        !self.preloads(generation) || self.has_ready_stem(generation)
    }

    /// Lets those go that are not wanted any more, and boots those that are missing.
    pub(super) fn tend_stems(&mut self) {
        let lingers = |(generation, stem): &(&u32, &Stem)| {
            stem.phase != Phase::Leaving && !self.wants_stem(**generation)
        };
        let idle: Vec<u32> = self.stems.iter().filter(lingers).map(|(g, _)| *g).collect();
        for generation in idle {
            self.dismiss_stem(generation);
        }
        for generation in self.missing_stems() {
            if self.stems.len() < MOST && self.stem_due_at(generation) <= self.now {
                self.stems.insert(generation, Stem::default());
                self.act(Action::ForkStem { generation });
            }
        }
    }

    /// When something is due that concerns a stem; only times to come.
    pub(super) fn next_stem_deadline(&self) -> Option<Duration> {
        let due = self.missing_stems().into_iter();
        let due = due.map(|generation| self.stem_due_at(generation));
        let deadlines = self.stems.values().filter_map(|stem| stem.deadline);
        deadlines.chain(due.filter(|at| *at > self.now)).min()
    }

    pub(super) fn stem_forked(&mut self, generation: u32, pid: Pid) {
        let until = self.boot_limit(generation);
        let until = until.map(|limit| self.now.saturating_add(limit));
        let Some(stem) = self.stems.get_mut(&generation) else {
            return;
        };
        stem.pid = Some(pid);
        stem.forked_at = self.now;
        if stem.phase == Phase::Leaving {
            self.kill_stem(generation);
        } else {
            stem.deadline = until;
        }
    }

    pub(super) fn stem_fork_failed(&mut self, generation: u32, error: &str) {
        let wanted = self.wants_stem(generation);
        if self.stems.remove(&generation).is_some() && wanted {
            let text = format!("Cannot fork the stem: {error}.");
            if self.is_stem_on_trial(generation) {
                self.fail_restart(&text);
            } else {
                let wait = seconds(self.stem_retry.fork_failed(self.now));
                self.log(Level::Error, format!("{text} Trying again in {wait}."));
            }
        }
        self.finish_when_empty();
    }

    pub(super) fn stem_ready(&mut self, generation: u32) {
        let boots = |stem: &&mut Stem| stem.phase == Phase::Booting && stem.force == Force::None;
        let Some(stem) = self.stems.get_mut(&generation).filter(boots) else {
            return;
        };
        let Some(pid) = stem.pid else {
            return;
        };
        stem.phase = Phase::Ready;
        stem.deadline = None;
        stem.ready_at = Some(self.now);
        self.stem_retry.forked();
        let text =
            format!("Stem (pid:{pid}) of generation {generation} has loaded the application.");
        self.log(Level::Debug, text);
    }

    /// The stem gives the reason before it fails: whatever ends it then, this is why.
    pub(super) fn stem_unready(&mut self, generation: u32, reason: &str) {
        let boots = |stem: &&mut Stem| stem.phase == Phase::Booting;
        if let Some(stem) = self.stems.get_mut(&generation).filter(boots) {
            stem.excuse = Some(excuse(reason));
        }
    }

    /// Whether the child that was reaped is a stem.
    pub(super) fn stem_exited(&mut self, pid: Pid, exit: Exit, oom: Option<bool>) -> bool {
        let is_it = |(_, stem): &(&u32, &Stem)| stem.pid == Some(pid);
        let generation = self.stems.iter().find(is_it).map(|(g, _)| *g);
        let Some((generation, stem)) = generation.and_then(|g| Some((g, self.stems.remove(&g)?)))
        else {
            return false;
        };
        let (level, mut text) = describe(&stem, pid, exit, oom);
        if stem.phase == Phase::Ready {
            text.push_str(" The workers go on.");
        }
        self.log(level, text.clone());
        self.forget_orders(generation);
        if self.mode == Mode::Serving && stem.phase != Phase::Leaving {
            self.judge_stem(generation, &stem, &text);
        }
        self.finish_when_empty();
        true
    }

    pub(super) fn force_the_overdue_stems(&mut self) {
        let now = self.now;
        let overdue = |(_, stem): &(&u32, &Stem)| stem.deadline.is_some_and(|at| at <= now);
        let overdue: Vec<u32> = self.stems.iter().filter(overdue).map(|(g, _)| *g).collect();
        for generation in overdue {
            let boots = |stem: &Stem| stem.phase == Phase::Booting && stem.force == Force::None;
            if self.stems.get(&generation).is_some_and(boots) {
                self.stem_boots_too_long(generation);
            } else {
                self.kill_stem(generation);
            }
        }
    }

    /// An order was not answered in time: the stem hangs.
    pub(super) fn blame_stem(&mut self, generation: u32) {
        let ready = |stem: &&Stem| stem.phase == Phase::Ready && stem.force == Force::None;
        let Some(pid) = self
            .stems
            .get(&generation)
            .filter(ready)
            .and_then(|s| s.pid)
        else {
            return;
        };
        let limit = seconds(self.boot_limit(generation).unwrap_or_default());
        let text = format!("Stem (pid:{pid}) has not forked a worker within {limit}: aborting it.");
        self.log(Level::Error, text);
        self.abort_stem(generation);
    }

    /// Who boots reads the word later.
    pub(super) fn reopen_stems(&mut self) {
        let hears = |stem: &Stem| stem.pid.is_some() && stem.phase != Phase::Leaving;
        let found = self.stems.iter().filter(|(_, stem)| hears(stem));
        for generation in found.map(|(g, _)| *g).collect::<Vec<_>>() {
            self.act(Action::SendReopen { generation });
        }
    }

    pub(super) fn leave_stems_behind(&mut self) {
        for stem in std::mem::take(&mut self.stems).into_values() {
            let pid = stem.pid.unwrap_or_default();
            let text = format!("Stem (pid:{pid}) survived SIGKILL: leaving it behind.");
            self.log(Level::Error, text);
        }
    }

    /// What decides about a generation that serves, boots or stands by.
    fn policy_of(&self, generation: u32) -> Option<&Policy> {
        if generation == self.generation {
            return Some(&self.policy);
        }
        let restart = self.restart.as_ref()?;
        match &restart.stage {
            Stage::Booting if restart.generation == generation => Some(&restart.policy),
            Stage::Observing { before, .. } if before.generation == generation => {
                Some(&before.policy)
            }
            Stage::Booting | Stage::Observing { .. } | Stage::Replacing => None,
        }
    }

    pub(super) fn has_ready_stem(&self, generation: u32) -> bool {
        let ready = |stem: &Stem| stem.phase == Phase::Ready && stem.force == Force::None;
        self.stems.get(&generation).is_some_and(ready)
    }

    fn wants_stem(&self, generation: u32) -> bool {
        self.mode == Mode::Serving && self.preloads(generation)
    }

    fn missing_stems(&self) -> Vec<u32> {
        let boots = |restart: &&Restart| restart.is_booting();
        let next = self.restart.as_ref().filter(boots).map(|r| r.generation);
        let generations = std::iter::once(self.generation).chain(next);
        generations
            .filter(|it| self.wants_stem(*it) && !self.stems.contains_key(it))
            .collect()
    }

    /// Only the generation that serves tries again.
    fn stem_due_at(&self, generation: u32) -> Duration {
        if generation == self.generation {
            self.stem_retry.resume_at
        } else {
            Duration::ZERO
        }
    }

    /// How long a process of this generation may boot.
    pub(super) fn boot_limit(&self, generation: u32) -> Option<Duration> {
        self.policy_of(generation)
            .unwrap_or(&self.policy)
            .boot_timeout
    }

    fn is_stem_on_trial(&self, generation: u32) -> bool {
        let its = |restart: &Restart| restart.generation == generation && restart.is_booting();
        self.restart.as_ref().is_some_and(its)
    }

    fn dismiss_stem(&mut self, generation: u32) {
        let until = self.now.saturating_add(Policy::STEM_GRACE);
        let Some(stem) = self.stems.get_mut(&generation) else {
            return;
        };
        let before = std::mem::replace(&mut stem.phase, Phase::Leaving);
        match (before, stem.force, stem.pid) {
            // It does not listen before it is ready.
            (Phase::Booting, Force::None, Some(_)) => self.kill_stem(generation),
            (Phase::Ready, Force::None, Some(_)) => {
                stem.deadline = Some(until);
                self.act(Action::DismissStem { generation });
            }
            _ => {}
        }
    }

    fn stem_boots_too_long(&mut self, generation: u32) {
        let pid = self.stems.get(&generation).and_then(|stem| stem.pid);
        let limit = seconds(self.boot_limit(generation).unwrap_or_default());
        let text = format!(
            "Stem (pid:{}) was not ready within {limit}",
            pid.unwrap_or_default()
        );
        self.log(Level::Error, format!("{text}: aborting it."));
        self.abort_stem(generation);
        if self.is_stem_on_trial(generation) {
            self.fail_restart(&format!("{text}."));
        }
    }

    fn judge_stem(&mut self, generation: u32, stem: &Stem, text: &str) {
        if self.is_stem_on_trial(generation) {
            return self.fail_restart(text);
        }
        if generation != self.generation {
            return;
        }
        if stem.phase == Phase::Booting && !self.ever_ready {
            return self.halt(PRELOAD_ERROR, "The application could not be preloaded.");
        }
        let lived = stem.ready_at.map(|since| self.now.saturating_sub(since));
        if lived.is_some_and(|time| time >= Policy::SETTLED) {
            return self.stem_retry.died_settled();
        }
        let wait = self.stem_retry.died_early(self.now, lived.is_some());
        let deaths = self.stem_retry.early_deaths;
        if deaths > 1 {
            let wait = seconds(wait);
            let text = format!("{deaths} stems in a row died early. Next try in {wait}.");
            self.log(Level::Error, text);
        }
    }

    /// Who was to be forked by a stem that is gone never will be.
    fn forget_orders(&mut self, generation: u32) {
        let pending = |w: &&Worker| w.generation == generation && w.pid.is_none();
        let pending = self.workers.values().filter(pending).map(|w| w.id);
        for id in pending.collect::<Vec<WorkerId>>() {
            self.workers.remove(&id);
            self.end_succession_of(id);
        }
    }

    fn abort_stem(&mut self, generation: u32) {
        let until = self.now.saturating_add(Policy::ABORT_GRACE);
        self.force_stem(generation, Force::Aborted, Some(until), Signal::Abrt);
    }

    fn kill_stem(&mut self, generation: u32) {
        self.force_stem(generation, Force::Killed, None, Signal::Kill);
    }

    fn force_stem(
        &mut self,
        generation: u32,
        force: Force,
        deadline: Option<Duration>,
        signal: Signal,
    ) {
        let Some(stem) = self.stems.get_mut(&generation) else {
            return;
        };
        stem.force = force;
        stem.deadline = deadline;
        if let Some(pid) = stem.pid {
            self.act(Action::Signal { pid, signal });
        }
    }
}

fn describe(stem: &Stem, pid: Pid, exit: Exit, oom: Option<bool>) -> (Level, String) {
    let level = if stem.phase == Phase::Leaving {
        Level::Debug
    } else {
        Level::Error
    };
    let text = match exit {
        Exit::Code(code) => {
            let meaning = excused(code_meaning(stem, code), stem.excuse.as_deref());
            format!("Stem (pid:{pid}) exited with code {code}. {meaning}")
        }
        Exit::Signal { number, core } => {
            let core = if core { " (core dumped)" } else { "" };
            let (name, cause) = (signal_name(number), signal_meaning(stem, number, oom));
            format!("Stem (pid:{pid}) was sent {name}!{core}{cause}")
        }
    };
    (level, text)
}

fn code_meaning(stem: &Stem, code: i32) -> &'static str {
    match (code, stem.force, stem.phase) {
        (_, Force::Aborted | Force::Killed, _) => "It was aborted after a timeout.",
        (0, Force::None, Phase::Leaving) => "It was let go.",
        (0, Force::None, _) => "It ended without being asked to.",
        (_, Force::None, Phase::Booting) => "It could not load the application.",
        (_, Force::None, _) => "It ended with an error.",
    }
}

fn signal_meaning(stem: &Stem, number: i32, oom: Option<bool>) -> &'static str {
    match (number, stem.force) {
        (libc::SIGABRT, Force::Aborted) => " It was aborted after a timeout.",
        (libc::SIGKILL, Force::Killed) => "",
        (libc::SIGKILL, _) => killed_by(oom),
        _ => "",
    }
}
