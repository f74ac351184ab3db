//! The two objects of PEP 3333 that are not the request: `wsgi.errors` and `wsgi.file_wrapper`. Invariant: both also work
//! when the application wraps them or ignores what they can do.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use oxicorn_engine::FilePart;
use oxicorn_logs::Sink;
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyAny, PyBytes, PyString, PyType};

use crate::ffi;

/// `wsgi.errors`: writes to the error log.
#[pyclass(frozen, module = "oxicorn._native")]
pub(crate) struct ErrorStream {
    sink: Arc<Sink>,
}

impl ErrorStream {
    pub(crate) fn new(sink: Arc<Sink>) -> Self {
        Self { sink }
    }
}

#[pymethods]
impl ErrorStream {
    /// Writes text to the error log as it is; what cannot be encoded is escaped.
    fn write(&self, text: &Bound<'_, PyString>) -> PyResult<usize> {
        let bytes = text.call_method1("encode", ("utf-8", "backslashreplace"))?;
        // A log that takes nothing must not break a request; the sink counts what is lost.
        let _ = self.sink.write_all(bytes.extract()?);
        text.len()
    }

    /// Writes each of the texts.
    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(line?.cast::<PyString>()?)?;
        }
        Ok(())
    }

    /// Does nothing: every write is complete.
    #[expect(clippy::unused_self, reason = "a method of the file protocol")]
    fn flush(&self) {}
}

/// `wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling").
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct FileWrapper {
    /// The file-like object.
    #[pyo3(get)]
    filelike: Py<PyAny>,
    /// Bytes per block when the file cannot be sent by the kernel.
    #[pyo3(get)]
    blksize: isize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=8192))]
    fn new(filelike: Py<PyAny>, blksize: isize) -> Self {
        Self { filelike, blksize }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let block = self
            .filelike
            .bind(py)
            .call_method1("read", (self.blksize,))?;
        if block.is_truthy()? {
            Ok(block)
        } else {
            Err(PyStopIteration::new_err(()))
        }
    }

    /// Closes the file-like object, if it can be closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let filelike = self.filelike.bind(py);
        if filelike.hasattr("close")? {
            filelike.call_method0("close")?;
        }
        Ok(())
    }
}

impl FileWrapper {
    /// The rest of the file from its current position, if it is a regular file. `None`: read it block by block.
    pub(crate) fn part(&self, py: Python<'_>) -> Option<FilePart> {
        let filelike = plain_file(self.filelike.bind(py))?;
        let fd: i32 = filelike.call_method0("fileno").ok()?.extract().ok()?;
        // The object's own idea of its position: a buffered reader is ahead of it in the descriptor.
        let offset: u64 = filelike.call_method0("tell").ok()?.extract().ok()?;
        let file = File::from(duplicate(fd)?);
        let metadata = file.metadata().ok()?;
        let len = metadata.len().checked_sub(offset)?;
        metadata.is_file().then_some(FilePart { file, offset, len })
    }
}

static FILE_IO: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static BUFFERED_READER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static BUFFERED_RANDOM: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The file object whose descriptor holds just what its `read` returns: not a compressed or a text file, nor any other that
/// only has a descriptor below it. Temporary files and Django's files wrap theirs as `.file`.
fn plain_file<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    if is_plain(object).ok()? {
        return Some(object.clone());
    }
    let wrapped = object.getattr("file").ok()?;
    is_plain(&wrapped).ok()?.then_some(wrapped)
}

fn is_plain(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    let raw_type = FILE_IO.import(py, "io", "FileIO")?;
    let class = object.get_type();
    if class.is(raw_type) {
        return Ok(true);
    }
    let buffered = class.is(BUFFERED_READER.import(py, "io", "BufferedReader")?)
        || class.is(BUFFERED_RANDOM.import(py, "io", "BufferedRandom")?);
    Ok(buffered && object.getattr("raw")?.get_type().is(raw_type))
}

fn duplicate(fd: i32) -> Option<OwnedFd> {
    let borrowed: BorrowedFd<'_> = ffi::borrow_descriptor(fd)?;
    rustix::io::fcntl_dupfd_cloexec(borrowed, 3).ok()
}

/// `read` of a text file gives `str`; only bytes can be sent.
pub(crate) fn as_bytes<'a, 'py>(block: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyBytes>> {
    block.cast::<PyBytes>().ok()
}
