//! The head line by line: which line is wrong, and why.
//!
//! The fast path reads a head with httparse and only asks whether it is clean. Everything else
//! comes here: a head that is not complete yet, and a head that is to be refused. This module names
//! the refusal; it never decides what a clean head means.
//!
//! Invariant: a line is judged when it is complete, and before that only for what no further byte
//! can mend, a length beyond the limit or an illegal byte. So a refusal depends on where in the
//! stream the mistake is, never on how the bytes arrived.

use crate::bytes;
use crate::line::RequestLine;
use crate::policy::{HEAD_CEILING, Limits, Policy};
use crate::reject::Reject;

/// What a kind of line may consist of, and what it is called when it does not.
pub(crate) struct Kind {
    /// Most bytes, without the CRLF.
    pub(crate) limit: usize,
    /// Beyond the limit.
    pub(crate) too_long: Reject,
    /// Class of the allowed bytes.
    pub(crate) class: u8,
    /// Any other byte.
    pub(crate) illegal: Reject,
}

impl Kind {
    fn request_line(limits: &Limits) -> Self {
        let limit = limits.line_max();
        Self {
            limit,
            too_long: Reject::LineTooLong,
            class: bytes::LINE,
            illegal: Reject::LineByte,
        }
    }

    fn field(limits: &Limits) -> Self {
        let limit = limits.field_max().saturating_sub(2);
        Self {
            limit,
            too_long: Reject::FieldTooLong,
            class: bytes::FIELD,
            illegal: Reject::FieldByte,
        }
    }

    /// The first line of `rest` without its CRLF, or `None` while its end is not there.
    pub(crate) fn next<'b>(&self, rest: &'b [u8]) -> Result<Option<&'b [u8]>, Reject> {
        let clean = bytes::run(rest, self.class);
        if clean > self.limit {
            return Err(self.too_long);
        }
        match rest.split_at_checked(clean) {
            Some((line, [b'\r', b'\n', ..])) => Ok(Some(line)),
            Some((_, [] | [b'\r'])) | None => Ok(None),
            Some((_, [b'\r', ..])) => Err(Reject::BareCarriageReturn),
            Some((_, [b'\n', ..])) => Err(Reject::BareLineFeed),
            Some(_) => Err(self.illegal),
        }
    }
}

/// A complete head whose lines are all well formed.
pub(crate) struct Skeleton<'b> {
    pub(crate) line: RequestLine<'b>,
    /// Offset of the first field line, or of the empty line.
    pub(crate) fields_at: usize,
    /// Number of field lines.
    pub(crate) fields: usize,
}

/// Reads the lines of `view`, which is as much as a head may occupy. `None`: more bytes needed.
#[cold]
pub(crate) fn walk<'b>(view: &'b [u8], policy: &Policy) -> Result<Option<Skeleton<'b>>, Reject> {
    let most = policy.limits.head.min(HEAD_CEILING);
    match read(view, policy)? {
        None if view.len() >= most => Err(Reject::HeadTooLarge),
        skeleton => Ok(skeleton),
    }
}

/// The content type of a TLS record that carries a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

fn read<'b>(view: &'b [u8], policy: &Policy) -> Result<Option<Skeleton<'b>>, Reject> {
    if view.first() == Some(&TLS_HANDSHAKE) {
        return Err(Reject::TlsHandshake);
    }
    let start = if view.starts_with(b"\r\n") { 2 } else { 0 };
    let Some(text) = Kind::request_line(&policy.limits).next(after(view, start))? else {
        return Ok(None);
    };
    let line = RequestLine::read(text, policy)?;
    let fields_at = start + text.len() + 2;
    let fields = count_fields(after(view, fields_at), &policy.limits)?;
    Ok(fields.map(|fields| Skeleton {
        line,
        fields_at,
        fields,
    }))
}

/// Number of field lines up to the empty line; `None` while that is not there.
fn count_fields(mut rest: &[u8], limits: &Limits) -> Result<Option<usize>, Reject> {
    let kind = Kind::field(limits);
    let mut count = 0;
    while let Some(line) = kind.next(rest)? {
        if line.is_empty() {
            return Ok(Some(count));
        }
        if count == limits.fields_max() {
            return Err(Reject::TooManyFields);
        }
        split_field(line, count == 0)?;
        count += 1;
        rest = after(rest, line.len() + 2);
    }
    Ok(None)
}

/// Name and value of a field line without its CRLF; `first` tells a leading space from a folded
/// line.
pub(crate) fn split_field(line: &[u8], first: bool) -> Result<(&[u8], &[u8]), Reject> {
    let (name, rest) = line
        .split_at_checked(bytes::run(line, bytes::TOKEN))
        .unwrap_or_default();
    match rest {
        [b':', value @ ..] if !name.is_empty() => Ok((name, value.trim_ascii())),
        [b' ' | b'\t', ..] if name.is_empty() && first => Err(Reject::LeadingSpace),
        [b' ' | b'\t', ..] if name.is_empty() => Err(Reject::Folding),
        [b' ' | b'\t', ..] if rest.trim_ascii_start().starts_with(b":") => {
            Err(Reject::SpaceBeforeColon)
        }
        _ if rest.contains(&b':') => Err(Reject::FieldName),
        _ => Err(Reject::NoColon),
    }
}

/// `bytes` from `at` on; nothing if there is less.
pub(crate) fn after(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field() -> Kind {
        Kind {
            limit: 4,
            too_long: Reject::FieldTooLong,
            class: bytes::FIELD,
            illegal: Reject::FieldByte,
        }
    }

    #[test]
    fn a_line_is_complete_with_its_carriage_return_and_line_feed() {
        assert_eq!(field().next(b"ab"), Ok(None));
        assert_eq!(field().next(b"ab\r"), Ok(None));
        assert_eq!(field().next(b"ab\r\nc"), Ok(Some(&b"ab"[..])));
    }

    #[test]
    fn a_line_beyond_its_limit_is_refused_before_its_end_is_there() {
        assert_eq!(field().next(b"abcd\r\n"), Ok(Some(&b"abcd"[..])));
        assert_eq!(field().next(b"abcde"), Err(Reject::FieldTooLong));
    }

    #[test]
    fn the_first_mistake_wins_wherever_the_line_ends() {
        assert_eq!(field().next(b"ab\ncdefgh"), Err(Reject::BareLineFeed));
        assert_eq!(field().next(b"ab\rcdefgh"), Err(Reject::BareCarriageReturn));
        assert_eq!(field().next(b"ab\0cdefgh"), Err(Reject::FieldByte));
        assert_eq!(field().next(b"abcdef\0"), Err(Reject::FieldTooLong));
    }

    #[test]
    fn a_field_is_a_token_a_colon_and_a_value() {
        assert_eq!(split_field(b"a:", true), Ok((&b"a"[..], &b""[..])));
        assert_eq!(
            split_field(b"a: \t b c\t ", true),
            Ok((&b"a"[..], &b"b c"[..]))
        );
        assert_eq!(split_field(b" a: b", true), Err(Reject::LeadingSpace));
        assert_eq!(split_field(b" a: b", false), Err(Reject::Folding));
        assert_eq!(split_field(b"a : b", true), Err(Reject::SpaceBeforeColon));
        assert_eq!(split_field(b": b", true), Err(Reject::FieldName));
        assert_eq!(split_field(b"a(: b", true), Err(Reject::FieldName));
        assert_eq!(split_field(b"a b", true), Err(Reject::NoColon));
    }
}
