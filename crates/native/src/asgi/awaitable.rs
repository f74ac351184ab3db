//! What `receive` and `send` return. To `await` they are awaitables, to `asyncio.create_task` and anyio they are coroutines
//! (`collections.abc.Coroutine`). Invariant: work that may have to wait is done when the awaitable is stepped, never before,
//! so one that is cancelled loses nothing.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::asgi::cycle::Cycle;
use crate::ffi::{self, Step, Steps};

/// The awaitable of a `send` that is done: complete, with `None`. There is one for all requests.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Sent;

impl Steps for Sent {
    fn step(this: &Bound<'_, Self>) -> PyResult<Step> {
        Ok(Step::Done(this.py().None()))
    }
}

/// The awaitable of a `send` whose client has to be waited for.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Room(pub(crate) Py<Cycle>);

impl Steps for Room {
    fn step(this: &Bound<'_, Self>) -> PyResult<Step> {
        let cycle = this.get().0.bind(this.py());
        let has_room = cycle.get().has_room(this.py())?;
        step(cycle, has_room.then(|| this.py().None()))
    }
}

/// A request is the awaitable of its own next message: that of each `receive`.
impl Steps for Cycle {
    fn step(this: &Bound<'_, Self>) -> PyResult<Step> {
        let message = this.get().message(this.py())?;
        step(this, message)
    }
}

/// What is not there yet is waited for as `await` does with a future: the task is given it, and comes back when it is done.
/// Whoever comes back earlier waits for another one.
fn step(cycle: &Bound<'_, Cycle>, found: Option<Py<PyAny>>) -> PyResult<Step> {
    Cycle::look_for_leaving(cycle)?;
    Ok(match found {
        Some(found) => Step::Done(found),
        None => Step::Given(cycle.get().future(cycle.py())?.unbind()),
    })
}

/// The methods of the coroutine protocol, of an awaitable that has no state of its own.
macro_rules! coroutine {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            fn __await__(slf: Py<Self>) -> Py<Self> {
                slf
            }

            fn __iter__(slf: Py<Self>) -> Py<Self> {
                slf
            }

            fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
                match Self::step(slf)? {
                    Step::Given(future) => Ok(Some(future)),
                    Step::Done(value) if value.is_none(slf.py()) => Ok(None),
                    // A dict is the one argument as it is, without a tuple around it.
                    Step::Done(message) => Err(PyStopIteration::new_err(message)),
                }
            }

            fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                if !value.is_none() {
                    return Err(PyRuntimeError::new_err("this awaitable takes no values"));
                }
                Self::__next__(slf)?.ok_or_else(|| PyStopIteration::new_err(()))
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
    };
}

coroutine!(Sent);
coroutine!(Room);
coroutine!(Cycle);

/// Lets the interpreter step the awaitables without a `StopIteration`, where it can (3.10, 3.11, 3.14).
pub(crate) fn prepare(py: Python<'_>) {
    ffi::give_await_slots::<Cycle>(py);
    ffi::give_await_slots::<Room>(py);
    ffi::give_await_slots::<Sent>(py);
}

/// The exception of a `throw`.
fn thrown<'py>(kind: &Bound<'py, PyAny>, value: Option<Bound<'py, PyAny>>) -> PyErr {
    PyErr::from_value(value.unwrap_or_else(|| kind.clone()))
}
