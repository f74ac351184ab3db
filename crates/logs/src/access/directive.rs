//! One `%(name)s` of an access log format: which value, and how it is laid out.
//!
//! For: gunicorn's atoms and the parts of Python's `%` formatting that fit them: flags, width,
//! precision and the conversions `s`, `r`, `d`. Not for: reading the format's text (`parse`).
//!
//! Invariant: precision cuts the raw value, before it is escaped, so no escape is ever cut in two.

use super::record::Record;
use super::user::append_user;
use crate::escape::escape_tail;
use crate::time::LocalTime;

/// The value that a name in the format stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    /// `h`
    Remote,
    /// `u`
    User,
    /// `t`
    Time,
    /// `r`
    RequestLine,
    /// `m`
    Method,
    /// `U`
    Path,
    /// `q`
    Query,
    /// `H`
    Protocol,
    /// `s`
    Status,
    /// `B`, and `b`, which is the same as text
    Sent { text: bool },
    /// `T`
    Seconds,
    /// `M`
    Milliseconds,
    /// `D`
    Microseconds,
    /// `L`
    SecondsAndFraction,
    /// `p`
    Pid,
    /// `{name}i`, and `f`, `a`; the name is in lower case
    RequestHeader(String),
    /// `{name}o`; the name is in lower case
    ResponseHeader(String),
    /// `{name}e`
    Environ(String),
    /// `l`, and every name that gunicorn does not know
    Nothing,
}

impl Atom {
    /// The atom called `name`. As in gunicorn, a name in braces may have any case.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "h" => Self::Remote,
            "u" => Self::User,
            "t" => Self::Time,
            "r" => Self::RequestLine,
            "m" => Self::Method,
            "U" => Self::Path,
            "q" => Self::Query,
            "H" => Self::Protocol,
            "s" => Self::Status,
            "B" => Self::Sent { text: false },
            "b" => Self::Sent { text: true },
            "f" => Self::RequestHeader("referer".to_owned()),
            "a" => Self::RequestHeader("user-agent".to_owned()),
            "T" => Self::Seconds,
            "M" => Self::Milliseconds,
            "D" => Self::Microseconds,
            "L" => Self::SecondsAndFraction,
            "p" => Self::Pid,
            _ => Self::in_braces(name).unwrap_or(Self::Nothing),
        }
    }

    fn in_braces(name: &str) -> Option<Self> {
        let (name, family) = name.strip_prefix('{')?.rsplit_once('}')?;
        match family {
            "i" | "I" => Some(Self::RequestHeader(name.to_ascii_lowercase())),
            "o" | "O" => Some(Self::ResponseHeader(name.to_ascii_lowercase())),
            "e" | "E" => Some(Self::Environ(name.to_owned())),
            _ => None,
        }
    }

    /// Whether `d` can print it.
    pub(super) const fn is_number(&self) -> bool {
        matches!(self, Self::Status | Self::Sent { .. }) || self.is_python_int()
    }

    /// Whether gunicorn has an `int` here, which `r` prints without quotes.
    const fn is_python_int(&self) -> bool {
        matches!(
            self,
            Self::Sent { text: false } | Self::Seconds | Self::Milliseconds | Self::Microseconds
        )
    }

    /// Whether bytes that we did not make ourselves may be in it.
    const fn is_foreign(&self) -> bool {
        !matches!(
            self,
            Self::Time | Self::SecondsAndFraction | Self::Pid | Self::Nothing
        ) && !self.is_number()
    }

    /// Appends the value as it is, or a dash.
    fn append_raw(&self, record: &Record<'_>, clock: &mut LocalTime, out: &mut Vec<u8>) {
        if !self.append(record, clock, out) {
            out.push(b'-');
        }
    }

    /// Appends the value as it is; false, with nothing appended, if there is none.
    pub(super) fn append(
        &self,
        record: &Record<'_>,
        clock: &mut LocalTime,
        out: &mut Vec<u8>,
    ) -> bool {
        match self {
            Self::Remote => {
                out.extend_from_slice(record.remote);
                return !record.remote.is_empty();
            }
            Self::User => return append_name(record, out),
            Self::Time => out.extend_from_slice(clock.at(record.now_unix).as_bytes()),
            Self::RequestLine => out.extend_from_slice(record.request_line),
            Self::Method => out.extend_from_slice(record.method),
            Self::Path => out.extend_from_slice(record.path),
            Self::Query => out.extend_from_slice(record.query),
            Self::Protocol => out.extend_from_slice(record.protocol.as_bytes()),
            Self::Status => append_number(record.status, out),
            Self::Sent { .. } => match record.body_bytes {
                Some(sent) => append_number(sent, out),
                None => return false,
            },
            Self::Seconds => append_number(record.duration.as_secs(), out),
            Self::Milliseconds => append_number(record.duration.as_millis(), out),
            Self::Microseconds => append_number(record.duration.as_micros(), out),
            Self::SecondsAndFraction => append_seconds(record, out),
            Self::Pid => append_pid(record.pid, out),
            Self::RequestHeader(name) => return append_known((record.header_in)(name), out),
            Self::ResponseHeader(name) => return append_known((record.header_out)(name), out),
            Self::Environ(name) => return append_known((record.environ)(name), out),
            Self::Nothing => return false,
        }
        true
    }
}

