//! What `receive` and `send` return. To `await` they are awaitables, to `asyncio.create_task` and anyio they are coroutines
//! (`collections.abc.Coroutine`). Invariant: work that may have to wait is done when the awaitable is stepped, never before,
//! so one that is cancelled loses nothing.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::asgi::cycle::Cycle;
use crate::ffi::{self, Step, Steps};

/// The awaitable of a `send` that is done: complete, with `None`. There is one for all requests.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Sent;

#[pymethods]
#[expect(
    clippy::unused_self,
    reason = "methods of the coroutine protocol; it is done"
)]
impl Sent {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    fn send(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = value;
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        Err(thrown(kind, value))
    }

    fn close(&self) {}
}

impl Steps for Sent {
    fn step(this: &Bound<'_, Self>) -> PyResult<Step> {
        Ok(Step::Done(this.py().None()))
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The next message for `receive`.
    Message,
    /// Room for what was given to `send`.
    Room,
}

/// An awaitable that steps its request until what it waits for is there.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Waiting {
    cycle: Py<Cycle>,
    wait: Wait,
}

impl Waiting {
    pub(crate) fn new(cycle: Py<Cycle>, wait: Wait) -> Self {
        Self { cycle, wait }
    }
}

impl Steps for Waiting {
    /// What is not there yet is waited for as `await` does with a future: the task is given it, and comes back when it is
    /// done. Whoever comes back earlier waits for another one.
    fn step(this: &Bound<'_, Self>) -> PyResult<Step> {
        let (py, waiting) = (this.py(), this.get());
        if let Some(found) = Cycle::poll(&waiting.cycle, py, waiting.wait)? {
            return Ok(Step::Done(found));
        }
        let future = waiting.cycle.get().future(py)?;
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        Ok(Step::Given(future.unbind()))
    }
}

#[pymethods]
impl Waiting {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        match (Self::step(slf)?, slf.get().wait) {
            (Step::Given(future), _) => Ok(Some(future)),
            // A dict is the one argument as it is, without a tuple around it.
            (Step::Done(message), Wait::Message) => Err(PyStopIteration::new_err(message)),
            (Step::Done(_), Wait::Room) => Ok(None),
        }
    }

    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if !value.is_none() {
            return Err(PyRuntimeError::new_err("this awaitable takes no values"));
        }
        Self::__next__(slf)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    #[expect(clippy::unused_self, reason = "a method of the coroutine protocol")]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        Err(thrown(kind, value))
    }

    #[expect(clippy::unused_self, reason = "a method of the coroutine protocol")]
    fn close(&self) {}
}

/// Lets the interpreter step the awaitables without a `StopIteration`, where it can (3.10, 3.11, 3.14).
pub(crate) fn prepare(py: Python<'_>) {
    ffi::give_await_slots::<Waiting>(py);
    ffi::give_await_slots::<Sent>(py);
}

/// The exception of a `throw`.
fn thrown<'py>(kind: &Bound<'py, PyAny>, value: Option<Bound<'py, PyAny>>) -> PyErr {
    PyErr::from_value(value.unwrap_or_else(|| kind.clone()))
}
