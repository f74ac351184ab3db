//! One request in its greenlet, and what it is served with. Invariant: an exchange that a request was made for is given back,
//! whether its greenlet starts or not.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oxicorn_engine::{Ending, Exchange, Now};
use pyo3::prelude::*;

use crate::crew::Crew;
use crate::gevent::driver::Driver;
use crate::wsgi::{Gateway, Observer, SharedEnvirons};

/// Gateways that are kept for requests to come.
const SPARE: usize = 256;

/// Serves one request at a time.
pub(super) trait Desk: Send + fmt::Debug {
    /// An error is ours, never the application's.
    fn serve(&mut self, py: Python<'_>, exchange: Box<Exchange>) -> PyResult<()>;
}

impl<O: Observer + Send + fmt::Debug> Desk for Gateway<O, &'static SharedEnvirons> {
    fn serve(&mut self, py: Python<'_>, exchange: Box<Exchange>) -> PyResult<()> {
        self.serve_one(py, exchange)
    }
}

type Make = Box<dyn Fn(Python<'_>) -> PyResult<Box<dyn Desk>> + Send + Sync>;

/// The gateways of a worker: as many as there are requests at once.
pub(super) struct Desks {
    make: Make,
    spare: Mutex<Vec<Box<dyn Desk>>>,
}

impl fmt::Debug for Desks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desks")
            .field("spare", &self.spare().len())
            .finish_non_exhaustive()
    }
}

impl Desks {
    pub(super) fn new(
        make: impl Fn(Python<'_>) -> PyResult<Box<dyn Desk>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            make: Box::new(make),
            spare: Mutex::default(),
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Box<dyn Desk>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, py: Python<'_>) -> PyResult<Box<dyn Desk>> {
        let spare = self.spare().pop();
        spare.map_or_else(|| (self.make)(py), Ok)
    }

    fn keep(&self, desk: Box<dyn Desk>) {
        let mut spare = self.spare();
        if spare.len() < SPARE {
            return spare.push(desk);
        }
        drop(spare);
        drop(desk);
    }
}

/// What the greenlet of a request runs.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Request {
    driver: &'static Driver,
    /// Among the requests of the worker.
    serial: u64,
    exchange: Mutex<Option<Box<Exchange>>>,
    over: AtomicBool,
}

impl Request {
    pub(super) fn new(driver: &'static Driver, serial: u64) -> Self {
        Self {
            driver,
            serial,
            exchange: Mutex::new(None),
            over: AtomicBool::new(false),
        }
    }

    fn exchange(&self) -> MutexGuard<'_, Option<Box<Exchange>>> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is for.
    pub(super) fn give(&self, exchange: Box<Exchange>) {
        *self.exchange() = Some(exchange);
    }

    /// What it was for, if it has not begun.
    pub(super) fn take_back(&self) -> Option<Box<Exchange>> {
        self.exchange().take()
    }

    /// Whether the request is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn serve(&self, py: Python<'_>, exchange: Box<Exchange>) -> PyResult<()> {
        let mut desk = match self.driver.desks.take(py) {
            Ok(desk) => desk,
            Err(error) => {
                give_up(self.driver.crew, exchange, &error);
                return Ok(());
            }
        };
        desk.serve(py, exchange)?;
        self.driver.desks.keep(desk);
        Ok(())
    }
}

#[pymethods]
impl Request {
    /// The body of the greenlet.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let Some(exchange) = self.take_back() else {
            return Ok(());
        };
        let served = self.serve(py, exchange);
        self.over.store(true, Ordering::Relaxed);
        self.driver.ended(py, self.serial, served)
    }
}

/// A request cannot get to the application: there is no memory.
pub(super) fn give_up(crew: &Crew, exchange: Box<Exchange>, error: &PyErr) {
    log::error!(target: "oxicorn", "A request cannot be started: {error}");
    crew.with_engine(|engine| engine.finish(exchange, Ending::Cut, Now::read()));
}
