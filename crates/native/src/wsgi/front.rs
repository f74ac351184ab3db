//! What the servers in front say below HTTP, as environ entries: the ends of the client's connection from a PROXY header, and
//! the variables of a uwsgi packet. Invariant: no variable takes the place of an entry about the interpreter (`wsgi.*`).

use oxicorn_edge::uwsgi;
use oxicorn_engine::Exchange;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::ffi;

/// The entries that a PROXY header adds, as gunicorn's. `REMOTE_ADDR` and `REMOTE_PORT` are those of every request.
pub(super) fn set_origin(environ: &Bound<'_, PyDict>, exchange: &Exchange) -> PyResult<()> {
    let Some(origin) = exchange.origin else {
        return Ok(());
    };
    let py = environ.py();
    environ.set_item(intern!(py, "PROXY_PROTOCOL"), origin.protocol.name())?;
    let Some(destination) = origin.destination else {
        return Ok(());
    };
    let address = destination.ip().to_canonical().to_string();
    environ.set_item(intern!(py, "PROXY_ADDR"), address)?;
    environ.set_item(intern!(py, "PROXY_PORT"), destination.port().to_string())
}

/// The variables of a packet that are no fields, as they are. The method is the engine's to say. Returns `SCRIPT_NAME`.
pub(super) fn set_parameters(
    environ: &Bound<'_, PyDict>,
    exchange: &Exchange,
) -> PyResult<Option<Vec<u8>>> {
    let py = environ.py();
    let packet = exchange.packet();
    for (name, value) in uwsgi::parameters(packet).filter(|(name, _)| *name != b"REQUEST_METHOD") {
        environ.set_item(ffi::latin1(py, name)?, ffi::latin1(py, value)?)?;
    }
    Ok(uwsgi::value(packet, b"SCRIPT_NAME").map(<[u8]>::to_vec))
}
