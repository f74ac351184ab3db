//! WSGI in greenlets: gevent's hub watches the engine, and each request runs in a greenlet of its own. (Patching the standard
//! library and the hub's side of it all are Python's, `oxicorn.gevent`.) Invariant: nothing here waits but by a switch to the
//! hub, and nothing that a switch may let run finds a lock of ours taken.

mod driver;
pub(crate) mod hub;
mod request;

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::crew::{self, Crew};
use crate::gevent::driver::Driver;
pub(crate) use crate::gevent::driver::HubPump;
pub(crate) use crate::gevent::hub::Hub;
use crate::gevent::request::Desks;
use crate::wsgi::{Gateway, Hooks, Nobody, Setup, SharedEnvirons};

/// What is served, and how.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) app: Py<PyAny>,
    /// Calls the hooks of each request, if there are any.
    pub(crate) observer: Option<Py<PyAny>>,
    pub(crate) crew: &'static Crew,
    pub(crate) setup: Setup,
    /// How long the hub may be silent while requests are inside the application.
    pub(crate) timeout: Duration,
}

/// What the hub has to watch and to call. `board` is the hub's side (`oxicorn.gevent.Board`).
pub(crate) fn pump(board: &Bound<'_, PyAny>, site: Site) -> PyResult<Py<HubPump>> {
    let (py, crew, timeout) = (board.py(), site.crew, site.timeout);
    let hub: &'static Hub = Box::leak(Box::new(Hub::new(board)?));
    crew.wait_by(hub);
    let driver = Driver::new(board, crew, hub, desks(site))?;
    crew::start_watchdog(crew, &driver.watchdog, timeout)?;
    Py::new(py, HubPump(driver))
}

/// What makes gateways, with hooks around each request or without.
fn desks(site: Site) -> Desks {
    let (app, crew) = (site.app, site.crew);
    let environs: &'static _ = Box::leak(Box::new(SharedEnvirons::new(site.setup)));
    match site.observer {
        None => Desks::new(move |py| {
            let app = app.clone_ref(py);
            let gateway = Gateway::one_of_many(py, app, crew, Nobody, environs)?;
            Ok(Box::new(gateway))
        }),
        Some(observer) => Desks::new(move |py| {
            let (app, hooks) = (app.clone_ref(py), Hooks(observer.clone_ref(py)));
            let gateway = Gateway::one_of_many(py, app, crew, hooks, environs)?;
            Ok(Box::new(gateway))
        }),
    }
}
