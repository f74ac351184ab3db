//! Requests that a driver sends to its own engine, before any client may.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use oxicorn_engine::{Notice, Options, Scheme, TrustPolicy};
use oxicorn_settings::Networks;
use support::{GET, PATIENCE, Rig};

/// Our end of a pair whose other end the engine serves.
fn own(rig: &mut Rig) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let now = rig.now();
    rig.engine.admit_own(OwnedFd::from(theirs), now).unwrap();
    ours
}

fn untrusting(options: &mut Options) {
    options.trust = TrustPolicy {
        proxies: Networks::NONE,
        ..TrustPolicy::default()
    };
}

#[test]
fn an_engine_that_accepts_nobody_answers_itself() {
    let mut rig = Rig::new();
    rig.engine.set_accepting(false);
    let mut client = rig.client_sending(GET);
    let mut ours = own(&mut rig);
    ours.write_all(b"GET /own HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let exchange = rig.exchange();
    assert_eq!(exchange.head.path.of(exchange.bytes()), b"/own");
    assert_eq!(exchange.peer.to_string(), "127.0.0.1");
    rig.respond(exchange, b"ok");
    let mut answer = String::new();
    rig.round(Duration::ZERO);
    ours.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(client.is_silent());
    drop(ours);
    rig.until("it is gone", |rig| rig.stats().connections == 0);
}

#[test]
fn what_it_says_of_the_scheme_is_believed_whoever_else_is_trusted() {
    let mut rig = Rig::with(untrusting);
    let mut ours = own(&mut rig);
    ours.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n")
        .unwrap();
    assert_eq!(rig.exchange().scheme, Scheme::Https);
}

#[test]
fn it_does_not_count_for_max_requests() {
    let mut rig = Rig::with(|options| options.max_requests = 2);
    for number in 0..3 {
        let mut ours = own(&mut rig);
        ours.write_all(GET).unwrap();
        let exchange = rig.exchange();
        rig.respond(exchange, b"ok");
        assert!(rig.notices.is_empty(), "{number}");
    }
    let (_client, exchange) = rig.request(GET);
    rig.respond(exchange, b"ok");
    rig.nudge();
    rig.round(Duration::ZERO);
    assert!(rig.notices.is_empty());
    let _second = rig.request(GET);
    rig.until("the word", |rig| rig.notices == [Notice::Worn]);
}

#[test]
fn an_engine_that_drains_refuses_it() {
    let mut rig = Rig::new();
    rig.engine.drain(false, rig.now());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let now = rig.now();
    assert!(rig.engine.admit_own(OwnedFd::from(theirs), now).is_err());
    drop(ours);
}
