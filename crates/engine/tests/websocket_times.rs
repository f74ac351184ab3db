//! WebSockets and time: pings, silence, and how all of them are sent away.

mod support;

use oxicorn_engine::{Ending, Flow, Heard, Notice};
use support::frames::{CLOSE, PING, PONG, SWITCHING, TEXT, UPGRADE, code, masked, plain};
use support::websocket::{
    accept, ask, closed, expect, finish_closed, open, rig, rig_with, text, told, wait,
};
use support::{End, GET, count_logged, logged};

// Time.

#[test]
fn a_silent_client_is_pinged_and_then_given_up() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    assert_eq!(ask(&mut rig, &exchange).0, Heard::Pending);
    rig.advance(19_900);
    assert!(client.is_silent());
    rig.advance(200);
    rig.receive(&mut client, 6);
    assert_eq!(client.got[..2], [PING, 4]);
    client.got.clear();
    rig.advance(19_900);
    assert!(client.is_silent());
    rig.advance(300);
    let goodbye = code(1011, "keepalive ping timeout");
    expect(&mut rig, &mut client, &plain(CLOSE, &goodbye));
    assert_eq!(wait(&mut rig, &exchange).0, closed(1006, ""));
    assert!(logged("does not answer pings"));
    assert_eq!(rig.stats().timed_out, 1);
    finish_closed(&mut rig, client, exchange);
}

#[test]
fn whatever_the_client_says_is_a_sign_of_life() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    for sign in [
        masked(PONG, b""),
        masked(TEXT, b"here"),
        masked(TEXT, b"half")[..3].to_vec(),
    ] {
        rig.advance(20_100);
        rig.receive(&mut client, 6);
        assert_eq!(client.got[..2], [PING, 4]);
        client.got.clear();
        rig.send(&mut client, &sign);
        rig.settle();
        rig.advance(19_000);
        assert!(client.is_silent());
        while let Heard::Message(_) = ask(&mut rig, &exchange).0 {}
    }
    assert_eq!(count_logged("does not answer"), 0);
}

#[test]
fn without_a_timeout_pings_go_on() {
    let mut rig = rig_with(|options| options.ping_timeout = 0);
    let (mut client, _exchange) = open(&mut rig);
    for _ in 0..3 {
        rig.advance(20_100);
        rig.receive(&mut client, 6);
        assert_eq!(client.got[..2], [PING, 4]);
        client.got.clear();
    }
}

#[test]
fn without_an_interval_nothing_is_sent() {
    let mut rig = rig_with(|options| options.ping_interval = 0);
    let (mut client, exchange) = open(&mut rig);
    rig.advance(10_000_000);
    assert!(client.is_silent());
    assert_eq!(ask(&mut rig, &exchange).0, Heard::Pending);
}

#[test]
fn silence_does_not_count_while_a_message_waits_for_the_application() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    rig.send(&mut client, &masked(TEXT, b"one"));
    rig.settle();
    for _ in 0..5 {
        rig.advance(20_100);
    }
    assert!(client.is_silent());
    assert_eq!(ask(&mut rig, &exchange), text(b"one"));
    rig.advance(20_100);
    rig.receive(&mut client, 6);
    assert_eq!(client.got[..2], [PING, 4]);
}

#[test]
fn a_websocket_has_no_limit_of_time() {
    let mut rig = rig_with(|options| options.app_timeout = 1_000);
    let (mut client, exchange) = open(&mut rig);
    rig.advance(15_000);
    assert!(client.is_silent());
    assert_eq!(rig.notices, []);
    assert_eq!(ask(&mut rig, &exchange).0, Heard::Pending);
}

#[test]
fn an_opening_that_takes_too_long_is_answered_504() {
    let mut rig = rig_with(|options| options.app_timeout = 1_000);
    let (mut client, exchange) = rig.request(UPGRADE);
    rig.advance(1_100);
    assert!(rig.notices.contains(&Notice::Overdue(exchange.token())));
    assert_eq!(rig.engine.flow(&exchange), Flow::Gone);
    rig.finish(exchange, Ending::Cut);
    assert_eq!(rig.last_status(&mut client), 504);
}

// Leaving.

#[test]
fn a_recall_is_spread_over_its_window() {
    let mut rig = rig();
    let mut open: Vec<_> = (0..10).map(|_| open(&mut rig)).collect();
    rig.engine.recall(1_000, rig.now());
    rig.nudge();
    let goodbye = plain(CLOSE, &code(1012, ""));
    let mut counts = Vec::new();
    for _ in 0..11 {
        rig.advance(100);
        let mut count = 0;
        for (client, _) in &mut open {
            client.pull();
            count += usize::from(client.got == goodbye);
        }
        counts.push(count);
    }
    assert_eq!(counts.last(), Some(&10));
    assert!(
        counts.windows(2).all(|two| two[1] - two[0] <= 2),
        "{counts:?}"
    );
    for (mut client, exchange) in open {
        assert_eq!(ask(&mut rig, &exchange).0, closed(1012, ""));
        rig.send(&mut client, &masked(CLOSE, &code(1012, "")));
        rig.finish(exchange, Ending::Complete);
        assert_eq!(rig.end_of(&mut client), End::Closed);
    }
}

#[test]
fn one_that_is_opened_during_a_recall_is_closed_at_once() {
    let mut rig = rig();
    let (mut client, mut exchange) = rig.request(UPGRADE);
    rig.engine.recall(1_000, rig.now());
    accept(&mut rig, &mut exchange);
    rig.advance(60);
    expect(
        &mut rig,
        &mut client,
        &[SWITCHING, &plain(CLOSE, &code(1012, ""))].concat(),
    );
    finish_closed(&mut rig, client, exchange);
}

#[test]
fn a_recall_that_is_taken_back_closes_nobody_else() {
    let mut rig = rig();
    let (mut first, gone) = open(&mut rig);
    let (mut second, stays) = open(&mut rig);
    rig.engine.recall(1_000, rig.now());
    rig.advance(60);
    let goodbye = plain(CLOSE, &code(1012, ""));
    first.pull();
    second.pull();
    assert_eq!(first.got.len() + second.got.len(), goodbye.len());
    rig.engine.stop_recall();
    rig.advance(5_000);
    first.pull();
    second.pull();
    assert_eq!(first.got.len() + second.got.len(), goodbye.len());
    drop((gone, stays));
}

#[test]
fn a_drain_ends_when_the_last_one_has_parted() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    rig.engine.drain(true, rig.now());
    rig.engine.recall(0, rig.now());
    rig.nudge();
    rig.until("the news", |rig| told(rig, &exchange) > 0);
    rig.finish(exchange, Ending::Complete);
    expect(&mut rig, &mut client, &plain(CLOSE, &code(1012, "")));
    assert!(!rig.notices.contains(&Notice::Drained));
    // It does not answer: nobody waits for long who is about to leave.
    rig.advance(2_100);
    rig.until("the end", |rig| rig.notices.contains(&Notice::Drained));
}

#[test]
fn another_request_is_served_beside() {
    let mut rig = rig();
    let (_client, _exchange) = open(&mut rig);
    let (mut client, exchange) = rig.request(GET);
    rig.respond(exchange, b"plain");
    rig.until("the answer", |_| {
        client.pull();
        client.text().ends_with("plain")
    });
    assert_eq!(rig.stats().in_application, 1);
}
