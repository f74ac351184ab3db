//! A share: only named requests move, the rest goes on as if nothing had been, and the share ends by itself.

#![expect(clippy::unwrap_used, reason = "a test may fail")]
#![expect(
    clippy::vec_box,
    reason = "exchanges travel as boxes; the engine takes them as they are"
)]

mod support;

use std::os::fd::OwnedFd;
use std::time::Duration;

use oxicorn_engine::{Exchange, Failure, Handover, Notice, Turn};
use support::pair::{Pair, ends, told};
use support::{Client, GET, body, noise, post, response, target};

/// Clients whose requests the old one was given, and holds.
fn waiting(pair: &mut Pair, requests: &[&[u8]]) -> (Vec<Client>, Vec<Box<Exchange>>) {
    let both = requests.iter().map(|bytes| {
        let mut client = pair.old.client();
        pair.send(&mut client, bytes);
        pair.until("the request", |pair| pair.old.has_exchange());
        let exchange = pair.old.exchange();
        pair.old.engine.hold(&exchange);
        (client, exchange)
    });
    both.unzip()
}

fn share_with(pair: &mut Pair, link: OwnedFd, most: usize) {
    let now = pair.old.now();
    pair.old.engine.share_with(link, most, now).unwrap();
    pair.old.nudge();
}

/// The old one offers a share, the new one takes.
fn begin(pair: &mut Pair, most: usize) {
    let (giver, taker) = ends();
    pair.take_from(taker);
    share_with(pair, giver, most);
}

fn welcomed(pair: &mut Pair, most: usize) {
    pair.until("the welcome", |pair| {
        pair.told() == [Handover::Welcome { most }]
    });
}

/// Names them, and returns those that stay.
fn name(pair: &mut Pair, exchanges: Vec<Box<Exchange>>) -> Vec<Box<Exchange>> {
    let now = pair.old.now();
    let kept = pair.old.engine.share(exchanges, now);
    pair.old.nudge();
    kept
}

fn shared(pair: &mut Pair, moved: u64, failure: Option<Failure>) {
    let end = Handover::Shared { moved, failure };
    pair.until("the end", |pair| pair.told().last() == Some(&end));
    assert_eq!(pair.told().len(), 2, "{:?}", pair.told());
    assert!(pair.old.engine.can_give());
}

#[test]
fn what_is_named_moves_and_everything_else_stays() {
    let mut pair = Pair::new();
    let mut idle = pair.old.client();
    pair.asks(&mut idle, b"old");
    let (mut clients, mut exchanges) = waiting(&mut pair, &[GET, GET, &post(b"hello")]);
    begin(&mut pair, 2);
    welcomed(&mut pair, 2);
    assert!(!pair.old.engine.gives_readily(), "only a share is given");
    let named = exchanges.split_off(1);
    assert!(name(&mut pair, named).is_empty());
    shared(&mut pair, 2, None);
    pair.until("both requests", |pair| pair.new.stats().in_application == 2);
    assert_eq!(pair.old.stats().connections, 2);
    pair.old.respond(exchanges.remove(0), b"old");
    for (client, name) in clients.iter_mut().zip([b"old", b"new", b"new"]) {
        pair.expect(client, name);
    }
    pair.asks(&mut idle, b"old");
    pair.asks(&mut clients[1], b"new");
}

#[test]
fn a_body_moves_with_its_request() {
    let content = noise(300_000);
    let mut pair = Pair::with(|options| options.body_memory = 100_000);
    let (mut clients, exchanges) = waiting(&mut pair, &[&post(&content)]);
    begin(&mut pair, 1);
    welcomed(&mut pair, 1);
    assert!(name(&mut pair, exchanges).is_empty());
    pair.until("the request", |pair| pair.new.has_exchange());
    let exchange = pair.new.exchange();
    assert!(body(&exchange) == content);
    pair.new.respond(exchange, b"new");
    pair.expect(&mut clients[0], b"new");
}

#[test]
fn a_share_for_which_nothing_waits_any_more_is_over_at_once() {
    let mut pair = Pair::new();
    let mut idle = pair.old.client();
    pair.asks(&mut idle, b"old");
    begin(&mut pair, 5);
    welcomed(&mut pair, 5);
    assert!(name(&mut pair, Vec::new()).is_empty());
    shared(&mut pair, 0, None);
    pair.until("the taker's end", |pair| {
        told(&pair.new) == [Handover::Taken { moved: 0 }]
    });
    pair.asks(&mut idle, b"old");
}

#[test]
fn connections_that_nobody_has_looked_at_go_along_the_last_ones_first() {
    let mut pair = Pair::new();
    let mut clients: Vec<Client> = (0..4).map(|_| pair.old.client()).collect();
    for client in &mut clients {
        pair.asks(client, b"old");
    }
    let (giver, taker) = ends();
    pair.take_from(taker);
    share_with(&mut pair, giver, 2);
    // Question and answer; the old one has not read the answer when the requests come.
    pair.old.round(Duration::ZERO);
    pair.until_answered();
    for client in &mut clients {
        assert_eq!(client.push(GET), GET.len());
    }
    let events = pair.old.poller.wait(Some(Duration::from_secs(10))).unwrap();
    assert!(events >= 4, "{events} events");
    pair.old.engine.feed(&mut pair.old.poller);
    assert_eq!(pair.old.engine.unseen_input(), 4);
    let now = pair.old.now();
    let turn = pair.old.engine.turn(now);
    assert!(
        matches!(
            turn,
            Turn::Notice(Notice::Handover(Handover::Welcome { most: 2 }))
        ),
        "{turn:?}"
    );
    assert!(name(&mut pair, Vec::new()).is_empty());
    pair.moved(2);
    for (client, name) in clients.iter_mut().zip([b"old", b"old", b"new", b"new"]) {
        pair.expect(client, name);
    }
}

