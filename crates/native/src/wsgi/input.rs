//! `wsgi.input`. Bodies are complete before the application is called, so the interpreter's own streams serve: `BytesIO` for
//! a body in memory (it shares the bytes, nothing is copied), a buffered file reader for a spooled one. For requests without
//! a body there is one shared object that is always at its end. Invariant: reading never blocks on the network.

use std::os::fd::IntoRawFd;

use oxicorn_engine::{Body, Exchange};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyAny, PyBytes, PyList, PyTuple, PyType};

static BYTES_IO: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static FDOPEN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Bytes read from a spool file at once.
const BUFFER: usize = 64 * 1024;

/// The body of `exchange` as a stream; takes it out.
pub(crate) fn stream<'py>(py: Python<'py>, exchange: &mut Exchange) -> PyResult<Bound<'py, PyAny>> {
    match std::mem::take(&mut exchange.body) {
        // Open ones are for asynchronous applications.
        Body::Empty | Body::Open => Ok(Bound::new(py, EmptyInput)?.into_any()),
        Body::Inline(span) => bytes_io(py, span.of(exchange.bytes())),
        Body::Memory(bytes) => bytes_io(py, &bytes),
        Body::File(file, _) => {
            let fdopen = FDOPEN.import(py, "os", "fdopen")?;
            let reader = fdopen.call1((file.into_raw_fd(), "rb", BUFFER))?;
            reader.call_method1("seek", (0,))?;
            Ok(reader)
        }
    }
}

fn bytes_io<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    BYTES_IO
        .import(py, "io", "BytesIO")?
        .call1((PyBytes::new(py, bytes),))
}

/// A stream at its end.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct EmptyInput;

#[pymethods]
#[expect(
    clippy::unused_self,
    reason = "methods of the file protocol; there is nothing to read"
)]
impl EmptyInput {
    /// Always `b""`.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> Bound<'py, PyBytes> {
        let _ = size;
        PyBytes::new(py, b"")
    }

    /// Always `b""`.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> Bound<'py, PyBytes> {
        let _ = size;
        PyBytes::new(py, b"")
    }

    /// Always an empty list.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> Bound<'py, PyList> {
        let _ = hint;
        PyList::empty(py)
    }

    /// An iterator over no lines.
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyTuple::empty(py).try_iter()?.into_any())
    }
}
