//! One application call: `start_response`, `write`, and who works on the transaction. It lies in a slot that the
//! callables share; whoever works on it takes it out meanwhile, so that no lock is held over a wait or a call into
//! Python. Invariant: one at a time works on a transaction.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyAssertionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBytes, PyList, PyString};

use crate::crew::Crew;
use crate::ffi::{self, Arguments, Held, Native};
use crate::gevent::hub::{self, Hub};
use crate::head::Head;
use crate::wsgi::transaction::Transaction;

/// What `start_response` and `write` are bound to. One for each thread, used again for every request unless the
/// application kept one of them.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug, Default)]
pub(crate) struct Call {
    slot: Held<Slot>,
    /// The transaction came back, and somebody waits for it.
    returned: Mutex<bool>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    transaction: Option<Transaction>,
    awaited: Option<Awaiting>,
}

/// Who waits for a transaction to come back.
#[derive(Debug)]
enum Awaiting {
    Thread,
    /// What is called to wake it.
    Greenlet(Py<PyAny>),
}

impl Call {
    fn returned(&self) -> MutexGuard<'_, bool> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn put(&self, py: Python<'_>, transaction: Transaction) {
        let awaiting = {
            let mut slot = self.slot.lock(py);
            slot.transaction = Some(transaction);
            slot.awaited.take()
        };
        match awaiting {
            None => {}
            Some(Awaiting::Thread) => {
                *self.returned() = true;
                self.bell.notify_all();
            }
            Some(Awaiting::Greenlet(wake)) => hub::wake(py, &wake),
        }
    }

    #[inline]
    pub(crate) fn take(&self, py: Python<'_>) -> Option<Transaction> {
        self.slot.lock(py).transaction.take()
    }

    /// Takes the transaction when the request is over, also if another thread of the application is still writing.
    pub(crate) fn reclaim(&self, py: Python<'_>, crew: &Crew) -> Transaction {
        loop {
            let hub = {
                let mut slot = self.slot.lock(py);
                if let Some(transaction) = slot.transaction.take() {
                    return transaction;
                }
                let hub = crew.hub();
                if hub.is_none() {
                    slot.awaited = Some(Awaiting::Thread);
                }
                hub
            };
            if let Some(hub) = hub {
                self.let_others_go_on(py, hub);
                continue;
            }
            py.detach(|| {
                let mut returned = self.returned();
                while !std::mem::take(&mut *returned) {
                    returned = self
                        .bell
                        .wait(returned)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            });
        }
    }

    /// Until the transaction may be back: another greenlet has it.
    fn let_others_go_on(&self, py: Python<'_>, hub: &Hub) {
        // Without memory for that: look again until there is.
        if let Ok(wake) = hub.waker(py) {
            {
                let mut slot = self.slot.lock(py);
                if slot.transaction.is_some() {
                    // It came back while the waker was made.
                    return;
                }
                slot.awaited = Some(Awaiting::Greenlet(wake));
            }
            // What it is interrupted with is for the application, which has returned.
            let _ = hub.pause(py);
        }
    }

    /// Runs `work` on the transaction of the request in progress.
    fn with<T>(
        this: Borrowed<'_, '_, PyAny>,
        name: &str,
        work: impl FnOnce(&mut Transaction) -> PyResult<T>,
    ) -> PyResult<T> {
        let (py, call) = (this.py(), this.cast::<Self>()?.get());
        let Some(mut transaction) = call.take(py) else {
            return Err(PyAssertionError::new_err(format!(
                "{name} was called outside its request"
            )));
        };
        let result = work(&mut transaction);
        let result = transaction.take_interruption().and(result);
        call.put(py, transaction);
        result
    }
}

/// `start_response(status, response_headers, exc_info=None)`.
#[derive(Debug)]
pub(crate) struct StartResponse;

impl Native for StartResponse {
    const NAME: &'static std::ffi::CStr = c"start_response";
    const DOC: &'static std::ffi::CStr =
        c"Begins the response (PEP 3333). Returns the write callable.";

    fn call<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = arguments.this.py();
        let (Some(status), Some(headers)) = (
            arguments.take(0, "status"),
            arguments
                .take(1, "response_headers")
                .or_else(|| arguments.take(1, "headers")),
        ) else {
            return Err(PyTypeError::new_err(
                "start_response needs a status and a list of headers",
            ));
        };
        if arguments.positional() + arguments.keywords() > 3 {
            return Err(PyTypeError::new_err(
                "start_response takes at most three arguments",
            ));
        }
        let exc_info = arguments
            .take(2, "exc_info")
            .filter(|value| !value.is_none());
        Call::with(arguments.this, "start_response", |transaction| {
            start(transaction, &status, &headers, exc_info.as_deref())?;
            Ok(transaction.write.bind(py).clone())
        })
    }
}

