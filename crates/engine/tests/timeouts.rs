//! Every phase of a connection has its time, and what happens when it is over.

mod support;

use std::time::Duration;

use oxicorn_engine::{Ending, Flow, Notice, Running, Stuck};
use support::{
    CHUNKED, Client, End, GET, Rig, body, get, logged, noise, post, raise_file_limit, response,
};

#[test]
fn a_silent_connection_is_closed_without_a_byte_at_the_head_timeout() {
    let mut rig = Rig::new();
    let mut client = rig.client();
    rig.until("accept", |rig| rig.stats().connections == 1);
    rig.advance(9_900);
    assert!(client.is_silent());
    rig.advance(150);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(client.text(), "");
    assert_eq!(rig.stats().timed_out, 1);
}

#[test]
fn half_a_head_is_answered_with_408_at_the_head_timeout() {
    let mut rig = Rig::new();
    let mut client = rig.client_sending(b"GET / HTTP/1.1\r\nHos");
    rig.settle();
    rig.advance(9_900);
    assert!(client.is_silent());
    rig.advance(150);
    assert_eq!(rig.last_status(&mut client), 408);
    assert!(logged("did not arrive within head_timeout (408)"));
    assert_eq!((rig.stats().timed_out, rig.stats().refused), (1, 1));
}

#[test]
fn a_trickle_does_not_prolong_the_head_timeout() {
    let mut rig = Rig::new();
    let mut client = rig.client_sending(b"GET / HTTP/1.1\r\nHost: a\r\n");
    for _ in 0..9 {
        rig.settle();
        rig.advance(1_100);
        assert!(client.is_silent());
        rig.send(&mut client, b"X-A: 1\r\n");
    }
    rig.settle();
    rig.advance(200);
    assert_eq!(rig.last_status(&mut client), 408);
}

#[test]
fn a_later_head_has_its_time_from_its_first_byte() {
    let mut rig = Rig::new();
    let mut client = rig.idle_client();
    rig.advance(1_900);
    rig.send(&mut client, b"GET");
    rig.settle();
    rig.advance(9_900);
    assert!(client.is_silent());
    rig.advance(200);
    assert_eq!(rig.last_status(&mut client), 408);
}

#[test]
fn half_a_pipelined_head_has_its_time_from_the_response_before_it() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(&[GET, b"GET /two"].concat());
    rig.advance(9_000);
    rig.respond(exchange, b"");
    rig.settle();
    rig.advance(9_900);
    rig.receive(&mut client, response(b"").len());
    assert_eq!(client.got, response(b""));
    rig.advance(200);
    client.got.clear();
    assert_eq!(rig.last_status(&mut client), 408);
}

#[test]
fn a_body_that_stops_is_answered_with_408_at_the_body_timeout() {
    let mut rig = Rig::with(|options| options.body_min_rate = 0);
    let mut client = rig.client_sending(&post(b"hello")[..55]);
    for more in [b"l", b"l"] {
        rig.settle();
        rig.advance(29_000);
        assert!(client.is_silent());
        rig.send(&mut client, more);
    }
    rig.settle();
    rig.advance(30_100);
    assert_eq!(rig.last_status(&mut client), 408);
    assert!(logged("slower than body_timeout and body_min_rate allow"));
    assert!(!rig.has_exchange());
}

#[test]
fn a_body_slower_than_the_minimum_rate_is_refused_although_it_moves() {
    let mut rig = Rig::new();
    let mut client = rig.client_sending(CHUNKED);
    for _ in 0..6 {
        rig.send(&mut client, b"5\r\nhello\r\n");
        rig.settle();
        assert!(client.is_silent());
        rig.advance(5_100);
    }
    assert_eq!(rig.last_status(&mut client), 408);
}

#[test]
fn a_body_at_the_minimum_rate_may_take_as_long_as_it_needs() {
    let mut rig = Rig::new();
    let all = post(&noise(30_000));
    let mut client = rig.client_sending(&all[..all.len() - 30_000]);
    for block in all[all.len() - 30_000..].chunks(3_000) {
        rig.send(&mut client, block);
        rig.settle();
        rig.advance(12_400);
    }
    let exchange = rig.exchange();
    assert_eq!(body(&exchange).len(), 30_000);
}

#[test]
fn an_idle_connection_is_closed_without_a_byte_at_the_keep_alive_deadline() {
    let mut rig = Rig::new();
    let mut client = rig.idle_client();
    rig.advance(1_900);
    assert!(client.is_silent());
    rig.advance(150);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(client.text(), "");
    assert_eq!(rig.stats().timed_out, 0);
}

