//! A PROXY header in front of a connection: who may send one, what becomes of it, and that it is never lost.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::net::SocketAddr;

use oxicorn_edge::proxy::{Protocol, Versions};
use oxicorn_engine::{Exchange, Options, Origin, Peer};
use oxicorn_settings::Networks;
use support::pair::Pair;
use support::preface::{BLOCK, LINE, reads, strict};
use support::{Client, End, GET, Rig, body, get, logged, post, response, status, target};

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// The client's address.
fn client_of(exchange: &Exchange) -> Option<SocketAddr> {
    match exchange.peer {
        Peer::Ip(address) => Some(address),
        Peer::Unix => None,
    }
}

/// The request is that of the client that the headers above name.
fn check(exchange: &Exchange, proxy: &Client) {
    assert_eq!(client_of(exchange), "192.0.2.7:56324".parse().ok());
    let origin = Origin {
        proxy: Peer::Ip(proxy.address()),
        protocol: Protocol::Tcp4,
        destination: Some("198.51.100.1:443".parse().unwrap()),
    };
    assert_eq!(exchange.origin, Some(origin));
    assert!(exchange.trusted, "the balancer is a trusted proxy");
}

#[test]
fn the_clients_address_is_that_of_every_request_on_the_connection() {
    for header in [LINE, BLOCK] {
        let mut rig = Rig::with(reads);
        let mut client = rig.client_sending(&[header, GET, &post(b"hello")[..]].concat());
        for _ in 0..2 {
            let exchange = rig.exchange();
            check(&exchange, &client);
            rig.respond(exchange, b"");
        }
        rig.receive(&mut client, 2 * response(b"").len());
        rig.send(&mut client, &get("/later"));
        let exchange = rig.exchange();
        check(&exchange, &client);
        assert_eq!(target(&exchange), "/later");
        rig.respond(exchange, b"");
    }
}

