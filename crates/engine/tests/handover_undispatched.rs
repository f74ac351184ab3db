//! Complete requests that the application has not seen move with their connections, and are executed exactly once.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use oxicorn_engine::{Body, Exchange, Handover};
use support::pair::{Pair, told};
use support::{CHUNKED, GET, body, noise, post, response, target};

/// Small enough that a test reaches the file.
const MEMORY: usize = 100_000;

fn pair() -> Pair {
    Pair::with(|options| options.body_memory = MEMORY)
}

fn chunked(content: &[u8]) -> Vec<u8> {
    let mut bytes = CHUNKED.to_vec();
    for chunk in content.chunks(7000) {
        bytes.extend(format!("{:x};e=1\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\nA: b\r\n\r\n");
    bytes
}

/// Goes round until the old one gives readily, and puts the exchange back.
fn put_back(pair: &mut Pair, exchange: Box<Exchange>) {
    pair.connect();
    pair.until("readiness", |pair| pair.old.engine.gives_readily());
    let now = pair.old.now();
    pair.old.engine.put_back(exchange, now).unwrap();
}

/// The request in `bytes` is put back and answered by the new one, as is the one behind it.
fn moves(bytes: &[u8], content: &[u8], kind: fn(&Body) -> bool) {
    let mut pair = pair();
    let mut client = pair.old.client();
    pair.send(&mut client, &[bytes, GET].concat());
    pair.until("the request", |pair| pair.old.has_exchange());
    let exchange = pair.old.exchange();
    assert!(kind(&exchange.body), "{:?}", exchange.body);
    let before = (
        exchange.head.line.of(exchange.bytes()).to_vec(),
        target(&exchange),
    );
    pair.old.engine.hold(&exchange);
    put_back(&mut pair, exchange);
    pair.moved(1);
    assert_eq!(
        (pair.old.stats().requests, pair.old.stats().in_application),
        (0, 0)
    );
    pair.until("the request elsewhere", |pair| pair.new.has_exchange());
    let exchange = pair.new.exchange();
    let after = (
        exchange.head.line.of(exchange.bytes()).to_vec(),
        target(&exchange),
    );
    assert_eq!(after, before);
    assert!(
        body(&exchange) == content,
        "{} bytes",
        body(&exchange).len()
    );
    pair.new.respond(exchange, b"new");
    let two = [response(b"new"), response(b"new")].concat();
    pair.answer(&mut client, two.len());
    assert_eq!(client.got, two);
    assert_eq!(
        (pair.old.stats().requests, pair.new.stats().requests),
        (0, 2)
    );
}

#[test]
fn a_request_without_a_body_moves() {
    moves(GET, b"", |body| matches!(body, Body::Empty));
    moves(&post(b""), b"", |body| matches!(body, Body::Empty));
}

#[test]
fn a_request_whose_body_came_with_the_head_moves() {
    moves(&post(b"hello"), b"hello", |body| {
        matches!(body, Body::Inline(_))
    });
}

#[test]
fn a_request_with_a_body_in_memory_moves() {
    let content = noise(MEMORY - 1);
    moves(&post(&content), &content, |body| {
        matches!(body, Body::Memory(_))
    });
}

#[test]
fn a_request_with_a_body_in_a_file_moves() {
    let content = noise(3 * MEMORY);
    moves(&post(&content), &content, |body| {
        matches!(body, Body::File(..))
    });
}

#[test]
fn a_chunked_request_moves_whatever_its_body_lies_in() {
    moves(&chunked(b""), b"", |body| matches!(body, Body::Empty));
    let content = noise(20_000);
    moves(&chunked(&content), &content, |body| {
        matches!(body, Body::Memory(_))
    });
    let content = noise(3 * MEMORY);
    moves(&chunked(&content), &content, |body| {
        matches!(body, Body::File(..))
    });
}

#[test]
fn a_request_moves_on_and_on_until_somebody_serves_it() {
    let content = noise(3 * MEMORY);
    for bytes in [post(&content), chunked(&content)] {
        let mut pair = pair();
        let mut client = pair.old.client();
        pair.send(&mut client, &bytes);
        for _ in 0..3 {
            pair.until("the request", |pair| pair.old.has_exchange());
            let exchange = pair.old.exchange();
            pair.old.engine.hold(&exchange);
            let given = pair.old.stats().given;
            put_back(&mut pair, exchange);
            pair.until("the move", |pair| pair.old.stats().given == given + 1);
            let now = pair.old.now();
            pair.old.engine.stop_giving(now);
            pair.until("the end", |pair| {
                matches!(pair.told().last(), Some(Handover::Ended { .. }))
                    && matches!(told(&pair.new).last(), Some(Handover::Taken { .. }))
            });
            pair.old.notices.clear();
            pair.new.notices.clear();
            std::mem::swap(&mut pair.old, &mut pair.new);
        }
        pair.until("the request", |pair| pair.old.has_exchange());
        let exchange = pair.old.exchange();
        assert!(body(&exchange) == content);
        pair.old.respond(exchange, b"old");
        pair.expect(&mut client, b"old");
    }
}

#[test]
fn a_request_stays_out_while_nothing_is_given() {
    let mut pair = pair();
    let (mut client, exchange) = pair.old.request(&post(b"hello"));
    let now = pair.old.now();
    let exchange = pair.old.engine.put_back(exchange, now).unwrap_err();
    assert_eq!(body(&exchange), b"hello");
    assert_eq!(pair.old.stats().in_application, 1);
    pair.old.respond(exchange, b"old");
    pair.expect(&mut client, b"old");
}

#[test]
fn a_request_put_back_is_handed_out_again_if_its_connection_stays_after_all() {
    let content = noise(3 * MEMORY);
    let mut pair = pair();
    let mut client = pair.old.client();
    pair.send(&mut client, &[post(&content).as_slice(), GET].concat());
    pair.until("the request", |pair| pair.old.has_exchange());
    let exchange = pair.old.exchange();
    pair.old.engine.hold(&exchange);
    put_back(&mut pair, exchange);
    let now = pair.old.now();
    pair.old.engine.stop_giving(now);
    pair.old.nudge();
    pair.until("the request again", |pair| pair.old.has_exchange());
    let exchange = pair.old.exchange();
    assert!(body(&exchange) == content);
    pair.old.respond(exchange, b"old");
    let two = [response(b"old"), response(b"old")].concat();
    pair.answer(&mut client, two.len());
    assert_eq!(client.got, two);
    assert_eq!(
        (pair.old.stats().requests, pair.new.stats().requests),
        (2, 0)
    );
}
