//! One application call: `start_response`, `write`, and the response on its way out. The transaction lies in a slot that the
//! two callables share; whoever works on it takes it out meanwhile, so that no lock is held over a wait or a call into
//! Python. Invariant: a response head that was sent is never replaced, and nothing is sent after an ending.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use oxicorn_engine::{Exchange, FilePart, Flow, Now, Shared, wait_writable};
use oxicorn_http1::response;
use pyo3::exceptions::{PyAssertionError, PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyAny, PyBytes, PyList, PyString};

use crate::crew::Crew;
use crate::ffi::{self, Arguments, Held, Native};
use crate::gevent::hub::{self, Hub};
use crate::head::{BIG, Framing, Head, SMALL};

/// Bytes given to the engine at once when they may have to be copied: nobody else can use the engine meanwhile.
const SLICE: usize = 128 * 1024;

/// A response in the making, with the request it answers.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) exchange: Box<Exchange>,
    pub(crate) head: Head,
    /// `start_response` was called.
    pub(crate) drafted: bool,
    /// The head is on its way; set together with it.
    pub(crate) framing: Option<Framing>,
    /// The client left: nothing more needs to be made for it.
    pub(crate) gone: bool,
    /// What ended a wait for the client from outside: for the application, which has been waiting.
    interrupted: Option<Box<PyErr>>,
    /// The request's method is HEAD: no body is sent.
    is_head: bool,
    /// What `start_response` returns.
    pub(crate) write: Py<PyAny>,
    /// When the response began; read again for each later block.
    pub(crate) now: Now,
    crew: &'static Crew,
}

impl Transaction {
    pub(crate) fn new(
        crew: &'static Crew,
        exchange: Box<Exchange>,
        write: Py<PyAny>,
        is_head: bool,
    ) -> Self {
        let head = Head::default();
        Self {
            exchange,
            head,
            drafted: false,
            framing: None,
            gone: false,
            interrupted: None,
            is_head,
            write,
            now: Now::default(),
            crew,
        }
    }

    /// Whether the response head was sent.
    pub(crate) fn begun(&self) -> bool {
        self.framing.is_some()
    }

    /// Completes the head. `total`: the length of the body, where it is known.
    fn begin(&mut self, total: Option<u64>) -> Framing {
        self.now = Now::read();
        self.exchange.keep_alive &= !self.crew.ends_connections();
        let ours = self.crew.always.at(self.now.unix);
        let framing = self
            .head
            .seal(&mut self.exchange, total, self.is_head, ours);
        self.framing = Some(framing);
        framing
    }

    /// Sends the whole body at once, with its length. For responses that are known to be complete.
    pub(crate) fn send_whole(&mut self, object: &Bound<'_, PyBytes>) {
        let framing = self.begin(Some(object.as_bytes().len() as u64));
        self.send_framed(object, framing, true);
    }

