//! `host [":" port]`, as in the Host field and in a target's authority (RFC 9110 §7.2, RFC 3986
//! §3.2).
//!
//! Judges the syntax only: whether a host is one of ours is the application's business. A host is
//! never looked up here.

use crate::bytes;
use core::net::Ipv6Addr;

/// Whether `value` is a host with an optional port. An empty value is valid: it is what a client
/// sends for a target without an authority (RFC 9110 §7.2). An empty host with a port is not.
#[inline]
pub(crate) fn is_valid(value: &[u8]) -> bool {
    if value.first() == Some(&b'[') {
        return is_literal(value);
    }
    let name = name_len(value);
    match value.get(name..) {
        Some([b':', port @ ..]) => name > 0 && is_port(port),
        Some([]) => true,
        _ => false,
    }
}

/// Whether a valid host states its port; `host:` does not.
pub(crate) fn has_port(value: &[u8]) -> bool {
    let after_host = value
        .rsplit(|&byte| byte == b']')
        .next()
        .unwrap_or_default();
    after_host
        .iter()
        .position(|&byte| byte == b':')
        .is_some_and(|at| at + 1 < after_host.len())
}

/// Length of the `reg-name` or IPv4 address at the front.
#[inline]
fn name_len(value: &[u8]) -> usize {
    let mut at = bytes::run(value, bytes::HOST);
    while let Some([b'%', high, low, rest @ ..]) = value.get(at..) {
        if !(high.is_ascii_hexdigit() && low.is_ascii_hexdigit()) {
            break;
        }
        at += 3 + bytes::run(rest, bytes::HOST);
    }
    at
}

/// `port = *DIGIT`, and it must exist.
#[inline]
fn is_port(port: &[u8]) -> bool {
    let number = port.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        Some(number * 10 + digit).filter(|&number| number <= 65_535)
    });
    number.is_some()
}

/// `"[" ( IPv6address / IPvFuture ) "]" [ ":" port ]`.
fn is_literal(value: &[u8]) -> bool {
    let Some(end) = value.iter().position(|&byte| byte == b']') else {
        return false;
    };
    let address = value.get(1..end).unwrap_or_default();
    let port_is_valid = match value.get(end + 1..) {
        Some([b':', port @ ..]) => is_port(port),
        rest => rest.unwrap_or_default().is_empty(),
    };
    port_is_valid && (is_ipv6(address) || is_future(address))
}

fn is_ipv6(address: &[u8]) -> bool {
    core::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// `"v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )`.
fn is_future(address: &[u8]) -> bool {
    let [b'v' | b'V', rest @ ..] = address else {
        return false;
    };
    let dot = rest
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    match rest.get(dot..) {
        Some([b'.', text @ ..]) if dot > 0 && !text.is_empty() => text
            .iter()
            .all(|&byte| byte == b':' || bytes::is(byte, bytes::HOST)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_literals_are_hosts_with_or_without_a_port() {
        let hosts = [
            "example.com",
            "a",
            "127.0.0.1",
            "a_b",
            "%41b",
            "[::1]",
            "[v1.a:b]",
            "x;y=(z)",
        ];
        for host in hosts {
            for port in ["", ":", ":0", ":80", ":65535", ":0000000080"] {
                let value = format!("{host}{port}");
                assert!(is_valid(value.as_bytes()), "{value}");
                assert_eq!(has_port(value.as_bytes()), port.len() > 1, "{value}");
            }
        }
        assert!(is_valid(b""));
    }

    #[test]
    fn anything_else_is_no_host() {
        let wrong = [
            ":80",
            "a:b",
            "a:-1",
            "a:+1",
            "a:65536",
            "a:99999999999",
            "a:8 0",
            "a:80:80",
            "a b",
            "a,b",
            "u@h",
            "h/",
            "h?",
            "h#",
            "%4",
            "%zz",
            "a%",
            "[::1",
            "::1",
            "[]",
            "[::1]x",
            "[::1]:x",
            "[::g]",
            "[fe80::1%25eth0]",
            "[v.a]",
            "[v1]",
            "[v1.]",
            "\"h\"",
            "h\\",
            "é",
            "a\tb",
            "http://h",
        ];
        for value in wrong {
            assert!(!is_valid(value.as_bytes()), "{value}");
        }
    }
}
