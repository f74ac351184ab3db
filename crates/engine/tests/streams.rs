//! Request bodies that the application takes while they come, and what an asynchronous application waits for.

mod support;

use oxicorn_engine::{Body, Ending, Exchange, Flow, Input, Notice, Options};
use support::{CHUNKED, End, GET, Rig, logged, noise, post, response};

fn rig() -> Rig {
    rig_with(|_| {})
}

fn rig_with(change: impl FnOnce(&mut Options)) -> Rig {
    Rig::with(|options| {
        options.streams = true;
        change(options);
    })
}

/// The head of a request with a body of this length.
fn head(length: usize) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: example\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

fn chunked(data: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in data.chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn pull(rig: &mut Rig, exchange: &Exchange) -> (Input, Vec<u8>) {
    let mut data = vec![0; 3];
    let input = rig.engine.pull(exchange, &mut data, rig.now());
    rig.nudge();
    (input, data)
}

/// How often the driver was told to ask again.
fn told(rig: &Rig, exchange: &Exchange) -> usize {
    let token = exchange.token();
    let is_ours = |notice: &&Notice| **notice == Notice::Progress(token);
    rig.notices.iter().filter(is_ours).count()
}

/// Waits until the driver is told to ask again.
fn progress(rig: &mut Rig, exchange: &Exchange) {
    let before = told(rig, exchange);
    rig.until("progress", |rig| told(rig, exchange) > before);
}

/// Pulls until the body ends, waiting when it has to.
fn whole(rig: &mut Rig, exchange: &Exchange) -> (Input, Vec<u8>) {
    let mut all = Vec::new();
    loop {
        let before = told(rig, exchange);
        let (input, data) = pull(rig, exchange);
        all.extend_from_slice(&data);
        match input {
            Input::Data { more: true } => assert!(!data.is_empty() && data.len() <= 64 * 1024),
            Input::Pending => {
                assert!(data.is_empty());
                rig.until("progress", |rig| told(rig, exchange) > before);
            }
            end => return (end, all),
        }
    }
}

const END: Input = Input::Data { more: false };

#[test]
fn a_body_that_comes_with_its_head_is_part_of_the_exchange() {
    let mut rig = rig();
    let (_client, exchange) = rig.request(&post(b"hello"));
    assert!(matches!(exchange.body, Body::Inline(_)));
    let (_client, exchange) = rig.request(GET);
    assert!(matches!(exchange.body, Body::Empty));
}

#[test]
fn a_request_is_handed_out_with_its_head_and_its_body_follows() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(&head(5));
    assert!(matches!(exchange.body, Body::Open));
    assert_eq!(pull(&mut rig, &exchange), (Input::Pending, vec![]));
    rig.send(&mut client, b"he");
    progress(&mut rig, &exchange);
    assert_eq!(
        pull(&mut rig, &exchange),
        (Input::Data { more: true }, b"he".to_vec())
    );
    assert_eq!(pull(&mut rig, &exchange), (Input::Pending, vec![]));
    rig.send(&mut client, b"llo");
    progress(&mut rig, &exchange);
    assert_eq!(pull(&mut rig, &exchange), (END, b"llo".to_vec()));
    assert_eq!(pull(&mut rig, &exchange), (END, vec![]));
    rig.respond(exchange, b"thanks");
    rig.receive(&mut client, response(b"thanks").len());
    rig.send(&mut client, GET);
    let exchange = rig.exchange();
    rig.respond(exchange, b"");
}

