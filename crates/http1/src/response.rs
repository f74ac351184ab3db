//! The response side: what may go into a head, which responses have a body, and complete error
//! responses.
//!
//! Checks and encoders only. Which fields a response gets, and when the connection closes, is the
//! engine's decision. Invariant: bytes that pass these checks cannot end a line or a head early, so
//! no response can be split by its values.

use crate::bytes;

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Whether `name` is a field name: a token (RFC 9110 §5.1).
#[inline]
pub fn is_field_name(name: &[u8]) -> bool {
    bytes::all(name, bytes::TOKEN)
}

/// Whether `value` can be a field value: no CR, LF, NUL or other control character but HTAB (RFC
/// 9110 §5.5). Bytes beyond ASCII are allowed, as they always were in practice.
#[inline]
pub fn is_field_value(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    let clean = |word: &[u8; 8]| has_no_control(u64::from_ne_bytes(*word));
    let illegal = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    (words.iter().all(clean) && !rest.iter().any(illegal)) || !value.iter().any(illegal)
}

/// Whether none of eight bytes is below a space or DEL. A tab counts as well: who finds one looks
/// again. (An overflow from one byte into the next can only find too much.)
#[inline]
fn has_no_control(word: u64) -> bool {
    const EACH: u64 = u64::MAX / 255;
    let below_space = word.wrapping_sub(EACH * 0x20) & !word;
    let delete = word ^ (EACH * 0x7f);
    let is_delete = delete.wrapping_sub(EACH) & !delete;
    (below_space | is_delete) & (EACH * 0x80) == 0
}

/// The code of a status line such as `200 OK`: three digits from 100 on, a space, and a reason that
/// may be empty but has no control characters (PEP 3333, RFC 9112 §4). `None` if it is none.
pub fn is_status_line(status: &[u8]) -> Option<u16> {
    let [
        hundreds @ b'1'..=b'9',
        tens @ b'0'..=b'9',
        ones @ b'0'..=b'9',
        b' ',
        reason @ ..,
    ] = status
    else {
        return None;
    };
    let digit = |byte: &u8| u16::from(byte - b'0');
    is_field_value(reason).then(|| digit(hundreds) * 100 + digit(tens) * 10 + digit(ones))
}

/// Whether a response with this status has a body: not 1xx, 204, 304, nor any response to HEAD (RFC
/// 9112 §6.3, rule 1).
#[inline]
pub fn has_body(status: u16, head_request: bool) -> bool {
    !head_request && status >= 200 && status != 204 && status != 304
}

/// Appends the line before a chunk of `len` bytes (RFC 9112 §7.1). `len` must not be 0: that would
/// end the body.
#[inline]
pub fn chunk_head(len: usize, out: &mut Vec<u8>) {
    const WIDTH: usize = usize::BITS as usize / 4;
    let mut line = [b'\r'; WIDTH + 2];
    line[WIDTH + 1] = b'\n';
    let (mut start, mut left) = (WIDTH, len);
    while left > 0 {
        start -= 1;
        line[start] = b"0123456789abcdef"[left & 0xf];
        left >>= 4;
    }
    out.extend_from_slice(&line[start..]);
}

/// A complete response that ends the connection, with `text` as its explanation. `date` is the
/// value of the Date field and `server` that of Server; both must pass [`is_field_value`]. For a
/// HEAD request the caller cuts it after the head.
pub fn error_page(status: u16, text: &str, date: &[u8], server: &[u8]) -> Vec<u8> {
    let reason = reason(status);
    let body = format!("{status} {reason}\n{text}\n");
    let line = format!("HTTP/1.1 {status} {reason}\r\nServer: ");
    let framing = format!(
        "\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [
        line.as_bytes(),
        server,
        b"\r\nDate: ",
        date,
        framing.as_bytes(),
        body.as_bytes(),
    ]
    .concat()
}

/// The reason phrase of a registered status code (RFC 9110 §15 and the IANA registry); `Unknown`
/// for others.
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        _ => error_reason(status),
    }
}

const fn error_reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_name_is_a_token() {
        assert!(is_field_name(b"X-Custom_1"));
        for name in [&b""[..], b"a b", b"a:", b"a\r\nb", "\u{e9}".as_bytes()] {
            assert!(!is_field_name(name));
        }
    }

    #[test]
    fn a_field_value_has_no_control_characters_but_tabs() {
        assert!(is_field_value(b""));
        assert!(is_field_value("a\tb \u{e9}".as_bytes()));
        for byte in (0..=0x1f).chain([0x7f]).filter(|&byte| byte != b'\t') {
            assert!(!is_field_value(&[b'a', byte, b'b']), "{byte:#x}");
        }
    }

    #[test]
    fn every_byte_at_every_place_of_a_field_value_is_judged() {
        for byte in 0..=u8::MAX {
            let legal = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            for around in [b' ', b'a', b'~', 0x80, 0xff, b'\t'] {
                for (len, at) in (1..20).flat_map(|len| (0..len).map(move |at| (len, at))) {
                    let mut value = vec![around; len];
                    value[at] = byte;
                    assert_eq!(is_field_value(&value), legal, "{byte:#x} in {value:?}");
                }
            }
        }
    }

    #[test]
    fn a_status_line_is_three_digits_a_space_and_a_reason() {
        assert_eq!(is_status_line(b"200 OK"), Some(200));
        assert_eq!(is_status_line(b"999 "), Some(999));
        for status in [
            "200",
            "200OK",
            "099 x",
            "2000 x",
            "20 x",
            " 200 x",
            "200 a\r\nb",
            "2x0 a",
            "",
        ] {
            assert_eq!(is_status_line(status.as_bytes()), None, "{status:?}");
        }
    }

    #[test]
    fn informational_no_content_not_modified_and_head_have_no_body() {
        assert!(has_body(200, false) && has_body(404, false) && has_body(205, false));
        assert!(!has_body(200, true));
        assert!(
            [100, 103, 204, 304]
                .iter()
                .all(|&status| !has_body(status, false))
        );
    }

    #[test]
    fn a_chunk_head_is_the_shortest_hexadecimal_number() {
        for len in [
            1,
            9,
            10,
            15,
            16,
            255,
            256,
            4096,
            65_535,
            1 << 20,
            usize::MAX,
        ] {
            let mut out = Vec::new();
            chunk_head(len, &mut out);
            assert_eq!(out, format!("{len:x}\r\n").into_bytes());
        }
    }

    #[test]
    fn an_error_page_is_a_complete_response() {
        let page = error_page(
            400,
            "two Host fields",
            b"Sun, 06 Nov 1994 08:49:37 GMT",
            b"oxicorn",
        );
        let text = String::from_utf8(page).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "400 Bad Request\ntwo Host fields\n");
        let lines: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "HTTP/1.1 400 Bad Request",
                "Server: oxicorn",
                "Date: Sun, 06 Nov 1994 08:49:37 GMT",
                "Connection: close",
                "Content-Type: text/plain; charset=utf-8",
                &format!("Content-Length: {}", body.len()),
            ]
        );
    }

    #[test]
    fn every_status_a_refusal_uses_has_a_reason() {
        for reject in crate::Reject::all() {
            assert_ne!(reason(reject.status()), "Unknown");
        }
    }
}