#[test]
fn new_connections_are_accepted_during_a_share() {
    let mut pair = Pair::new();
    let (mut clients, exchanges) = waiting(&mut pair, &[GET]);
    let (giver, _taker) = ends();
    share_with(&mut pair, giver, 1);
    let mut newcomer = pair.old.client();
    pair.asks(&mut newcomer, b"old");
    for exchange in exchanges {
        pair.old.respond(exchange, b"old");
    }
    pair.expect(&mut clients[0], b"old");
}

#[test]
fn without_a_taker_nothing_is_named() {
    let mut pair = Pair::new();
    let (mut clients, mut exchanges) = waiting(&mut pair, &[GET]);
    let (giver, taker) = ends();
    share_with(&mut pair, giver, 1);
    drop(taker);
    let end = Handover::Shared {
        moved: 0,
        failure: Some(Failure::Gone),
    };
    pair.until("the end", |pair| pair.told() == [end.clone()]);
    assert_eq!(name(&mut pair, Vec::new()).len(), 0);
    pair.old.respond(exchanges.remove(0), b"old");
    pair.expect(&mut clients[0], b"old");
}

#[test]
fn a_taker_that_says_nothing_holds_nothing_up() {
    let mut pair = Pair::new();
    let (mut clients, mut exchanges) = waiting(&mut pair, &[GET]);
    let (giver, _taker) = ends();
    share_with(&mut pair, giver, 1);
    pair.old.round(Duration::ZERO);
    let mut other = pair.old.client();
    pair.asks(&mut other, b"old");
    pair.advance(1_100);
    let end = Handover::Shared {
        moved: 0,
        failure: Some(Failure::Silent),
    };
    pair.until("the end", |pair| pair.told() == [end.clone()]);
    pair.old.respond(exchanges.remove(0), b"old");
    pair.expect(&mut clients[0], b"old");
}

/// Named requests whose batch is out, and the taker's rig does not go round any more.
fn offered(pair: &mut Pair) -> Vec<Client> {
    let (clients, exchanges) = waiting(pair, &[GET, GET]);
    begin(pair, 2);
    welcomed(pair, 2);
    assert!(name(pair, exchanges).is_empty());
    pair.old.round(Duration::ZERO);
    assert_eq!(pair.old.stats().in_application, 0);
    clients
}

#[test]
fn requests_come_back_from_a_taker_that_does_not_answer() {
    let mut pair = Pair::new();
    let mut clients = offered(&mut pair);
    pair.old.advance(1_100);
    let end = Handover::Shared {
        moved: 0,
        failure: Some(Failure::Silent),
    };
    pair.old
        .serve_as(b"old", |rig| told(rig).last() == Some(&end));
    for client in &mut clients {
        pair.old.serve_as(b"old", |_| {
            client.pull();
            client.got == response(b"old")
        });
    }
    assert_eq!(pair.old.stats().given, 0);
}

#[test]
fn requests_come_back_when_a_share_is_stopped() {
    let mut pair = Pair::new();
    let mut clients = offered(&mut pair);
    let now = pair.old.now();
    pair.old.engine.stop_giving(now);
    pair.old.nudge();
    for client in &mut clients {
        pair.expect(client, b"old");
    }
    assert_eq!(pair.new.stats().taken, 0);
}

#[test]
fn a_share_that_is_over_takes_no_names() {
    let mut pair = Pair::new();
    let (mut clients, exchanges) = waiting(&mut pair, &[GET]);
    begin(&mut pair, 1);
    welcomed(&mut pair, 1);
    let now = pair.old.now();
    pair.old.engine.stop_giving(now);
    let kept = name(&mut pair, exchanges);
    assert_eq!(kept.len(), 1);
    assert_eq!(target(&kept[0]), "/");
    for exchange in kept {
        pair.old.respond(exchange, b"old");
    }
    pair.expect(&mut clients[0], b"old");
}

#[test]
fn everything_can_be_given_after_a_share() {
    let mut pair = Pair::new();
    let (mut clients, exchanges) = waiting(&mut pair, &[GET, GET]);
    begin(&mut pair, 1);
    welcomed(&mut pair, 1);
    let mut exchanges = exchanges.into_iter();
    assert!(name(&mut pair, exchanges.by_ref().take(1).collect()).is_empty());
    shared(&mut pair, 1, None);
    for exchange in exchanges {
        pair.old.respond(exchange, b"old");
    }
    pair.expect(&mut clients[1], b"old");
    pair.connect();
    pair.moved(2);
    pair.asks(&mut clients[1], b"new");
}