#[test]
fn a_body_is_the_same_however_it_is_cut() {
    let body = b"a body of some bytes".to_vec();
    let next = [GET, GET].concat();
    for framed in [
        [head(body.len()), body.clone()].concat(),
        [CHUNKED.to_vec(), chunked(&body, 7)].concat(),
        [CHUNKED.to_vec(), chunked(&body, 1)].concat(),
    ] {
        let begin = framed
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        for cut in begin..framed.len() {
            for again in [cut, (cut + 3).min(framed.len())] {
                let mut rig = rig();
                let (mut client, exchange) = rig.request(&framed[..cut]);
                let (input, mut got) = pull(&mut rig, &exchange);
                assert_ne!(input, END, "cut at {cut}");
                rig.send(&mut client, &framed[cut..again]);
                rig.send(&mut client, &[&framed[again..], &next].concat());
                let (end, rest) = whole(&mut rig, &exchange);
                got.extend_from_slice(&rest);
                assert_eq!((end, &got), (END, &body), "cut at {cut}, {again}");
                rig.respond(exchange, b"");
                for _ in 0..2 {
                    let exchange = rig.exchange();
                    rig.respond(exchange, b"");
                }
            }
        }
    }
}

#[test]
fn a_body_nobody_pulls_waits_in_the_kernel() {
    let mut rig = rig();
    let body = noise(64 << 20);
    let (mut client, exchange) = rig.request(&head(body.len()));
    let mut sent = 0;
    for _ in 0..100 {
        sent += client.push(&body[sent..]);
        rig.round(std::time::Duration::from_millis(1));
    }
    assert!(sent < 32 << 20, "{sent} bytes were taken");
    let mut got = Vec::new();
    while got.len() < body.len() {
        let (_, data) = pull(&mut rig, &exchange);
        assert!(data.len() <= 64 * 1024);
        got.extend_from_slice(&data);
        sent += client.push(&body[sent..]);
        rig.round(std::time::Duration::ZERO);
    }
    assert!(got == body);
}

#[test]
fn a_client_that_ends_inside_its_body_is_gone_and_its_body_never_short() {
    for resets in [false, true] {
        let mut rig = rig();
        let (client, exchange) = rig.request(&[head(5), b"hel".to_vec()].concat());
        assert_eq!(pull(&mut rig, &exchange).1, b"hel");
        assert_eq!(pull(&mut rig, &exchange).0, Input::Pending);
        if resets {
            client.reset();
        } else {
            client.shut();
        }
        progress(&mut rig, &exchange);
        assert_eq!(pull(&mut rig, &exchange), (Input::Gone, vec![]));
        assert_eq!(rig.push(&exchange, b"HTTP/1.1"), Flow::Gone);
        rig.finish(exchange, Ending::Complete);
        rig.until("no connection", |rig| rig.stats().connections == 0);
        assert!(logged("left inside a request body"));
    }
}

#[test]
fn the_end_of_a_client_is_told_without_reading_its_pipelined_requests() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(&[GET, GET].concat());
    assert!(!rig.engine.await_end(&exchange));
    rig.settle();
    assert_eq!(told(&rig, &exchange), 0);
    client.shut();
    progress(&mut rig, &exchange);
    assert!(rig.engine.await_end(&exchange));
    // It may only have closed its side: it still gets its answers.
    rig.respond(exchange, b"one");
    let exchange = rig.exchange();
    rig.respond(exchange, b"two");
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(client.got, [response(b"one"), response(b"two")].concat());
}

#[test]
fn a_reset_is_told_to_who_waits_for_the_end() {
    let mut rig = rig();
    let (client, exchange) = rig.request(GET);
    assert!(!rig.engine.await_end(&exchange));
    client.reset();
    progress(&mut rig, &exchange);
    assert!(rig.engine.await_end(&exchange));
    rig.finish(exchange, Ending::Cut);
    rig.until("no connection", |rig| rig.stats().connections == 0);
}

