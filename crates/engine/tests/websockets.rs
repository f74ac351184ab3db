//! Exchanges that became WebSockets: messages both ways, and ends of every kind.

mod support;

use oxicorn_engine::{Ending, Exchange, Flow, Heard};
use oxicorn_websocket::{Code, Kind};
use support::frames::{BINARY, CLOSE, PING, PONG, SWITCHING, TEXT, UPGRADE, code, masked, plain};
use support::websocket::{
    accept, ask, binary, closed, expect, fill, finish, finish_closed, open, rig, rig_with, say,
    text, told, wait,
};
use support::{End, Rig, logged, noise};

// Messages.

#[test]
fn messages_go_both_ways() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    rig.send(&mut client, &masked(TEXT, b"hello"));
    assert_eq!(wait(&mut rig, &exchange), text(b"hello"));
    assert_eq!(
        say(&mut rig, &exchange, Kind::Text, b"welcome"),
        Flow::Clear
    );
    expect(&mut rig, &mut client, &plain(TEXT, b"welcome"));
    let large = noise(300_000);
    rig.send(&mut client, &masked(BINARY, &large));
    assert_eq!(wait(&mut rig, &exchange), binary(&large));
    say(&mut rig, &exchange, Kind::Binary, &large);
    expect(&mut rig, &mut client, &plain(BINARY, &large));
}

#[test]
fn a_message_that_is_there_needs_no_notice() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    let three = [masked(TEXT, b"1"), masked(TEXT, b""), masked(BINARY, b"3")];
    rig.send(&mut client, &three.concat());
    assert_eq!(wait(&mut rig, &exchange), text(b"1"));
    assert_eq!(ask(&mut rig, &exchange), text(b""));
    assert_eq!(ask(&mut rig, &exchange), binary(b"3"));
    assert_eq!(ask(&mut rig, &exchange).0, Heard::Pending);
}

#[test]
fn frames_that_come_with_the_request_are_not_lost() {
    let mut rig = rig();
    let early = [UPGRADE, &masked(TEXT, b"early"), &masked(PING, b"?")].concat();
    let (mut client, mut exchange) = rig.request(&early);
    accept(&mut rig, &mut exchange);
    assert_eq!(ask(&mut rig, &exchange), text(b"early"));
    expect(
        &mut rig,
        &mut client,
        &[SWITCHING, &plain(PONG, b"?")].concat(),
    );
}

#[test]
fn a_conversation_is_the_same_however_it_is_cut() {
    let large = noise(200);
    let frames = [
        masked(TEXT, "grüße".as_bytes()),
        masked(PING, b"?"),
        masked(0x01, b"in "),
        masked(PING, b"!"),
        masked(0x80, b"pieces"),
        masked(BINARY, &large),
        masked(CLOSE, &code(4001, "bye")),
    ]
    .concat();
    for cut in 0..frames.len() {
        for again in [cut, (cut + 5).min(frames.len())] {
            let mut rig = rig();
            let (mut client, exchange) = open(&mut rig);
            rig.send(&mut client, &frames[..cut]);
            let eager = cut % 2 == 0;
            let mut got = Vec::new();
            if eager {
                // The application waits already.
                got.push(ask(&mut rig, &exchange));
                got.retain(|(heard, _)| *heard != Heard::Pending);
            } else {
                rig.settle();
            }
            rig.send(&mut client, &frames[cut..again]);
            rig.send(&mut client, &frames[again..]);
            while got.len() < 3 {
                got.push(wait(&mut rig, &exchange));
            }
            let expected = [text("grüße".as_bytes()), text(b"in pieces"), binary(&large)];
            assert_eq!(got, expected, "cut at {cut}, {again}");
            let end = wait(&mut rig, &exchange).0;
            assert_eq!(end, closed(4001, "bye"), "cut at {cut}, {again}");
            rig.finish(exchange, Ending::Complete);
            let answers = [
                plain(PONG, b"?"),
                plain(PONG, b"!"),
                plain(CLOSE, &code(4001, "")),
            ];
            assert_eq!(rig.end_of(&mut client), End::Closed);
            assert_eq!(client.got, answers.concat(), "cut at {cut}, {again}");
        }
    }
}

