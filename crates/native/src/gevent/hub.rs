//! The hub, for greenlets that have to wait inside the application: for their client, or for another greenlet. Whoever waits
//! switches to it, and the others go on. Invariant: a greenlet is woken by the hub only, and looks again whether what it has
//! waited for is there.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use oxicorn_engine::{Exchange, Flow, Now};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::crew::Crew;
use crate::ffi;

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Its own.
    thread: ThreadId,
    /// `oxicorn.gevent.Board`: the hub's side of it.
    board: Py<PyAny>,
    /// Goes on with a greenlet, for the hub.
    resume: Py<PyAny>,
    /// Switches to the hub.
    switch: Py<PyAny>,
    /// The greenlet that calls it.
    current: Py<PyAny>,
    /// Greenlets that wait for their client, by the tokens of their exchanges.
    waiting: Mutex<HashMap<u64, Py<PyAny>>>,
    /// In a child that the application forked: the greenlet that did.
    forker: Mutex<Option<Py<PyAny>>>,
}

impl Hub {
    /// The hub of this thread.
    pub(crate) fn new(board: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = board.py();
        Ok(Self {
            thread: thread::current().id(),
            switch: board.getattr(intern!(py, "switch"))?.unbind(),
            current: board.getattr(intern!(py, "current"))?.unbind(),
            resume: board.getattr(intern!(py, "resume"))?.unbind(),
            board: board.clone().unbind(),
            waiting: Mutex::default(),
            forker: Mutex::new(None),
        })
    }

    /// Whether this is its thread. Others may wait by themselves.
    pub(crate) fn is_here(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// Waits until the client has taken enough of what is queued for `exchange`. `false`: it will not. An error came from
    /// outside: a timeout that the application has set, or an end.
    pub(crate) fn wait_for_room(
        &self,
        py: Python<'_>,
        crew: &Crew,
        exchange: &Exchange,
    ) -> PyResult<bool> {
        loop {
            let flow = crew.with_engine(|engine| {
                let now = Now::read();
                let flow = engine.flush_exchange(exchange, now);
                if flow == Flow::Full {
                    engine.await_room(exchange, now);
                }
                flow
            });
            match flow {
                Flow::Clear => return Ok(true),
                Flow::Gone => return Ok(false),
                Flow::Full => self.wait_for_progress(py, exchange.token())?,
            }
        }
    }

    fn wait_for_progress(&self, py: Python<'_>, token: u64) -> PyResult<()> {
        let current = self.current.call0(py)?;
        self.waiting().insert(token, current);
        let waited = self.pause(py);
        let waiter = self.waiting().remove(&token);
        drop(waiter);
        waited
    }

    /// There is news of the exchange with this token.
    pub(super) fn progress(&self, py: Python<'_>, token: u64) -> PyResult<()> {
        let waiter = self.waiting().remove(&token);
        match waiter {
            Some(waiter) => self.resume(waiter.bind(py)),
            None => Ok(()),
        }
    }

    /// For the hub itself: goes on with a greenlet, until that waits or ends.
    pub(super) fn resume(&self, greenlet: &Bound<'_, PyAny>) -> PyResult<()> {
        ffi::call(self.resume.bind(greenlet.py()), [greenlet]).map(drop)
    }

    /// Lets others go on, until this greenlet is woken.
    pub(crate) fn pause(&self, py: Python<'_>) -> PyResult<()> {
        self.switch.call0(py).map(drop)
    }

    /// What wakes this greenlet from its next pause, from any thread.
    pub(crate) fn waker(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.board.call_method0(py, intern!(py, "waker"))
    }

    /// In a child that the application has just forked.
    pub(crate) fn forked(&self, py: Python<'_>) -> PyResult<()> {
        let forker = self.current.call0(py)?;
        *self.forker() = Some(forker);
        Ok(())
    }

    /// In such a child: only the greenlet that forked has a reason to go on; the others are copies of its parent's, and stay
    /// where they are.
    pub(crate) fn stop_bystander(&self, py: Python<'_>) {
        let forker = self.forker().as_ref().map(|forker| forker.clone_ref(py));
        let Ok(current) = self.current.call0(py) else {
            return;
        };
        if forker.is_none_or(|forker| forker.is(&current)) {
            return;
        }
        while self.pause(py).is_ok() {}
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Py<PyAny>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forker(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.forker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls what [`Hub::waker`] gave.
pub(crate) fn wake(py: Python<'_>, waker: &Py<PyAny>) {
    if let Err(error) = waker.call0(py) {
        log::error!(target: "oxicorn", "A greenlet cannot be woken: {error}");
    }
}
