//! Exchanges that became WebSockets: messages both ways, ends of every kind, time.

mod support;

use oxicorn_engine::{Disconnect, Ending, Exchange, Flow, Heard, Message, Notice, Options};
use oxicorn_websocket::{Code, Kind};
use support::frames::{BINARY, CLOSE, PING, PONG, SWITCHING, TEXT, UPGRADE, code, masked, plain};
use support::{Client, End, GET, Rig, count_logged, logged, noise};

fn rig() -> Rig {
    rig_with(|_| {})
}

fn rig_with(change: impl FnOnce(&mut Options)) -> Rig {
    Rig::with(|options| {
        options.streams = true;
        change(options);
    })
}

/// Accepts an exchange that asks for a WebSocket.
fn accept(rig: &mut Rig, exchange: &mut Exchange) {
    rig.push(exchange, SWITCHING);
    rig.engine.upgrade(exchange, None, rig.now());
    rig.nudge();
}

/// A client that is a WebSocket's.
fn open(rig: &mut Rig) -> (Client, Box<Exchange>) {
    let (mut client, mut exchange) = rig.request(UPGRADE);
    accept(rig, &mut exchange);
    rig.receive(&mut client, SWITCHING.len());
    assert_eq!(client.got, SWITCHING);
    client.got.clear();
    (client, exchange)
}

/// What the application finds when it asks once.
fn ask(rig: &mut Rig, exchange: &Exchange) -> (Heard, Vec<u8>) {
    let mut message = Message::default();
    let heard = rig
        .engine
        .receive_message(exchange, &mut message, rig.now());
    rig.nudge();
    (heard, message.bytes().to_vec())
}

/// How often the driver was told to ask again.
fn told(rig: &Rig, exchange: &Exchange) -> usize {
    let token = exchange.token();
    let is_ours = |notice: &&Notice| **notice == Notice::Progress(token);
    rig.notices.iter().filter(is_ours).count()
}

/// What the application finds when it asks and waits.
fn wait(rig: &mut Rig, exchange: &Exchange) -> (Heard, Vec<u8>) {
    loop {
        let before = told(rig, exchange);
        let (heard, bytes) = ask(rig, exchange);
        if heard != Heard::Pending {
            return (heard, bytes);
        }
        rig.until("progress", |rig| told(rig, exchange) > before);
    }
}

fn text(content: &[u8]) -> (Heard, Vec<u8>) {
    (Heard::Message(Kind::Text), content.to_vec())
}

fn binary(content: &[u8]) -> (Heard, Vec<u8>) {
    (Heard::Message(Kind::Binary), content.to_vec())
}

fn closed(code: u16, reason: &str) -> Heard {
    let reason = reason.to_owned();
    Heard::Closed(Disconnect { code, reason })
}

/// The client must be told exactly this.
fn expect(rig: &mut Rig, client: &mut Client, bytes: &[u8]) {
    rig.receive(client, bytes.len());
    assert_eq!(client.got, bytes);
    client.got.clear();
}

fn say(rig: &mut Rig, exchange: &Exchange, kind: Kind, data: &[u8]) -> Flow {
    rig.nudge();
    rig.engine.send_message(exchange, kind, data)
}

/// Ends the exchange, and waits until its connection is gone.
fn finish(rig: &mut Rig, exchange: Box<Exchange>) {
    rig.finish(exchange, Ending::Complete);
    rig.until("no connection", |rig| rig.stats().connections == 0);
}

/// Ends the exchange of a client that does not answer any more.
fn finish_closed(rig: &mut Rig, client: Client, exchange: Box<Exchange>) {
    drop(client);
    finish(rig, exchange);
}

/// Gives messages until the queue is full.
fn fill(rig: &mut Rig, exchange: &Exchange) -> usize {
    let block = vec![b'x'; 256 << 10];
    let mut given = 1;
    while say(rig, exchange, Kind::Binary, &block) == Flow::Clear {
        given += 1;
        assert!(given < 1000, "the queue is never full");
    }
    given
}

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