fn append_known(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

fn append_number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn append_pid(pid: u32, out: &mut Vec<u8>) {
    out.push(b'<');
    append_number(pid, out);
    out.push(b'>');
}

fn append_name(record: &Record<'_>, out: &mut Vec<u8>) -> bool {
    let credentials = (record.header_in)("authorization");
    credentials.is_some_and(|credentials| append_user(credentials, out))
}

/// Seconds with six decimals.
fn append_seconds(record: &Record<'_>, out: &mut Vec<u8>) {
    append_number(record.duration.as_secs(), out);
    out.push(b'.');
    let start = out.len();
    append_number(record.duration.subsec_micros(), out);
    pad_front(out, start, 6, b'0');
}

/// How a value is turned into text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Conversion {
    /// `s`: as it is.
    #[default]
    Text,
    /// `r`, `a`: text in single quotes, numbers as they are.
    Quoted,
    /// `d`, `i`, `u`: a decimal number.
    Number,
}

/// Flags, width, precision and conversion, as Python's `%` operator takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) left: bool,
    pub(super) zero: bool,
    /// `+` or a space, which stands before a number.
    pub(super) sign: Option<u8>,
    /// The least number of characters.
    pub(super) width: usize,
    /// The most characters of a text, the fewest digits of a number.
    pub(super) precision: Option<usize>,
    pub(super) conversion: Conversion,
}

impl Layout {
    /// Lays out `out[start..]`, the raw text of `atom`.
    fn apply(self, atom: &Atom, out: &mut Vec<u8>, start: usize) {
        match self.conversion {
            Conversion::Number => self.number(out, start),
            Conversion::Text => self.text(atom, out, start),
            Conversion::Quoted if atom.is_python_int() => self.text(atom, out, start),
            Conversion::Quoted => self.quoted(out, start),
        }
        let padding = self.width.saturating_sub(characters(&out[start..]));
        if self.left {
            out.resize(out.len() + padding, b' ');
        } else {
            pad_front(out, start, out.len() - start + padding, b' ');
        }
    }

    fn text(self, atom: &Atom, out: &mut Vec<u8>, start: usize) {
        self.cut(out, start);
        if atom.is_foreign() {
            escape_tail(out, start, None);
        }
    }

    fn quoted(self, out: &mut Vec<u8>, start: usize) {
        self.cut(out, start);
        out.insert(start, b'\'');
        escape_tail(out, start + 1, Some(b'\''));
        out.push(b'\'');
    }

    /// The digits at `start`, which `-` stands for if the number is unknown.
    fn number(self, out: &mut Vec<u8>, start: usize) {
        if out[start..] == *b"-" {
            return;
        }
        pad_front(out, start, self.precision.unwrap_or(0), b'0');
        if self.zero && !self.left {
            let digits = self.width.saturating_sub(usize::from(self.sign.is_some()));
            pad_front(out, start, digits, b'0');
        }
        if let Some(sign) = self.sign {
            out.insert(start, sign);
        }
    }

    fn cut(self, out: &mut Vec<u8>, start: usize) {
        if let Some(limit) = self.precision {
            let length = prefix(&out[start..], limit);
            out.truncate(start + length);
        }
    }
}

/// How many characters UTF-8 `text` has.
fn characters(text: &[u8]) -> usize {
    let begins_one = |byte: &&u8| **byte & 0b1100_0000 != 0b1000_0000;
    text.iter().filter(begins_one).count()
}

/// The length in bytes of the first `limit` characters; a byte that is no UTF-8 counts as one.
fn prefix(text: &[u8], limit: usize) -> usize {
    let lengths = text.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(char::len_utf8);
        valid.chain(chunk.invalid().iter().map(|_| 1))
    });
    lengths.take(limit).sum()
}

/// Puts `fill` before `out[start..]` until that has `length` bytes.
fn pad_front(out: &mut Vec<u8>, start: usize, length: usize, fill: u8) {
    let padding = length.saturating_sub(out.len() - start);
    out.resize(out.len() + padding, fill);
    out[start..].rotate_right(padding);
}

/// An atom with its layout, `None` for a bare `s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) atom: Atom,
    pub(super) layout: Option<Layout>,
}

impl Directive {
    pub(super) fn write(&self, record: &Record<'_>, clock: &mut LocalTime, out: &mut Vec<u8>) {
        let start = out.len();
        self.atom.append_raw(record, clock, out);
        match self.layout {
            Some(layout) => layout.apply(&self.atom, out, start),
            None if self.atom.is_foreign() => escape_tail(out, start, None),
            None => {}
        }
    }
}
