//! The lines of a chunked body: size with extensions, and trailers (RFC 9112 §7.1).
//!
//! Stricter than the grammar in one point, as gunicorn is: no whitespace around the parts of an
//! extension, which RFC 9112 §7.1.1 allows only as "bad whitespace". Extensions and trailers are
//! checked and then ignored: no application is told.
//!
//! Each function reads one line from its beginning and decides at the first byte that decides, so a
//! line may arrive in any pieces.

use crate::bytes;
use crate::framing::LENGTH_MAX;
use crate::lines::{self, Kind};
use crate::reject::Reject;

/// A chunk line: `1*HEXDIG [ chunk-ext ] CRLF`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// Bytes of data that follow.
    pub(crate) size: u64,
    /// Bytes of the line with its CRLF.
    pub(crate) len: usize,
}

/// More digits could only be leading zeros or an overflow.
const DIGITS_MAX: usize = 16;

impl Line {
    /// The chunk line at the front of `rest`; `None` while its end is not there. `limit`: most
    /// bytes of extensions.
    pub(crate) fn read(rest: &[u8], limit: usize) -> Result<Option<Self>, Reject> {
        let digits = rest
            .iter()
            .take(DIGITS_MAX + 1)
            .take_while(|byte| byte.is_ascii_hexdigit());
        let (count, size) = digits.fold((0, 0_u64), |(count, size), &byte| {
            (count + 1, size.wrapping_mul(16) | hex(byte))
        });
        if count > DIGITS_MAX || size > LENGTH_MAX {
            return Err(Reject::ChunkTooLarge);
        }
        let tail = lines::after(rest, count);
        if count == 0 && !tail.is_empty() {
            return Err(Reject::ChunkSize);
        }
        let ended = Self::end(tail, limit)?;
        Ok(ended.map(|len| Self {
            size,
            len: count + len,
        }))
    }

    /// Length of what follows the digits, with the CRLF.
    fn end(tail: &[u8], limit: usize) -> Result<Option<usize>, Reject> {
        match tail {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => Ok(Some(2)),
            [b';', ..] => extensions_len(tail, limit),
            [b'\r', ..] => Err(Reject::BareCarriageReturn),
            [b'\n', ..] => Err(Reject::BareLineFeed),
            _ => Err(Reject::ChunkSize),
        }
    }
}

fn hex(byte: u8) -> u64 {
    u64::from(char::from(byte).to_digit(16).unwrap_or(0))
}

/// Where in `*( ";" token [ "=" ( token / quoted-string ) ] )` a byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After `;`: a name has to begin.
    NameStart,
    Name,
    /// After `=`: a value has to begin.
    ValueStart,
    Value,
    Quoted,
    /// After a backslash in a quoted string.
    Escaped,
    /// After the closing quote.
    QuoteEnd,
}

impl Place {
    /// Where the next byte stands; `None` if it must not come here.
    fn step(self, byte: u8) -> Option<Self> {
        let token = bytes::is(byte, bytes::TOKEN);
        match (self, byte) {
            (Self::NameStart | Self::Name, _) if token => Some(Self::Name),
            (Self::ValueStart | Self::Value, _) if token => Some(Self::Value),
            (Self::Name, b'=') => Some(Self::ValueStart),
            (Self::ValueStart, b'"') => Some(Self::Quoted),
            (Self::Quoted, b'"') => Some(Self::QuoteEnd),
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            (Self::Quoted | Self::Escaped, _) if bytes::is(byte, bytes::FIELD) => {
                Some(Self::Quoted)
            }
            (Self::Name | Self::Value | Self::QuoteEnd, b';') => Some(Self::NameStart),
            _ => None,
        }
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::QuoteEnd)
    }
}

/// Length of the extensions and the CRLF; `tail` begins with `;`.
fn extensions_len(tail: &[u8], limit: usize) -> Result<Option<usize>, Reject> {
    let mut place = Place::QuoteEnd;
    for (at, &byte) in tail.iter().enumerate() {
        if byte == b'\r' && place.may_end() {
            return line_end(lines::after(tail, at)).map(|end| end.map(|len| at + len));
        }
        if at >= limit {
            return Err(Reject::ChunkExtensionTooLong);
        }
        place = place.step(byte).ok_or(Reject::ChunkExtension)?;
    }
    Ok(None)
}

/// Length of the CRLF at the front, which begins with CR.
fn line_end(tail: &[u8]) -> Result<Option<usize>, Reject> {
    match tail.get(1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(2)),
        Some(_) => Err(Reject::BareCarriageReturn),
    }
}