#[test]
fn continue_is_sent_when_the_body_is_first_pulled() {
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut rig = rig();
    let (mut client, exchange) = rig.request(request);
    rig.settle();
    assert!(client.is_silent());
    assert_eq!(pull(&mut rig, &exchange).0, Input::Pending);
    rig.receive(&mut client, 25);
    assert_eq!(client.text(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(pull(&mut rig, &exchange).0, Input::Pending);
    rig.send(&mut client, b"ok");
    progress(&mut rig, &exchange);
    assert_eq!(pull(&mut rig, &exchange), (END, b"ok".to_vec()));
    assert_eq!(client.got.len(), 25);
}

#[test]
fn a_client_that_was_not_told_to_continue_does_not_get_its_connection_back() {
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut rig = rig();
    let (mut client, exchange) = rig.request(request);
    assert!(!rig.engine.can_skip_rest(&exchange));
    rig.respond(exchange, b"no");
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(client.got, response(b"no"));
}

#[test]
fn what_the_application_leaves_of_a_body_is_dropped_and_the_connection_goes_on() {
    for (framed, before) in [
        ([head(60_000), noise(60_000)].concat(), 0),
        (
            [CHUNKED.to_vec(), chunked(&noise(60_000), 1000)].concat(),
            500,
        ),
    ] {
        let mut rig = rig();
        let begin = framed
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        let (mut client, exchange) = rig.request(&framed[..begin + before]);
        assert!(rig.engine.can_skip_rest(&exchange));
        rig.respond(exchange, b"enough");
        rig.send(&mut client, &framed[begin + before..]);
        rig.send(&mut client, GET);
        let exchange = rig.exchange();
        rig.respond(exchange, b"next");
        rig.receive(
            &mut client,
            response(b"enough").len() + response(b"next").len(),
        );
        assert!(client.got.ends_with(b"next"));
    }
}

#[test]
fn a_long_rest_of_a_body_ends_the_connection_without_a_reset() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(&head(1 << 20));
    assert!(!rig.engine.can_skip_rest(&exchange));
    rig.respond(exchange, b"enough");
    rig.send(&mut client, &noise(1 << 20));
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(client.got, response(b"enough"));
}

#[test]
fn an_endless_rest_of_a_chunked_body_ends_the_connection() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(CHUNKED);
    rig.respond(exchange, b"enough");
    rig.send(&mut client, &chunked(&noise(200_000), 1000));
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(client.got, response(b"enough"));
}

#[test]
fn a_rest_that_does_not_come_is_waited_for_no_longer_than_a_lingering_close() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(&head(5));
    rig.respond(exchange, b"enough");
    rig.receive(&mut client, response(b"enough").len());
    client.got.clear();
    rig.advance(1_900);
    assert!(client.is_silent());
    rig.advance(200);
    assert_eq!(rig.end_of(&mut client), End::Closed);
}

#[test]
fn the_time_of_a_body_counts_only_while_it_is_waited_for() {
    let mut rig = rig_with(|options| options.app_timeout = 0);
    let (mut client, exchange) = rig.request(&head(100));
    rig.advance(100_000);
    assert_eq!(pull(&mut rig, &exchange).0, Input::Pending);
    rig.advance(20_000);
    rig.send(&mut client, &[b'x'; 10]);
    progress(&mut rig, &exchange);
    assert_eq!(pull(&mut rig, &exchange).1.len(), 10);
    rig.advance(100_000);
    assert_eq!(pull(&mut rig, &exchange).0, Input::Pending);
    // Of the 30 s after which `body_min_rate` counts, 20 are used up.
    rig.advance(9_900);
    assert_eq!(told(&rig, &exchange), 1);
    rig.advance(250);
    assert_eq!(told(&rig, &exchange), 2);
    assert_eq!(pull(&mut rig, &exchange).0, Input::Gone);
    rig.finish(exchange, Ending::Complete);
    assert_eq!(rig.last_status(&mut client), 408);
}

