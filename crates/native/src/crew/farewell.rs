//! The hooks at the end of a worker that cannot wait for its threads: they are inside the application, and may keep the
//! interpreter lock. So the hooks get a thread of their own, and whoever is here goes on. Invariant: the hooks are called
//! once; a worker without any ends at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pyo3::prelude::*;

use super::{Crew, lock};
use crate::relay;

/// What there is to do at the end.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// Calls the hooks.
    hooks: Mutex<Option<Py<PyAny>>>,
    /// They are being called, and end the process.
    begun: AtomicBool,
    /// INT or QUIT ended the worker.
    interrupted: AtomicBool,
}

impl Crew {
    /// Calls `hooks` when the worker ends without waiting for its threads.
    pub(crate) fn call_before_parting(&self, hooks: Py<PyAny>) {
        *lock(&self.farewell.hooks) = Some(hooks);
    }

    /// Whether INT or QUIT ended the worker.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.farewell.interrupted.load(Ordering::Relaxed)
    }

    pub(super) fn interrupted(&self) {
        self.farewell.interrupted.store(true, Ordering::Relaxed);
    }

    /// Ends the process, whatever its threads do. If it comes back, the hooks are being called.
    pub(super) fn part(&self, code: i32) {
        let Some(hooks) = lock(&self.farewell.hooks).take() else {
            if !self.farewell.begun.load(Ordering::Relaxed) {
                say_goodbye();
                relay::exit_now(code);
            }
            return;
        };
        self.farewell.begun.store(true, Ordering::Relaxed);
        say_goodbye();
        let bid = move || {
            if let Err(error) = Python::attach(|py| hooks.call0(py).map(drop)) {
                log::error!(target: "oxicorn", "The hooks cannot be called: {error}");
            }
            relay::exit_now(code);
        };
        if thread::Builder::new()
            .name("oxicorn-farewell".into())
            .spawn(bid)
            .is_err()
        {
            relay::exit_now(code);
        }
    }
}

/// As the worker says whose threads come back (`worker.py`).
fn say_goodbye() {
    log::info!(target: "oxicorn", "Worker exiting (pid: {})", std::process::id());
}