#[test]
fn each_request_moves_the_keep_alive_deadline() {
    let mut rig = Rig::new();
    let mut client = rig.idle_client();
    for _ in 0..5 {
        rig.advance(1_800);
        rig.send(&mut client, GET);
        let exchange = rig.exchange();
        rig.respond(exchange, b"");
    }
    rig.advance(1_900);
    rig.receive(&mut client, 5 * response(b"").len());
    assert_eq!(client.end, None);
    rig.advance(150);
    assert_eq!(rig.end_of(&mut client), End::Closed);
}

#[test]
fn without_keep_alive_a_connection_ends_after_its_response() {
    let mut rig = Rig::with(|options| options.keep_alive = 0);
    let (mut client, exchange) = rig.request(GET);
    assert!(!exchange.keep_alive);
    rig.respond(exchange, b"");
    assert_eq!(rig.last_status(&mut client), 200);
}

#[test]
fn a_request_that_has_arrived_is_answered_although_the_keep_alive_deadline_has_passed() {
    let mut rig = Rig::new();
    let mut client = rig.idle_client();
    client.push(GET);
    // Both are announced together, and the timer may come first.
    rig.advance(5_000);
    rig.serve("the answer", |_| {
        client.pull().is_some() || !client.got.is_empty()
    });
    assert_eq!(client.got, response(b"/"));
}

#[test]
fn a_response_that_nobody_reads_is_cut_at_the_write_timeout() {
    let mut rig = Rig::new();
    let (_client, exchange) = rig.request(GET);
    rig.fill(&exchange);
    rig.finish(exchange, Ending::Complete);
    rig.settle();
    rig.advance(29_900);
    assert_eq!(rig.stats().connections, 1);
    rig.advance(200);
    rig.until("the cut", |rig| rig.stats().connections == 0);
    assert!(logged("does not read its response"));
    assert_eq!(rig.stats().timed_out, 1);
}

#[test]
fn a_response_that_is_read_slowly_is_not_cut() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let given = rig.fill(&exchange);
    rig.finish(exchange, Ending::Cut);
    while client.got.len() < given {
        let before = client.got.len();
        rig.until("a few megabytes", |_| {
            client.pull_once(1 << 20);
            client.got.len() >= given.min(before + (8 << 20))
        });
        rig.settle();
        rig.advance(20_000);
    }
    assert_eq!(rig.end_of(&mut client), End::Closed);
}

#[test]
fn a_client_that_does_not_close_is_left_at_the_linger_timeout() {
    let mut rig = Rig::new();
    let mut client = rig.client_sending(b"nonsense\r\n\r\n");
    assert_eq!(rig.last_status(&mut client), 400);
    rig.advance(1_900);
    assert_eq!(rig.stats().connections, 1);
    rig.advance(150);
    rig.until("the end", |rig| rig.stats().connections == 0);
}

#[test]
fn a_request_too_long_in_the_application_is_told_once_with_line_peer_and_age() {
    let mut rig = Rig::new();
    let (_client, exchange) = rig.request(&get("/slow?a=b"));
    rig.advance(29_900);
    assert_eq!(rig.notices, []);
    rig.advance(150);
    rig.advance(600_000);
    let stuck = Stuck {
        line: "GET /slow?a=b HTTP/1.1".to_owned(),
        peer: "127.0.0.1".to_owned(),
        age: 30_050,
        together: 1,
    };
    assert_eq!(rig.notices, [Notice::Stuck(stuck)]);
    drop(exchange);
}

#[test]
fn the_requests_that_an_end_would_cut_are_those_inside_the_application() {
    let mut rig = Rig::new();
    let _idle = rig.idle_client();
    let _half = rig.client_sending(b"GET /half HTTP/1.1\r\n");
    let (_client, exchange) = rig.request(&get("/slow?a=b"));
    rig.advance(1_500);
    let running = Running {
        line: "GET /slow?a=b HTTP/1.1".to_owned(),
        peer: "127.0.0.1".to_owned(),
        age: 1_500,
        upgraded: false,
    };
    let now = rig.now();
    assert_eq!(rig.engine.running(now), [running]);
    rig.respond(exchange, b"");
    assert_eq!(rig.engine.running(now), []);
}

#[test]
fn the_requests_that_are_stuck_are_counted() {
    let mut rig = Rig::new();
    let (_one, first) = rig.request(GET);
    let (_two, second) = rig.request(GET);
    rig.advance(40_000);
    rig.respond(first, b"");
    let (_three, third) = rig.request(GET);
    rig.advance(40_000);
    let together = rig.notices.iter().map(|notice| match notice {
        Notice::Stuck(stuck) => stuck.together,
        _ => 0,
    });
    assert_eq!(together.collect::<Vec<_>>(), [1, 2, 2]);
    drop((second, third));
}

