//! Requests as uwsgi packets: the same exchange, limits, times and moves as with HTTP.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use oxicorn_engine::{Body, Ending, Options, Peer, Scheme};
use oxicorn_settings::Networks;
use support::pair::Pair;
use support::{Client, End, Rig, body, logged, noise, response, status};

fn speaks(options: &mut Options) {
    options.edge.uwsgi = Some(Networks::parse(["127.0.0.1"]).unwrap());
}

fn packet(variables: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in variables.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    let [low, high] = u16::try_from(bytes.len()).unwrap().to_le_bytes();
    [vec![0, low, high, 0], bytes].concat()
}

const GET: [(&str, &str); 7] = [
    ("REQUEST_METHOD", "GET"),
    ("REQUEST_URI", "/a%20b?c"),
    ("PATH_INFO", "/a b"),
    ("HTTPS", "on"),
    ("REMOTE_ADDR", "192.0.2.7"),
    ("REMOTE_PORT", "56324"),
    ("HTTP_X_ID", "7"),
];

fn post(body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let variables = [
        ("REQUEST_METHOD", "POST"),
        ("PATH_INFO", "/"),
        ("CONTENT_LENGTH", &length),
    ];
    [packet(&variables), body.to_vec()].concat()
}

/// Returns when the engine has seen all that was sent so far: a request on another connection came through.
fn settle(rig: &mut Rig) {
    let before = rig.stats().connections;
    let (client, exchange) = rig.request(&packet(&GET));
    rig.finish(exchange, Ending::Cut);
    drop(client);
    rig.until("the end of the fence", |rig| {
        rig.stats().connections <= before.max(1)
    });
}

fn ends(rig: &mut Rig, client: &mut Client) -> Vec<u8> {
    assert_eq!(rig.end_of(client), End::Closed);
    client.got.clone()
}

#[test]
fn a_packet_is_an_exchange_and_its_connection_ends() {
    let mut rig = Rig::with(speaks);
    let (mut client, exchange) = rig.request(&packet(&GET));
    let (head, bytes) = (&exchange.head, exchange.bytes());
    assert_eq!(exchange.line(), &b"GET /a%20b?c HTTP/1.1"[..]);
    assert_eq!(exchange.path(), &b"/a b"[..]);
    assert_eq!(exchange.raw_path(), b"/a%20b");
    assert_eq!(head.field(bytes, "x-id"), Some(&b"7"[..]));
    assert_eq!(exchange.peer, Peer::Ip("192.0.2.7:56324".parse().unwrap()));
    assert_eq!(exchange.scheme, Scheme::Https);
    assert!(!exchange.trusted && !exchange.keep_alive && !exchange.is_http11());
    assert!(matches!(exchange.body, Body::Empty));
    rig.respond(exchange, b"hi");
    assert_eq!(ends(&mut rig, &mut client), response(b"hi"));
}

#[test]
fn whoever_sent_the_packet_is_the_client_where_it_names_none() {
    let mut rig = Rig::with(speaks);
    let (client, exchange) = rig.request(&packet(&GET[..3]));
    assert_eq!(exchange.peer, Peer::Ip(client.address()));
    assert!(exchange.trusted);
    rig.finish(exchange, Ending::Cut);
}

#[test]
fn a_packet_may_come_in_two_pieces_cut_anywhere() {
    let bytes = post(b"hello");
    for cut in 1..bytes.len() {
        let mut rig = Rig::with(speaks);
        let mut client = rig.client_sending(&bytes[..cut]);
        rig.until("accept", |rig| rig.stats().connections == 1);
        rig.round(support::PATIENCE / 1000);
        rig.send(&mut client, &bytes[cut..]);
        let exchange = rig.exchange();
        assert_eq!(body(&exchange), b"hello");
        rig.respond(exchange, b"");
    }
}

#[test]
fn a_large_body_goes_to_a_file() {
    let mut rig = Rig::with(speaks);
    let sent = noise(1 << 20);
    let client = rig.client_sending(&post(&sent));
    let exchange = rig.exchange();
    assert!(matches!(exchange.body, Body::File(..)));
    assert_eq!(body(&exchange), sent);
    rig.respond(exchange, b"");
    drop(client);
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let mut rig = Rig::with(|options| {
        speaks(options);
        options.body_limit = 4;
    });
    let mut client = rig.client_sending(&post(b"hello"));
    assert_eq!(rig.last_status(&mut client), 413);
}

#[test]
fn what_follows_a_request_is_not_looked_at() {
    let mut rig = Rig::with(speaks);
    let (mut client, exchange) = rig.request(&[packet(&GET), packet(&GET)].concat());
    rig.respond(exchange, b"");
    assert_eq!(ends(&mut rig, &mut client), response(b""));
    assert!(!rig.has_exchange());
}

#[test]
fn whoever_may_not_speak_is_refused() {
    let mut rig = Rig::with(|options| {
        options.edge.uwsgi = Some(Networks::parse(["10.0.0.0/8"]).unwrap());
    });
    let mut client = rig.client_sending(&packet(&GET));
    assert_eq!(rig.last_status(&mut client), 403);
    assert!(logged(
        "ip=127.0.0.1: uwsgi from an address that is not in uwsgi_allow_ips (403)"
    ));
}

