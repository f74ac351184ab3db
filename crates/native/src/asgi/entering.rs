//! How a request gets into the application, and out of it. Invariant: a task that is suspended is kept here, and found by
//! whatever concerns its request, until it is done.

use std::sync::atomic::Ordering;

use oxicorn_engine::Exchange;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};

use crate::asgi::callables::Callables;
use crate::asgi::cycle::{Cycle, State};
use crate::asgi::driver::{Driver, NOBODY};
use crate::asgi::task::{Task, outcome};
use crate::asgi::websocket;
use crate::ffi;

impl Driver {
    /// Calls the application for `exchange`, and goes with it as far as it comes at once. An error is ours.
    pub(super) fn begin(&'static self, py: Python<'_>, exchange: Box<Exchange>) -> PyResult<()> {
        if self.websockets && websocket::is_wanted(&exchange) {
            return self.begin_websocket(py, exchange);
        }
        let scope = self.inner(py).scopes.build(py, &exchange);
        let method = exchange.head.method.of(exchange.bytes());
        let is_head = method == b"HEAD" || (self.casefold && method.eq_ignore_ascii_case(b"HEAD"));
        self.enter(py, scope, State::new(exchange, is_head))
    }

    /// Calls the application for an exchange that is to become a WebSocket, unless its handshake is none.
    fn begin_websocket(&'static self, py: Python<'_>, mut exchange: Box<Exchange>) -> PyResult<()> {
        exchange.keep_alive = false;
        let scope = match websocket::opening(&exchange) {
            Ok(opening) => {
                let mut inner = self.inner(py);
                inner
                    .scopes
                    .build_websocket(py, &exchange, opening.protocols())
            }
            Err(refusal) => {
                websocket::refuse(&mut State::new(exchange, false), refusal, self);
                return Ok(());
            }
        };
        self.enter(py, scope, State::websocket(exchange))
    }

    /// Calls the application, and goes with it as far as it comes at once.
    fn enter(
        &'static self,
        py: Python<'_>,
        scope: PyResult<Bound<'_, PyDict>>,
        state: State,
    ) -> PyResult<()> {
        self.watchdog.enter();
        let spare = self.inner(py).spare.take();
        let callables = match spare {
            Some(spare) => {
                spare.cycle.get().renew(py, state);
                spare
            }
            None => Callables::new(py, self, state)?,
        };
        let cycle = callables.cycle.bind(py);
        self.entering.store(cycle.get().token(), Ordering::Relaxed);
        let begun = scope.and_then(|scope| {
            let (receive, send) = (callables.receive.bind(py), callables.send.bind(py));
            let made = ffi::call(self.app.bind(py), [scope.as_any(), receive, send])?;
            self.starter.start(&self.event_loop, &made, &callables.name)
        });
        self.entering.store(NOBODY, Ordering::Relaxed);
        let outcome = match begun {
            Ok(Task::Done(outcome)) => outcome,
            Ok(Task::Suspended(task)) => return self.suspend(cycle, &task),
            Err(error) => Err(error),
        };
        cycle.get().conclude(py, outcome);
        if callables.are_unique(py) {
            self.inner(py).spare = Some(callables);
        }
        self.watchdog.leave();
        Ok(())
    }

    fn suspend(&self, cycle: &Bound<'_, Cycle>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = cycle.py();
        cycle.get().suspend(task);
        let serial = {
            let mut inner = self.inner(py);
            inner.serial += 1;
            let serial = inner.serial;
            inner.suspended.insert(serial, cycle.clone().unbind());
            if cycle.get().is_drafted(py) {
                inner.drafts.push(cycle.clone().unbind());
            }
            if cycle.get().is_out(py) {
                inner
                    .out
                    .insert(cycle.get().token(), cycle.clone().unbind());
            }
            serial
        };
        let ended = Ended {
            cycle: cycle.clone().unbind(),
            serial,
        };
        task.call_method1(intern!(py, "add_done_callback"), (Bound::new(py, ended)?,))?;
        Cycle::look_for_leaving(cycle)
    }

    /// A suspended task is done.
    fn ended(
        &self,
        cycle: &Bound<'_, Cycle>,
        serial: u64,
        task: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = cycle.py();
        cycle.get().conclude(py, outcome(task));
        let forgotten = self.inner(py).suspended.remove(&serial);
        drop(forgotten);
        if self.watchdog.leave() && self.crew.is_stopping() {
            self.schedule(py)?;
        }
        Ok(())
    }
}

/// What is called when a suspended task is done.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
struct Ended {
    cycle: Py<Cycle>,
    serial: u64,
}

#[pymethods]
impl Ended {
    fn __call__(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let cycle = self.cycle.bind(task.py());
        let driver = cycle.get().driver;
        driver.ended(cycle, self.serial, task)
    }
}
