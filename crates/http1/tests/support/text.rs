//! The notation of bytes: visible escapes and repeats.

/// The bytes that a block or a value stands for. Line breaks of the file stand for nothing.
pub(crate) fn bytes_of(text: &str) -> Vec<u8> {
    unescape(&expand(&text.replace('\n', "")))
}

/// Replaces `{text*3}` by `texttexttext`, the innermost first.
fn expand(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(close) = text.find('}') {
        let open = text[..close].rfind('{').expect("a repeat begins with {");
        let (part, count) = text[open + 1..close]
            .rsplit_once('*')
            .expect("a repeat has a count");
        let repeated = part.repeat(count.parse().expect("a count is a number"));
        text.replace_range(open..=close, &repeated);
    }
    text
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let (value, used) = if *byte == b'\\' {
            escape(tail)
        } else {
            (*byte, 0)
        };
        assert!(
            value != *byte || matches!(byte, b' '..=b'~'),
            "{text:?}: write {byte} as an escape"
        );
        out.push(value);
        rest = &tail[used..];
    }
    out
}

/// The byte after a backslash, and how many characters it took.
fn escape(tail: &[u8]) -> (u8, usize) {
    match tail {
        [b'r', ..] => (b'\r', 1),
        [b'n', ..] => (b'\n', 1),
        [b't', ..] => (b'\t', 1),
        [b'\\', ..] => (b'\\', 1),
        [b'x', high, low, ..] => {
            let digits = [*high, *low];
            let digits = std::str::from_utf8(&digits).expect("ASCII");
            (
                u8::from_str_radix(digits, 16).expect("two hexadecimal digits"),
                3,
            )
        }
        _ => panic!("an unknown escape"),
    }
}

/// The reverse of [`bytes_of`], shortened, for messages.
pub(crate) fn visible(bytes: &[u8]) -> String {
    let shown = bytes.len().min(400);
    let more = if shown < bytes.len() {
        format!("... {} bytes", bytes.len())
    } else {
        String::new()
    };
    format!("{}{more}", bytes[..shown].escape_ascii()).replace("\\r\\n", "\\r\\n\n")
}

#[test]
fn escapes_and_repeats_stand_for_bytes() {
    assert_eq!(bytes_of("a\\r\\n\nb\\x00\\\\"), b"a\r\nb\0\\");
    assert_eq!(bytes_of("{a{b\\x2a*2},*2}"), b"ab*b*,ab*b*,");
}
