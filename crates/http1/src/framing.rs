//! Where the body of a request ends (RFC 9112 §6).
//!
//! A body is empty, has a stated length, or is chunked; there is no request body that ends with the
//! connection. Whatever leaves a doubt is refused, because two servers that resolve the doubt
//! differently can be made to see different requests.

use crate::bytes;
use crate::reject::Reject;

/// The framing of a request body.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Framing {
    /// Neither Content-Length nor Transfer-Encoding: no body.
    #[default]
    Empty,
    /// Content-Length, in bytes; may be 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Lengths have to fit into 63 bits, so that sums of offsets cannot overflow anywhere.
pub(crate) const LENGTH_MAX: u64 = i64::MAX as u64;

impl Framing {
    /// From the one Content-Length value (RFC 9110 §8.6).
    pub(crate) fn from_length(value: &[u8]) -> Result<Self, Reject> {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Reject::LengthMalformed);
        }
        let add = |sum: u64, &digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
        let length = value
            .iter()
            .try_fold(0, add)
            .filter(|&length| length <= LENGTH_MAX);
        length.map(Self::Length).ok_or(Reject::LengthTooLarge)
    }

    /// From the values of all Transfer-Encoding lines, in their order; they form one list (RFC 9110
    /// §5.3).
    ///
    /// Only `chunked` alone is accepted. A body that is compressed *and* chunked could be passed on
    /// only undecoded, which no application expects: 501 tells the client what to leave out. Empty
    /// list elements are refused: RFC 9110 §5.6.1 tolerates them, but they are a known way of
    /// hiding a coding from another parser.
    pub(crate) fn from_codings<'b>(values: impl Iterator<Item = &'b [u8]>) -> Result<Self, Reject> {
        let mut codings = Codings::default();
        for value in values {
            for name in value.split(|&byte| byte == b',') {
                codings.note(name.trim_ascii())?;
            }
        }
        codings.judge()
    }
}

/// The list of transfer codings, as far as it was read.
#[derive(Default)]
struct Codings {
    chunked: bool,
    other: bool,
}

impl Codings {
    fn note(&mut self, name: &[u8]) -> Result<(), Reject> {
        let chunked = name.eq_ignore_ascii_case(b"chunked");
        match (bytes::all(name, bytes::TOKEN), self.chunked) {
            (false, _) => return Err(Reject::CodingMalformed),
            (true, true) if chunked => return Err(Reject::ChunkedRepeated),
            (true, true) => return Err(Reject::ChunkedNotLast),
            (true, false) => {}
        }
        self.chunked = chunked;
        self.other |= !chunked;
        if chunked || is_registered(name) {
            Ok(())
        } else {
            Err(Reject::CodingUnsupported)
        }
    }

    fn judge(&self) -> Result<Framing, Reject> {
        match (self.chunked, self.other) {
            (true, false) => Ok(Framing::Chunked),
            (true, true) => Err(Reject::CodingUnsupported),
            (false, _) => Err(Reject::ChunkedNotLast),
        }
    }
}

/// The transfer codings of RFC 9112 §7.2, besides chunked.
fn is_registered(name: &[u8]) -> bool {
    [
        &b"gzip"[..],
        b"x-gzip",
        b"deflate",
        b"compress",
        b"x-compress",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codings(values: &[&str]) -> Result<Framing, Reject> {
        Framing::from_codings(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn a_length_is_digits_within_63_bits() {
        let max = LENGTH_MAX.to_string();
        assert_eq!(Framing::from_length(b"007"), Ok(Framing::Length(7)));
        assert_eq!(
            Framing::from_length(max.as_bytes()),
            Ok(Framing::Length(LENGTH_MAX))
        );
        for value in [
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999999",
        ] {
            assert_eq!(
                Framing::from_length(value.as_bytes()),
                Err(Reject::LengthTooLarge)
            );
        }
        for value in [
            "", "-1", "+1", "1 ", "1,1", "1, 1", "0x1", "1_0", "1.0", "\u{661}",
        ] {
            assert_eq!(
                Framing::from_length(value.as_bytes()),
                Err(Reject::LengthMalformed)
            );
        }
    }

    #[test]
    fn only_chunked_alone_is_a_framing() {
        assert_eq!(codings(&["chunked"]), Ok(Framing::Chunked));
        assert_eq!(codings(&["\tCHUNKED "]), Ok(Framing::Chunked));
        let refused: [(&[&str], Reject); 12] = [
            (&[""], Reject::CodingMalformed),
            (&["chunked,"], Reject::CodingMalformed),
            (&[",chunked"], Reject::CodingMalformed),
            (&["chunked;q=1"], Reject::CodingMalformed),
            (&["\u{b}chunked"], Reject::CodingMalformed),
            (&["chunked, chunked"], Reject::ChunkedRepeated),
            (&["chunked", "chunked"], Reject::ChunkedRepeated),
            (&["chunked", "gzip"], Reject::ChunkedNotLast),
            (&["gzip"], Reject::ChunkedNotLast),
            (&["gzip, chunked"], Reject::CodingUnsupported),
            (&["gzip", "chunked"], Reject::CodingUnsupported),
            (&["identity"], Reject::CodingUnsupported),
        ];
        for (values, reject) in refused {
            assert_eq!(codings(values), Err(reject), "{values:?}");
        }
    }
}
