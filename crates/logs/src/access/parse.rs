//! Reads the text of an access log format.
//!
//! For: the syntax of Python's `%` operator with a mapping,
//! `%(name)[flags][width][.precision][hlL]conversion`, and `%%`. Not for: what a name means (`Atom`
//! knows). Invariant: a format that gunicorn would fail on at each request is refused once, here,
//! with the place and the reason.

use std::fmt;

use super::directive::{Atom, Conversion, Directive, Layout};
use super::format::Piece;

/// The widest field; a line is not a place for padding without bound.
const WIDEST: usize = 4096;

/// Why a text is not an access log format, and at which byte of it, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// The text ends inside a directive.
    Unfinished {
        /// Where the directive begins.
        at: usize,
    },
    /// A directive without a name in parentheses, such as `%s`.
    Nameless {
        /// Where the directive begins.
        at: usize,
    },
    /// A conversion that no atom can have.
    Conversion {
        /// Where the directive begins.
        at: usize,
        /// What stands in the place of `s`, `r` or `d`.
        found: char,
    },
    /// A number was asked of an atom that is text.
    NotNumber {
        /// Where the directive begins.
        at: usize,
        /// The atom's name.
        name: String,
    },
    /// A width or precision above 4096.
    TooWide {
        /// Where the directive begins.
        at: usize,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished { at } => write!(
                f,
                "the directive at {at} has no end (a percent sign is written %%)"
            ),
            Self::Nameless { at } => write!(f, "the directive at {at} has no name, as %(h)s has"),
            Self::Conversion { at, found } => {
                write!(
                    f,
                    "the directive at {at} ends with {found:?}, not with s, r or d"
                )
            }
            Self::NotNumber { at, name } => {
                write!(
                    f,
                    "the directive at {at} wants a number, but {name:?} is text: write s"
                )
            }
            Self::TooWide { at } => {
                write!(
                    f,
                    "the directive at {at} has a width or precision above {WIDEST}"
                )
            }
        }
    }
}

impl std::error::Error for FormatError {}

/// Takes a format apart.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, _)) = rest.split_once('%') {
        literal.push_str(before);
        let at = text.len() - rest.len() + before.len();
        let mut reader = Reader {
            rest: &text[at + 1..],
            at,
        };
        match reader.directive()? {
            Some(directive) => {
                push_literal(&mut pieces, &mut literal);
                pieces.push(Piece::Directive(directive));
            }
            None => literal.push('%'),
        }
        rest = reader.rest;
    }
    literal.push_str(rest);
    push_literal(&mut pieces, &mut literal);
    Ok(pieces)
}

fn push_literal(pieces: &mut Vec<Piece>, literal: &mut String) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal).into_bytes()));
    }
}

/// Reads one directive, from behind its `%`.
struct Reader<'t> {
    rest: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    /// The directive; `None` for `%%`.
    fn directive(&mut self) -> Result<Option<Directive>, FormatError> {
        if let Some(rest) = self.rest.strip_prefix('%') {
            self.rest = rest;
            return Ok(None);
        }
        let name = self.name()?;
        let mut layout = self.flags();
        layout.width = self.number()?.unwrap_or(0);
        layout.precision = self.precision()?;
        self.take(|c| matches!(c, 'h' | 'l' | 'L'));
        let found = self
            .rest
            .chars()
            .next()
            .ok_or(FormatError::Unfinished { at: self.at })?;
        self.rest = &self.rest[found.len_utf8()..];
        let name = name.ok_or(FormatError::Nameless { at: self.at })?;
        layout.conversion = self.conversion(found)?;
        self.compile(name, layout).map(Some)
    }

    fn compile(&self, name: &str, layout: Layout) -> Result<Directive, FormatError> {
        let atom = Atom::named(name);
        if layout.conversion == Conversion::Number && !atom.is_number() {
            return Err(FormatError::NotNumber {
                at: self.at,
                name: name.to_owned(),
            });
        }
        let plain = layout == Layout::default();
        Ok(Directive {
            atom,
            layout: (!plain).then_some(layout),
        })
    }

    /// What stands in parentheses, which nest.
    fn name(&mut self) -> Result<Option<&'t str>, FormatError> {
        let Some(inside) = self.rest.strip_prefix('(') else {
            return Ok(None);
        };
        let mut depth = 1;
        for (offset, character) in inside.char_indices() {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.rest = &inside[offset + 1..];
                return Ok(Some(&inside[..offset]));
            }
        }
        Err(FormatError::Unfinished { at: self.at })
    }

    fn flags(&mut self) -> Layout {
        let mut layout = Layout::default();
        for flag in self
            .take(|c| matches!(c, '-' | '0' | '+' | ' ' | '#'))
            .bytes()
        {
            match flag {
                b'-' => layout.left = true,
                b'0' => layout.zero = true,
                b'+' => layout.sign = Some(b'+'),
                b' ' if layout.sign.is_none() => layout.sign = Some(b' '),
                _ => {}
            }
        }
        layout
    }

    fn precision(&mut self) -> Result<Option<usize>, FormatError> {
        match self.rest.strip_prefix('.') {
            Some(rest) => {
                self.rest = rest;
                Ok(Some(self.number()?.unwrap_or(0)))
            }
            None => Ok(None),
        }
    }

    fn number(&mut self) -> Result<Option<usize>, FormatError> {
        let digits = self.take(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse().ok().filter(|number| *number <= WIDEST);
        number.map(Some).ok_or(FormatError::TooWide { at: self.at })
    }

    const fn conversion(&self, found: char) -> Result<Conversion, FormatError> {
        match found {
            's' => Ok(Conversion::Text),
            'r' | 'a' => Ok(Conversion::Quoted),
            'd' | 'i' | 'u' => Ok(Conversion::Number),
            _ => Err(FormatError::Conversion { at: self.at, found }),
        }
    }

    /// Takes the characters in front that are `wanted`.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let length = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }
}
