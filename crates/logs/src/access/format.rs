//! A compiled access log format.
//!
//! For: turning a [`Record`] into a line, and telling in advance which values a line will want.
//! Not for: reading the format's text (`parse`) or laying out one value (`directive`).
//!
//! Invariant: in the steady state a line of text allocates nothing; it costs copies and scans only.

use super::directive::{Atom, Directive};
use super::named::{self, Named};
use super::parse::{FormatError, pieces};
use super::record::Record;
use crate::fields::Notation;
use crate::time::LocalTime;

/// gunicorn's default, the combined log format.
pub const DEFAULT_FORMAT: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

/// Text to copy, or a value to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Vec<u8>),
    Directive(Directive),
}

/// What a format will ask a [`Record`]'s lookups for, without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Names of request headers, in lower case.
    pub request_headers: Vec<String>,
    /// Names of response headers, in lower case.
    pub response_headers: Vec<String>,
    /// Keys of the environ, as the format spells them; their case does not count.
    pub environ: Vec<String>,
}

impl Wants {
    fn add(&mut self, atom: &Atom) {
        match atom {
            Atom::User => add_name(&mut self.request_headers, "authorization"),
            Atom::RequestHeader(name) => add_name(&mut self.request_headers, name),
            Atom::ResponseHeader(name) => add_name(&mut self.response_headers, name),
            Atom::Environ(name) => add_name(&mut self.environ, name),
            _ => {}
        }
    }
}

fn add_name(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

/// An access log format, ready to write lines.
#[derive(Clone, Debug)]
pub struct Format {
    form: Form,
    wants: Wants,
}

#[derive(Clone, Debug)]
enum Form {
    Text(Vec<Piece>),
    Fields(Notation, Vec<Named>),
}

impl Format {
    /// Compiles a format in gunicorn's syntax, such as [`DEFAULT_FORMAT`].
    ///
    /// Names that gunicorn does not know are no error; they print `-`.
    ///
    /// # Errors
    ///
    /// The text is not a format that could print every request.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let pieces = pieces(text)?;
        let mut wants = Wants::default();
        for piece in &pieces {
            if let Piece::Directive(directive) = piece {
                wants.add(&directive.atom);
            }
        }
        let form = Form::Text(pieces);
        Ok(Self { form, wants })
    }

    /// Lines of named fields: time, level, log and process id, then those that tell what was asked
    /// and answered. `text`: a format of the operator's own, whose directives are the fields
    /// instead; what stands between them is left out. `request_id`: the name of the request field
    /// that has the request's id, if there is one.
    ///
    /// # Errors
    ///
    /// The text is not a format that could print every request.
    pub fn fields(
        notation: Notation,
        text: Option<&str>,
        request_id: Option<&str>,
    ) -> Result<Self, FormatError> {
        let fields = match text {
            Some(text) => Named::all_of(pieces(text)?),
            None => Named::usual(request_id),
        };
        let mut wants = Wants::default();
        for named in &fields {
            wants.add(&named.atom);
        }
        let form = Form::Fields(notation, fields);
        Ok(Self { form, wants })
    }

    /// Appends the line for `record`, without an end of line. `clock` is [`Format::clock`].
    pub fn write(&self, record: &Record<'_>, clock: &mut LocalTime, out: &mut Vec<u8>) {
        match &self.form {
            Form::Fields(notation, fields) => {
                named::write(*notation, fields, record, clock, out);
            }
            Form::Text(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => out.extend_from_slice(text),
                        Piece::Directive(directive) => directive.write(record, clock, out),
                    }
                }
            }
        }
    }

    /// What writes the time as these lines have it.
    #[must_use]
    pub fn clock(&self) -> LocalTime {
        match self.form {
            Form::Text(_) => LocalTime::access(),
            Form::Fields(..) => LocalTime::rfc3339(),
        }
    }

    /// The names that the lookups will be asked for.
    pub const fn wants(&self) -> &Wants {
        &self.wants
    }

    /// Whether any value comes from the environ.
    pub const fn needs_environ(&self) -> bool {
        !self.wants.environ.is_empty()
    }

    /// Whether any value comes from the response's headers.
    pub const fn needs_response_headers(&self) -> bool {
        !self.wants.response_headers.is_empty()
    }
}

impl Default for Format {
    /// The format of [`DEFAULT_FORMAT`].
    fn default() -> Self {
        Self::parse(DEFAULT_FORMAT).unwrap_or(Self {
            form: Form::Text(Vec::new()),
            wants: Wants::default(),
        })
    }
}

#[cfg(test)]
mod tests;