#[test]
fn a_malformed_packet_is_refused() {
    for (bytes, code, text) in [
        (
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            400,
            "perhaps HTTP, on a socket for uwsgi (400)",
        ),
        (b"\x07\0\0\0", 501, "modifier1 7 instead of 0 (501)"),
        (b"\0\x01\0\0\x01", 400, "a malformed uwsgi packet (400)"),
    ] {
        let mut rig = Rig::with(speaks);
        let mut client = rig.client_sending(bytes);
        assert_eq!(rig.last_status(&mut client), code);
        assert!(logged(text), "{text}");
        assert_eq!(rig.stats().refused, 1);
    }
}

#[test]
fn a_packet_has_the_time_of_a_head_and_its_body_that_of_a_body() {
    let bytes = post(b"hello");
    for (beginning, time) in [(2, 10_000), (20, 10_000), (bytes.len() - 1, 30_000)] {
        let mut rig = Rig::with(speaks);
        let mut client = rig.client_sending(&bytes[..beginning]);
        rig.until("accept", |rig| rig.stats().connections == 1);
        settle(&mut rig);
        rig.advance(time - 100);
        assert!(client.is_silent(), "{beginning}");
        rig.advance(200);
        assert_eq!(rig.last_status(&mut client), 408);
    }
}

#[test]
fn a_packet_that_ends_early_is_nobodys_request() {
    let mut rig = Rig::with(speaks);
    let bytes = post(b"hello");
    for cut in [0, 3, 10, bytes.len() - 1] {
        let mut client = rig.client_sending(&bytes[..cut]);
        rig.until("accept", |rig| rig.stats().connections == 1);
        client.shut();
        assert_eq!(rig.end_of(&mut client), End::Closed);
        assert_eq!(status(&client.got), 0);
    }
    assert!(!rig.has_exchange());
}

#[test]
fn a_question_of_our_own_is_asked_in_http() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut rig = Rig::with(|options| {
        speaks(options);
        options.edge.proxy_required = true;
    });
    let now = rig.now();
    rig.engine.admit_own(theirs.into(), now).unwrap();
    rig.nudge();
    std::io::Write::write_all(&mut &ours, support::GET).unwrap();
    let exchange = rig.exchange();
    assert!(!exchange.is_packet);
    rig.respond(exchange, b"");
}

// Moving

#[test]
fn a_request_moves_wherever_it_is_cut() {
    let bytes = post(b"hello");
    for cut in 0..bytes.len() {
        let mut pair = Pair::with(speaks);
        let mut client = pair.old.client_sending(&bytes[..cut]);
        pair.old.until("accept", |rig| rig.stats().connections == 1);
        settle(&mut pair.old);
        pair.move_all();
        pair.send(&mut client, &bytes[cut..]);
        pair.until("the request", |pair| pair.new.is_asked());
        let exchange = pair.new.exchange();
        assert!(
            exchange.is_packet && body(&exchange) == b"hello",
            "cut at {cut}"
        );
        pair.new.respond(exchange, b"new");
        assert_eq!(ends(&mut pair.new, &mut client), response(b"new"));
    }
}

#[test]
fn a_body_in_a_file_moves() {
    let sent = noise(300_000);
    let bytes = post(&sent);
    let mut pair = Pair::with(speaks);
    let mut client = pair.old.client_sending(&bytes[..200_000]);
    pair.old.until("accept", |rig| rig.stats().connections == 1);
    settle(&mut pair.old);
    pair.move_all();
    pair.send(&mut client, &bytes[200_000..]);
    pair.until("the request", |pair| pair.new.is_asked());
    let exchange = pair.new.exchange();
    assert!(body(&exchange) == sent);
    pair.new.respond(exchange, b"");
}

#[test]
fn a_request_that_nobody_has_seen_is_put_back_and_moves() {
    for content in [&b""[..], b"hello", &noise(300_000)] {
        let mut pair = Pair::with(speaks);
        let mut client = pair.old.client();
        pair.send(&mut client, &post(content));
        pair.until("the request", |pair| pair.old.has_exchange());
        let exchange = pair.old.exchange();
        pair.old.engine.hold(&exchange);
        pair.connect();
        pair.until("readiness", |pair| pair.old.engine.gives_readily());
        let now = pair.old.now();
        assert!(pair.old.engine.put_back(exchange, now).is_ok());
        pair.until("the request elsewhere", |pair| pair.new.has_exchange());
        let exchange = pair.new.exchange();
        assert!(exchange.is_packet && body(&exchange) == content);
        pair.new.respond(exchange, b"new");
        assert_eq!(ends(&mut pair.new, &mut client), response(b"new"));
    }
}

#[test]
fn a_packet_stays_one_where_http_is_spoken_now() {
    let mut pair = Pair::with(speaks);
    pair.new = pair.old.heir(None, |_| {});
    pair.new.engine.set_accepting(false);
    let bytes = packet(&GET);
    let mut client = pair.old.client_sending(&bytes[..9]);
    pair.old.until("accept", |rig| rig.stats().connections == 1);
    settle(&mut pair.old);
    pair.move_all();
    pair.send(&mut client, &bytes[9..]);
    pair.until("the request", |pair| pair.new.is_asked());
    let exchange = pair.new.exchange();
    assert!(exchange.is_packet);
    pair.new.respond(exchange, b"new");
    assert_eq!(ends(&mut pair.new, &mut client), response(b"new"));
}
