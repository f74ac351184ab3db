//! `send`: from messages to bytes. The head waits for the first block of the body, so that both leave in one write. Invariant:
//! messages in a wrong order change nothing that was sent.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use oxicorn_engine::{Ending, FilePart, Flow, Now, Shared};
use oxicorn_http1::response;
use pyo3::exceptions::{PyConnectionResetError, PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyAny, PyBytes, PyDict, PyList, PyString};

use crate::asgi::awaitable::Room;
use crate::asgi::cycle::{Cycle, Stage, State, request_of};
use crate::asgi::driver::Driver;
use crate::ffi::{self, Arguments, Native};
use crate::head::{BIG, ERROR_PAGE, Framing, Head, SMALL};

/// `send(message)`.
#[derive(Debug)]
pub(crate) struct Send;

impl Native for Send {
    const NAME: &'static std::ffi::CStr = c"send";
    const DOC: &'static std::ffi::CStr = c"Sends an event of the response (ASGI HTTP spec).";

    fn call<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = arguments.this.py();
        let Some(message) = arguments.take(0, "message") else {
            return Err(PyTypeError::new_err("send needs a message"));
        };
        let bound = arguments.this.cast::<Cycle>()?;
        let cycle = bound.get();
        let flow = cycle.with(py, |state| state.hear(&message, cycle.driver))?;
        if flow == Said::Draft {
            cycle.driver.hold_head(&bound)?;
        }
        match flow {
            Said::Clear | Said::Draft => Ok(cycle.driver.sent(py)),
            Said::Full => {
                let room = Room(bound.to_owned().unbind());
                Ok(Bound::new(py, room)?.into_any())
            }
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Done.
    Clear,
    /// The head waits for what follows.
    Draft,
    /// Done, and the client has to be waited for.
    Full,
}

impl State {
    fn hear(&mut self, message: &Bound<'_, PyAny>, driver: &Driver) -> PyResult<Said> {
        let Ok(message) = message.cast::<PyDict>() else {
            let kind = message.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "a message must be a dict, not {kind}"
            )));
        };
        let kind = kind_of(message)?;
        let kind = kind.to_str()?;
        if self.socket.is_some() {
            return self.hear_socket(message, kind, driver);
        }
        if self.gone {
            return Err(PyConnectionResetError::new_err("the client left"));
        }
        match (self.stage, kind) {
            (Stage::Silent, "http.response.start") => self.start(message),
            (Stage::Silent, "http.response.early_hint") => self.early_hint(message, driver),
            (Stage::Silent, _) => expected("http.response.start", kind),
            (Stage::Drafted | Stage::Begun(_), "http.response.body") => self.body(message, driver),
            (Stage::Drafted | Stage::Begun(_), "http.response.pathsend") => {
                self.path(message, driver)
            }
            (Stage::Drafted | Stage::Begun(_), _) => expected("http.response.body", kind),
            (Stage::Trailers(framing), "http.response.trailers") => {
                self.end_with(framing, message, driver)
            }
            (Stage::Trailers(_), _) => expected("http.response.trailers", kind),
            (Stage::Complete, _) => Err(PyRuntimeError::new_err(format!(
                "Unexpected ASGI message '{kind}' sent, after response already completed."
            ))),
        }
    }

    /// `http.response.start`.
    pub(crate) fn start(&mut self, message: &Bound<'_, PyDict>) -> PyResult<Said> {
        let py = message.py();
        let Some(exchange) = &mut self.exchange else {
            return Ok(Said::Clear);
        };
        let keys = [
            intern!(py, "type"),
            intern!(py, "status"),
            intern!(py, "headers"),
            intern!(py, "trailers"),
        ];
        let [_, status, fields, trailers] = ffi::values(message, keys)?;
        let Some(status) = status else {
            return Err(PyTypeError::new_err("http.response.start has no status"));
        };
        let encoded = &mut exchange.response.head;
        self.head.start_with(encoded, status.extract()?)?;
        if let Some(fields) = fields {
            add_fields(&mut self.head, encoded, &fields)?;
        }
        self.trailers = trailers.map_or(Ok(false), |wanted| wanted.is_truthy())?;
        self.stage = Stage::Drafted;
        Ok(Said::Draft)
    }

    /// `http.response.body`.
    pub(crate) fn body(&mut self, message: &Bound<'_, PyDict>, driver: &Driver) -> PyResult<Said> {
        let py = message.py();
        let keys = [
            intern!(py, "type"),
            intern!(py, "body"),
            intern!(py, "more_body"),
        ];
        let [_, body, more] = ffi::values(message, keys)?;
        let more = more.map_or(Ok(false), |more| more.is_truthy())?;
        let block = match body {
            Some(body) => bytes_of(body)?,
            None => PyBytes::new(py, b""),
        };
        self.block(&block, more, driver);
        let full = more && !self.gone && self.is_full(driver);
        Ok(if full { Said::Full } else { Said::Clear })
    }

    fn is_full(&self, driver: &Driver) -> bool {
        let full = |exchange| driver.crew.engine().flow(exchange) == Flow::Full;
        self.exchange.as_deref().is_some_and(full)
    }

    /// Completes the head. `total`: the length of the body, where it is known.
    pub(crate) fn begin(&mut self, total: Option<u64>, driver: &Driver, now: Now) -> Framing {
        let open = self.is_open();
        let Some(exchange) = &mut self.exchange else {
            return Framing::None;
        };
        exchange.keep_alive &= !driver.crew.ends_connections();
        if open {
            exchange.keep_alive &= driver.crew.engine().can_skip_rest(exchange);
        }
        let ours = driver.crew.always.at(now.unix);
        self.head.seal(exchange, total, self.is_head, ours)
    }

    /// Sends a block; the head first, if it is the first; ends the response, if it is the last.
    fn block(&mut self, object: &Bound<'_, PyBytes>, more: bool, driver: &Driver) {
        let bytes = object.as_bytes();
        let ends = !more && !self.trailers;
        let now = Now::read();
        let total = ends.then_some(bytes.len() as u64);
        let (framing, first) = match self.stage {
            Stage::Begun(framing) => (framing, false),
            _ => (self.begin(total, driver, now), true),
        };
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        let (rest, block) = framing.take(bytes, exchange);
        exchange.response.body_bytes += block.len() as u64;
        let mut buffer = std::mem::take(&mut exchange.response.head);
        let head = buffer.len();
        let from = if first { 0 } else { head };
        let chunked = framing == Framing::Chunked;
        if chunked && !block.is_empty() {
            response::chunk_head(block.len(), &mut buffer);
        }
        let after = frame_end(chunked, block.is_empty(), ends);
        let flow = if block.len() > BIG {
            let before = buffer.get(from..).unwrap_or_default();
            send_big(self, object, [before, block, after], driver, now)
        } else if block.len() > SMALL {
            let before = buffer.get(from..).unwrap_or_default();
            send(self, &[before, block, after], driver, now)
        } else {
            buffer.extend_from_slice(block);
            buffer.extend_from_slice(after);
            send(self, &[buffer.get(from..).unwrap_or_default()], driver, now)
        };
        buffer.truncate(head);
        if let Some(exchange) = &mut self.exchange {
            exchange.response.head = buffer;
        }
        self.gone |= flow == Flow::Gone;
        self.stage = match (more, self.trailers) {
            (true, _) => Stage::Begun(rest),
            (false, true) => Stage::Trailers(rest),
            (false, false) => Stage::Complete,
        };
        if ends {
            self.end(rest, driver, now);
        }
    }

    /// Everything was sent.
    fn end(&mut self, left: Framing, driver: &Driver, now: Now) {
        let short = matches!(left, Framing::Length(1..)) && !self.gone;
        if let (true, Framing::Length(left), Some(exchange)) = (short, left, &self.exchange) {
            log::error!(
                target: "oxicorn",
                "The application gave {left} bytes less than its Content-Length for {}; the connection was ended",
                request_of(exchange)
            );
        }
        let ending = if short { Ending::Cut } else { Ending::Complete };
        self.stage = Stage::Complete;
        self.finish(driver, ending, now);
    }

    /// Sends the head of a response whose body lets the client wait.
    pub(crate) fn send_head(&mut self, driver: &Driver) {
        if self.stage != Stage::Drafted || self.exchange.is_none() {
            return;
        }
        let framing = self.begin(None, driver, Now::read());
        let flow = self.send_encoded(driver);
        self.gone |= flow == Flow::Gone;
        self.stage = Stage::Begun(framing);
    }

    /// Sends what is encoded of the head.
    pub(crate) fn send_encoded(&mut self, driver: &Driver) -> Flow {
        let Some(exchange) = self.exchange.as_deref() else {
            return Flow::Gone;
        };
        let parts = [&exchange.response.head[..]];
        send(self, &parts, driver, Now::read())
    }

    /// `http.response.pathsend`: the kernel sends the file.
    fn path(&mut self, message: &Bound<'_, PyDict>, driver: &Driver) -> PyResult<Said> {
        let py = message.py();
        let Some(path) = message.get_item(intern!(py, "path"))? else {
            return Err(PyTypeError::new_err("http.response.pathsend has no path"));
        };
        let path: std::path::PathBuf = path.extract()?;
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let shown = path.as_os_str().as_bytes().escape_ascii().to_string();
            return Err(PyTypeError::new_err(format!("'{shown}' is not a file")));
        }
        let framing = if let Stage::Begun(framing) = self.stage {
            framing
        } else {
            let framing = self.begin(Some(metadata.len()), driver, Now::read());
            self.gone |= self.send_encoded(driver) == Flow::Gone;
            framing
        };
        let left = self.send_file(file, metadata.len(), framing, driver);
        self.end(left, driver, Now::read());
        Ok(Said::Clear)
    }

    /// Sends a file as the rest of the body; the framing of what it leaves to be sent.
    fn send_file(&mut self, file: File, len: u64, framing: Framing, driver: &Driver) -> Framing {
        let (len, left) = match framing {
            Framing::None => return framing,
            Framing::Length(promised) => {
                let len = len.min(promised);
                (len, Framing::Length(promised - len))
            }
            Framing::Chunked | Framing::UntilClose => (len, framing),
        };
        let now = Now::read();
        let (mut before, mut after) = (Vec::new(), &b""[..]);
        if framing == Framing::Chunked {
            if len > 0 {
                response::chunk_head(usize::try_from(len).unwrap_or(usize::MAX), &mut before);
            }
            after = frame_end(true, len == 0, true);
            self.gone |= send(self, &[&before], driver, now) == Flow::Gone;
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.response.body_bytes += len;
            let offset = 0;
            let part = FilePart { file, offset, len };
            let flow = driver.crew.engine().send_file(exchange, part, now);
            self.gone |= flow == Flow::Gone;
        }
        if !after.is_empty() {
            self.gone |= send(self, &[after], driver, now) == Flow::Gone;
        }
        left
    }

    /// `http.response.trailers`. Only a chunked body can have some (RFC 9112 §7.1.2).
    fn end_with(
        &mut self,
        framing: Framing,
        message: &Bound<'_, PyDict>,
        driver: &Driver,
    ) -> PyResult<Said> {
        let py = message.py();
        let mut encoded = Vec::new();
        if let Some(fields) = message.get_item(intern!(py, "headers"))? {
            add_fields(&mut Head::default(), &mut encoded, &fields)?;
        }
        let more = message.get_item(intern!(py, "more_trailers"))?;
        let more = more.map_or(Ok(false), |more| more.is_truthy())?;
        self.tail.extend_from_slice(&encoded);
        if more {
            return Ok(Said::Clear);
        }
        let now = Now::read();
        if framing == Framing::Chunked {
            let tail = std::mem::take(&mut self.tail);
            let flow = send(self, &[b"0\r\n", &tail, b"\r\n"], driver, now);
            self.gone |= flow == Flow::Gone;
        }
        self.end(framing, driver, now);
        Ok(Said::Clear)
    }

    /// `http.response.early_hint` (RFC 8297). HTTP/1.0 has no interim responses.
    fn early_hint(&mut self, message: &Bound<'_, PyDict>, driver: &Driver) -> PyResult<Said> {
        let py = message.py();
        let mut encoded = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
        let mut head = Head::default();
        if let Some(links) = message.get_item(intern!(py, "links"))? {
            for link in links.try_iter()? {
                let link = bytes_of(link?)?;
                head.add(&mut encoded, b"link", link.as_bytes())?;
            }
        }
        encoded.extend_from_slice(b"\r\n");
        if let Some(exchange) = &self.exchange
            && exchange.is_http11()
        {
            let flow = driver.crew.engine().send_interim(exchange, &encoded);
            self.gone |= flow == Flow::Gone;
        }
        Ok(Said::Clear)
    }
}