#[test]
fn a_body_that_stops_is_answered_408_and_the_application_finds_its_client_gone() {
    let mut rig = rig_with(|options| options.app_timeout = 0);
    let (mut client, exchange) = rig.request(&head(5));
    assert_eq!(pull(&mut rig, &exchange).0, Input::Pending);
    rig.advance(29_900);
    assert_eq!(told(&rig, &exchange), 0);
    rig.advance(200);
    assert_eq!(told(&rig, &exchange), 1);
    assert_eq!(pull(&mut rig, &exchange).0, Input::Gone);
    assert_eq!(rig.push(&exchange, &response(b"late")), Flow::Gone);
    rig.finish(exchange, Ending::Complete);
    assert_eq!(rig.last_status(&mut client), 408);
    assert!(logged("slower than body_timeout"));
    assert_eq!((rig.stats().timed_out, rig.stats().refused), (1, 1));
}

#[test]
fn damaged_framing_and_too_long_bodies_are_refused_while_they_come() {
    for (bytes, status) in [(&b"zz\r\n"[..], 400), (b"5000\r\n", 413)] {
        let mut rig = rig_with(|options| options.body_limit = 20_000);
        let (mut client, exchange) = rig.request(CHUNKED);
        assert_eq!(pull(&mut rig, &exchange).0, Input::Pending);
        rig.send(&mut client, bytes);
        rig.send(&mut client, &noise(20_480));
        assert_eq!(whole(&mut rig, &exchange).0, Input::Gone);
        rig.finish(exchange, Ending::Complete);
        assert_eq!(rig.last_status(&mut client), status);
    }
}

#[test]
fn a_body_refused_behind_the_beginning_of_a_response_cuts_it() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(CHUNKED);
    rig.push(&exchange, b"HTTP/1.1 200 OK\r\n\r\n");
    rig.send(&mut client, b"zz\r\n");
    assert_eq!(whole(&mut rig, &exchange).0, Input::Gone);
    rig.finish(exchange, Ending::Complete);
    rig.end_of(&mut client);
    assert_eq!(client.text(), "HTTP/1.1 200 OK\r\n\r\n");
}

#[test]
fn an_application_that_does_not_answer_in_time_is_answered_for() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(GET);
    assert!(!rig.engine.await_end(&exchange));
    rig.advance(29_900);
    assert!(rig.notices.is_empty() && client.is_silent());
    rig.advance(200);
    assert!(rig.notices.contains(&Notice::Overdue(exchange.token())));
    assert_eq!(rig.push(&exchange, &response(b"late")), Flow::Gone);
    rig.finish(exchange, Ending::Complete);
    assert_eq!(rig.last_status(&mut client), 504);
    assert_eq!(rig.stuck(), 0);
}

#[test]
fn the_time_that_a_client_takes_for_its_body_is_not_the_applications() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(&head(2));
    assert_eq!(pull(&mut rig, &exchange).0, Input::Pending);
    rig.advance(20_000);
    rig.send(&mut client, b"ok");
    progress(&mut rig, &exchange);
    assert_eq!(pull(&mut rig, &exchange).0, END);
    rig.advance(29_000);
    assert!(!rig.notices.contains(&Notice::Overdue(exchange.token())));
    rig.advance(1_200);
    assert!(rig.notices.contains(&Notice::Overdue(exchange.token())));
}

#[test]
fn a_response_that_has_begun_may_be_silent_for_ever() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(GET);
    rig.push(&exchange, b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(!rig.engine.await_end(&exchange));
    rig.advance(1_000_000);
    assert!(rig.notices.is_empty());
    rig.push(&exchange, b"data: 1\n\n");
    rig.finish(exchange, Ending::Cut);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert!(client.got.ends_with(b"1\n\n"));
}

#[test]
fn a_full_queue_is_held_in_memory_and_told_when_it_drains() {
    let mut rig = rig_with(|options| options.spool_dir = "/nonexistent".into());
    let (mut client, exchange) = rig.request(GET);
    let given = rig.fill(&exchange);
    rig.engine.await_room(&exchange, rig.now());
    rig.settle();
    assert_eq!(told(&rig, &exchange), 0);
    let before = given / 2;
    rig.until("progress", |rig| {
        client.pull();
        told(rig, &exchange) > 0
    });
    assert_eq!(rig.engine.flow(&exchange), Flow::Clear);
    assert!(client.got.len() + (4 << 20) > before);
    rig.finish(exchange, Ending::Cut);
    rig.receive(&mut client, given);
    assert_eq!(client.got.len(), given);
}

