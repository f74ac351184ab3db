//! Access lines of named fields.
//!
//! For: which fields a line has and what they are called. Not for: how they are written (`fields`),
//! or where a value comes from (`directive`).
//!
//! Invariant: every line begins with the same four fields, a name stands in a line once, and a
//! value that there is not is left out, never written as a dash.

use super::directive::Atom;
use super::format::Piece;
use super::record::Record;
use crate::fields::{Line, Notation, plain_name};
use crate::time::LocalTime;

/// A value and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    name: String,
    pub(super) atom: Atom,
}

impl Named {
    /// What there is to know of every request. `request_id`: the field with its id.
    pub(super) fn usual(request_id: Option<&str>) -> Vec<Self> {
        let mut fields: Vec<_> = ["h", "u", "m", "U", "q", "H", "s", "B", "L", "f", "a"]
            .into_iter()
            .filter_map(|name| Self::of(Atom::named(name)))
            .collect();
        fields.extend(request_id.map(|header| Self {
            name: "request_id".to_owned(),
            atom: Atom::RequestHeader(header.to_ascii_lowercase()),
        }));
        fields
    }

    /// The directives of a format, each name once.
    pub(super) fn all_of(pieces: Vec<Piece>) -> Vec<Self> {
        let mut fields: Vec<Self> = Vec::new();
        for piece in pieces {
            let Piece::Directive(directive) = piece else {
                continue;
            };
            let named = Self::of(directive.atom);
            fields.extend(named.filter(|new| fields.iter().all(|known| known.name != new.name)));
        }
        fields
    }

    /// `None` for what every line has anyway, and for what is never there.
    fn of(atom: Atom) -> Option<Self> {
        let name = match &atom {
            Atom::Time | Atom::Pid | Atom::Nothing => return None,
            Atom::Remote => "remote_addr",
            Atom::User => "user",
            Atom::RequestLine => "request",
            Atom::Method => "method",
            Atom::Path => "path",
            Atom::Query => "query",
            Atom::Protocol => "protocol",
            Atom::Status => "status",
            Atom::Sent { .. } => "bytes",
            Atom::Seconds => "duration_s",
            Atom::Milliseconds => "duration_ms",
            Atom::Microseconds => "duration_us",
            Atom::SecondsAndFraction => "duration",
            Atom::RequestHeader(name) if name == "referer" => "referer",
            Atom::RequestHeader(name) if name == "user-agent" => "user_agent",
            Atom::RequestHeader(name) => return Some(Self::within("request", name, &atom)),
            Atom::ResponseHeader(name) => return Some(Self::within("response", name, &atom)),
            Atom::Environ(name) => return Some(Self::within("environ", name, &atom)),
        };
        let name = name.to_owned();
        Some(Self { name, atom })
    }

    fn within(family: &str, name: &str, atom: &Atom) -> Self {
        Self {
            name: plain_name(&format!("{family}.{name}")),
            atom: atom.clone(),
        }
    }

    fn is_number(&self) -> bool {
        self.atom.is_number() || self.atom == Atom::SecondsAndFraction
    }
}

/// Appends the line of `record`. `clock` is one of [`LocalTime::rfc3339`].
pub(super) fn write(
    notation: Notation,
    fields: &[Named],
    record: &Record<'_>,
    clock: &mut LocalTime,
    out: &mut Vec<u8>,
) {
    let mut line = Line::begin(notation, out);
    line.text("time", clock.at(record.now_unix).as_bytes());
    line.text("level", b"info");
    line.text("log", b"access");
    line.number("pid", itoa::Buffer::new().format(record.pid).as_bytes());
    let mut value = Vec::new();
    for named in fields {
        value.clear();
        if !named.atom.append(record, clock, &mut value) {
            continue;
        }
        if named.is_number() {
            line.number(&named.name, &value);
        } else {
            line.text(&named.name, &value);
        }
    }
    line.end();
}
