//! The uwsgi protocol: a request as a packet of variables, as nginx's `uwsgi_pass` sends it.
//!
//! ```text
//!  modifier1 = 0 │ size, 2 bytes │ modifier2 │ variables, `size` bytes          │ body
//!                                              │ length │ name │ length │ value │ …
//! ```
//!
//! Numbers are little-endian. The variables are those of CGI: `HTTP_*` are the fields of the client's
//! request, the others are the front server's own words. [`parse`] makes a [`Head`] of them whose
//! spans lie in the packet; to make field names of variables it writes `-` for `_` in them, in place,
//! which changes nothing for whoever reads the packet again. The length of the body is
//! `CONTENT_LENGTH`, and nothing else. Invariant: the result depends on the bytes of the packet alone.

use std::fmt;
use std::net::SocketAddr;

use oxicorn_http1::{Field, Form, Framing, Head, Span, Version, response};

/// Bytes before the variables.
const FIXED: usize = 4;

/// The most variables of a packet: gunicorn's limit.
const MOST: usize = 1000;

/// Why a packet is no request. The sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// `modifier1` is not 0. That of an HTTP request is a letter.
    Modifier(u8),
    /// A variable that reaches beyond the packet.
    Truncated,
    /// More than 1000 variables.
    TooMany,
    /// No `REQUEST_METHOD`, or one that is no token.
    Method,
    /// No `PATH_INFO`.
    Path,
    /// `HTTP_` without a name behind it, or with one that is no field's.
    FieldName,
    /// A control character in a field.
    FieldByte,
    /// A `CONTENT_LENGTH` that is no number of 63 bits.
    Length,
    /// Two that differ.
    LengthRepeated,
}

impl Malformed {
    /// One of each.
    pub const ALL: [Self; 9] = [
        Self::Modifier(b'G'),
        Self::Truncated,
        Self::TooMany,
        Self::Method,
        Self::Path,
        Self::FieldName,
        Self::FieldByte,
        Self::Length,
        Self::LengthRepeated,
    ];

    /// The status code of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Modifier(modifier) if !modifier.is_ascii_alphabetic() => 501,
            _ => 400,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modifier(letter) if letter.is_ascii_alphabetic() => {
                "not a uwsgi packet; perhaps HTTP, on a socket for uwsgi"
            }
            Self::Modifier(number) => {
                return write!(f, "a uwsgi packet with modifier1 {number} instead of 0");
            }
            Self::Truncated => "a malformed uwsgi packet",
            Self::TooMany => "more than 1000 variables in a uwsgi packet",
            Self::Method => "a uwsgi packet without a valid REQUEST_METHOD",
            Self::Path => "a uwsgi packet without PATH_INFO",
            Self::FieldName => "a uwsgi packet with a malformed HTTP_ variable",
            Self::FieldByte => "a uwsgi packet with a control character in a field",
            Self::Length => "a uwsgi packet with a malformed CONTENT_LENGTH",
            Self::LengthRepeated => "a uwsgi packet with two CONTENT_LENGTHs",
        })
    }
}

impl std::error::Error for Malformed {}

/// One variable: where its name and its value lie in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: Span,
    /// The value.
    pub value: Span,
}

/// The variables of a packet, in their order; ends early where it is malformed.
pub fn variables(packet: &[u8]) -> impl Iterator<Item = Variable> {
    let mut at = FIXED;
    std::iter::from_fn(move || {
        let (variable, next) = variable(packet, at)?;
        at = next;
        Some(variable)
    })
}

/// The variables that are no fields of the client's request, as names and values. What is about the
/// interpreter (`wsgi.input`) is no proxy's to say and is left out.
pub fn parameters(packet: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    variables(packet)
        .map(|variable| (variable.name.of(packet), variable.value.of(packet)))
        .filter(|(name, _)| field_of(name).is_none() && !name.is_empty() && !name.contains(&b'.'))
}

/// The value of the last variable called `name`, if it is not empty.
pub fn value<'p>(packet: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    let named = variables(packet).filter(|variable| variable.name.of(packet) == name);
    named
        .last()
        .map(|variable| variable.value.of(packet))
        .filter(|value| !value.is_empty())
}

