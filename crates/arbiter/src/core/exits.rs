//! What the end of a worker means, and what the log says about it.
//!
//! Before any worker has been ready, an application that cannot be loaded ends the server, as in
//! gunicorn: the operator sits in front of it. Once one worker has been ready the application is
//! known to load, and no failing replacement ever takes the serving ones down: it is tried again
//! with growing waits, each announced.

use std::time::Duration;

use super::decide::{printable, seconds};
use super::stopping::Mode;
use super::worker::{Force, Phase, Worker};
use super::{Action, Exit, Level, Pid, Policy, State, WorkerId, signal_name};

/// The worker failed before it could serve (gunicorn's `WORKER_BOOT_ERROR`).
const BOOT_ERROR: u8 = 3;
/// The application could not be found or loaded (gunicorn's `APP_LOAD_ERROR`).
const LOAD_ERROR: u8 = 4;

impl State {
    pub(super) fn exited(&mut self, pid: Pid, exit: Exit, oom: Option<bool>) {
        let found = self
            .workers
            .values()
            .find(|w| w.pid == Some(pid))
            .map(|w| w.id);
        let Some(worker) = found.and_then(|id| self.workers.remove(&id)) else {
            if !self.stem_exited(pid, exit, oom) && !self.successor_ended(pid, exit) {
                let text = format!("Reaped unknown child process (pid:{pid})");
                self.log(Level::Debug, text);
            }
            return;
        };
        self.tally.count_end(&worker);
        let (level, text) = describe(&worker, pid, exit, oom);
        self.log(level, text.clone());
        self.act(Action::ChildExited {
            worker: worker.id,
            pid,
            exit,
        });
        self.end_succession_of(worker.id);
        if self.mode == Mode::Serving {
            self.judge(&worker, exit, &text);
        }
        self.finish_when_empty();
    }

    /// What would end the server ends a restart instead, if the worker was for one.
    pub(super) fn fork_refused(&mut self, id: WorkerId, code: u8, reason: &str) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        self.end_succession_of(id);
        if worker.candidate && self.is_on_trial(&worker) {
            self.fail_restart(&format!("{reason}."));
        } else {
            self.hook_raised(code, reason);
        }
        self.finish_when_empty();
    }

    /// As gunicorn does; the embedder has said more about it.
    pub(super) fn hook_raised(&mut self, code: u8, reason: &str) {
        if matches!(self.mode, Mode::Idle | Mode::Serving) {
            self.log(Level::Error, format!("{reason}: the server ends."));
            self.halt(code, "A server hook failed.");
        }
    }

    /// The worker gives the reason before it fails: whatever ends it then, this is why.
    pub(super) fn unready(&mut self, id: WorkerId, reason: &str) {
        let boots = |worker: &&mut Worker| worker.phase == Phase::Booting && !reason.is_empty();
        if let Some(worker) = self.workers.get_mut(&id).filter(boots) {
            worker.excuse = Some(excuse(reason));
        }
    }

    fn judge(&mut self, worker: &Worker, exit: Exit, text: &str) {
        let failed = boot_failure(worker, exit).is_some() || is_unforeseen(worker, exit);
        if failed && self.is_on_trial(worker) {
            self.fail_restart(text);
        }
        if worker.candidate || (failed && worker.generation != self.generation) {
            // It filled no slot, or its code is not what fills it now.
            return;
        }
        match boot_failure(worker, exit) {
            Some(code) if !self.ever_ready => self.halt(code, boot_failure_reason(code)),
            None if !is_unforeseen(worker, exit) => {}
            None if self.had_settled(worker) => self.slot_of(worker).died_settled(),
            Some(_) | None => self.count_early_death(worker),
        }
    }

    fn had_settled(&self, worker: &Worker) -> bool {
        worker
            .ready_at
            .is_some_and(|since| self.now.saturating_sub(since) >= Policy::SETTLED)
    }

    fn count_early_death(&mut self, worker: &Worker) {
        let now = self.now;
        let slot = self.slot_of(worker);
        let wait = slot.died_early(now, worker.ready_at.is_some());
        let deaths = slot.early_deaths;
        if deaths > 1 {
            let text = self.crash_loop_text(deaths, wait);
            self.log(Level::Error, text);
        }
    }

    fn crash_loop_text(&self, deaths: u32, wait: Duration) -> String {
        let serving = self
            .workers
            .values()
            .filter(|worker| worker.is_serving())
            .count();
        let consequence = match serving {
            0 => "No worker is serving requests.".to_owned(),
            n => format!("Workers that go on serving: {n}."),
        };
        let wait = seconds(wait);
        format!(
            "Crash loop: {deaths} workers in a row died early. Next try in {wait}. {consequence}"
        )
    }

    fn slot_of(&mut self, worker: &Worker) -> &mut super::backoff::Slot {
        self.slots.entry(worker.slot).or_default()
    }
}