    /// Completes the head of a response whose whole body this is, for whoever sends both at once: the head's length, and the
    /// body. A small body is copied behind the head, and none is left.
    pub(crate) fn begin_whole<'b>(&mut self, body: &'b [u8]) -> (usize, &'b [u8]) {
        let framing = self.begin(Some(body.len() as u64));
        let body = self.clip(framing, body);
        let response = &mut self.exchange.response;
        response.body_bytes += body.len() as u64;
        let head = response.head.len();
        if body.len() > SMALL {
            return (head, body);
        }
        response.head.extend_from_slice(body);
        (head, &[])
    }

    /// Sends one block of a body; the head first, if it is the first.
    pub(crate) fn send_block(&mut self, object: &Bound<'_, PyBytes>) {
        let first = !self.begun();
        let framing = self.framing.unwrap_or_else(|| self.begin(None));
        if !first {
            if object.as_bytes().is_empty() {
                return;
            }
            self.now = Now::read();
        }
        self.send_framed(object, framing, first);
    }

    /// The head if `with_head`, the block and its frame, in one system call.
    fn send_framed(&mut self, object: &Bound<'_, PyBytes>, framing: Framing, with_head: bool) {
        let block = self.clip(framing, object.as_bytes());
        self.exchange.response.body_bytes += block.len() as u64;
        let mut buffer = std::mem::take(&mut self.exchange.response.head);
        let head = buffer.len();
        let from = if with_head { 0 } else { head };
        let mut end: &[u8] = b"";
        if framing == Framing::Chunked && !block.is_empty() {
            response::chunk_head(block.len(), &mut buffer);
            end = b"\r\n";
        }
        if block.len() > BIG {
            let before = buffer.get(from..).unwrap_or_default();
            self.send_big(object, [before, block, end]);
        } else if buffer.len() == from {
            self.send(object.py(), &[block]);
        } else if block.len() > SMALL {
            let before = buffer.get(from..).unwrap_or_default();
            self.send(object.py(), &[before, block, end]);
        } else {
            buffer.extend_from_slice(block);
            buffer.extend_from_slice(end);
            let all = buffer.get(from..).unwrap_or_default();
            self.send(object.py(), &[all]);
        }
        buffer.truncate(head);
        self.exchange.response.head = buffer;
    }

    /// Ends the body. The head goes out now if nothing else did.
    pub(crate) fn end(&mut self, py: Python<'_>) {
        if !self.begun() {
            self.begin(Some(0));
            self.send_only_head(py);
        } else if self.framing == Some(Framing::Chunked) {
            self.send(py, &[b"0\r\n\r\n"]);
        }
    }

    /// The part of `block` that the promised length still has room for. What it promised and did not give is noticed at
    /// the end.
    fn clip<'b>(&mut self, framing: Framing, block: &'b [u8]) -> &'b [u8] {
        let (framing, clipped) = framing.take(block, &self.exchange);
        self.framing = Some(framing);
        clipped
    }

    /// A block of which the client may leave much to be sent, between its frame: `object`, of which it is what may be sent,
    /// is kept for the client instead of a copy, if there is room.
    fn send_big(&mut self, object: &Bound<'_, PyBytes>, parts: [&[u8]; 3]) {
        let py = object.py();
        if self.gone || self.crew.is_forked() {
            // As in `send_slice`.
            return;
        }
        if !self.crew.engine().may_keep(&self.exchange) {
            self.send(py, &parts);
            return;
        }
        let mut owner: Option<Shared> = Some(Box::new(PyBackedBytes::from(object.clone())));
        let (crew, exchange, now) = (&self.crew, &self.exchange, self.now);
        let flow = py.detach(|| crew.engine().send_kept(exchange, parts, &mut owner, now));
        drop(owner);
        self.settle(py, flow);
    }

    /// The head alone.
    fn send_only_head(&mut self, py: Python<'_>) {
        let head = std::mem::take(&mut self.exchange.response.head);
        self.send(py, &[&head]);
        self.exchange.response.head = head;
    }

    fn send(&mut self, py: Python<'_>, parts: &[&[u8]]) {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total <= SLICE {
            self.send_slice(py, parts, total);
            return;
        }
        for slice in parts.iter().flat_map(|part| part.chunks(SLICE)) {
            self.send_slice(py, &[slice], slice.len());
        }
    }

    fn send_slice(&mut self, py: Python<'_>, parts: &[&[u8]], total: usize) {
        // A child that the application forked must not write to its parent's connection.
        if self.gone || self.crew.is_forked() {
            return;
        }
        let (crew, exchange, now) = (&self.crew, &self.exchange, self.now);
        let send = || crew.engine().send(exchange, parts, now);
        let flow = if total > BIG { py.detach(send) } else { send() };
        self.settle(py, flow);
    }

    /// Sends a part of a file; the head was sent before.
    pub(crate) fn send_file(&mut self, py: Python<'_>, mut part: FilePart) {
        if let Some(Framing::Length(left)) = self.framing {
            part.len = part.len.min(left);
            self.framing = Some(Framing::Length(left - part.len));
        }
        self.exchange.response.body_bytes += part.len;
        if self.gone || self.crew.is_forked() {
            return;
        }
        let (crew, exchange, now) = (&self.crew, &self.exchange, self.now);
        // The disk may be slow.
        let flow = py.detach(|| crew.with_engine(|engine| engine.send_file(exchange, part, now)));
        self.settle(py, flow);
    }

    /// Sends the head alone; a file follows.
    pub(crate) fn send_head(&mut self, py: Python<'_>, total: u64) -> Framing {
        let framing = self.begin(Some(total));
        self.send_only_head(py);
        framing
    }

    fn settle(&mut self, py: Python<'_>, flow: Flow) {
        match flow {
            Flow::Clear => {}
            Flow::Gone => self.gone = true,
            Flow::Full => self.hold_back(py),
        }
    }

    /// The queue is full: the application waits until the client has read some of it.
    fn hold_back(&mut self, py: Python<'_>) {
        // The client's time is not the application's.
        self.crew.engine().hold(&self.exchange);
        let drained = match self.crew.hub() {
            None => self.wait_for_client(py),
            Some(hub) => match hub.wait_for_room(py, self.crew, &self.exchange) {
                Ok(drained) => drained,
                Err(error) => {
                    // What was to be sent is queued all the same.
                    self.interrupted = Some(Box::new(error));
                    true
                }
            },
        };
        self.crew.engine().release(&self.exchange, Now::read());
        if !drained {
            self.exchange.keep_alive = false;
            self.gone = true;
        }
    }

    /// Whether `error` is how the end of `graceful_timeout` reaches the application, which was said before.
    pub(crate) fn is_cut_by(&self, py: Python<'_>, error: &PyErr) -> bool {
        self.crew.cuts_requests() && !error.is_instance_of::<PyException>(py)
    }

    /// What is to be raised by the call that had to wait.
    pub(crate) fn take_interruption(&mut self) -> PyResult<()> {
        self.interrupted.take().map_or(Ok(()), |error| Err(*error))
    }

    /// Whether the client has taken enough of the queue.
    fn wait_for_client(&self, py: Python<'_>) -> bool {
        let exchange = &self.exchange;
        loop {
            let (socket, timeout) = {
                let mut engine = self.crew.engine();
                (engine.socket(exchange), engine.write_timeout())
            };
            let Some(socket) = socket else { return false };
            match py.detach(|| wait_writable(&socket, timeout)) {
                Ok(true) => {}
                Ok(false) => {
                    log::info!(target: "oxicorn", "Closed: {} does not read its response", exchange.peer);
                    return false;
                }
                Err(error) => {
                    log::warn!(target: "oxicorn", "Waiting for {} failed: {error}", exchange.peer);
                    return false;
                }
            }
            let flow = self
                .crew
                .with_engine(|engine| engine.flush_exchange(exchange, Now::read()));
            match flow {
                Flow::Clear => return true,
                Flow::Gone => return false,
                Flow::Full => {}
            }
        }
    }
}

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
            // HTTP/1.0 has no interim responses, and after the head there is no "early".
            if !transaction.begun() && transaction.exchange.is_http11() {
                transaction.send(py, &[&encoded]);
            }
            Ok(())
        })?;
        Ok(py.None().into_bound(py))
    }
}