/// The client's address, if the packet has one (`REMOTE_ADDR`, `REMOTE_PORT`).
pub fn client(packet: &[u8]) -> Option<SocketAddr> {
    let text = |name| value(packet, name).and_then(|value| std::str::from_utf8(value).ok());
    let address = text(b"REMOTE_ADDR")?.parse().ok()?;
    let port = text(b"REMOTE_PORT").and_then(|port| port.parse().ok());
    Some(SocketAddr::new(address, port.unwrap_or(0)))
}

/// Whether the client's request came over TLS (`HTTPS`, or else uWSGI's and gunicorn's names for the
/// scheme).
pub fn is_https(packet: &[u8]) -> bool {
    let any = |words: &[&str], value: &[u8]| {
        words
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
    };
    let scheme = || value(packet, b"UWSGI_SCHEME").or_else(|| value(packet, b"wsgi.url_scheme"));
    value(packet, b"HTTPS").is_some_and(|value| any(&["on", "1", "true"], value))
        || scheme().is_some_and(|value| any(&["https"], value))
}

/// Reads the packet at the front of `bytes` as a request. `Ok(false)`: more bytes are needed. After
/// `Ok(true)`, `head` has the fields of the client's request, and says that the connection ends with
/// the response; the path is [`value`] of `PATH_INFO`, which is decoded.
///
/// # Errors
/// Why the request is refused. It is final, and nothing after it on the connection may be read.
pub fn parse(bytes: &mut [u8], head: &mut Head) -> Result<bool, Malformed> {
    let Some(&modifier) = bytes.first() else {
        return Ok(false);
    };
    if modifier != 0 {
        return Err(Malformed::Modifier(modifier));
    }
    let Some(&[_, low, high, _]) = bytes.first_chunk::<FIXED>() else {
        return Ok(false);
    };
    let len = FIXED + usize::from(u16::from_le_bytes([low, high]));
    let Some(packet) = bytes.get_mut(..len) else {
        return Ok(false);
    };
    Draft::read(packet, head)?.finish(packet, head)?;
    Ok(true)
}

/// The variables met so far that matter here.
#[derive(Default)]
struct Draft {
    method: Option<Span>,
    path: Option<Span>,
    target: Option<Span>,
    query: Option<Span>,
    length: Option<Span>,
    version: Version,
}

impl Draft {
    fn read(packet: &mut [u8], head: &mut Head) -> Result<Self, Malformed> {
        let mut draft = Self::default();
        let (mut at, mut count) = (FIXED, 0);
        head.fields.clear();
        head.host = None;
        while at < packet.len() {
            let (variable, next) = variable(packet, at).ok_or(Malformed::Truncated)?;
            at = next;
            count += 1;
            if count > MOST {
                return Err(Malformed::TooMany);
            }
            match field_of(variable.name.of(packet)) {
                Some(Known::Field { skip }) => add_field(packet, head, variable, skip)?,
                Some(Known::Length) => draft.note_length(packet, head, variable)?,
                Some(Known::Repetition) => {}
                None => draft.note(packet, variable),
            }
        }
        Ok(draft)
    }

    /// The last one of a name counts.
    fn note(&mut self, packet: &[u8], variable: Variable) {
        let value = Some(variable.value).filter(|value| !value.is_empty());
        match variable.name.of(packet) {
            b"REQUEST_METHOD" => self.method = value,
            b"PATH_INFO" => self.path = value,
            b"REQUEST_URI" => self.target = value,
            b"QUERY_STRING" => self.query = value,
            b"SERVER_PROTOCOL" => {
                self.version = match variable.value.of(packet) {
                    b"HTTP/1.0" => Version::Http10,
                    _ => Version::Http11,
                };
            }
            _ => {}
        }
    }

    fn note_length(
        &mut self,
        packet: &mut [u8],
        head: &mut Head,
        variable: Variable,
    ) -> Result<(), Malformed> {
        if variable.value.is_empty() {
            return Ok(());
        }
        match self.length.replace(variable.value) {
            None => add_field(packet, head, variable, 0),
            Some(earlier) if earlier.of(packet) == variable.value.of(packet) => Ok(()),
            Some(_) => Err(Malformed::LengthRepeated),
        }
    }

