//! The response head, of WSGI and ASGI alike: checking what the application gave, adding what is missing, and the framing of
//! the body. Pure: no Python objects, no sockets; only
//! its errors are Python's, since the application gets them. Invariant: what lies in the buffer is always a valid head so
//! far; a head that is refused is thrown away whole.

use oxicorn_engine::Exchange;
use oxicorn_http1::response;
use oxicorn_logs::http_date;
use pyo3::PyResult;
use pyo3::exceptions::PyValueError;

/// The page for a request that the application failed to answer. The connection may go on.
pub(crate) const ERROR_PAGE: &[u8] =
    b"500 Internal Server Error\nThe application failed to answer this request.\n";

/// Blocks up to this size are copied behind what goes before them: cheaper than a system call with several parts.
pub(crate) const SMALL: usize = 8 * 1024;

/// Sending more than this at once lets other threads run meanwhile, and is not copied for a slow client.
pub(crate) const BIG: usize = 64 * 1024;

/// How the body will be delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none: HEAD, 204, 304.
    None,
    /// By its length; how much of it is still to come.
    Length(u64),
    /// Chunked.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Framing {
    /// The part of `block` that the promised length still has room for, and the framing of what follows it. What was promised
    /// and is not given is noticed at the end.
    pub(crate) fn take<'b>(self, block: &'b [u8], exchange: &Exchange) -> (Self, &'b [u8]) {
        match self {
            Self::None => (self, &[]),
            Self::Chunked | Self::UntilClose => (self, block),
            Self::Length(left) => {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                if len < block.len() {
                    log::warn!(
                        target: "oxicorn",
                        "The application gave more than its Content-Length for {}; the rest was cut",
                        String::from_utf8_lossy(&exchange.line())
                    );
                }
                let rest = Self::Length(left - len as u64);
                (rest, block.get(..len).unwrap_or_default())
            }
        }
    }
}

/// What the application said in `start_response`, apart from the encoded bytes themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The application's Content-Length.
    length: Option<u64>,
    /// The application asked for `Connection: close`.
    pub(crate) close: bool,
    has_date: bool,
    has_server: bool,
}

/// The fields that every response has beside the application's.
#[derive(Debug)]
pub(crate) struct Always {
    server: bool,
    date: bool,
    /// Encoded.
    more: Vec<u8>,
    /// The field with the request's id.
    request_id: Option<String>,
}

impl Always {
    /// `server`, `date`: whether the server says its name and the time, unless `more` does.
    pub(crate) fn new(server: bool, date: bool, more: &[(String, String)]) -> Self {
        let has = |known| {
            more.iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(known))
        };
        let lines = more
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        Self {
            server: server && !has("server"),
            date: date && !has("date"),
            more: lines.collect::<String>().into_bytes(),
            request_id: None,
        }
    }

    /// And the request's own field `name`, which is its id, unless the application answers with one.
    pub(crate) fn with_request_id(self, name: Option<String>) -> Self {
        Self {
            request_id: name,
            ..self
        }
    }

    /// The same at a time, in seconds.
    pub(crate) fn at(&self, unix: i64) -> Ours<'_> {
        Ours { always: self, unix }
    }
}

/// The fields that every response of one second has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'a> {
    always: &'a Always,
    unix: i64,
}

