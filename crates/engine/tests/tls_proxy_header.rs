//! A PROXY header in front of a TLS handshake, in the clear, as balancers send it that pass on TLS unread.

mod support;

use oxicorn_engine::{Options, Peer, Scheme};
use oxicorn_settings::Networks;
use support::preface::{BLOCK, LINE, reads, strict};
use support::secure::{Secure, secure_rig};
use support::{End, GET, Rig, logged, response, status};

/// Two requests of a client that has sent what goes before its handshake; whom they come from.
fn peers(rig: &mut Rig, client: &mut Secure) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..2 {
        client.say(GET);
        rig.with_secure(client, "the request", |rig, _| rig.has_exchange());
        let exchange = rig.exchange();
        assert_eq!(exchange.scheme, Scheme::Https);
        peers.push(exchange.peer);
        rig.respond(exchange, b"");
        rig.receive_secure(client, response(b"").len());
        client.got.clear();
    }
    peers
}

#[test]
fn a_header_may_be_cut_anywhere_and_the_handshake_follows() {
    for header in [LINE, BLOCK] {
        for cut in 1..=header.len() {
            let mut rig = secure_rig(strict);
            let mut client = Secure::new(&rig);
            rig.send(&mut client.raw, &header[..cut]);
            rig.until("accept", |rig| rig.stats().connections == 1);
            rig.round(support::PATIENCE / 1000);
            rig.send(&mut client.raw, &header[cut..]);
            let named = Peer::Ip("192.0.2.7:56324".parse().unwrap());
            assert_eq!(peers(&mut rig, &mut client), [named, named]);
        }
    }
}

#[test]
fn a_handshake_without_a_header_is_its_own() {
    let mut rig = secure_rig(reads);
    let mut client = Secure::new(&rig);
    let own = Peer::Ip(client.raw.address());
    assert_eq!(peers(&mut rig, &mut client), [own, own]);
}

fn strangers(options: &mut Options) {
    reads(options);
    options.edge.proxy_senders = Networks::NONE;
}

fn answers(change: fn(&mut Options), bytes: &[u8], code: u16, text: &str) {
    let mut rig = secure_rig(change);
    let mut client = rig.client_sending(bytes);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(status(&client.got), code);
    assert!(logged(text), "{text}");
}

#[test]
fn what_may_not_be_said_is_answered_in_the_clear() {
    answers(strangers, LINE, 403, "not in proxy_allow_ips (403)");
    let malformed = b"PROXY TCP4\r\n";
    answers(reads, malformed, 400, "a malformed PROXY line (400)");
    let record = b"\x16\x03\x01";
    answers(strict, record, 400, "which is required here (400)");
}

#[test]
fn half_a_header_has_the_time_of_a_handshake() {
    let mut rig = secure_rig(strict);
    let mut client = rig.client_sending(&LINE[..20]);
    rig.until("accept", |rig| rig.stats().connections == 1);
    rig.round(support::PATIENCE / 1000);
    rig.advance(60_000);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(rig.stats().timed_out, 1);
}

#[test]
fn whoever_leaves_inside_a_header_is_gone_at_once() {
    let mut rig = secure_rig(strict);
    let mut client = rig.client_sending(&LINE[..20]);
    rig.until("accept", |rig| rig.stats().connections == 1);
    client.shut();
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!((client.got.len(), rig.stats().timed_out), (0, 0));
}
