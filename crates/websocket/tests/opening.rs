//! The opening handshake (RFC 6455 §4.2): what is accepted, what is refused, and how it is answered.

use oxicorn_websocket::deflate::Policy;
use oxicorn_websocket::{NotOffered, Opening, Refusal, is_asked};

/// The request of RFC 6455 §1.3.
const REQUEST: [(&str, &str); 7] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Origin", "http://example.com"),
    ("Sec-WebSocket-Protocol", "chat, superchat"),
    ("Sec-WebSocket-Version", "13"),
];

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn bytes<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a [u8], &'a [u8])> {
    let bytes = |(name, value): &(&'a str, &'a str)| (name.as_bytes(), value.as_bytes());
    fields.iter().map(bytes).collect()
}

fn read<'a>(fields: &[(&'a str, &'a str)]) -> Result<Opening<'a>, Refusal> {
    Opening::read(b"GET", 1, bytes(fields))
}

/// The request of the RFC without one field.
fn without(name: &str) -> Fields<'static> {
    let others = REQUEST.into_iter().filter(|(other, _)| *other != name);
    others.collect()
}

/// The request of the RFC with another value for one field.
fn with<'a>(name: &'a str, value: &'a str) -> Fields<'a> {
    let mut fields = without(name);
    fields.push((name, value));
    fields
}

#[test]
fn the_handshake_of_the_rfc_is_answered_as_there() {
    let opening = read(&REQUEST).unwrap();
    assert_eq!(opening.protocols(), ["chat", "superchat"]);
    let fields = opening.fields(Some("chat"), None).unwrap();
    let expected = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("Sec-WebSocket-Protocol", "chat"),
    ];
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    assert_eq!(fields, expected);
}

#[test]
fn names_and_keywords_are_read_without_regard_to_case() {
    let fields = [
        ("UPGRADE", "WebSocket"),
        ("connection", "keep-alive, UPGRADE"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("SEC-WEBSOCKET-VERSION", "13"),
    ];
    assert!(read(&fields).is_ok());
}

#[test]
fn a_request_that_is_no_handshake_is_refused_by_name() {
    let cases = [
        (without("Upgrade"), Refusal::Upgrade),
        (with("Upgrade", "h2c"), Refusal::Upgrade),
        (without("Connection"), Refusal::Connection),
        (with("Connection", "keep-alive"), Refusal::Connection),
        (without("Sec-WebSocket-Version"), Refusal::Version),
        (with("Sec-WebSocket-Version", "8"), Refusal::Version),
        (with("Sec-WebSocket-Version", "13, 8"), Refusal::Version),
        (without("Sec-WebSocket-Key"), Refusal::Key),
        (
            with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ="),
            Refusal::Key,
        ),
        (
            with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j!Q=="),
            Refusal::Key,
        ),
        (
            with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQab"),
            Refusal::Key,
        ),
        (with("Sec-WebSocket-Protocol", "a b"), Refusal::Protocols),
        (with("Sec-WebSocket-Extensions", "a;"), Refusal::Extensions),
    ];
    for (fields, refusal) in cases {
        assert_eq!(read(&fields).err(), Some(refusal), "{fields:?}");
    }
    let post = Opening::read(b"POST", 1, bytes(&REQUEST));
    assert_eq!(post.err(), Some(Refusal::Method));
    let old = Opening::read(b"GET", 0, bytes(&REQUEST));
    assert_eq!(old.err(), Some(Refusal::HttpVersion));
}

#[test]
fn two_keys_or_two_versions_are_none() {
    for (name, refusal) in [
        ("Sec-WebSocket-Key", Refusal::Key),
        ("Sec-WebSocket-Version", Refusal::Version),
    ] {
        let again = REQUEST.into_iter().find(|(other, _)| *other == name);
        let fields: Fields<'_> = REQUEST.into_iter().chain(again).collect();
        assert_eq!(read(&fields).err(), Some(refusal));
    }
}

/// RFC 6455 §4.4.
#[test]
fn another_version_is_told_which_one_we_have() {
    assert_eq!(Refusal::Version.status(), 426);
    let fields = Refusal::Version.fields();
    assert!(fields.contains(&("Sec-WebSocket-Version", "13")));
}

#[test]
fn a_request_without_upgrade_does_not_ask_for_a_websocket() {
    assert!(is_asked(bytes(&REQUEST)));
    assert!(is_asked(bytes(&without("Sec-WebSocket-Key"))));
    assert!(!is_asked(bytes(&without("Upgrade"))));
    assert!(!is_asked(bytes(&with("Upgrade", "h2c"))));
}

#[test]
fn protocols_may_be_in_several_fields() {
    let fields: Fields<'_> = REQUEST
        .into_iter()
        .chain([("Sec-WebSocket-Protocol", "mqtt")])
        .collect();
    let opening = read(&fields).unwrap();
    assert_eq!(opening.protocols(), ["chat", "superchat", "mqtt"]);
}

#[test]
fn the_clients_favourite_among_those_we_support_is_chosen() {
    let opening = read(&REQUEST).unwrap();
    assert_eq!(opening.choose(&["superchat", "chat"]), Some("chat"));
    assert_eq!(opening.choose(&["superchat"]), Some("superchat"));
    assert_eq!(opening.choose(&["mqtt"]), None);
}

#[test]
fn a_protocol_that_was_not_offered_is_not_answered() {
    let opening = read(&REQUEST).unwrap();
    assert_eq!(opening.fields(Some("mqtt"), None), Err(NotOffered));
}

#[test]
fn compression_is_answered_if_it_was_offered() {
    let fields = with("Sec-WebSocket-Extensions", "foo, permessage-deflate");
    let opening = read(&fields).unwrap();
    let agreement = opening.deflate(&Policy::default()).unwrap();
    let fields = opening.fields(None, Some(&agreement)).unwrap();
    let last = fields.last().unwrap();
    assert_eq!(*last, ("Sec-WebSocket-Extensions", agreement.answer()));
    assert_eq!(read(&REQUEST).unwrap().deflate(&Policy::default()), None);
}