/// The exit code with which a worker failed to boot; one that took too long counts as having
/// failed.
fn boot_failure(worker: &Worker, exit: Exit) -> Option<u8> {
    if worker.phase != Phase::Booting {
        return None;
    }
    match (worker.force, exit) {
        (Force::None, Exit::Code(4)) => Some(LOAD_ERROR),
        (Force::None, Exit::Signal { .. }) => None,
        (Force::None, Exit::Code(code)) if code != i32::from(BOOT_ERROR) => None,
        _ => Some(BOOT_ERROR),
    }
}

const fn boot_failure_reason(code: u8) -> &'static str {
    match code {
        LOAD_ERROR => "App failed to load.",
        _ => "Worker failed to boot.",
    }
}

/// Neither we nor `max_requests` ended it.
fn is_unforeseen(worker: &Worker, exit: Exit) -> bool {
    let asked_to_go = worker.phase == Phase::Retiring && exit == Exit::Code(0);
    worker.is_active() && worker.force == Force::None && !asked_to_go
}

fn describe(worker: &Worker, pid: Pid, exit: Exit, oom: Option<bool>) -> (Level, String) {
    match exit {
        Exit::Code(code) => {
            let level = if code == 0 { Level::Info } else { Level::Error };
            let meaning = code_meaning(worker, code);
            let meaning = excused(meaning, worker.excuse.as_deref());
            (
                level,
                format!("Worker (pid:{pid}) exited with code {code}. {meaning}"),
            )
        }
        Exit::Signal { number, core } => {
            let core = if core { " (core dumped)" } else { "" };
            let name = signal_name(number);
            let (level, cause) = signal_meaning(worker, number, oom);
            (
                level,
                format!("Worker (pid:{pid}) was sent {name}!{core}{cause}"),
            )
        }
    }
}

fn code_meaning(worker: &Worker, code: i32) -> &'static str {
    match (code, worker.force, worker.phase) {
        (_, Force::Aborted | Force::Killed, Phase::Booting) => "It was not ready in time.",
        (0, _, Phase::Leaving | Phase::Retiring) => "It finished its work.",
        (0, ..) => "It ended without being asked to.",
        (_, Force::Aborted | Force::Killed, _) => "It was aborted after a timeout.",
        (3, _, Phase::Booting) => "It failed to boot.",
        (4, _, Phase::Booting) => "It could not load the application.",
        _ => "It ended with an error.",
    }
}

fn signal_meaning(worker: &Worker, number: i32, oom: Option<bool>) -> (Level, &'static str) {
    match (number, worker.force) {
        (libc::SIGKILL, Force::Killed) => (Level::Error, " It did not stop in time."),
        (libc::SIGKILL, _) => (Level::Error, killed_by(oom)),
        (libc::SIGABRT, Force::Aborted | Force::Killed) => {
            (Level::Warning, " It was aborted after a timeout.")
        }
        (libc::SIGTERM, ..) => (Level::Info, ""),
        _ => (Level::Warning, ""),
    }
}

/// The reason that a process gave, as a part of a sentence.
pub(super) fn excuse(reason: &str) -> String {
    printable(reason.trim_end_matches('.'))
}

/// The meaning of an exit code, and the reason that the process gave before.
pub(super) fn excused(meaning: &str, excuse: Option<&str>) -> String {
    match excuse {
        Some(excuse) => format!("{}: {excuse}.", meaning.trim_end_matches('.')),
        None => meaning.to_owned(),
    }
}

/// What SIGKILL means that we did not send.
pub(super) const fn killed_by(oom: Option<bool>) -> &'static str {
    match oom {
        Some(true) => " Out of memory: the kernel's oom_kill counter rose.",
        Some(false) => " Not out of memory: the kernel's oom_kill counter did not rise.",
        None => " Perhaps out of memory?",
    }
}
