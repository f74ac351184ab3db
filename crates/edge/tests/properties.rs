//! Properties that must hold for any bytes: no panic, nothing consumed that was not given, and no result that more bytes
//! would change.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../../http1/tests/support/random.rs"]
#[expect(clippy::expect_used, reason = "lengths fit")]
mod random;

use oxicorn_edge::proxy::{self, Found, Versions};
use oxicorn_edge::{forwarded, uwsgi};
use oxicorn_http1::{Head, Span};
use random::Random;

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n";
const BLOCK: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x17\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\
                       \x04\0\0\xea\0\x05vpce-rest";
const FIELD: &[u8] = br#"for="[2001:db8::1]:80";proto=https;by=_x, for=192.0.2.1; host="a\"b,c""#;
const BYTES: &[u8] = b"\r\n \"\\=;,:[]_.0129afTCPUNKWH4\0\x01\x03\x0c\x11\x20\x21\x22\x31\x80\xff";

/// A packet of a few variables.
fn packet() -> Vec<u8> {
    let mut variables = Vec::new();
    for text in [
        "REQUEST_METHOD",
        "POST",
        "PATH_INFO",
        "/a",
        "CONTENT_LENGTH",
        "5",
        "HTTP_A_B",
        "c",
    ] {
        variables.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        variables.extend(text.as_bytes());
    }
    let len = u8::try_from(variables.len()).unwrap();
    [&[0, len, 0, 0], &variables[..]].concat()
}

fn damaged(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(4) {
            0 => bytes.insert(at, *random.pick(BYTES)),
            1 if at < bytes.len() => bytes[at] = *random.pick(BYTES),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn is_decided(found: &Result<Found, proxy::Malformed>) -> bool {
    !matches!(found, Ok(Found::Begun | Found::Undecided))
}

#[test]
fn no_decision_about_a_proxy_header_is_taken_back() {
    let mut random = Random::new(1);
    let mut headers = 0;
    for _ in 0..30_000 {
        let bytes = damaged(random.pick::<&[u8]>(&[LINE, BLOCK]), &mut random);
        let versions = *random.pick(&[Versions::Both, Versions::One, Versions::Two]);
        let whole = proxy::find(&bytes, versions);
        if let Ok(Found::Header(header)) = whole {
            headers += 1;
            assert!(header.len <= bytes.len());
        }
        let cut = random.below(bytes.len() + 1);
        let early = proxy::find(&bytes[..cut], versions);
        assert!(
            !is_decided(&early) || early == whole,
            "{}",
            bytes.escape_ascii()
        );
        let begun = early == Ok(Found::Begun);
        assert!(!begun || !matches!(whole, Ok(Found::Nothing | Found::Undecided)));
    }
    assert!(
        headers > 3_000,
        "only {headers} headers, which proves little"
    );
}

#[test]
fn no_decision_about_a_packet_is_taken_back() {
    let mut random = Random::new(2);
    let mut requests = 0;
    for _ in 0..30_000 {
        let bytes = damaged(&packet(), &mut random);
        let (mut whole, mut head) = (bytes.clone(), Head::default());
        let result = uwsgi::parse(&mut whole, &mut head);
        if result == Ok(true) {
            requests += 1;
            let spans = head
                .fields
                .iter()
                .flat_map(|field| [field.name, field.value]);
            let inside = |span: Span| span.start <= span.end && span.end as usize <= bytes.len();
            assert!(
                spans
                    .chain([head.method, head.path, head.target])
                    .all(inside)
            );
            assert!(uwsgi::variables(&whole).count() < 1000);
        }
        let mut part = bytes[..random.below(bytes.len() + 1)].to_vec();
        match uwsgi::parse(&mut part, &mut Head::default()) {
            Ok(false) => {}
            early => assert_eq!(early, result, "{}", bytes.escape_ascii()),
        }
    }
    assert!(
        requests > 3_000,
        "only {requests} requests, which proves little"
    );
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::new(3);
    for _ in 0..50_000 {
        let mut bytes: Vec<u8> = (0..random.below(60)).map(|_| *random.pick(BYTES)).collect();
        let _ = proxy::find(&bytes, Versions::Both);
        let _ = proxy::find(&[b"PROXY ", &bytes[..]].concat(), Versions::Both);
        let _ = proxy::find(&[&BLOCK[..12], &bytes[..]].concat(), Versions::Both);
        let _ = forwarded::elements([&bytes[..]]);
        let _ = forwarded::node(&bytes);
        let _ = uwsgi::parse(&mut bytes, &mut Head::default());
        bytes.splice(..bytes.len().min(1), [0, 30, 0, 0]);
        let _ = uwsgi::parse(&mut bytes, &mut Head::default());
        assert!(uwsgi::variables(&bytes).count() <= bytes.len());
    }
}

#[test]
fn elements_of_a_damaged_field_have_parts_of_it() {
    let mut random = Random::new(4);
    let mut read = 0;
    for _ in 0..30_000 {
        let bytes = damaged(FIELD, &mut random);
        for element in forwarded::elements([&bytes[..]]).unwrap_or_default() {
            read += 1;
            let parts = [element.client, element.by, element.host, element.proto];
            let total: usize = parts.iter().flatten().map(|part| part.len()).sum();
            assert!(total < bytes.len());
        }
    }
    assert!(read > 5_000, "only {read} elements, which proves little");
}