fn refused<T>(message: String) -> PyResult<T> {
    Err(PyValueError::new_err(message))
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

impl Head {
    /// Begins anew with a status such as `200 OK`.
    pub(crate) fn start(&mut self, encoded: &mut Vec<u8>, status: &[u8]) -> PyResult<()> {
        *self = Self::default();
        encoded.clear();
        if status == b"200 OK" {
            self.status = 200;
            encoded.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            return Ok(());
        }
        let Some(code) = response::is_status_line(status) else {
            return refused(format!(
                "the status must be three digits, a space and a reason without control characters, not '{}'",
                shown(status)
            ));
        };
        if code < 200 {
            return refused(format!("{code} is not a final status"));
        }
        self.status = code;
        encoded.extend_from_slice(b"HTTP/1.1 ");
        encoded.extend_from_slice(status);
        encoded.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Begins anew with a status code.
    pub(crate) fn start_with(&mut self, encoded: &mut Vec<u8>, status: u16) -> PyResult<()> {
        if status == 200 {
            return self.start(encoded, b"200 OK");
        }
        let line = format!("{status} {}", response::reason(status));
        self.start(encoded, line.as_bytes())
    }

    /// Begins anew with the answer that makes a connection a WebSocket.
    pub(crate) fn start_upgrade(&mut self, encoded: &mut Vec<u8>) {
        *self = Self {
            status: 101,
            ..Self::default()
        };
        encoded.clear();
        encoded.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    }

    /// Completes that answer.
    pub(crate) fn seal_upgrade(&self, exchange: &mut Exchange, ours: Ours<'_>) {
        add_request_id(exchange, ours);
        let encoded = &mut exchange.response.head;
        self.add_ours(encoded, ours);
        finish(encoded, true, true);
        exchange.response.status = self.status;
    }

    /// Begins anew with the head of [`ERROR_PAGE`].
    pub(crate) fn draft_error(&mut self, encoded: &mut Vec<u8>) -> PyResult<()> {
        self.start(encoded, b"500 Internal Server Error")?;
        self.add(encoded, b"Content-Type", b"text/plain; charset=utf-8")
    }

    /// Adds a field. Fields about the connection itself are the server's business (PEP 3333, "hop-by-hop").
    pub(crate) fn add(&mut self, encoded: &mut Vec<u8>, name: &[u8], value: &[u8]) -> PyResult<()> {
        let begin = known(name);
        if begin.is_none() && !response::is_field_name(name) {
            return refused(format!("'{}' is not a header name", shown(name)));
        }
        if !response::is_field_value(value) {
            return refused(format!(
                "the value of header {} has control characters",
                shown(name)
            ));
        }
        let value = value.trim_ascii();
        let is_ours = match begin {
            Some(Begin { is_length, .. }) => is_length && self.note_length(value)?,
            None => self.is_ours(name, value)?,
        };
        if is_ours {
            return Ok(());
        }
        encoded.reserve(name.len() + value.len() + 4);
        match begin {
            Some(Begin { text, .. }) => encoded.extend_from_slice(text),
            None => {
                encoded.extend_from_slice(name);
                encoded.extend_from_slice(b": ");
            }
        }
        encoded.extend_from_slice(value);
        encoded.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Takes note of the fields that matter here. Whether the field is left out.
    fn is_ours(&mut self, name: &[u8], value: &[u8]) -> PyResult<bool> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            2 => return Ok(is("te")),
            4 => self.has_date |= is("date"),
            6 => self.has_server |= is("server"),
            7 => return Ok(is("upgrade") || is("trailer")),
            10 if is("connection") => {
                self.close |= value
                    .split(|&byte| byte == b',')
                    .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
                return Ok(true);
            }
            10 => return Ok(is("keep-alive")),
            14 if is("content-length") => return self.note_length(value),
            16 => return Ok(is("proxy-connection")),
            17 => return Ok(is("transfer-encoding")),
            _ => {}
        }
        Ok(false)
    }

    /// RFC 9110 §8.6: no Content-Length with 1xx and 204.
    fn forbids_length(&self) -> bool {
        self.status < 200 || self.status == 204
    }

    /// Takes note of the promised length. Whether the field is left out.
    fn note_length(&mut self, value: &[u8]) -> PyResult<bool> {
        if self.length.is_some() {
            return refused("Content-Length was given twice".to_owned());
        }
        match number(value) {
            Some(length) => {
                self.length = Some(length);
                Ok(self.forbids_length())
            }
            None => refused(format!(
                "Content-Length '{}' is not a number of bytes",
                shown(value)
            )),
        }
    }

    /// Decides the framing and adds its field. `total`: the body's length, where it is known.
    fn complete(
        &self,
        encoded: &mut Vec<u8>,
        total: Option<u64>,
        is_head: bool,
        http11: bool,
    ) -> Framing {
        if !response::has_body(self.status, is_head) {
            // What a GET would have said, if that is known; an empty body of a HEAD response says nothing.
            if let (true, Some(total @ 1..), None) = (
                is_head && self.status != 204 && self.status != 304,
                total,
                self.length,
            ) {
                push_length(encoded, total);
            }
            return Framing::None;
        }
        match (self.length, total) {
            (Some(length), _) => Framing::Length(length),
            (None, Some(total)) => {
                push_length(encoded, total);
                Framing::Length(total)
            }
            (None, None) if http11 => {
                encoded.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                Framing::Chunked
            }
            (None, None) => Framing::UntilClose,
        }
    }

    /// Completes the head of the response to `exchange`, which says afterwards whether the connection goes on. `total`: the
    /// body's length, where it is known.
    pub(crate) fn seal(
        &self,
        exchange: &mut Exchange,
        total: Option<u64>,
        is_head: bool,
        ours: Ours<'_>,
    ) -> Framing {
        let http11 = exchange.is_http11();
        add_request_id(exchange, ours);
        let encoded = &mut exchange.response.head;
        let framing = self.complete(encoded, total, is_head, http11);
        exchange.keep_alive &= !self.close && framing != Framing::UntilClose;
        self.add_ours(encoded, ours);
        finish(encoded, exchange.keep_alive, http11);
        exchange.response.status = self.status;
        framing
    }

    /// Adds the fields that every response has.
    fn add_ours(&self, encoded: &mut Vec<u8>, Ours { always, unix }: Ours<'_>) {
        let server = always.server && !self.has_server;
        let date = always.date && !self.has_date;
        match (server, date) {
            (true, true) => encoded.extend_from_slice(&server_and_date(unix)),
            (true, false) => encoded.extend_from_slice(SERVER),
            (false, true) => {
                let both = server_and_date(unix);
                encoded.extend_from_slice(both.get(SERVER.len()..).unwrap_or_default());
            }
            (false, false) => {}
        }
        encoded.extend_from_slice(&always.more);
    }
}

/// How one of the two fields begins that nearly every response has.
#[derive(Clone, Copy, Debug)]
struct Begin {
    text: &'static [u8],
    is_length: bool,
}

/// That of `name`, as WSGI and ASGI applications spell it.
#[inline]
fn known(name: &[u8]) -> Option<Begin> {
    let (text, is_length): (&[u8], _) = match name {
        b"Content-Type" => (b"Content-Type: ", false),
        b"content-type" => (b"content-type: ", false),
        b"Content-Length" => (b"Content-Length: ", true),
        b"content-length" => (b"content-length: ", true),
        _ => return None,
    };
    Some(Begin { text, is_length })
}

/// Adds the request's id, if there are ids.
fn add_request_id(exchange: &mut Exchange, Ours { always, .. }: Ours<'_>) {
    let Some(name) = &always.request_id else {
        return;
    };
    let mut encoded = std::mem::take(&mut exchange.response.head);
    if let Some(id) = exchange.head.field(exchange.bytes(), name)
        && !has_field(&encoded, name.as_bytes())
    {
        for part in [name.as_bytes(), b": ", id, b"\r\n"] {
            encoded.extend_from_slice(part);
        }
    }
    exchange.response.head = encoded;
}

/// Whether a head in the making has a field.
fn has_field(encoded: &[u8], name: &[u8]) -> bool {
    let mut lines = encoded.split(|&byte| byte == b'\n');
    lines.any(|line| {
        let found = line.split_at_checked(name.len());
        found.is_some_and(|(begin, rest)| {
            begin.eq_ignore_ascii_case(name) && rest.first() == Some(&b':')
        })
    })
}

/// Says whether the connection goes on, and adds the empty line.
fn finish(encoded: &mut Vec<u8>, keep_alive: bool, http11: bool) {
    if !keep_alive {
        encoded.extend_from_slice(b"Connection: close\r\n");
    } else if !http11 {
        encoded.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    encoded.extend_from_slice(b"\r\n");
}

fn push_length(encoded: &mut Vec<u8>, length: u64) {
    encoded.extend_from_slice(b"Content-Length: ");
    encoded.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    encoded.extend_from_slice(b"\r\n");
}

/// Digits only, and not more than fit (RFC 9110 §8.6).
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

const SERVER: &[u8] = b"Server: oxicorn\r\n";
const DATE: &[u8] = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

type ServerAndDate = [u8; SERVER.len() + DATE.len()];

/// The two fields, made once per second and thread.
fn server_and_date(unix: i64) -> ServerAndDate {
    use std::cell::Cell;
    thread_local! {
        static LAST: Cell<(i64, ServerAndDate)> = const { Cell::new((i64::MIN, [0; _])) };
    }
    LAST.with(|last| {
        let (second, fields) = last.get();
        if second == unix {
            return fields;
        }
        let mut fields = [0; _];
        let parts = [SERVER, b"Date: ", &http_date(unix), b"\r\n"];
        for (to, from) in fields.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        last.set((unix, fields));
        fields
    })
}
