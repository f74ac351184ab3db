//! Makes bytes that a client chose safe to stand inside a log line.
//!
//! For: every value that goes into an access line, and client bytes quoted in an error message.
//! Not for: the operator's own text (the format, our messages), which is trusted.
//!
//! Invariant: the result is valid UTF-8 of visible characters in which every `"` and `\` follows a
//! `\`. So a value can end neither the line nor a quoted field, nor move a terminal's cursor.

use std::fmt;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Displays bytes of foreign origin on one line: `"` and `\` get a `\`, what is not a visible
/// character becomes `\xHH` byte by byte.
///
/// ```
/// # use oxicorn_logs::Escaped;
/// assert_eq!(Escaped(b"GET /\r\n\"").to_string(), r#"GET /\x0d\x0a\""#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(
    /// The bytes as they were received.
    pub &'a [u8],
);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_vec();
        escape_tail(&mut text, 0, None);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Escapes `out[start..]` where it stands. `quote` is one more ASCII character that gets a `\`.
///
/// The usual tail has nothing to escape: that case is one scan. Otherwise the escaped text is
/// written behind the raw one, which is then cut out, so that nothing is allocated but the room
/// for the longer text.
pub(crate) fn escape_tail(out: &mut Vec<u8>, start: usize, quote: Option<u8>) {
    let end = out.len();
    let Some(clean) = first_special(&out[start..], quote) else {
        return;
    };
    let mut at = start + clean;
    while at < end {
        at += push_unit(out, at, end, quote);
        let plain = first_special(&out[at..end], quote).unwrap_or(end - at);
        out.extend_from_within(at..at + plain);
        at += plain;
    }
    out.drain(start + clean..end);
}

/// Appends the escaped form of what `out[at..end]` begins with, and returns its raw length.
fn push_unit(out: &mut Vec<u8>, at: usize, end: usize, quote: Option<u8>) -> usize {
    let unit = Unit::first_of(&out[at..end], quote);
    match unit {
        Unit::Visible(length) => out.extend_from_within(at..at + length),
        Unit::Quote(byte) => out.extend_from_slice(&[b'\\', byte]),
        Unit::Invisible(length) => push_hex(out, at, length),
    }
    unit.length()
}

fn push_hex(out: &mut Vec<u8>, at: usize, length: usize) {
    for index in at..at + length {
        let byte = out[index];
        let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        out.extend_from_slice(&[b'\\', b'x', digits[0], digits[1]]);
    }
}

/// Where the first byte stands that may not be copied as it is.
fn first_special(bytes: &[u8], quote: Option<u8>) -> Option<usize> {
    const CHUNK: usize = 16;
    if quote.is_some() {
        return bytes
            .iter()
            .position(|&byte| !is_plain(byte) || quote == Some(byte));
    }
    // A fold without an early exit is what the compiler turns into vector instructions.
    let clean = |chunk: &&[u8]| {
        chunk
            .iter()
            .fold(true, |clean, &byte| clean & is_plain(byte))
    };
    let skipped = CHUNK * bytes.chunks_exact(CHUNK).take_while(clean).count();
    let found = bytes[skipped..].iter().position(|&byte| !is_plain(byte));
    found.map(|offset| skipped + offset)
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// The smallest piece of a text that is escaped or kept as a whole.
#[derive(Clone, Copy)]
enum Unit {
    Visible(usize),
    Quote(u8),
    Invisible(usize),
}

impl Unit {
    /// Classifies the beginning of `bytes`, which is not empty.
    fn first_of(bytes: &[u8], quote: Option<u8>) -> Self {
        match bytes[0] {
            byte if byte == b'"' || byte == b'\\' || quote == Some(byte) => Self::Quote(byte),
            b' '..=b'~' => Self::Visible(1),
            0..=0x7f => Self::Invisible(1),
            _ => Self::beyond_ascii(&bytes[..bytes.len().min(4)]),
        }
    }

    fn beyond_ascii(bytes: &[u8]) -> Self {
        let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        match valid.chars().next() {
            Some(character) if is_visible(character) => Self::Visible(character.len_utf8()),
            Some(character) => Self::Invisible(character.len_utf8()),
            None => Self::Invisible(1),
        }
    }

    const fn length(self) -> usize {
        match self {
            Self::Visible(length) | Self::Invisible(length) => length,
            Self::Quote(_) => 1,
        }
    }
}

/// Whether a character beyond ASCII shows as itself: not a control, not a line separator, and not
/// one of the format characters that hide or reorder what stands around them.
pub(crate) const fn is_visible(character: char) -> bool {
    !matches!(character,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &[u8], expected: &str) {
        assert_eq!(Escaped(raw).to_string(), expected, "{raw:?}");
    }

    #[test]
    fn visible_text_is_kept_as_it_is() {
        check(b"", "");
        check(
            b"Mozilla/5.0 (X11; Linux x86_64) 'it' %41",
            "Mozilla/5.0 (X11; Linux x86_64) 'it' %41",
        );
        check(
            "caf\u{e9} \u{65e5}\u{672c} \u{1f984}".as_bytes(),
            "caf\u{e9} \u{65e5}\u{672c} \u{1f984}",
        );
    }

    #[test]
    fn quotes_and_backslashes_get_a_backslash() {
        check(br#"a"b\c"#, r#"a\"b\\c"#);
        check(br"ends with \", r"ends with \\");
    }

    #[test]
    fn every_ascii_control_becomes_hexadecimal() {
        for byte in (0..0x20).chain([0x7f]) {
            check(&[b'a', byte, b'b'], &format!("a\\x{byte:02x}b"));
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_become_hexadecimal() {
        check(b"\xff\xfea", r"\xff\xfea");
        check(b"a\xe6\x97", r"a\xe6\x97");
        check(b"\xc0\xaf", r"\xc0\xaf");
    }

    #[test]
    fn characters_that_break_or_reorder_lines_become_hexadecimal() {
        check("a\u{85}b".as_bytes(), r"a\xc2\x85b");
        check("a\u{2028}b".as_bytes(), r"a\xe2\x80\xa8b");
        check("a\u{202e}b".as_bytes(), r"a\xe2\x80\xaeb");
        check("\u{feff}b".as_bytes(), r"\xef\xbb\xbfb");
    }

    #[test]
    fn a_special_byte_is_found_at_every_distance_from_a_chunk_border() {
        for distance in 0..70 {
            let mut raw = vec![b'x'; distance];
            raw.extend_from_slice(b"\ny");
            check(&raw, &format!("{}\\x0ay", "x".repeat(distance)));
        }
    }

    #[test]
    fn only_the_tail_is_escaped() {
        let mut out = b"\"\n".to_vec();
        out.extend_from_slice(b"a\nb'");
        escape_tail(&mut out, 2, Some(b'\''));
        assert_eq!(out, b"\"\na\\x0ab\\'");
    }
}