#[test]
fn one_message_is_gathered_ahead_and_the_rest_waits_in_the_kernel() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    let frame = masked(BINARY, &noise(50_000));
    let mut sent = 0;
    for _ in 0..2000 {
        // A frame is begun anew only where the last one was sent whole.
        sent += client.push(&frame[sent % frame.len()..]);
        rig.round(std::time::Duration::ZERO);
    }
    assert!(sent < 32 << 20, "{sent} bytes were taken");
    let whole = sent / frame.len();
    for _ in 0..whole {
        assert_eq!(wait(&mut rig, &exchange).0, Heard::Message(Kind::Binary));
    }
}

#[test]
fn pings_and_the_end_are_answered_though_nobody_asks() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    rig.send(&mut client, &masked(PING, b"there?"));
    expect(&mut rig, &mut client, &plain(PONG, b"there?"));
    rig.send(&mut client, &masked(TEXT, b"last"));
    rig.send(&mut client, &masked(PING, b"unread"));
    rig.settle();
    assert!(client.is_silent(), "what is behind a message waits");
    assert_eq!(told(&rig, &exchange), 0);
    assert_eq!(ask(&mut rig, &exchange), text(b"last"));
    expect(&mut rig, &mut client, &plain(PONG, b"unread"));
    rig.send(&mut client, &masked(CLOSE, &code(1001, "")));
    rig.until("the news", |rig| told(rig, &exchange) > 0);
    assert!(rig.engine.has_ended(&exchange));
    assert_eq!(say(&mut rig, &exchange, Kind::Text, b"late"), Flow::Gone);
    assert_eq!(ask(&mut rig, &exchange).0, closed(1001, ""));
    rig.finish(exchange, Ending::Complete);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(client.got, plain(CLOSE, &code(1001, "")));
}

#[test]
fn a_message_that_came_before_the_end_is_not_lost() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    rig.send(&mut client, &masked(TEXT, b"last"));
    rig.settle();
    rig.engine.recall(0, rig.now());
    rig.nudge();
    rig.until("the news", |rig| told(rig, &exchange) > 0);
    assert_eq!(ask(&mut rig, &exchange), text(b"last"));
    assert_eq!(ask(&mut rig, &exchange).0, closed(1012, ""));
    assert_eq!(ask(&mut rig, &exchange).0, closed(1012, ""));
    expect(&mut rig, &mut client, &plain(CLOSE, &code(1012, "")));
    finish_closed(&mut rig, client, exchange);
}

// Back-pressure.

#[test]
fn a_client_that_does_not_read_holds_the_application_back() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    let given = fill(&mut rig, &exchange);
    rig.engine.await_room(&exchange, rig.now());
    rig.settle();
    assert_eq!(told(&rig, &exchange), 0);
    let frame = plain(BINARY, &vec![b'x'; 256 << 10]);
    let all = given * frame.len();
    rig.receive(&mut client, all);
    assert_eq!(client.got.len(), all);
    assert!(client.got.chunks(frame.len()).all(|got| got == frame));
    rig.until("room", |rig| told(rig, &exchange) > 0);
    assert_eq!(rig.engine.flow(&exchange), Flow::Clear);
}

#[test]
fn a_client_that_reads_nothing_is_given_up() {
    let mut rig = rig_with(|options| options.write_timeout = 5_000);
    let (_client, exchange) = open(&mut rig);
    fill(&mut rig, &exchange);
    rig.engine.await_room(&exchange, rig.now());
    rig.nudge();
    rig.advance(4_900);
    assert_eq!(told(&rig, &exchange), 0);
    rig.advance(200);
    rig.until("the news", |rig| told(rig, &exchange) > 0);
    assert!(logged("does not read its messages"));
    assert_eq!(ask(&mut rig, &exchange).0, closed(1006, ""));
    assert_eq!(rig.stats().timed_out, 1);
    finish(&mut rig, exchange);
}

#[test]
fn pings_of_a_client_that_reads_nothing_take_no_memory() {
    let mut rig = rig_with(|options| options.ping_interval = 0);
    let (mut client, exchange) = open(&mut rig);
    let given = fill(&mut rig, &exchange);
    let pings = masked(PING, &[b'p'; 125]).repeat(50_000);
    rig.send(&mut client, &pings);
    rig.settle();
    let frame = plain(BINARY, &vec![b'x'; 256 << 10]);
    rig.until("everything", |rig| {
        client.pull();
        assert_eq!(rig.stats().connections, 1);
        client.got.len() > given * frame.len() && client.pull_once(1 << 20) == 0
    });
    rig.settle();
    client.pull();
    let answers = client.got.len() - given * frame.len();
    // All of them would be 6 MiB. Those that were still in the kernel when the client began to read are answered.
    assert!(answers < 256 << 10, "{answers} bytes of answers");
    assert_eq!(ask(&mut rig, &exchange).0, Heard::Pending);
}