fn start(
    transaction: &mut Transaction,
    status: &Bound<'_, PyAny>,
    headers: &Bound<'_, PyAny>,
    exc_info: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    match exc_info {
        Some(info) if transaction.begun() => return Err(raise(info)?),
        None if transaction.drafted => {
            return Err(PyAssertionError::new_err(
                "start_response was called a second time without exc_info",
            ));
        }
        _ => {}
    }
    transaction.drafted = false;
    let encoded = &mut transaction.exchange.response.head;
    transaction
        .head
        .start(encoded, text(status, "the status")?)?;
    if let Ok(list) = headers.cast_exact::<PyList>() {
        for index in 0..list.len() {
            add(&mut transaction.head, encoded, &list.get_item(index)?)?;
        }
    } else {
        for item in headers.try_iter()? {
            add(&mut transaction.head, encoded, &item?)?;
        }
    }
    transaction.drafted = true;
    Ok(())
}

#[inline]
fn add(head: &mut Head, encoded: &mut Vec<u8>, item: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some([name, value]) = ffi::pair(item.as_borrowed()) else {
        return Err(PyTypeError::new_err(
            "each response header must be a tuple (name, value)",
        ));
    };
    head.add(
        encoded,
        text(&name, "a header name")?,
        text(&value, "a header value")?,
    )
}

/// A native string as bytes (PEP 3333: `str` with code points below 256).
#[inline]
fn text<'a>(object: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a [u8]> {
    let Ok(string) = object.cast::<PyString>() else {
        let kind = object.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "{what} must be str, not {kind}"
        )));
    };
    ffi::latin1_view(string)
        .ok_or_else(|| PyValueError::new_err(format!("{what} has characters beyond latin-1")))
}

/// The exception of an `exc_info` triple, with its traceback.
fn raise(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let value = exc_info.get_item(1)?;
    if value.is_none() {
        return Ok(PyAssertionError::new_err(
            "the response has begun; exc_info holds no exception",
        ));
    }
    let traceback = exc_info.get_item(2)?;
    if !traceback.is_none() {
        return Ok(PyErr::from_value(
            value.call_method1("with_traceback", (traceback,))?,
        ));
    }
    Ok(PyErr::from_value(value))
}

/// `write(body_data)`: the legacy way to send a block.
#[derive(Debug)]
pub(crate) struct Write;

impl Native for Write {
    const NAME: &'static std::ffi::CStr = c"write";
    const DOC: &'static std::ffi::CStr = c"Sends a block of the response body (PEP 3333).";

    fn call<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = arguments.this.py();
        let block = arguments
            .take(0, "body_data")
            .ok_or_else(|| PyTypeError::new_err("write needs bytes"))?;
        let Ok(block) = block.cast::<PyBytes>() else {
            let kind = block.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "write needs bytes, not {kind}"
            )));
        };
        Call::with(arguments.this, "write", |transaction| {
            if !transaction.drafted {
                return Err(PyAssertionError::new_err(
                    "write was called without a response head",
                ));
            }
            transaction.send_block(&block);
            Ok(())
        })?;
        Ok(py.None().into_bound(py))
    }
}

/// `environ["wsgi.early_hints"](headers)`: sends 103 before the response (RFC 8297), as gunicorn does.
#[derive(Debug)]
pub(crate) struct EarlyHints;

impl Native for EarlyHints {
    const NAME: &'static std::ffi::CStr = c"early_hints";
    const DOC: &'static std::ffi::CStr =
        c"Sends 103 Early Hints with the given headers (RFC 8297).";

    fn call<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = arguments.this.py();
        let Some(headers) = arguments.take(0, "headers") else {
            return Err(PyTypeError::new_err("early_hints needs a list of headers"));
        };
        Call::with(arguments.this, "early_hints", |transaction| {
            let mut encoded = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
            let mut head = Head::default();
            for item in headers.try_iter()? {
                add(&mut head, &mut encoded, &item?)?;
            }
            encoded.extend_from_slice(b"\r\n");
            transaction.send_early(py, &encoded);
            Ok(())
        })?;
        Ok(py.None().into_bound(py))
    }
}