#[test]
fn who_waits_for_room_is_told_although_somebody_else_takes_the_body() {
    let mut rig = rig_with(|options| options.spool_dir = "/nonexistent".into());
    let (mut client, exchange) = rig.request(&head(10));
    let given = rig.fill(&exchange);
    rig.engine.await_room(&exchange, rig.now());
    rig.send(&mut client, b"hello");
    rig.settle();
    assert_eq!(pull(&mut rig, &exchange).1, b"hello");
    let before = told(&rig, &exchange);
    rig.until("progress", |rig| {
        client.pull();
        told(rig, &exchange) > before
    });
    assert_eq!(rig.engine.flow(&exchange), Flow::Clear);
    rig.finish(exchange, Ending::Cut);
    rig.receive(&mut client, given);
}

#[test]
fn taking_the_body_gives_a_client_that_reads_nothing_no_more_time() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(&head(10));
    rig.fill(&exchange);
    rig.engine.await_room(&exchange, rig.now());
    rig.send(&mut client, b"hello");
    rig.settle();
    assert_eq!(pull(&mut rig, &exchange).1, b"hello");
    rig.advance(30_100);
    assert_eq!(rig.push(&exchange, b"more"), Flow::Gone);
    assert!(logged("does not read its response"));
}

#[test]
fn who_waits_for_room_is_told_when_the_client_left_inside_its_body() {
    let mut rig = rig();
    let (client, exchange) = rig.request(&head(10));
    rig.fill(&exchange);
    rig.engine.await_room(&exchange, rig.now());
    client.shut();
    rig.until("the end", |rig| pull(rig, &exchange).0 == Input::Gone);
    assert_eq!(told(&rig, &exchange), 1);
    assert_eq!(rig.push(&exchange, b"more"), Flow::Gone);
}

#[test]
fn an_interim_response_is_no_beginning() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(GET);
    let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    assert_eq!(rig.engine.send_interim(&exchange, hint), Flow::Clear);
    rig.advance(30_100);
    assert_eq!(told(&rig, &exchange), 0);
    assert_eq!(rig.push(&exchange, b"late"), Flow::Gone);
    rig.finish(exchange, Ending::Complete);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    let answer = client.got.strip_prefix(hint).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 504 "));
}

#[test]
fn a_client_that_reads_nothing_is_given_up_after_the_write_timeout() {
    let mut rig = rig();
    let (_client, exchange) = rig.request(GET);
    rig.fill(&exchange);
    rig.engine.await_room(&exchange, rig.now());
    rig.advance(29_900);
    assert_eq!(told(&rig, &exchange), 0);
    rig.advance(200);
    assert_eq!(told(&rig, &exchange), 1);
    assert_eq!(rig.push(&exchange, b"more"), Flow::Gone);
    rig.finish(exchange, Ending::Complete);
    assert!(logged("does not read its response"));
    assert_eq!(rig.stats().connections, 0);
}

#[test]
fn a_client_that_left_is_told_to_who_waits_for_room() {
    let mut rig = rig();
    let (client, exchange) = rig.request(GET);
    rig.fill(&exchange);
    rig.engine.await_room(&exchange, rig.now());
    client.reset();
    progress(&mut rig, &exchange);
    assert_eq!(rig.push(&exchange, b"more"), Flow::Gone);
}

#[test]
fn nothing_is_told_about_an_exchange_that_is_finished() {
    let mut rig = rig();
    let (mut client, exchange) = rig.request(GET);
    assert!(!rig.engine.await_end(&exchange));
    rig.respond(exchange, b"done");
    rig.receive(&mut client, response(b"done").len());
    client.shut();
    rig.until("no connection", |rig| rig.stats().connections == 0);
    assert!(rig.notices.is_empty());
}