/// The page for a request that the application failed to answer.
pub(crate) fn send_error(state: &mut State, driver: &Driver) {
    let Some(exchange) = &mut state.exchange else {
        return;
    };
    if let Err(error) = state.head.draft_error(&mut exchange.response.head) {
        log::error!(target: "oxicorn", "The error page is broken: {error}");
    }
    let now = Now::read();
    state.begin(Some(ERROR_PAGE.len() as u64), driver, now);
    let is_head = state.is_head;
    if let Some(exchange) = &mut state.exchange {
        let page = if is_head { &b""[..] } else { ERROR_PAGE };
        exchange.response.body_bytes = page.len() as u64;
        let parts = [&exchange.response.head[..], page];
        driver.crew.engine().send(exchange, &parts, now);
    }
    state.stage = Stage::Complete;
    state.finish(driver, Ending::Complete, now);
}

pub(crate) fn send(state: &State, parts: &[&[u8]], driver: &Driver, now: Now) -> Flow {
    match state.exchange.as_deref() {
        Some(exchange) => driver.crew.engine().send(exchange, parts, now),
        None => Flow::Gone,
    }
}

/// A block that is kept for a slow client as it is, if there is room for it.
fn send_big(
    state: &State,
    object: &Bound<'_, PyBytes>,
    parts: [&[u8]; 3],
    driver: &Driver,
    now: Now,
) -> Flow {
    let Some(exchange) = state.exchange.as_deref() else {
        return Flow::Gone;
    };
    if !driver.crew.engine().may_keep(exchange) {
        return send(state, &parts, driver, now);
    }
    let mut owner: Option<Shared> = Some(Box::new(PyBackedBytes::from(object.clone())));
    let py = object.py();
    let flow = py.detach(|| {
        let mut engine = driver.crew.engine();
        engine.send_kept(exchange, parts, &mut owner, now)
    });
    drop(owner);
    flow
}

