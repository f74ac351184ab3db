//! ASGI 3 over exchanges, on the application's own event loop: HTTP and WebSocket. (The lifespan is Python's, `oxicorn.asgi`.)
//! Invariant: everything that touches Python runs on the loop's thread, and no exception of the application leaves the pump.

mod awaitable;
mod callables;
mod cycle;
mod driver;
mod entering;
mod fields;
mod future;
mod leaving;
mod own;
mod scope;
mod send;
mod task;
mod websocket;

use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::asgi::driver::Driver;
pub(crate) use crate::asgi::driver::Pump;
pub(crate) use crate::asgi::scope::Setup;
use crate::crew::{self, Crew};

/// What the loop has to watch and to call.
pub(crate) fn pump(
    py: Python<'_>,
    app: Py<PyAny>,
    event_loop: &Bound<'_, PyAny>,
    crew: &'static Crew,
    setup: Setup,
) -> PyResult<Option<Py<Pump>>> {
    let timeout = setup.timeout;
    let driver = Driver::new(py, app, event_loop, crew, setup)?;
    crew::start_watchdog(crew, &driver.watchdog, timeout)?;
    Ok(driver.pump(py))
}