    fn finish(self, packet: &[u8], head: &mut Head) -> Result<(), Malformed> {
        head.method = self.method.ok_or(Malformed::Method)?;
        if !response::is_field_name(head.method.of(packet)) {
            return Err(Malformed::Method);
        }
        head.path = self.path.ok_or(Malformed::Path)?;
        head.target = self.target.unwrap_or(head.path);
        head.query = self.query.unwrap_or_default();
        head.framing = match self.length {
            Some(length) => Framing::Length(number(length.of(packet)).ok_or(Malformed::Length)?),
            None => Framing::Empty,
        };
        head.form = Form::Origin;
        head.authority = None;
        head.version = self.version;
        head.keep_alive = false;
        head.expect_continue = false;
        head.upgrade = false;
        head.dropped = 0;
        head.line = Span::default();
        head.len = offset(packet.len());
        Ok(())
    }
}

/// What a variable is of the client's request.
enum Known {
    /// A field, whose name begins so far behind that of the variable.
    Field { skip: usize },
    /// The length of the body.
    Length,
    /// A field that another variable stands for, or that says how the front server got the body.
    Repetition,
}

/// `None`: it is the front server's own word.
fn field_of(name: &[u8]) -> Option<Known> {
    const PREFIX: &[u8] = b"HTTP_";
    let is = |name: &[u8], wanted: &[u8]| {
        let as_sent = name
            .iter()
            .map(|&byte| if byte == b'-' { b'_' } else { byte });
        as_sent.eq(wanted.iter().copied())
    };
    if let Some(field) = name.strip_prefix(PREFIX) {
        let repeated: [&[u8]; 3] = [b"CONTENT_TYPE", b"CONTENT_LENGTH", b"TRANSFER_ENCODING"];
        return if repeated.iter().any(|known| is(field, known)) {
            Some(Known::Repetition)
        } else {
            Some(Known::Field { skip: PREFIX.len() })
        };
    }
    if is(name, b"CONTENT_LENGTH") {
        return Some(Known::Length);
    }
    is(name, b"CONTENT_TYPE").then_some(Known::Field { skip: 0 })
}

fn add_field(
    packet: &mut [u8],
    head: &mut Head,
    variable: Variable,
    skip: usize,
) -> Result<(), Malformed> {
    let Variable { mut name, value } = variable;
    if skip == 0 && value.is_empty() {
        // nginx says so of a request without one.
        return Ok(());
    }
    name.start += offset(skip);
    if let Some(bytes) = packet.get_mut(name.start as usize..name.end as usize) {
        let underscores = bytes.iter_mut().filter(|byte| **byte == b'_');
        underscores.for_each(|byte| *byte = b'-');
    }
    if !response::is_field_name(name.of(packet)) {
        return Err(Malformed::FieldName);
    }
    if !response::is_field_value(value.of(packet)) {
        return Err(Malformed::FieldByte);
    }
    if name.of(packet) == b"HOST" {
        head.host = Some(value);
    }
    head.fields.push(Field { name, value });
    Ok(())
}

/// The variable that begins at `at`, and where the next one begins.
fn variable(packet: &[u8], at: usize) -> Option<(Variable, usize)> {
    let (name, at) = text(packet, at)?;
    let (value, at) = text(packet, at)?;
    Some((Variable { name, value }, at))
}

/// The text at `at`, behind its length, and where it ends.
fn text(packet: &[u8], at: usize) -> Option<(Span, usize)> {
    let length = packet.get(at..)?.first_chunk()?;
    let start = at + length.len();
    let end = start + usize::from(u16::from_le_bytes(*length));
    let span = Span {
        start: offset(start),
        end: offset(end),
    };
    (end <= packet.len()).then_some((span, end))
}

/// A packet has less than 2¹⁷ bytes.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Digits only, of 63 bits at the most.
fn number(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    };
    let number = digits.iter().try_fold(0, add);
    number.filter(|&number| i64::try_from(number).is_ok())
}
