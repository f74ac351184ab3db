//! The futures that suspended tasks wait for. Invariant: they are those of the loop; where it gives out `asyncio.Future` as it
//! is, they are made without its help, for the same thing.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};

use crate::ffi;

/// How the futures of one loop are made, and what is asked of them.
#[derive(Debug)]
pub(crate) struct Futures {
    make: Make,
    done: Py<PyAny>,
    set_result: Py<PyAny>,
}

#[derive(Debug)]
enum Make {
    /// `asyncio.Future(loop=…)`.
    Plain(Py<PyAny>, Py<PyDict>),
    /// `loop.create_future()`.
    ByLoop(Py<PyAny>),
}

impl Futures {
    pub(crate) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let create = event_loop.getattr(intern!(py, "create_future"))?;
        let class = create.call0()?.get_type().into_any();
        let make = if class.is(py.import("asyncio")?.getattr("Future")?) {
            let options = PyDict::new(py);
            options.set_item("loop", event_loop)?;
            Make::Plain(class.clone().unbind(), options.unbind())
        } else {
            Make::ByLoop(create.unbind())
        };
        Ok(Self {
            make,
            done: class.getattr("done")?.unbind(),
            set_result: class.getattr("set_result")?.unbind(),
        })
    }

    /// A new one, for a task to wait for: as `await` marks it.
    pub(crate) fn awaited<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = match &self.make {
            Make::Plain(class, options) => class.bind(py).call((), Some(options.bind(py)))?,
            Make::ByLoop(create) => create.bind(py).call0()?,
        };
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        Ok(future)
    }

    /// Whether nobody waits for this one any more.
    pub(crate) fn is_done(&self, future: &Bound<'_, PyAny>) -> bool {
        let done = ffi::call(self.done.bind(future.py()), [future]);
        done.and_then(|done| done.is_truthy()).unwrap_or(true)
    }

    /// Ends one that is not done.
    pub(crate) fn end(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = future.py();
        let none = py.None().into_bound(py);
        ffi::call(self.set_result.bind(py), [future, &none]).map(drop)
    }
}