#[test]
fn a_header_may_come_in_two_pieces_cut_anywhere() {
    for header in [LINE, BLOCK] {
        let bytes = [header, GET].concat();
        for cut in 1..bytes.len() {
            let mut rig = Rig::with(strict);
            let mut client = rig.client_sending(&bytes[..cut]);
            rig.until("the first piece", |rig| rig.stats().connections == 1);
            rig.round(support::PATIENCE / 1000);
            rig.send(&mut client, &bytes[cut..]);
            let exchange = rig.exchange();
            check(&exchange, &client);
            rig.respond(exchange, b"");
        }
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    for header in [LINE, BLOCK] {
        let mut rig = Rig::with(strict);
        let mut client = rig.client();
        for byte in [header, GET].concat().chunks(1) {
            rig.send(&mut client, byte);
            rig.round(support::PATIENCE / 1000);
        }
        let exchange = rig.exchange();
        check(&exchange, &client);
        rig.respond(exchange, b"");
    }
}

#[test]
fn the_largest_block_is_read() {
    let mut block = BLOCK[..28].to_vec();
    block[14..16].copy_from_slice(&[0xff, 0xff]);
    block.extend([4, 0xff, 0xf0]);
    block.resize(16 + 0xffff, 0);
    let mut rig = Rig::with(strict);
    let client = rig.client_sending(&[&block[..], GET].concat());
    let exchange = rig.exchange();
    check(&exchange, &client);
    rig.respond(exchange, b"");
}

#[test]
fn a_connection_without_a_header_is_its_own() {
    let mut rig = Rig::with(reads);
    let (client, exchange) = rig.request(GET);
    assert_eq!(client_of(&exchange), Some(client.address()));
    assert_eq!(exchange.origin, None);
    rig.respond(exchange, b"");
}

#[test]
fn a_connection_without_a_header_is_refused_where_one_is_required() {
    let mut rig = Rig::with(strict);
    let mut client = rig.client_sending(GET);
    assert_eq!(rig.last_status(&mut client), 400);
    assert!(logged(
        "WARN: Invalid request from ip=127.0.0.1: no PROXY header, which is required here (400)"
    ));
    assert_eq!(rig.stats().refused, 1);
}

#[test]
fn the_balancers_own_connection_has_its_own_address() {
    let mut rig = Rig::with(strict);
    let (client, exchange) = rig.request(&[LOCAL, GET].concat());
    assert_eq!(client_of(&exchange), Some(client.address()));
    let origin = exchange.origin.unwrap();
    assert_eq!(
        (origin.protocol, origin.destination),
        (Protocol::Local, None)
    );
    rig.respond(exchange, b"");
}

#[test]
fn a_health_check_that_leaves_is_nobodys_fault() {
    let mut rig = Rig::with(strict);
    for header in [LOCAL, LINE, b""] {
        let client = rig.client_sending(header);
        rig.until("accept", |rig| rig.stats().connections == 1);
        drop(client);
        rig.until("the end", |rig| rig.stats().connections == 0);
    }
    assert_eq!(rig.stats().refused, 0);
    assert!(!logged("WARN"));
}

#[test]
fn whoever_may_not_send_a_header_is_refused_as_soon_as_it_begins() {
    for header in [LINE, &LINE[..6], BLOCK, &BLOCK[..12], b"PROXY nonsense\r\n"] {
        let mut rig = Rig::with(|options| {
            reads(options);
            options.edge.proxy_senders = Networks::parse(["192.0.2.0/24"]).unwrap();
        });
        let mut client = rig.client_sending(header);
        assert_eq!(rig.last_status(&mut client), 403);
        assert!(logged(
            "Invalid request from ip=127.0.0.1: a PROXY header from an address that is not in proxy_allow_ips (403)"
        ));
    }
}

#[test]
fn a_malformed_header_is_refused_and_nothing_behind_it_is_served() {
    let mut rig = Rig::with(reads);
    let mut client = rig.client_sending(&[b"PROXY TCP4 nowhere\r\n", GET].concat());
    assert_eq!(rig.last_status(&mut client), 400);
    assert!(logged("a malformed PROXY line (400)"));
    assert!(!rig.has_exchange());
}

#[test]
fn a_second_header_is_a_malformed_request() {
    let mut rig = Rig::with(reads);
    let mut client = rig.client_sending(&[LINE, LINE, GET].concat());
    assert_eq!(rig.last_status(&mut client), 400);
    assert!(logged("ip=192.0.2.7: "), "the client's");
}

#[test]
fn a_header_is_no_header_where_none_is_looked_for() {
    let other = |versions| {
        move |options: &mut Options| {
            reads(options);
            options.edge.proxy = versions;
        }
    };
    for (versions, header) in [
        (None, LINE),
        (None, BLOCK),
        (Some(Versions::One), BLOCK),
        (Some(Versions::Two), LINE),
    ] {
        let mut rig = Rig::with(other(versions));
        let mut client = rig.client_sending(&[header, GET].concat());
        assert_eq!(rig.last_status(&mut client), 400, "{versions:?}");
    }
}

#[test]
fn a_header_and_its_request_have_the_time_of_a_head() {
    for beginning in [&LINE[..20], &BLOCK[..14], &[LINE, &GET[..5]].concat()[..]] {
        let mut rig = Rig::with(reads);
        let mut client = rig.client_sending(beginning);
        rig.settle_beside(&mut client);
        rig.advance(9_900);
        assert!(client.is_silent());
        rig.advance(200);
        assert_eq!(rig.last_status(&mut client), 408);
    }
}

#[test]
fn a_header_without_a_request_ends_in_silence() {
    let mut rig = Rig::with(reads);
    let mut client = rig.client_sending(LINE);
    rig.settle_beside(&mut client);
    rig.advance(10_100);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!((status(&client.got), rig.stats().timed_out), (0, 1));
}

trait Beside {
    /// As `settle`, where the fence may be refused for want of a header.
    fn settle_beside(&mut self, client: &mut Client);
}

impl Beside for Rig {
    fn settle_beside(&mut self, client: &mut Client) {
        assert!(client.is_silent());
        self.settle();
    }
}

// Moving

fn moved_at(cut: usize, bytes: &[u8]) {
    let mut pair = Pair::with(reads);
    let mut client = pair.old.client_sending(&bytes[..cut]);
    pair.old.settle();
    pair.move_all();
    pair.send(&mut client, &bytes[cut..]);
    pair.until("the request", |pair| pair.new.is_asked());
    let exchange = pair.new.exchange();
    check(&exchange, &client);
    pair.new.respond(exchange, b"new");
    pair.expect(&mut client, b"new");
}

#[test]
fn a_connection_moves_before_inside_and_behind_its_header() {
    for header in [LINE, BLOCK] {
        let bytes = [header, GET].concat();
        for cut in 0..bytes.len() {
            moved_at(cut, &bytes);
        }
    }
}

#[test]
fn an_idle_connection_keeps_its_address_when_it_moves() {
    let mut pair = Pair::with(strict);
    let (mut client, exchange) = pair.old.request(&[LINE, GET].concat());
    pair.old.respond(exchange, b"old");
    pair.expect(&mut client, b"old");
    pair.move_all();
    pair.send(&mut client, GET);
    pair.until("the request", |pair| pair.new.is_asked());
    let exchange = pair.new.exchange();
    check(&exchange, &client);
    pair.new.respond(exchange, b"");
}

#[test]
fn half_a_body_keeps_its_address_when_it_moves() {
    let mut pair = Pair::with(strict);
    let bytes = [LINE, &post(b"hello")[..]].concat();
    let mut client = pair.old.client_sending(&bytes[..bytes.len() - 2]);
    pair.old
        .until("the body", |rig| rig.stats().connections == 1);
    pair.old.round(support::PATIENCE / 100);
    pair.move_all();
    pair.send(&mut client, b"lo");
    pair.until("the request", |pair| pair.new.is_asked());
    let exchange = pair.new.exchange();
    check(&exchange, &client);
    assert_eq!(body(&exchange), b"hello");
    pair.new.respond(exchange, b"");
}

#[test]
fn a_client_of_the_same_address_as_a_trusted_proxy_is_not_believed_for_that() {
    let mut pair = Pair::with(|options| {
        reads(options);
        options.trust.proxies = Networks::parse(["192.0.2.7"]).unwrap();
    });
    let (mut client, exchange) = pair.old.request(&[LINE, GET].concat());
    assert!(!exchange.trusted, "the balancer is none");
    pair.old.respond(exchange, b"old");
    pair.expect(&mut client, b"old");
    pair.move_all();
    pair.send(&mut client, GET);
    pair.until("the request", |pair| pair.new.is_asked());
    let exchange = pair.new.exchange();
    assert!(!exchange.trusted, "nor after the move");
    pair.new.respond(exchange, b"");
}

#[test]
fn a_request_that_nobody_has_seen_keeps_its_address_when_it_is_put_back() {
    let mut pair = Pair::with(strict);
    let mut client = pair.old.client();
    pair.send(&mut client, &[LINE, GET].concat());
    pair.until("the request", |pair| pair.old.has_exchange());
    let exchange = pair.old.exchange();
    pair.old.engine.hold(&exchange);
    pair.connect();
    pair.until("readiness", |pair| pair.old.engine.gives_readily());
    let now = pair.old.now();
    assert!(pair.old.engine.put_back(exchange, now).is_ok());
    pair.until("the request elsewhere", |pair| pair.new.has_exchange());
    let exchange = pair.new.exchange();
    check(&exchange, &client);
    pair.new.respond(exchange, b"new");
    pair.expect(&mut client, b"new");
}
