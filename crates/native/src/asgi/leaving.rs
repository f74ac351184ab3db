//! A client that leaves while its request is inside the application (`asgi_disconnect_grace_period`): after its time the
//! task is cancelled. Not for WebSockets, nor for what goes on when the response is complete. Invariant: a task is cancelled by
//! this at most once, and never after its request is over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oxicorn_engine::Flow;
use pyo3::intern;
use pyo3::prelude::*;

use crate::asgi::cycle::{Cycle, State};
use crate::asgi::driver::Driver;

impl State {
    /// Whether the client has ended its side; if not, the engine tells when there is something new.
    fn has_left(&self, driver: &Driver) -> bool {
        let Some(exchange) = self.exchange.as_deref() else {
            return false;
        };
        let mut engine = driver.crew.engine();
        // As long as part of its body is not read, that stands in front of the client's end.
        let ended = !self.is_open() && engine.await_end(exchange);
        ended || self.gone || engine.flow(exchange) == Flow::Gone
    }
}

impl Cycle {
    /// Looks whether the client has left. Then the task has so long to end by itself.
    pub(crate) fn look_for_leaving(this: &Bound<'_, Self>) -> PyResult<()> {
        let (py, cycle) = (this.py(), this.get());
        let Some(grace) = cycle.driver.grace else {
            return Ok(());
        };
        if !cycle.is_suspended(py) {
            // It makes its first step, and is looked at when it comes to rest.
            return Ok(());
        }
        let has_left = cycle.peek(py, |state| {
            state.socket.is_none() && state.has_left(cycle.driver)
        });
        cycle.driver.turn_if_needed(py)?;
        if !has_left || cycle.leaves.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        if grace.is_zero() {
            return cycle.end_left(py);
        }
        let timer = cycle
            .driver
            .call_later(py, grace, Late(this.clone().unbind()))?;
        drop(cycle.set_timer(py, Some(timer)));
        Ok(())
    }

    /// The task has had its time.
    fn end_left(&self, py: Python<'_>) -> PyResult<()> {
        self.peek(py, |state| {
            state.gone = true;
            true
        });
        self.cancel(py)
    }

    /// Its task is done: nobody has to be cancelled.
    pub(crate) fn stay_of_grace(&self, py: Python<'_>) {
        let timer = self.set_timer(py, None);
        if let Some(timer) = timer
            && let Err(error) = timer.call_method0(py, intern!(py, "cancel"))
        {
            log::error!(target: "oxicorn", "A timer could not be stopped: {error}");
        }
    }
}

impl Driver {
    fn call_later(&self, py: Python<'_>, after: Duration, late: Late) -> PyResult<Py<PyAny>> {
        let arguments = (after.as_secs_f64(), Bound::new(py, late)?);
        let call_later = intern!(py, "call_later");
        self.event_loop.call_method1(py, call_later, arguments)
    }
}

/// What the loop calls when the time is over.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
struct Late(Py<Cycle>);

#[pymethods]
impl Late {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let cycle = self.0.get();
        drop(cycle.set_timer(py, None));
        cycle.end_left(py)
    }
}
