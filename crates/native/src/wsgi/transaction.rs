//! A response on its way out: its head, its blocks, and what becomes of the client meanwhile. Not who may work on it, which is
//! the call's. Invariant: a response head that was sent is never replaced, and nothing is sent after an ending.

use std::time::{Duration, Instant};

use oxicorn_engine::{Exchange, FilePart, Flow, Now, Shared, wait_writable};
use oxicorn_http1::response;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyAny, PyBytes};

use crate::crew::Crew;
use crate::head::{BIG, Framing, Head, SMALL};

/// Bytes given to the engine at once when they may have to be copied: nobody else can use the engine meanwhile.
const SLICE: usize = 128 * 1024;

/// An application that gives its blocks faster than this has the next one soon.
const QUICK: Duration = Duration::from_micros(100);

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
    /// When the last block came of a body that comes block by block.
    paced: Option<Instant>,
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
            paced: None,
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
        self.send_framed(object, framing, true, false);
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
        let soon = self.is_quick() && !first;
        self.send_framed(object, framing, first, soon);
    }

    /// Whether the application came with this block so soon after the last one that the next is to be expected at once.
    fn is_quick(&mut self) -> bool {
        let now = Instant::now();
        let before = self.paced.replace(now);
        before.is_some_and(|before| now.duration_since(before) < QUICK)
    }

    /// The head if `with_head`, the block and its frame, in one system call; if `soon`, perhaps with the next block.
    fn send_framed(
        &mut self,
        object: &Bound<'_, PyBytes>,
        framing: Framing,
        with_head: bool,
        soon: bool,
    ) {
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
        } else if soon && block.len() <= SMALL {
            let before = buffer.get(from..).unwrap_or_default();
            self.send_soon(object.py(), &[before, block, end]);
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

    /// Sends an interim response. HTTP/1.0 has none, and after the head there is no "early".
    pub(crate) fn send_early(&mut self, py: Python<'_>, head: &[u8]) {
        if !self.begun() && self.exchange.is_http11() {
            self.send(py, &[head]);
        }
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

    /// As [`send`](Transaction::send), perhaps together with the next block.
    fn send_soon(&mut self, py: Python<'_>, parts: &[&[u8]]) {
        // As in `send_slice`.
        if self.gone || self.crew.is_forked() {
            return;
        }
        let flow = self.crew.send_soon(&self.exchange, parts, self.now);
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
