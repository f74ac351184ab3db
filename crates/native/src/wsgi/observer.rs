//! Who is told of each request: nobody, or hooks. Which of the two is known when a worker starts, and the gateway is made for
//! it, so that hooks which are not set cost nothing. Invariant: whoever is told of a beginning is told of the end, once,
//! when the response was handed to the engine.

use oxicorn_engine::{Exchange, Peer, Scheme};
use oxicorn_http1::Version;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList};

use crate::ffi;

/// What became of a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Bytes of its body.
    pub(crate) sent: u64,
    /// Whether its head was sent, and not an error page instead.
    pub(crate) begun: bool,
    /// Whether the connection goes on.
    pub(crate) keep_alive: bool,
}

/// Somebody who is told of requests.
pub(crate) trait Observer {
    /// What is remembered of a request.
    type Request;

    /// A request is about to enter the application.
    fn begin(&self, environ: &Bound<'_, PyDict>, exchange: &Exchange) -> PyResult<Self::Request>;

    /// Calls the application.
    fn call<'py>(
        request: &Self::Request,
        app: &Bound<'py, PyAny>,
        environ: &Bound<'py, PyDict>,
        start_response: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>>;

    /// The response was handed over.
    fn end(py: Python<'_>, request: Self::Request, seen: Seen);
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nobody;

impl Observer for Nobody {
    type Request = ();

    fn begin(&self, _: &Bound<'_, PyDict>, _: &Exchange) -> PyResult<()> {
        Ok(())
    }

    fn call<'py>(
        (): &(),
        app: &Bound<'py, PyAny>,
        environ: &Bound<'py, PyDict>,
        start_response: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        ffi::call(app, [environ.as_any(), start_response])
    }

    fn end(_: Python<'_>, (): (), _: Seen) {}
}

/// `pre_request` and `post_request`, by way of a Python object (`oxicorn.compat.turn`) that makes another one for each request.
#[derive(Debug)]
pub(crate) struct Hooks(pub(crate) Py<PyAny>);

impl Observer for Hooks {
    type Request = Py<PyAny>;

    fn begin(&self, environ: &Bound<'_, PyDict>, exchange: &Exchange) -> PyResult<Py<PyAny>> {
        let py = environ.py();
        let (head, bytes) = (&exchange.head, exchange.bytes());
        let scheme = match exchange.scheme {
            Scheme::Http => intern!(py, "http"),
            Scheme::Https => intern!(py, "https"),
        };
        let minor = match head.version {
            Version::Http10 => 0,
            Version::Http11 => 1,
        };
        let peer = match exchange.peer {
            Peer::Ip(address) => Some((address.ip().to_string(), address.port())),
            Peer::Unix => None,
        };
        let facts = (
            environ,
            ffi::latin1(py, head.method.of(bytes))?,
            ffi::latin1(py, head.target.of(bytes))?,
            minor,
            scheme,
            fields(py, exchange)?,
            peer,
        );
        Ok(self.0.bind(py).call1(facts)?.unbind())
    }

    fn call<'py>(
        request: &Py<PyAny>,
        app: &Bound<'py, PyAny>,
        environ: &Bound<'py, PyDict>,
        start_response: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = app.py();
        request
            .bind(py)
            .call_method1(intern!(py, "call"), (app, environ, start_response))
    }

    fn end(py: Python<'_>, request: Py<PyAny>, seen: Seen) {
        let ended = request.call_method1(
            py,
            intern!(py, "end"),
            (seen.sent, seen.begun, seen.keep_alive),
        );
        if let Err(error) = ended {
            log::error!(target: "oxicorn", "post_request cannot be called: {error}");
        }
    }
}

/// Names, in capitals, and values, in the order in which they came.
fn fields<'py>(py: Python<'py>, exchange: &Exchange) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for field in &exchange.head.fields {
        let (name, value) = (
            field.name.of(exchange.bytes()),
            field.value.of(exchange.bytes()),
        );
        let name = ffi::latin1(py, &name.to_ascii_uppercase())?;
        list.append((name, ffi::latin1(py, value)?))?;
    }
    Ok(list)
}
