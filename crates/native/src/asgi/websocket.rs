//! WebSocket (ASGI WebSocket spec 2.4) over exchanges: the handshake, messages, the end; a WebSocket that the application
//! denies is answered as any request. The protocol itself is the engine's. Invariant: the application is told of the end
//! exactly as often as it asks, and the exchange is given back as soon as there is one, also if it does not ask.

use oxicorn_engine::{Body, Disconnect, Ending, Exchange, Flow, Heard, Now};
use oxicorn_http1::Version;
use oxicorn_websocket::{ABNORMAL, Code, Kind, Opening, Refusal, is_asked};
use pyo3::exceptions::{PyConnectionResetError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBytes, PyDict, PyString};

use crate::asgi::cycle::{Stage, State, is_cancelled, is_farewell, request_of};
use crate::asgi::driver::Driver;
use crate::asgi::send::{Said, bytes_of, expected, pairs, send, send_error};
use crate::ffi;
use crate::head::BIG;
use crate::wsgi::described;

/// The code of a close frame for which the application names none.
const NORMAL: u16 = 1000;

/// How far the WebSocket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The application has to accept.
    Opening,
    /// It answers with a response instead.
    Denied,
    /// Messages go both ways.
    Open,
    /// The application has closed or rejected it.
    Closed,
}

/// What a request has besides if it asks for a WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    phase: Phase,
    /// The application has got `websocket.connect`.
    connected: bool,
    /// A message that came before the end and was not asked for.
    ahead: Option<Py<PyAny>>,
    end: Option<Disconnect>,
    /// The request, for the log when its exchange is no more.
    name: String,
}

impl Socket {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Opening,
            connected: false,
            ahead: None,
            end: None,
            name: String::new(),
        }
    }

    fn end_with(&mut self, code: u16, reason: &str) {
        let reason = reason.to_owned();
        self.end.get_or_insert(Disconnect { code, reason });
    }
}

/// Whether `exchange` asks for a WebSocket. HTTP/1.0 cannot (RFC 9110 §7.8), and one with a body is served as what else it
/// is.
pub(crate) fn is_wanted(exchange: &Exchange) -> bool {
    let head = &exchange.head;
    head.upgrade
        && head.version == Version::Http11
        && matches!(exchange.body, Body::Empty)
        && is_asked(fields(exchange))
}

fn fields(exchange: &Exchange) -> impl Iterator<Item = (&[u8], &[u8])> {
    let bytes = exchange.bytes();
    let fields = exchange.head.fields.iter();
    fields.map(|field| (field.name.of(bytes), field.value.of(bytes)))
}

/// The handshake in `exchange`.
pub(crate) fn opening(exchange: &Exchange) -> Result<Opening<'_>, Refusal> {
    let method = exchange.head.method.of(exchange.bytes());
    Opening::read(method, 1, fields(exchange))
}