/// What follows a block of a chunked body.
fn frame_end(chunked: bool, empty: bool, ends: bool) -> &'static [u8] {
    match (chunked, empty, ends) {
        (false, _, _) | (true, true, false) => b"",
        (true, true, true) => response::LAST_CHUNK,
        (true, false, false) => b"\r\n",
        (true, false, true) => b"\r\n0\r\n\r\n",
    }
}

pub(crate) fn expected(what: &str, kind: &str) -> PyResult<Said> {
    Err(PyRuntimeError::new_err(format!(
        "Expected ASGI message '{what}', but got '{kind}'."
    )))
}

fn kind_of<'py>(message: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyString>> {
    let kind = ffi::first_value(message, intern!(message.py(), "type"))?;
    let kind = kind.and_then(|kind| kind.cast_into::<PyString>().ok());
    kind.ok_or_else(|| PyTypeError::new_err("a message must have a 'type' that is a str"))
}

/// `bytes`, or what is as good as that.
#[inline]
pub(crate) fn bytes_of(object: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyBytes>> {
    match object.cast_into::<PyBytes>() {
        Ok(bytes) => Ok(bytes),
        Err(other) => copied(other.into_inner()),
    }
}

#[cold]
fn copied(object: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyBytes>> {
    if object.is_instance_of::<PyString>() || !is_buffer(&object)? {
        let kind = object.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "bytes are needed, not {kind}"
        )));
    }
    let py = object.py();
    let made = py.get_type::<PyBytes>().call1((object,))?;
    Ok(made.cast_into::<PyBytes>()?)
}

