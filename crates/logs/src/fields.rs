//! Lines of named fields, for machines to read.
//!
//! For: one JSON object (RFC 8259) or one row of `name=value` a line. Not for: which fields there
//! are; the two logs know.
//!
//! Invariant: whatever bytes a value has, the line is valid UTF-8 without a control character or
//! one that hides or reorders what stands around it, and a reader of its notation gets the value
//! back, with U+FFFD in the place of what was no UTF-8.

use crate::escape::is_visible;

/// How a line of named fields is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// One JSON object.
    Json,
    /// `name=value`, separated by spaces; quoted where that would be ambiguous.
    Logfmt,
}

/// A line in the making, without its end of line.
#[derive(Debug)]
pub(crate) struct Line<'o> {
    notation: Notation,
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> Line<'o> {
    /// Begins a line behind what `out` holds.
    pub(crate) fn begin(notation: Notation, out: &'o mut Vec<u8>) -> Self {
        if notation == Notation::Json {
            out.push(b'{');
        }
        Self {
            notation,
            out,
            is_empty: true,
        }
    }

    /// Adds a text. The names of fields are [`plain_name`]s.
    pub(crate) fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        if self.notation == Notation::Logfmt && is_bare(value) {
            self.out.extend_from_slice(value);
        } else {
            push_quoted(self.out, value);
        }
    }

    /// Adds a number, by its digits.
    pub(crate) fn number(&mut self, name: &str, digits: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(digits);
    }

    /// Ends the line.
    pub(crate) fn end(self) {
        if self.notation == Notation::Json {
            self.out.push(b'}');
        }
    }

    fn name(&mut self, name: &str) {
        let (separator, before, after): (&[u8], &[u8], &[u8]) = match self.notation {
            Notation::Json => (b",", b"\"", b"\":"),
            Notation::Logfmt => (b" ", b"", b"="),
        };
        if !self.is_empty {
            self.out.extend_from_slice(separator);
        }
        self.is_empty = false;
        for part in [before, name.as_bytes(), after] {
            self.out.extend_from_slice(part);
        }
    }
}

/// A name that both notations take as it is: what they do not becomes `_`.
pub(crate) fn plain_name(name: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\\' | '=' => '_',
        c if c.is_ascii_graphic() => c,
        _ => '_',
    };
    name.chars().map(plain).collect()
}

/// Whether logfmt needs no quotes around it.
fn is_bare(value: &[u8]) -> bool {
    let bare = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    !value.is_empty() && value.iter().all(bare)
}

fn push_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        push_escaped(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// RFC 8259 §7.
fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(is_special) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut characters = tail.chars();
        if let Some(special) = characters.next() {
            push_escape(out, special);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

fn is_special(character: char) -> bool {
    match character {
        '"' | '\\' => true,
        c if c.is_ascii() => c.is_ascii_control(),
        c => !is_visible(c),
    }
}

fn push_escape(out: &mut Vec<u8>, special: char) {
    let short = match special {
        '"' | '\\' => special,
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        _ => {
            for unit in special.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
            return;
        }
    };
    out.extend_from_slice(format!("\\{short}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(notation: Notation, fields: &[(&str, &[u8])]) -> String {
        let mut out = Vec::new();
        let mut line = Line::begin(notation, &mut out);
        for (name, value) in fields {
            line.text(name, value);
        }
        line.number("n", b"7");
        line.end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_escapes_what_it_must_and_what_would_fool_a_reader() {
        let value = "q\" b\\ \n\r\t\u{1}\u{7f} \u{e9} \u{202e} \u{e0041}".as_bytes();
        assert_eq!(
            line(Notation::Json, &[("a", value)]),
            "{\"a\":\"q\\\" b\\\\ \\n\\r\\t\\u0001\\u007f \u{e9} \\u202e \\udb40\\udc41\",\"n\":7}"
        );
    }

    #[test]
    fn bytes_that_are_no_utf_8_become_the_replacement_character() {
        assert_eq!(
            line(Notation::Json, &[("a", b"x\xe9y\xff")]),
            "{\"a\":\"x\u{fffd}y\u{fffd}\",\"n\":7}"
        );
    }

    #[test]
    fn logfmt_quotes_only_what_would_be_ambiguous() {
        let fields: [(&str, &[u8]); 5] = [
            ("a", b"/path?x"),
            ("b", b"two words"),
            ("c", b""),
            ("d", b"k=v"),
            ("e", b"\"\n"),
        ];
        assert_eq!(
            line(Notation::Logfmt, &fields),
            r#"a=/path?x b="two words" c="" d="k=v" e="\"\n" n=7"#
        );
    }

    #[test]
    fn a_name_cannot_break_the_line() {
        assert_eq!(plain_name("request.x y=\"z\\\u{e9}"), "request.x_y__z__");
    }
}
