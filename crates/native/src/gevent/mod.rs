//! WSGI in greenlets: gevent's hub watches the engine, and each request runs in a greenlet of its own. (Patching the standard
//! library and the hub's side of it all are Python's, `oxicorn.gevent`.) Invariant: nothing here waits but by a switch to the
//! hub, and nothing that a switch may let run finds a lock of ours taken.

mod driver;
pub(crate) mod hub;
mod request;

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::crew::{self, Crew};
use crate::gevent::driver::Driver;
pub(crate) use crate::gevent::driver::HubPump;
pub(crate) use crate::gevent::hub::Hub;
use crate::gevent::request::Desks;
use crate::wsgi::{Gateway, Hooks, Nobody, Setup, SharedEnvirons};

/// What the hub has to watch and to call. `board` is the hub's side (`oxicorn.gevent.Board`); it may be silent for `timeout`.
pub(crate) fn pump(
    py: Python<'_>,
    app: &Py<PyAny>,
    observer: Option<&Py<PyAny>>,
    board: &Bound<'_, PyAny>,
    crew: Arc<Crew>,
    setup: Setup,
    timeout: Duration,
) -> PyResult<Py<HubPump>> {
    let hub = Arc::new(Hub::new(board)?);
    crew.wait_by(hub.clone());
    let desks = desks(py, app, observer, &crew, setup);
    let driver = Driver::new(py, board, crew.clone(), hub, desks)?;
    crew::start_watchdog(crew, driver.watchdog.clone(), timeout)?;
    Py::new(py, HubPump(driver))
}

/// What makes gateways, with hooks around each request or without.
fn desks(
    py: Python<'_>,
    app: &Py<PyAny>,
    observer: Option<&Py<PyAny>>,
    crew: &Arc<Crew>,
    setup: Setup,
) -> Desks {
    let (app, crew) = (app.clone_ref(py), crew.clone());
    let environs = Arc::new(SharedEnvirons::new(setup));
    match observer.map(|observer| observer.clone_ref(py)) {
        None => Desks::new(move |py| {
            let (app, crew, environs) = (app.clone_ref(py), crew.clone(), environs.clone());
            Ok(Box::new(Gateway::one_of_many(
                py, app, crew, Nobody, environs,
            )?))
        }),
        Some(observer) => Desks::new(move |py| {
            let (app, crew, environs) = (app.clone_ref(py), crew.clone(), environs.clone());
            let hooks = Hooks(observer.clone_ref(py));
            Ok(Box::new(Gateway::one_of_many(
                py, app, crew, hooks, environs,
            )?))
        }),
    }
}
