//! The driver `gevent`: the hub's loop watches the engine's descriptor, and calls the pump when there is something to do. It
//! turns the engine and starts a greenlet for each request, which runs at once until it waits for something. Invariant: after
//! each call of the pump either the engine is at rest and its descriptor will say what is new, or another call is scheduled.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oxicorn_engine::{Exchange, Notice};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyList};

use crate::crew::{Crew, Left, Watchdog};
use crate::gevent::hub::Hub;
use crate::gevent::request::{Desks, Request, give_up};

/// See the module.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(super) crew: &'static Crew,
    pub(super) desks: Desks,
    /// Counts the requests that are not over.
    pub(super) watchdog: Watchdog,
    hub: &'static Hub,
    /// `oxicorn.gevent.Board`.
    board: Py<PyAny>,
    /// Makes a greenlet.
    greenlet: Py<PyAny>,
    /// The greenlets of the requests that wait, by their serials.
    suspended: Mutex<HashMap<u64, Py<PyAny>>>,
    /// Of the last request.
    serial: AtomicU64,
    /// What still ran was cut.
    cut: AtomicBool,
    /// The main greenlet was told that all is over.
    left: AtomicBool,
}

impl Driver {
    pub(super) fn new(
        board: &Bound<'_, PyAny>,
        crew: &'static Crew,
        hub: &'static Hub,
        desks: Desks,
    ) -> PyResult<&'static Self> {
        let py = board.py();
        // One for the life of the process: the hub and its pump have it as well.
        Ok(Box::leak(Box::new(Self {
            crew,
            desks,
            watchdog: Watchdog::default(),
            hub,
            greenlet: board.getattr(intern!(py, "greenlet"))?.unbind(),
            board: board.clone().unbind(),
            suspended: Mutex::default(),
            serial: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            left: AtomicBool::new(false),
        })))
    }

    fn suspended(&self) -> MutexGuard<'_, HashMap<u64, Py<PyAny>>> {
        self.suspended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of the hub's loop.
    fn run(&'static self, py: Python<'_>) -> PyResult<()> {
        if self.crew.is_forked() {
            // A child that the application forked has a hub as well, but the connections are not its own.
            return self.call_board(py, "abandon");
        }
        self.watchdog.beat();
        let left = self.turn(py);
        match left {
            Ok(_) if self.is_over() => self.leave(py),
            Ok(Left::Work | Left::Child) => self.call_board(py, "schedule"),
            Ok(Left::Nothing) => Ok(()),
            Err(error) => {
                self.crew.fail();
                self.leave(py)?;
                Err(error)
            }
        }
    }

    fn turn(&'static self, py: Python<'_>) -> PyResult<Left> {
        self.crew.take_events()?;
        self.crew.turn_by_loop(
            |exchange| self.begin(py, exchange),
            |notice| self.on_notice(py, notice),
            || (),
        )
    }

    /// Starts the greenlet of a request, and goes with it as far as it comes at once.
    fn begin(&'static self, py: Python<'_>, exchange: Box<Exchange>) -> PyResult<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let request = match Bound::new(py, Request::new(self, serial)) {
            Ok(request) => request,
            Err(error) => {
                give_up(self.crew, exchange, &error);
                return Ok(());
            }
        };
        request.get().give(exchange);
        self.enter();
        let started = self.greenlet.bind(py).call1((&request,));
        let started = started.and_then(|greenlet| {
            self.hub.resume(&greenlet)?;
            Ok(greenlet)
        });
        if let Some(exchange) = request.get().take_back() {
            let error = started.err().unwrap_or_else(|| {
                // Somebody has stopped it before.
                PyRuntimeError::new_err("its greenlet did not run")
            });
            give_up(self.crew, exchange, &error);
            return self.ended(py, serial, Ok(()));
        }
        let greenlet = started?;
        if !request.get().is_over() {
            self.suspended().insert(serial, greenlet.unbind());
        }
        Ok(())
    }

    fn enter(&self) {
        self.watchdog.enter();
        self.crew.set_inside(self.watchdog.inside());
    }

    /// The request with this serial is over.
    pub(super) fn ended(&self, py: Python<'_>, serial: u64, served: PyResult<()>) -> PyResult<()> {
        let greenlet = self.suspended().remove(&serial);
        drop(greenlet);
        let last = self.watchdog.leave();
        self.crew.set_inside(self.watchdog.inside());
        if served.is_err() {
            self.crew.fail();
        }
        if last && self.crew.is_stopping() {
            self.call_board(py, "schedule")?;
        }
        served
    }

    fn on_notice(&self, py: Python<'_>, notice: Notice) -> PyResult<()> {
        if let Notice::Progress(token) = notice {
            return self.hub.progress(py, token);
        }
        self.crew.on_notice(notice);
        if self.crew.cuts_requests() && !self.cut.swap(true, Ordering::Relaxed) {
            return self.cut_all(py);
        }
        Ok(())
    }

    /// Ends what still runs, in time for what the application does on its way out.
    fn cut_all(&self, py: Python<'_>) -> PyResult<()> {
        let greenlets: Vec<Py<PyAny>> = {
            let suspended = self.suspended();
            suspended.values().map(|one| one.clone_ref(py)).collect()
        };
        let greenlets = PyList::new(py, greenlets)?;
        self.board
            .call_method1(py, intern!(py, "cut"), (greenlets,))
            .map(drop)
    }

    fn call_board(&self, py: Python<'_>, method: &str) -> PyResult<()> {
        self.board.call_method0(py, method).map(drop)
    }

    fn is_over(&self) -> bool {
        self.crew.is_over(self.watchdog.inside())
    }

    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        if self.left.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.watchdog.stop();
        self.call_board(py, "leave")
    }

    /// In a child that the application has just forked.
    pub(super) fn forked(&self, py: Python<'_>) -> PyResult<()> {
        self.hub.forked(py)
    }
}

/// What the hub calls when the engine has something to do: `hub.loop.io(pump.fileno(), READ).start(pump)`.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct HubPump(pub(super) &'static Driver);

#[pymethods]
impl HubPump {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.0.run(py)
    }

    /// The descriptor to watch.
    fn fileno(&self) -> RawFd {
        self.0.crew.lead_by_loop()
    }

    /// For `os.register_at_fork(after_in_child=...)`: only the greenlet that forked goes on.
    fn forked(&self, py: Python<'_>) -> PyResult<()> {
        self.0.forked(py)
    }
}