#[test]
fn a_request_that_was_stuck_can_still_be_answered() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    rig.advance(40_000);
    assert_eq!(rig.stuck(), 1);
    rig.respond(exchange, b"late");
    rig.receive(&mut client, 1);
    assert_eq!(client.got, response(b"late"));
    rig.send(&mut client, GET);
    let _second = rig.exchange();
    rig.advance(40_000);
    assert_eq!(rig.stuck(), 2);
}

#[test]
fn an_application_that_sends_something_is_not_stuck() {
    let mut rig = Rig::new();
    let (_client, exchange) = rig.request(GET);
    for _ in 0..10 {
        rig.advance(29_000);
        rig.push(&exchange, b"more");
    }
    rig.advance(29_000);
    assert_eq!(rig.stuck(), 0);
    rig.advance(2_000);
    assert_eq!(rig.stuck(), 1);
}

#[test]
fn an_application_that_sends_files_is_not_stuck() {
    let mut rig = Rig::new();
    let (_client, exchange) = rig.request(GET);
    for _ in 0..3 {
        rig.advance(29_000);
        assert_eq!(rig.push_file(&exchange, b"a file"), Flow::Clear);
    }
    assert_eq!(rig.stuck(), 0);
}

#[test]
fn an_application_held_back_by_its_client_is_not_stuck() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let given = rig.fill(&exchange);
    rig.engine.hold(&exchange);
    rig.settle();
    rig.advance(100_000);
    assert_eq!(rig.notices, []);
    rig.receive(&mut client, given);
    assert_eq!(rig.engine.flush_exchange(&exchange, rig.now()), Flow::Clear);
    let now = rig.now();
    rig.engine.release(&exchange, now);
    rig.nudge();
    rig.advance(30_100);
    assert_eq!(rig.stuck(), 1, "now it is the application's turn");
}

#[test]
fn a_held_exchange_is_not_stuck_and_its_time_begins_at_its_release() {
    let mut rig = Rig::new();
    let (_client, exchange) = rig.request(GET);
    rig.engine.hold(&exchange);
    rig.advance(100_000);
    assert_eq!(rig.stuck(), 0);
    let now = rig.now();
    rig.engine.release(&exchange, now);
    rig.nudge();
    rig.advance(29_900);
    assert_eq!(rig.stuck(), 0);
    rig.advance(150);
    let Some(Notice::Stuck(stuck)) = rig.notices.first() else {
        panic!("not stuck")
    };
    assert_eq!(stuck.age, 30_050);
}

#[test]
fn zero_switches_a_timeout_off() {
    let mut rig = Rig::with(|options| {
        options.head_timeout = 0;
        options.body_timeout = 0;
        options.body_min_rate = 0;
        options.app_timeout = 0;
        options.write_timeout = 0;
    });
    let mut silent = rig.client();
    let mut half_a_head = rig.client_sending(b"GET /");
    let mut half_a_body = rig.client_sending(&post(b"hello")[..55]);
    let (_inside, exchange) = rig.request(GET);
    let (_unread, queued) = rig.request(GET);
    rig.fill(&queued);
    rig.finish(queued, Ending::Complete);
    rig.settle();
    rig.advance(86_400_000);
    rig.settle();
    let waiting = [&mut silent, &mut half_a_head, &mut half_a_body];
    assert!(waiting.into_iter().all(Client::is_silent));
    assert_eq!((rig.stats().connections, rig.notices.len()), (5, 0));
    drop(exchange);
}

#[test]
fn thousands_of_deadlines_are_met_each_at_its_time() {
    let count = usize::try_from(raise_file_limit().saturating_sub(200) / 2)
        .unwrap()
        .min(5_000);
    let mut rig = Rig::new();
    let early: Vec<_> = (0..count / 2).map(|_| rig.client()).collect();
    rig.until("accept", |rig| rig.stats().connections == early.len());
    rig.advance(5_000);
    let late: Vec<_> = (0..count / 2).map(|_| rig.client()).collect();
    rig.until("accept", |rig| rig.stats().connections == count / 2 * 2);
    rig.advance(5_100);
    rig.until("the early ones go", |rig| {
        rig.stats().connections == late.len()
    });
    rig.settle();
    assert_eq!(rig.stats().connections, late.len());
    rig.advance(5_000);
    rig.until("the late ones go", |rig| rig.stats().connections == 0);
    assert_eq!(rig.stats().timed_out, (count / 2 * 2) as u64);
}

#[test]
fn deadlines_wake_the_engine_by_themselves() {
    let mut rig = Rig::in_real_time(|options| options.head_timeout = 100);
    let mut client = rig.client();
    let started = std::time::Instant::now();
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert!(started.elapsed() >= Duration::from_millis(90));
    assert!(started.elapsed() < Duration::from_secs(2));
}