/// Length of the trailer line at the front with its CRLF, 0 for the empty line that ends the
/// trailers, `None` while its end is not there. `left`: most bytes it may have with its CRLF.
pub(crate) fn trailer_len(rest: &[u8], left: usize) -> Result<Option<usize>, Reject> {
    let kind = Kind {
        limit: left.saturating_sub(2),
        too_long: Reject::TrailersTooLarge,
        class: bytes::FIELD,
        illegal: Reject::FieldByte,
    };
    match kind.next(rest)? {
        None => Ok(None),
        Some([]) => Ok(Some(0)),
        Some(line) => judge_trailer(line).map(|()| Some(line.len() + 2)),
    }
}

fn judge_trailer(line: &[u8]) -> Result<(), Reject> {
    let (name, _) = lines::split_field(line, false)?;
    let forbidden = FORBIDDEN
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    if forbidden {
        Err(Reject::TrailerForbidden)
    } else {
        Ok(())
    }
}

/// Fields that frame, route, authenticate or describe a message, and so cannot come after its
/// content (RFC 9110 §6.5.1).
const FORBIDDEN: [&str; 17] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Result<Option<u64>, Reject> {
        Line::read(text.as_bytes(), 20).map(|line| line.map(|line| line.size))
    }

    #[test]
    fn a_size_is_one_to_sixteen_hexadecimal_digits() {
        assert_eq!(size("0\r\n"), Ok(Some(0)));
        assert_eq!(size("aF\r\n"), Ok(Some(0xaf)));
        assert_eq!(size("000000000000000f\r\n"), Ok(Some(15)));
        assert_eq!(size("7fffffffffffffff\r\n"), Ok(Some(LENGTH_MAX)));
        assert_eq!(size("8000000000000000"), Err(Reject::ChunkTooLarge));
        assert_eq!(size("00000000000000000"), Err(Reject::ChunkTooLarge));
        for text in [
            "\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1_0\r\n",
            " 1\r\n",
            "1 \r\n",
            "1\t;a\r\n",
            "g",
        ] {
            assert_eq!(size(text), Err(Reject::ChunkSize), "{text:?}");
        }
    }

    #[test]
    fn an_unfinished_line_needs_more_bytes() {
        for text in [
            "",
            "1",
            "1\r",
            "1;",
            "1;a",
            "1;a=",
            "1;a=\"",
            "1;a=\"\\",
            "1;a=\"b\"",
            "1;a\r",
        ] {
            assert_eq!(size(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn extensions_follow_the_grammar_without_whitespace() {
        for text in [
            "1;a\r\n",
            "1;a=b\r\n",
            "1;a=\"b;\\\" \"\r\n",
            "1;a;b=c;d\r\n",
            "1;a=\"\"\r\n",
        ] {
            assert_eq!(size(text), Ok(Some(1)), "{text:?}");
        }
        for text in [
            "1;\r\n",
            "1;;\r\n",
            "1; a\r\n",
            "1;a =b\r\n",
            "1;a= b\r\n",
            "1;a=\r\n",
            "1;a=b\"\r\n",
            "1;a=\"b\"c",
            "1;a\n",
        ] {
            assert_eq!(size(text), Err(Reject::ChunkExtension), "{text:?}");
        }
        assert_eq!(size("1;a\rb"), Err(Reject::BareCarriageReturn));
        assert_eq!(size("1;a=\"\r\n"), Err(Reject::ChunkExtension));
    }

    #[test]
    fn extensions_have_a_limit_that_does_not_wait_for_the_line_to_end() {
        assert_eq!(size(&format!("1;{}\r\n", "a".repeat(19))), Ok(Some(1)));
        assert_eq!(
            size(&format!("1;{}", "a".repeat(20))),
            Err(Reject::ChunkExtensionTooLong)
        );
    }

    #[test]
    fn a_trailer_is_a_field_that_may_come_late() {
        assert_eq!(trailer_len(b"\r\nGET", 0), Ok(Some(0)));
        assert_eq!(trailer_len(b"a: b\r\n", 6), Ok(Some(6)));
        assert_eq!(trailer_len(b"a: b\r\n", 5), Err(Reject::TrailersTooLarge));
        assert_eq!(trailer_len(b"a: b", 9), Ok(None));
        assert_eq!(trailer_len(b"TE: b\r\n", 9), Err(Reject::TrailerForbidden));
        assert_eq!(trailer_len(b" a: b\r\n", 9), Err(Reject::Folding));
    }
}