/// Answers a handshake that is none.
pub(crate) fn refuse(state: &mut State, refusal: Refusal, driver: &Driver) {
    let Some(exchange) = &mut state.exchange else {
        return;
    };
    let (peer, status) = (exchange.peer, refusal.status());
    log::warn!(target: "oxicorn", "Invalid request from ip={peer}: {refusal} ({status})");
    let encoded = &mut exchange.response.head;
    if let Err(error) = state.head.start_with(encoded, status) {
        log::error!(target: "oxicorn", "A refusal could not be written: {error}");
    }
    let text = format!("{status}: {refusal}\n");
    encoded.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
    for (name, value) in refusal.fields() {
        encoded.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    state.answer(text.as_bytes(), driver);
}

impl State {
    /// The next message of a WebSocket for `receive`, if there is one.
    pub(crate) fn socket_message(
        &mut self,
        py: Python<'_>,
        driver: &Driver,
    ) -> PyResult<Option<Py<PyAny>>> {
        let Some(socket) = &mut self.socket else {
            return Ok(None);
        };
        if !std::mem::replace(&mut socket.connected, true) {
            return event(py, intern!(py, "websocket.connect")).map(|it| Some(it.into()));
        }
        if let Some(message) = socket.ahead.take() {
            return Ok(Some(message));
        }
        let open = socket.phase == Phase::Open;
        match &self.exchange {
            Some(exchange) if open && socket.end.is_none() => {
                return match hear(py, exchange, driver)? {
                    Next::Message(message) => Ok(Some(message)),
                    Next::Nothing => Ok(None),
                    Next::End(end) => {
                        self.end_socket(end, driver);
                        self.disconnect(py).map(Some)
                    }
                };
            }
            Some(exchange) if socket.end.is_none() => {
                if !driver.crew.engine().await_end(exchange) {
                    return Ok(None);
                }
                self.gone = true;
            }
            _ => {}
        }
        self.disconnect(py).map(Some)
    }

    /// `websocket.disconnect`.
    fn disconnect(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let end = self.socket.as_ref().and_then(|socket| socket.end.as_ref());
        let (code, reason) = end.map_or((ABNORMAL, ""), |end| (end.code, &*end.reason));
        let message = event(py, intern!(py, "websocket.disconnect"))?;
        message.set_item(intern!(py, "code"), code)?;
        message.set_item(intern!(py, "reason"), reason)?;
        Ok(message.into())
    }

    /// The client has ended it, or the server. Its exchange is over.
    fn end_socket(&mut self, end: Disconnect, driver: &Driver) {
        if let Some(socket) = &mut self.socket {
            socket.end.get_or_insert(end);
        }
        self.gone = true;
        self.leave(driver);
    }

    /// Gives the exchange back. The task may go on.
    fn leave(&mut self, driver: &Driver) {
        if let (Some(socket), Some(exchange)) = (&mut self.socket, &self.exchange) {
            socket.name = request_of(exchange);
        }
        self.finish(driver, Ending::Complete, Now::read());
    }

    /// The engine has news: if the WebSocket has ended, its exchange is given back although nobody asks.
    pub(crate) fn look_for_end(&mut self, py: Python<'_>, driver: &Driver) -> PyResult<()> {
        let (Some(socket), Some(exchange)) = (&mut self.socket, &self.exchange) else {
            return Ok(());
        };
        if socket.phase != Phase::Open || !driver.crew.engine().has_ended(exchange) {
            return Ok(());
        }
        let end = match hear(py, exchange, driver)? {
            Next::End(end) => end,
            Next::Nothing => return Ok(()),
            Next::Message(message) => {
                socket.ahead = Some(message);
                match hear(py, exchange, driver)? {
                    Next::End(end) => end,
                    Next::Nothing | Next::Message(_) => return Ok(()),
                }
            }
        };
        self.end_socket(end, driver);
        Ok(())
    }

    /// A message of the application about its WebSocket.
    pub(crate) fn hear_socket(
        &mut self,
        message: &Bound<'_, PyDict>,
        kind: &str,
        driver: &Driver,
    ) -> PyResult<Said> {
        let Some(phase) = self.socket.as_ref().map(|socket| socket.phase) else {
            return Ok(Said::Clear);
        };
        let closed = phase == Phase::Closed || self.stage == Stage::Complete;
        if closed {
            return Err(PyRuntimeError::new_err(format!(
                "Unexpected ASGI message '{kind}', after sending 'websocket.close' or response already completed."
            )));
        }
        if self.gone {
            return Err(gone());
        }
        match (phase, kind) {
            (Phase::Opening, "websocket.accept") => self.accept(message, driver),
            (Phase::Opening, "websocket.close") => {
                self.reject(driver);
                Ok(Said::Clear)
            }
            (Phase::Opening, "websocket.http.response.start") => {
                let said = self.start(message)?;
                self.enter(Phase::Denied);
                Ok(said)
            }
            (Phase::Opening, _) => Err(PyRuntimeError::new_err(format!(
                "Expected ASGI message 'websocket.accept', 'websocket.close' or 'websocket.http.response.start' but got '{kind}'."
            ))),
            (Phase::Denied, "websocket.http.response.body") => self.body(message, driver),
            (Phase::Denied, _) => expected("websocket.http.response.body", kind),
            (Phase::Open, "websocket.send") => self.say(message, driver),
            (Phase::Open, "websocket.close") => self.close(message, driver),
            (Phase::Open | Phase::Closed, _) => Err(PyRuntimeError::new_err(format!(
                "Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'."
            ))),
        }
    }

    fn enter(&mut self, phase: Phase) {
        if let Some(socket) = &mut self.socket {
            socket.phase = phase;
        }
    }

    /// `websocket.accept`.
    fn accept(&mut self, message: &Bound<'_, PyDict>, driver: &Driver) -> PyResult<Said> {
        let py = message.py();
        let Some(exchange) = &mut self.exchange else {
            return Ok(Said::Clear);
        };
        if driver.crew.engine().flow(exchange) == Flow::Gone {
            // It was answered already: 504.
            self.gone = true;
            return Err(gone());
        }
        let chosen = given(message, intern!(py, "subprotocol"))?;
        let chosen: Option<String> = chosen.map(|name| name.extract()).transpose()?;
        let (fields, deflate) = {
            let opening = opening(exchange).map_err(|it| PyValueError::new_err(it.text()))?;
            let deflate = driver.deflate.and_then(|policy| opening.deflate(&policy));
            let fields = opening.fields(chosen.as_deref(), deflate.as_ref());
            let fields = fields.map_err(|error| PyValueError::new_err(error.to_string()))?;
            (fields, deflate)
        };
        let encoded = &mut exchange.response.head;
        self.head.start_upgrade(encoded);
        for (name, value) in fields {
            encoded.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(fields) = given(message, intern!(py, "headers"))? {
            for pair in pairs(&fields)? {
                let (name, value) = pair?;
                if !is_ours(name.as_bytes(), chosen.is_some()) {
                    self.head.add(encoded, name.as_bytes(), value.as_bytes())?;
                }
            }
        }
        self.open(deflate, driver);
        Ok(Said::Clear)
    }

    /// The handshake is complete.
    fn open(&mut self, deflate: Option<oxicorn_websocket::deflate::Agreement>, driver: &Driver) {
        let now = Now::read();
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        let ours = driver.crew.always.at(now.unix);
        self.head.seal_upgrade(exchange, ours);
        self.gone |= self.send_encoded(driver) == Flow::Gone;
        if let Some(exchange) = &mut self.exchange {
            driver.crew.engine().upgrade(exchange, deflate, now);
        }
        self.enter(Phase::Open);
    }

    /// `websocket.close` before the handshake is complete (ASGI WebSocket spec, "Close").
    fn reject(&mut self, driver: &Driver) {
        if let Some(exchange) = &mut self.exchange {
            let encoded = &mut exchange.response.head;
            if let Err(error) = self.head.start_with(encoded, 403) {
                log::error!(target: "oxicorn", "A rejection could not be written: {error}");
            }
        }
        self.enter(Phase::Closed);
        self.answer(b"", driver);
    }

    /// `websocket.send`.
    fn say(&mut self, message: &Bound<'_, PyDict>, driver: &Driver) -> PyResult<Said> {
        let py = message.py();
        let flow = if let Some(bytes) = given(message, intern!(py, "bytes"))? {
            let bytes = bytes_of(bytes)?;
            self.say_data(py, Kind::Binary, bytes.as_bytes(), driver)
        } else if let Some(text) = given(message, intern!(py, "text"))? {
            let text = text.cast_into::<PyString>()?;
            self.say_data(py, Kind::Text, text.to_str()?.as_bytes(), driver)
        } else {
            return Err(PyTypeError::new_err(
                "websocket.send has neither bytes nor text",
            ));
        };
        match flow {
            Flow::Clear => Ok(Said::Clear),
            Flow::Full => Ok(Said::Full),
            Flow::Gone => {
                self.gone = true;
                Err(gone())
            }
        }
    }

    fn say_data(&mut self, py: Python<'_>, kind: Kind, data: &[u8], driver: &Driver) -> Flow {
        let Some(exchange) = self.exchange.as_deref_mut() else {
            return Flow::Gone;
        };
        exchange.response.body_bytes += data.len() as u64;
        if data.len() > BIG {
            return py.detach(|| driver.crew.engine().send_message(exchange, kind, data));
        }
        driver.crew.engine().send_message(exchange, kind, data)
    }

    /// `websocket.close`.
    fn close(&mut self, message: &Bound<'_, PyDict>, driver: &Driver) -> PyResult<Said> {
        let py = message.py();
        let code = given(message, intern!(py, "code"))?;
        let code: u16 = code.map_or(Ok(NORMAL), |code| code.extract())?;
        let reason = given(message, intern!(py, "reason"))?;
        let reason: String = reason.map_or(Ok(String::new()), |reason| reason.extract())?;
        let Some(code) = Code::new(code) else {
            return Err(PyValueError::new_err(format!(
                "{code} is no code for a close frame"
            )));
        };
        let closed = self.close_with(code, &reason, driver);
        self.leave(driver);
        if closed {
            self.enter(Phase::Closed);
            return Ok(Said::Clear);
        }
        self.gone = true;
        Err(gone())
    }

    fn close_with(&mut self, code: Code, reason: &str, driver: &Driver) -> bool {
        let (Some(socket), Some(exchange)) = (&mut self.socket, &self.exchange) else {
            return false;
        };
        let closed = driver.crew.engine().close(exchange, code, reason);
        if closed {
            socket.end_with(code.number(), reason);
        }
        closed
    }

    /// Sends a whole response whose head is begun.
    fn answer(&mut self, text: &[u8], driver: &Driver) {
        self.begin(Some(text.len() as u64), driver, Now::read());
        if let Some(exchange) = &mut self.exchange {
            exchange.response.body_bytes = text.len() as u64;
        }
        if let Some(exchange) = self.exchange.as_deref() {
            let parts = [&exchange.response.head[..], text];
            send(self, &parts, driver, Now::read());
        }
        self.stage = Stage::Complete;
        self.leave(driver);
    }

    /// The application has returned `outcome`: what it left undone is done now.
    pub(crate) fn conclude_socket(
        &mut self,
        py: Python<'_>,
        driver: &Driver,
        outcome: &PyResult<Bound<'_, PyAny>>,
    ) {
        let Some(socket) = &self.socket else { return };
        let phase = socket.phase;
        let request = self
            .exchange
            .as_deref()
            .map_or_else(|| socket.name.clone(), request_of);
        let flow = |exchange| driver.crew.engine().flow(exchange);
        let refused = self
            .exchange
            .as_deref()
            .is_some_and(|it| flow(it) == Flow::Gone);
        let left = refused || self.gone;
        let unfinished = self.exchange.is_some() && !left;
        match outcome {
            Err(error) if driver.crew.cuts_requests() && is_cancelled(py, error) => {}
            Err(error) if left && is_farewell(py, error) => {
                log::debug!(target: "oxicorn", "The client of {request} left: {error}");
            }
            Err(error) => log::error!(
                target: "oxicorn",
                "Error handling request {request}\n{}", described(py, error)
            ),
            Ok(_) if phase == Phase::Opening && unfinished => log::error!(
                target: "oxicorn",
                "ASGI callable returned without sending handshake. ({request})"
            ),
            Ok(_) if phase == Phase::Denied && unfinished => log::error!(
                target: "oxicorn",
                "ASGI callable returned without completing response. ({request})"
            ),
            Ok(_) => {}
        }
        let begun = matches!(self.stage, Stage::Begun(_) | Stage::Trailers(_));
        if phase == Phase::Open {
            let code = if outcome.is_ok() {
                Code::NORMAL
            } else {
                Code::INTERNAL
            };
            self.close_with(code, "", driver);
            self.leave(driver);
        } else if begun || refused {
            self.finish(driver, Ending::Cut, Now::read());
        } else if self.exchange.is_some() {
            send_error(self, driver);
        }
    }
}

/// What [`hear`] found.
enum Next {
    Message(Py<PyAny>),
    Nothing,
    End(Disconnect),
}

/// The next message of an open WebSocket.
fn hear(py: Python<'_>, exchange: &Exchange, driver: &Driver) -> PyResult<Next> {
    let mut message = driver.take_message(py);
    let heard = driver
        .crew
        .engine()
        .receive_message(exchange, &mut message, Now::read);
    let next = match heard {
        Heard::Message(kind) => received(py, kind, message.bytes()).map(Next::Message),
        Heard::Pending => Ok(Next::Nothing),
        Heard::Closed(end) => Ok(Next::End(end)),
    };
    driver.keep_message(py, message);
    next
}

/// `websocket.receive`.
fn received(py: Python<'_>, kind: Kind, bytes: &[u8]) -> PyResult<Py<PyAny>> {
    let message = event(py, intern!(py, "websocket.receive"))?;
    match kind {
        Kind::Text => message.set_item(intern!(py, "text"), ffi::utf8(py, bytes)?)?,
        Kind::Binary => message.set_item(intern!(py, "bytes"), PyBytes::new(py, bytes))?,
    }
    Ok(message.into())
}

fn event<'py>(py: Python<'py>, kind: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyDict>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), kind)?;
    Ok(message)
}

/// An entry of a message, unless it is `None`.
fn given<'py>(
    message: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(message.get_item(key)?.filter(|value| !value.is_none()))
}

/// Fields of the handshake that the application does not choose.
fn is_ours(name: &[u8], chosen: bool) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    is("sec-websocket-accept")
        || is("sec-websocket-extensions")
        || (chosen && is("sec-websocket-protocol"))
}

/// What `send` raises when the client is gone.
fn gone() -> PyErr {
    PyConnectionResetError::new_err("the client left")
}
