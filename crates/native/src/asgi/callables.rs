//! What an application is given to talk with: `receive` and `send`, bound to a cycle; and the name of its task. Invariant:
//! they are used for another request only if nobody has kept one of them.

use pyo3::prelude::*;
use pyo3::types::{PyAny, PyString};

use crate::asgi::cycle::{Cycle, Receive, State};
use crate::asgi::driver::Driver;
use crate::asgi::send::Send;
use crate::ffi;

/// See the module.
#[derive(Debug)]
pub(crate) struct Callables {
    pub(crate) cycle: Py<Cycle>,
    pub(crate) receive: Py<PyAny>,
    pub(crate) send: Py<PyAny>,
    /// No task that is not done has the same.
    pub(crate) name: Py<PyString>,
}

impl Callables {
    pub(crate) fn new(py: Python<'_>, driver: &'static Driver, state: State) -> PyResult<Self> {
        let cycle = Bound::new(py, Cycle::new(driver, state))?;
        Ok(Self {
            receive: ffi::native_function::<Receive>(cycle.as_any())?,
            send: ffi::native_function::<Send>(cycle.as_any())?,
            name: driver.starter.new_name(py),
            cycle: cycle.unbind(),
        })
    }

    /// Nobody else has one of them, or the cycle: that has one reference here, and one in each of them.
    pub(crate) fn are_unique(&self, py: Python<'_>) -> bool {
        ffi::references(self.receive.bind(py)) == 1
            && ffi::references(self.send.bind(py)) == 1
            && ffi::references(self.cycle.bind(py).as_any()) == 3
    }
}
