//! A stem process, for Python: has the application loaded, and forks workers when the arbiter says so. Invariant: the
//! interpreter lock is held only during a fork, so that threads of the application go on.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use oxicorn_arbiter::StemSeed;
use oxicorn_arbiter::stem::die_with;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::arbiter::Seed;
use crate::config::Config;
use crate::interpreter::{fork_by, heard};
use crate::relay;

/// What a stem inherits from the arbiter through the fork.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Stem {
    generation: u32,
    config: Config,
    fork: Py<PyAny>,
    seed: Mutex<Option<StemSeed>>,
    /// The process that forks, once it does.
    process: OnceLock<i32>,
}

impl Stem {
    pub(crate) fn new(seed: StemSeed, config: Config, fork: Py<PyAny>) -> Self {
        log::info!(target: "oxicorn", "Booting stem with pid: {}", std::process::id());
        Self {
            generation: seed.generation,
            config,
            fork,
            seed: Mutex::new(Some(seed)),
            process: OnceLock::new(),
        }
    }

    fn with_seed<T>(&self, act: impl FnOnce(&StemSeed) -> io::Result<T>) -> PyResult<T> {
        let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        let seed = seed.as_ref().ok_or_else(|| used_up("the stem is over"))?;
        act(seed).map_err(PyErr::from)
    }
}

#[pymethods]
impl Stem {
    /// Whose workers it forks: counts from 1, and on with each restart.
    #[getter]
    fn generation(&self) -> u32 {
        self.generation
    }

    /// The configuration of its generation.
    #[getter]
    fn config(&self) -> Config {
        self.config.clone()
    }

    /// To be called before the application is imported, when the process has given up what it does not need.
    fn begin(&self) -> PyResult<()> {
        self.with_seed(StemSeed::begin)
    }

    /// Tells the arbiter why this stem ends before it is ready.
    fn unready(&self, reason: &str) -> PyResult<()> {
        self.with_seed(|seed| seed.unready(reason))
    }

    /// Tells the arbiter that the application is loaded.
    fn ready(&self) -> PyResult<()> {
        self.with_seed(StemSeed::ready)
    }

    /// Forks workers by order: returns in each with its seed, and with None in the stem when that is to leave. `reopen` is
    /// called when the log files were opened anew, `before` with each worker that is about to be forked: see [`heard`].
    fn grow(
        &self,
        py: Python<'_>,
        reopen: &Bound<'_, PyAny>,
        before: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Seed>> {
        let seed = self
            .seed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let seed = seed.ok_or_else(|| used_up("a stem grows once only"))?;
        self.process
            .get_or_init(|| std::process::id().cast_signed());
        let mut fork = || fork_by(&self.fork);
        let reopen = reopen.clone().unbind();
        let mut reopen = || {
            oxicorn_logs::reopen_all();
            relay::reopen();
            if let Err(error) = Python::attach(|py| reopen.call0(py)) {
                log::warn!(target: "oxicorn", "Can't open the logs anew for later workers: {error}");
            }
        };
        let before = before.clone().unbind();
        let mut before = |worker| {
            let told = Python::attach(|py| heard(before.bind(py).call1((worker,))));
            told.map_err(|raised| io::Error::other(raised.reason))
        };
        let worker = py.detach(|| seed.grow(&mut before, &mut fork, &mut reopen));
        Ok(worker.map(|worker| Seed::new(worker, self.config.clone())))
    }

    /// For `os.register_at_fork(after_in_child=...)`, before the application's own hooks: what hangs in those must not
    /// outlive the stem.
    fn forked(&self) {
        if let Some(stem) = self.process.get() {
            die_with(*stem);
        }
    }
}

fn used_up(why: &'static str) -> PyErr {
    PyRuntimeError::new_err(why)
}