fn is_buffer(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    let view = py.get_type::<pyo3::types::PyMemoryView>();
    let array = py.get_type::<pyo3::types::PyByteArray>();
    Ok(object.is_instance(&view)? || object.is_instance(&array)?)
}

fn add_fields(head: &mut Head, encoded: &mut Vec<u8>, fields: &Bound<'_, PyAny>) -> PyResult<()> {
    let mut add = |field: &Bound<'_, PyAny>| {
        let (name, value) = pair_of(field)?;
        head.add(encoded, name.as_bytes(), value.as_bytes())
    };
    // A list, which it nearly always is, needs no iterator.
    match fields.cast::<PyList>() {
        Ok(list) => list.iter().try_for_each(|field| add(&field)),
        Err(_) => fields.try_iter()?.try_for_each(|field| add(&field?)),
    }
}

/// A field's name and value.
type Pair<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// The fields that the application gives.
pub(crate) fn pairs<'py>(
    fields: &Bound<'py, PyAny>,
) -> PyResult<impl Iterator<Item = PyResult<Pair<'py>>>> {
    Ok(fields.try_iter()?.map(|field| pair_of(&field?)))
}

fn pair_of<'py>(field: &Bound<'py, PyAny>) -> PyResult<Pair<'py>> {
    let (name, value) = match ffi::pair(field.as_borrowed()) {
        Some([name, value]) => (name.to_owned(), value.to_owned()),
        None if field.len()? == 2 => (field.get_item(0)?, field.get_item(1)?),
        None => {
            return Err(PyTypeError::new_err(
                "a header must be a pair of name and value",
            ));
        }
    };
    Ok((bytes_of(name)?, bytes_of(value)?))
}
