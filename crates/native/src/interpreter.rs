//! What the arbiter needs of the interpreter: forks, the configuration, and the hooks. Invariant: the interpreter lock is held
//! only for the call itself, so that threads that a hook has started go on.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use oxicorn_arbiter::sys::signals;
use oxicorn_arbiter::{Exit, Fork, Host, Notice, Policy, Raised, StemSeed, WorkerSeed};
use oxicorn_settings::Value;
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::arbiter::{lock, policy};
use crate::beat::Beat;
use crate::config::Config;
use crate::{ffi, relay, tls};

/// The configuration of each generation that may still have workers to be forked.
pub(crate) type Configurations = Arc<Mutex<BTreeMap<u32, Config>>>;

/// Forks by calling `os.fork`, reads the configuration by calling Python.
#[derive(Debug)]
pub(crate) struct Interpreter {
    pub(crate) fork: Py<PyAny>,
    pub(crate) observer: Py<PyAny>,
    pub(crate) configurations: Configurations,
    pub(crate) renewal: tls::Renewal,
    /// For what is measured once a second.
    pub(crate) beat: Option<Beat>,
}

impl Interpreter {
    /// Watches the certificates of every generation that may serve.
    pub(crate) fn follow_certificates(&mut self) {
        let known = lock(&self.configurations);
        self.renewal
            .follow(known.values().map(|config| &config.tls));
    }

    /// Tells Python, which calls the hooks.
    fn tell(&self, what: &str, facts: impl for<'py> PyCallArgs<'py>) -> Result<(), Raised> {
        Python::attach(|py| heard(self.observer.bind(py).call_method1(what, facts)))
    }

    /// Whether a hook is to be called in the process of a second arbiter.
    fn has_pre_exec(&self) -> bool {
        let asked =
            Python::attach(|py| self.observer.bind(py).getattr("has_pre_exec")?.is_truthy());
        asked.unwrap_or(false)
    }
}

/// The observer answers `None`, or exit code and reason of a hook that failed, about which it has said the rest.
pub(crate) fn heard(told: PyResult<Bound<'_, PyAny>>) -> Result<(), Raised> {
    let answer = told.and_then(|answer| answer.extract::<Option<(u8, String)>>());
    match answer {
        Ok(None) => Ok(()),
        Ok(Some((code, reason))) => Err(Raised { code, reason }),
        Err(error) => Err(Raised {
            code: u8::MAX,
            reason: format!("The hooks cannot be called: {error}"),
        }),
    }
}

impl Host for Interpreter {
    fn starting(&mut self) -> Result<(), Raised> {
        self.tell("starting", ())
    }

    fn before_fork(&mut self, worker: u64, generation: u32) -> Result<(), Raised> {
        self.tell("before_fork", (worker, generation))
    }

    /// A hook is called between fork and exec, as gunicorn does; without one no process of ours is in between.
    fn execute(&mut self, mut command: Command) -> io::Result<i32> {
        if !self.has_pre_exec() {
            let child = command.spawn()?;
            return i32::try_from(child.id()).map_err(io::Error::other);
        }
        match fork_by(&self.fork)? {
            Fork::Parent(pid) => Ok(pid),
            Fork::Child => self.become_successor(command),
        }
    }

    fn fork(&mut self, _worker: &WorkerSeed) -> io::Result<Fork> {
        fork_by(&self.fork)
    }

    fn fork_stem(&mut self, _stem: &StemSeed) -> io::Result<Fork> {
        fork_by(&self.fork)
    }

    fn read_configuration(&mut self, generation: u32) -> Result<Policy, String> {
        let config = Python::attach(|py| {
            let read = self
                .observer
                .call_method1(py, "configure", (generation,))
                .and_then(|found| {
                    let config = found.bind(py).cast::<Config>()?;
                    Ok(config.get().clone())
                });
            read.map_err(|error| error.value(py).to_string())
        })?;
        let policy = policy(&config.config);
        let mut known = lock(&self.configurations);
        tls::may_follow(&config.tls, known.values().map(|other| &other.tls))?;
        known.insert(generation, config);
        drop(known);
        self.follow_certificates();
        Ok(policy)
    }

    /// After an upgrade the only one is that of the version that took over.
    fn configuration(&self, generation: u32) -> Vec<(&'static str, Value)> {
        let known = lock(&self.configurations);
        let before = known.range(..=generation).next_back();
        before.map_or_else(Vec::new, |(_, found)| {
            let settings = found.config.in_effect();
            settings
                .map(|(name, value)| (name, value.clone()))
                .collect()
        })
    }

    fn reopen_logs(&mut self) {
        oxicorn_logs::reopen_all();
        relay::reopen();
    }

    fn notify(&mut self, notice: Notice<'_>) -> Result<(), Raised> {
        match notice {
            Notice::Ready { .. } => self.tell("ready", ()),
            Notice::WorkersChanged { new, old } => self.tell("workers_changed", (new, old)),
            Notice::WorkerForked { worker, pid } => self.tell("forked", (worker, pid)),
            Notice::ChildExited { worker, exit, .. } => {
                let (code, signal) = match exit {
                    Exit::Code(code) => (Some(code), None),
                    Exit::Signal { number, .. } => (None, Some(number)),
                };
                self.tell("exited", (worker, code, signal))
            }
            Notice::RestartEnded {
                generation,
                failure,
            } => {
                // No worker of another generation will be forked any more.
                lock(&self.configurations).retain(|known, _| *known == generation);
                self.follow_certificates();
                self.tell("restart_ended", (generation, failure.is_some()))
            }
            Notice::ListenersClosed => self.tell("closed", ()),
            Notice::Promoted => self.tell("promoted", ()),
            Notice::Exiting { .. } => self.tell("exiting", ()),
            _ => Ok(()),
        }
    }

    fn heirloom(&self) -> Option<String> {
        tls::bequest()
    }

    fn interest(&self) -> Option<BorrowedFd<'_>> {
        // Where there is a beat, it is soon enough for certificates too.
        let beat = self.beat.as_ref().map(AsFd::as_fd);
        beat.or_else(|| self.renewal.interest())
    }

    fn look(&mut self) {
        self.renewal.look();
        if self.beat.as_ref().is_some_and(Beat::is_due)
            && let Err(raised) = self.tell("measure", ())
        {
            log::error!(target: "oxicorn", "{}", raised.reason);
        }
    }
}

impl Interpreter {
    /// In the process that was forked for it.
    fn become_successor(&self, mut command: Command) -> ! {
        if let Err(error) = signals::reset_to_default() {
            log::warn!(target: "oxicorn", "Can't reset the signals: {error}");
        }
        if let Err(raised) = self.tell("before_exec", ()) {
            log::error!(target: "oxicorn", "{}: there is no new server", raised.reason);
            ffi::exit_now(i32::from(raised.code));
        }
        let error = command.exec();
        log::error!(target: "oxicorn", "The new server cannot be executed: {error}");
        ffi::exit_now(1);
    }
}

/// Calls `os.fork`.
pub(crate) fn fork_by(fork: &Py<PyAny>) -> io::Result<Fork> {
    tls::forget_old_tickets();
    let pid = Python::attach(|py| fork.call0(py)?.extract::<i32>(py));
    match pid {
        Ok(0) => Ok(Fork::Child),
        Ok(pid) => Ok(Fork::Parent(pid)),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}