// Ends.

#[test]
fn the_application_closes_and_the_client_agrees() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    assert!(rig.engine.close(&exchange, Code::NORMAL, "done"));
    assert!(!rig.engine.close(&exchange, Code::NORMAL, "again"));
    assert_eq!(say(&mut rig, &exchange, Kind::Text, b"late"), Flow::Gone);
    assert_eq!(ask(&mut rig, &exchange).0, closed(1000, "done"));
    rig.finish(exchange, Ending::Complete);
    expect(&mut rig, &mut client, &plain(CLOSE, &code(1000, "done")));
    // Messages that crossed it are dropped, and the connection stays until the client has answered.
    rig.send(&mut client, &masked(TEXT, b"crossed"));
    rig.settle();
    assert!(client.is_silent());
    rig.send(&mut client, &masked(CLOSE, &code(1000, "")));
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert!(client.got.is_empty());
}

#[test]
fn a_client_that_does_not_agree_is_closed_after_a_while() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    rig.engine.close(&exchange, Code::NORMAL, "");
    rig.finish(exchange, Ending::Complete);
    expect(&mut rig, &mut client, &plain(CLOSE, &code(1000, "")));
    rig.advance(9_900);
    assert_eq!(rig.stats().connections, 1);
    rig.advance(200);
    rig.until("no connection", |rig| rig.stats().connections == 0);
}

#[test]
fn a_client_that_vanishes_is_1006() {
    for resets in [false, true] {
        for inside in [false, true] {
            let mut rig = rig();
            let (mut client, exchange) = open(&mut rig);
            if inside {
                rig.send(&mut client, &masked(TEXT, b"half")[..7]);
            }
            assert_eq!(ask(&mut rig, &exchange).0, Heard::Pending);
            rig.settle();
            if resets {
                client.reset();
            } else {
                client.shut();
            }
            assert_eq!(wait(&mut rig, &exchange).0, closed(1006, ""));
            assert_eq!(say(&mut rig, &exchange, Kind::Text, b"late"), Flow::Gone);
            finish(&mut rig, exchange);
        }
    }
}

#[test]
fn a_client_that_vanishes_is_noticed_though_nobody_asks() {
    let mut rig = rig();
    let (client, exchange) = open(&mut rig);
    client.reset();
    rig.until("the news", |rig| told(rig, &exchange) > 0);
    assert!(rig.engine.has_ended(&exchange));
    finish(&mut rig, exchange);
}

#[test]
fn a_reset_while_sending_is_the_end() {
    let mut rig = rig();
    let (client, exchange) = open(&mut rig);
    fill(&mut rig, &exchange);
    rig.engine.await_room(&exchange, rig.now());
    client.reset();
    rig.until("the news", |rig| told(rig, &exchange) > 0);
    assert_eq!(ask(&mut rig, &exchange).0, closed(1006, ""));
    finish(&mut rig, exchange);
}

#[test]
fn a_violation_is_answered_logged_and_told() {
    for (bytes, number, what) in [
        (plain(TEXT, b"unmasked"), 1002, "a frame without a mask"),
        (
            masked(TEXT, b"\xff"),
            1007,
            "a text message that is not UTF-8",
        ),
        (
            masked(BINARY, &[0; 1001]),
            1009,
            "a message larger than the limit",
        ),
    ] {
        let mut rig = rig_with(|options| options.message_limit = 1000);
        let (mut client, exchange) = open(&mut rig);
        rig.send(&mut client, &bytes);
        assert_eq!(wait(&mut rig, &exchange).0, closed(number, what));
        expect(&mut rig, &mut client, &plain(CLOSE, &code(number, what)));
        assert!(logged(&format!(
            "Invalid WebSocket from ip=127.0.0.1: {what} ({number})"
        )));
        assert_eq!(rig.stats().refused, 1);
        finish_closed(&mut rig, client, exchange);
    }
}

#[test]
fn a_limit_of_none_is_none() {
    let mut rig = rig_with(|options| options.message_limit = 0);
    let (mut client, exchange) = open(&mut rig);
    let large = noise(20 << 20);
    let frame = masked(BINARY, &large);
    assert_eq!(ask(&mut rig, &exchange).0, Heard::Pending);
    let before = told(&rig, &exchange);
    rig.send(&mut client, &frame);
    rig.until("progress", |rig| told(rig, &exchange) > before);
    assert!(wait(&mut rig, &exchange).1 == large);
}

