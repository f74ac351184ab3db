//! One finished exchange as an access-log record. Invariant: everything is read from what the exchange kept, so a line can be
//! written without the interpreter.

use std::borrow::Cow;
use std::time::Duration;

use oxicorn_http1::Version;
use oxicorn_logs::{AccessLog, Record};

use crate::clock::Now;
use crate::exchange::Exchange;

/// Writes the line of `exchange`.
pub(crate) fn write(log: &AccessLog, exchange: &Exchange, duration: Duration, now: Now) {
    let (head, bytes) = (&exchange.head, exchange.bytes());
    let remote = exchange.peer.to_string();
    let header_in = |name: &str| head.field(bytes, name);
    let header_out = |name: &str| response_field(&exchange.response.head, name);
    let environ = |name: &str| environ_value(exchange, name);
    log.record(&Record {
        remote: remote.as_bytes(),
        request_line: &exchange.line(),
        method: head.method.of(bytes),
        path: &path(exchange),
        query: head.query.of(bytes),
        protocol: if head.version == Version::Http10 {
            "HTTP/1.0"
        } else {
            "HTTP/1.1"
        },
        status: exchange.response.status,
        body_bytes: Some(exchange.response.body_bytes),
        duration,
        pid: std::process::id(),
        now_unix: now.unix,
        header_in: &header_in,
        header_out: &header_out,
        environ: &environ,
    });
}

/// An absolute target without a path has none here.
fn path(exchange: &Exchange) -> Cow<'_, [u8]> {
    if exchange.head.path.is_empty() {
        return Cow::Borrowed(b"");
    }
    exchange.path()
}

fn environ_value<'x>(exchange: &'x Exchange, name: &str) -> Option<&'x [u8]> {
    let found = exchange
        .environ
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_slice())
}

/// The last field called `name` in an encoded response head.
fn response_field<'h>(head: &'h [u8], name: &str) -> Option<&'h [u8]> {
    let lines = head
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    lines.rev().find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (field, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        field
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.trim_ascii_start())
    })
}

/// `PATH_INFO`'s bytes: `%XX` resolved, anything else as it is.
pub fn percent_decoded(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            decoded.push(high << 4 | low);
            rest = after;
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_escapes_are_resolved_and_broken_ones_kept() {
        for (raw, decoded) in [
            ("/a", "/a"),
            ("/a%20b", "/a b"),
            ("/%C3%A9", "/\u{e9}"),
            ("/%2", "/%2"),
            ("/%zz%", "/%zz%"),
            ("/%25%32%30", "/%20"),
        ] {
            assert_eq!(percent_decoded(raw.as_bytes()), decoded.as_bytes(), "{raw}");
        }
    }

    #[test]
    fn response_fields_are_found_by_name_the_last_one_wins() {
        let head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nX-A: body";
        let head = &head[..head.len() - 9];
        assert_eq!(response_field(head, "x-a"), Some(&b"2"[..]));
        assert_eq!(response_field(head, "content-length"), Some(&b"3"[..]));
        assert_eq!(response_field(head, "server"), None);
    }
}
