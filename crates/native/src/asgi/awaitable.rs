//! What `receive` and `send` return. To `await` they are awaitables, to `asyncio.create_task` and anyio they are coroutines
//! (`collections.abc.Coroutine`). Invariant: work that may have to wait is done when the awaitable is stepped, never before,
//! so one that is cancelled loses nothing.

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::asgi::cycle::Cycle;

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
    /// The iterator of the future that is awaited now.
    future: Mutex<Option<Py<PyAny>>>,
}

impl Waiting {
    pub(crate) fn new(cycle: Py<Cycle>, wait: Wait) -> Self {
        Self {
            cycle,
            wait,
            future: Mutex::new(None),
        }
    }

    fn take_future(&self) -> Option<Py<PyAny>> {
        self.future
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn keep_future(&self, iterator: Py<PyAny>) {
        *self.future.lock().unwrap_or_else(PoisonError::into_inner) = Some(iterator);
    }

    /// What the future gives up to the task; `None` when it is done.
    fn step_future(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some(iterator) = self.take_future() else {
            return Ok(None);
        };
        let step = iterator.bind(py).call_method0(intern!(py, "__next__"));
        match step {
            Ok(given) => {
                self.keep_future(iterator);
                Ok(Some(given.unbind()))
            }
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => Ok(None),
            Err(error) => Err(error),
        }
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

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        loop {
            if let Some(given) = self.step_future(py)? {
                return Ok(Some(given));
            }
            match (Cycle::poll(&self.cycle, py, self.wait)?, self.wait) {
                // A dict is the one argument as it is, without a tuple around it.
                (Some(message), Wait::Message) => return Err(PyStopIteration::new_err(message)),
                (Some(_), Wait::Room) => return Ok(None),
                (None, _) => {
                    let future = self.cycle.get().future(py)?;
                    let iterator = future.call_method0(intern!(py, "__await__"))?;
                    self.keep_future(iterator.unbind());
                }
            }
        }
    }

    fn send(&self, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if !value.is_none() {
            return Err(PyRuntimeError::new_err("this awaitable takes no values"));
        }
        self.__next__(value.py())?
            .ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        drop(self.take_future());
        Err(thrown(kind, value))
    }

    fn close(&self) {
        drop(self.take_future());
    }
}

/// The exception of a `throw`.
fn thrown<'py>(kind: &Bound<'py, PyAny>, value: Option<Bound<'py, PyAny>>) -> PyErr {
    PyErr::from_value(value.unwrap_or_else(|| kind.clone()))
}