#[test]
fn a_driver_that_gives_up_an_open_one_closes_it_with_an_error() {
    let mut rig = rig();
    let (mut client, exchange) = open(&mut rig);
    rig.finish(exchange, Ending::Cut);
    expect(&mut rig, &mut client, &plain(CLOSE, &code(1011, "")));
}

#[test]
fn a_client_that_left_before_it_was_accepted_is_gone() {
    let mut rig = rig();
    let (client, mut exchange) = rig.request(UPGRADE);
    client.reset();
    rig.settle();
    accept(&mut rig, &mut exchange);
    assert_eq!(wait(&mut rig, &exchange).0, closed(1006, ""));
    finish(&mut rig, exchange);
}

// Anything.

/// What comes next is decided by bytes without order.
#[derive(Debug)]
struct Dice<'s>(std::slice::Iter<'s, u8>);

impl Dice<'_> {
    fn throw(&mut self, sides: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or_default()) % sides
    }
}

fn something(dice: &mut Dice<'_>) -> Vec<u8> {
    let frame = match dice.throw(9) {
        0 => masked(TEXT, "grüße".as_bytes()),
        1 => masked(BINARY, &noise(70_000)),
        2 => masked(PING, b"?"),
        3 => masked(PONG, b""),
        4 => masked(0x01, b"begin"),
        5 => masked(0x80, b"end"),
        6 => masked(CLOSE, &code(1000, "")),
        7 => masked(TEXT, b"x").repeat(300),
        _ => vec![0xff],
    };
    let len = if dice.throw(4) == 0 {
        frame.len() / 2
    } else {
        frame.len()
    };
    frame[..len].to_vec()
}

#[test]
fn whatever_both_sides_do_it_ends_and_leaves_nothing() {
    let seeds = noise(100 * 64);
    for (number, seed) in seeds.chunks(64).enumerate() {
        let mut dice = Dice(seed.iter());
        let mut rig = rig_with(|options| options.message_limit = 80_000);
        let (mut client, exchange) = open(&mut rig);
        let mut exchange = Some(exchange);
        let mut end = None;
        for _ in 0..20 {
            match (dice.throw(9), &exchange) {
                (0..3, _) => _ = client.push(&something(&mut dice)),
                (3, _) => _ = rig.round(std::time::Duration::from_millis(1)),
                (4, Some(exchange)) => match ask(&mut rig, exchange).0 {
                    Heard::Closed(found) => {
                        assert!(end.is_none_or(|end| end == found), "{number}: two ends");
                        end = Some(found);
                    }
                    _ => assert_eq!(end, None, "{number}: something after the end"),
                },
                (5, Some(exchange)) => {
                    let size = dice.throw(2) * 100_000;
                    say(&mut rig, exchange, Kind::Binary, &vec![0; size]);
                }
                (6, Some(exchange)) => _ = rig.engine.close(exchange, Code::NORMAL, "bye"),
                (7, _) if dice.throw(4) == 0 => rig.engine.recall(100, rig.now()),
                (7, _) => rig.advance(21_000),
                _ if dice.throw(3) == 0 && client.pull().is_none() => client.shut(),
                _ => _ = client.pull(),
            }
            rig.nudge();
            rig.round(std::time::Duration::ZERO);
            if exchange
                .as_ref()
                .is_some_and(|it| rig.engine.has_ended(it) && dice.throw(2) == 0)
            {
                exchange
                    .take()
                    .into_iter()
                    .for_each(|it| rig.finish(it, Ending::Complete));
            }
        }
        drop(client);
        if let Some(exchange) = exchange {
            assert!(
                matches!(last(&mut rig, &exchange), Heard::Closed(_)),
                "{number}"
            );
            rig.finish(exchange, Ending::Complete);
        }
        rig.until("no connection", |rig| {
            rig.tick();
            rig.stats().connections == 0
        });
        assert_eq!(rig.stats().in_application, 0);
    }
}

/// The end, after the messages before it.
fn last(rig: &mut Rig, exchange: &Exchange) -> Heard {
    loop {
        if let (end @ Heard::Closed(_), _) = wait(rig, exchange) {
            return end;
        }
    }
}
