//! What an exchange says about its client, and what is kept of it when it is over.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use oxicorn_engine::{Ending, Engine, Exchange, Peer, Poller, Scheme, TrustPolicy, Turn};
use oxicorn_logs::{AccessLog, Format, Sink};
use oxicorn_settings::Networks;
use support::{Client, GET, PATIENCE, Rig, get, post, response, target};

const FROM_PROXY: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n";

#[test]
fn an_ip_client_has_its_address_and_port() {
    let mut rig = Rig::new();
    let (client, exchange) = rig.request(GET);
    assert_eq!(exchange.peer, Peer::Ip(client.address()));
    assert_eq!(exchange.peer.to_string(), "127.0.0.1");
    assert_eq!(exchange.listener, 0);
}

#[test]
fn a_trusted_proxy_says_https_and_anybody_else_does_not() {
    let mut rig = Rig::new();
    assert_eq!(rig.request(FROM_PROXY).1.scheme, Scheme::Https);
    let mut rig = Rig::with(|options| {
        options.trust = TrustPolicy {
            proxies: Networks::NONE,
            ..TrustPolicy::default()
        };
    });
    assert_eq!(rig.request(FROM_PROXY).1.scheme, Scheme::Http);
}

#[test]
fn a_scheme_that_is_said_once_is_not_remembered() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(FROM_PROXY);
    rig.respond(exchange, b"");
    for request in [GET.to_vec(), post(b"body")] {
        rig.send(&mut client, &request);
        let exchange = rig.exchange();
        assert_eq!(exchange.scheme, Scheme::Http);
        rig.respond(exchange, b"");
    }
}

/// The next request of an engine without a rig.
fn next(engine: &mut Engine, poller: &mut Poller) -> Box<Exchange> {
    loop {
        match engine.turn(oxicorn_engine::Now::read()) {
            Turn::Exchange(exchange) => return exchange,
            Turn::Notice(notice) => unreachable!("{notice:?}"),
            Turn::Idle { again } => {
                let events = poller.wait((!again).then_some(PATIENCE)).unwrap();
                assert!(again || events > 0, "no request came");
                engine.feed(poller);
            }
        }
    }
}

#[test]
fn listeners_of_every_kind_are_told_apart() {
    let mut poller = Poller::new().unwrap();
    let mut engine = Engine::new(&poller, oxicorn_engine::Options::default(), None).unwrap();
    let folder = support::folder("listeners");
    let unix = UnixListener::bind(folder.join("socket")).unwrap();
    let dual = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0"));
    let dual = dual.unwrap();
    let port = dual.local_addr().unwrap().port();
    unix.set_nonblocking(true).unwrap();
    dual.set_nonblocking(true).unwrap();
    engine.listen(OwnedFd::from(unix)).unwrap();
    engine.listen(OwnedFd::from(dual)).unwrap();

    let mut local = UnixStream::connect(folder.join("socket")).unwrap();
    local.write_all(FROM_PROXY).unwrap();
    let exchange = next(&mut engine, &mut poller);
    assert_eq!((exchange.listener, exchange.peer), (0, Peer::Unix));
    assert_eq!(
        exchange.scheme,
        Scheme::Https,
        "local processes are trusted"
    );
    assert_eq!(exchange.peer.to_string(), "");

    let mut client = Client::connect(([127, 0, 0, 1], port).into());
    client.push(GET);
    let exchange = next(&mut engine, &mut poller);
    assert_eq!(exchange.listener, 1);
    assert_eq!(
        exchange.peer,
        Peer::Ip(client.address()),
        "as IPv4, whatever the listener"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_exchange_keeps_its_bytes_while_others_come_and_go() {
    let mut rig = Rig::new();
    let (_kept, kept) = rig.request(&get("/kept"));
    for number in 0..200 {
        let (_client, exchange) = rig.request(&get(&format!("/{number}")));
        assert_eq!(target(&exchange), format!("/{number}"));
        rig.respond(exchange, b"");
    }
    assert_eq!(target(&kept), "/kept");
    assert_eq!(rig.stats().in_application, 1);
}

#[test]
fn each_answered_exchange_is_a_line_of_the_access_log() {
    let folder = support::folder("access");
    let path = folder.join("log");
    let format = Format::parse("%(h)s %(r)s %(s)s %(B)s %({x-a}i)s %({x-b}o)s").unwrap();
    let mut rig = Rig::with_access_log(AccessLog::new(format, Sink::open(&path).unwrap()));
    let (mut client, mut exchange) =
        rig.request(b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-A: in\r\n\r\n");
    exchange.response.status = 201;
    exchange.response.body_bytes = 5;
    exchange.response.head = b"HTTP/1.1 201 Created\r\nX-B: out\r\n\r\n".to_vec();
    rig.respond(exchange, b"hello");
    rig.receive(&mut client, response(b"hello").len());
    rig.until("the line", |_| std::fs::metadata(&path).unwrap().len() > 0);
    let line = std::fs::read_to_string(&path).unwrap();
    assert_eq!(line, "127.0.0.1 GET /a?b HTTP/1.1 201 5 in out\n");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_exchange_without_an_answer_is_no_line_of_the_access_log() {
    let folder = support::folder("no-access");
    let path = folder.join("log");
    let log = AccessLog::new(Format::default(), Sink::open(&path).unwrap());
    let mut rig = Rig::with_access_log(log);
    let (_client, exchange) = rig.request(GET);
    rig.finish(exchange, Ending::Cut);
    rig.settle();
    rig.engine.access_log().unwrap().flush();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    std::fs::remove_dir_all(folder).unwrap();
}
