//! What happens at each limit: connections, bodies, memory, requests; and the end of a worker's life.

mod support;

use std::time::Duration;

use oxicorn_engine::{Body, Ending, Notice, Options};
use support::{CHUNKED, Client, GET, Rig, body, get, logged, noise, post, response};

fn connections(limit: usize) -> impl FnOnce(&mut Options) {
    move |options| options.connections = limit
}

#[test]
fn above_worker_connections_the_one_idle_the_longest_makes_room() {
    let mut rig = Rig::with(connections(4));
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(rig.idle_client());
        rig.advance(100);
    }
    let (_new, exchange) = rig.request(GET);
    assert_eq!(rig.last_status(&mut idle[0]), 0);
    assert!(idle[1..].iter_mut().all(Client::is_silent));
    assert_eq!((rig.stats().connections, rig.stats().evicted), (4, 1));
    drop(exchange);
}

#[test]
fn one_after_the_other_all_idle_connections_make_room() {
    let mut rig = Rig::with(connections(20));
    let idle: Vec<Client> = (0..20).map(|_| rig.idle_client()).collect();
    let busy: Vec<_> = (0..20).map(|_| rig.request(GET)).collect();
    assert_eq!((rig.stats().connections, rig.stats().evicted), (20, 20));
    drop((idle, busy));
}

#[test]
fn at_worker_connections_nobody_is_closed_while_nobody_waits() {
    let mut rig = Rig::with(connections(3));
    let mut idle: Vec<Client> = (0..3).map(|_| rig.idle_client()).collect();
    for _ in 0..5 {
        rig.advance(300);
    }
    assert!(idle.iter_mut().all(Client::is_silent));
    assert_eq!((rig.stats().connections, rig.stats().evicted), (3, 0));
    assert!(!logged("connections are busy"));
}

#[test]
fn those_that_are_busy_are_never_closed_to_make_room() {
    let mut rig = Rig::with(connections(3));
    let (mut busy, exchange) = rig.request(GET);
    let idle = rig.idle_client();
    let (mut reading, unread) = rig.request(GET);
    rig.respond(unread, &noise(6 << 20));
    let (_new, second) = rig.request(GET);
    rig.respond(exchange, b"ok");
    rig.receive(&mut busy, response(b"ok").len());
    rig.receive(&mut reading, 6 << 20);
    drop((idle, second));
}

/// Answers until each of `clients` has its answer; virtual time passes.
fn all_are_answered(rig: &mut Rig, clients: &mut [Client]) {
    rig.serve("the answers", |rig| {
        rig.tick();
        for client in &mut *clients {
            client.pull();
        }
        clients
            .iter()
            .all(|client| client.got == response(b"/waiting"))
    });
}

#[test]
fn while_all_are_busy_new_ones_wait_and_are_answered_later() {
    let mut rig = Rig::with(connections(2));
    let (_first, one) = rig.request(GET);
    let (_second, two) = rig.request(GET);
    let waiting = (0..5).map(|_| rig.client_sending(&get("/waiting")));
    let mut waiting: Vec<Client> = waiting.collect();
    rig.until("the warning", |_| {
        logged("All 2 connections are busy, new ones wait")
    });
    assert!(waiting.iter_mut().all(Client::is_silent));
    // Whether somebody waits is known by accepting one.
    assert!(rig.stats().connections <= 3);
    rig.finish(one, Ending::Cut);
    rig.finish(two, Ending::Cut);
    all_are_answered(&mut rig, &mut waiting);
}

#[test]
fn those_that_wait_are_accepted_although_no_other_event_comes() {
    let mut rig = Rig::in_real_time(|options| {
        options.connections = 1;
        options.keep_alive = 3_600_000;
        options.app_timeout = 0;
        options.head_timeout = 0;
    });
    let (_first, exchange) = rig.request(GET);
    let waiting = (0..3).map(|_| rig.client_sending(&get("/waiting")));
    let mut waiting: Vec<Client> = waiting.collect();
    rig.until("the warning", |_| logged("new ones wait"));
    rig.respond(exchange, b"");
    all_are_answered(&mut rig, &mut waiting);
}

#[test]
fn a_connection_whose_request_has_arrived_is_not_idle() {
    let mut rig = Rig::with(connections(4));
    let mut clients: Vec<Client> = (0..8).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.push(GET);
    }
    for client in &mut clients {
        rig.serve("the answer", |rig| {
            rig.tick();
            client.pull().is_some() || !client.got.is_empty()
        });
        assert_eq!(client.text(), String::from_utf8_lossy(&response(b"/")));
    }
}

#[test]
fn a_slow_head_is_closed_when_there_is_no_idle_connection_left() {
    let mut rig = Rig::with(connections(2));
    let (_busy, exchange) = rig.request(GET);
    let mut slow = rig.client_sending(b"GET / HT");
    rig.until("accept", |rig| rig.stats().connections == 2);
    for _ in 0..3 {
        rig.round(Duration::from_millis(2));
    }
    let _new = [rig.client_sending(GET), rig.client_sending(GET)];
    rig.until("room", |rig| {
        rig.tick();
        slow.pull().is_some()
    });
    assert_eq!(rig.stats().evicted, 1);
    drop(exchange);
}

#[test]
fn a_body_up_to_the_limit_is_served_and_one_byte_more_is_413() {
    let mut rig = Rig::with(|options| options.body_limit = 100_000);
    let (_client, exchange) = rig.request(&post(&noise(100_000)));
    assert!(body(&exchange) == noise(100_000));
    let mut client = rig.client_sending(&post(&noise(100_001)));
    assert_eq!(rig.last_status(&mut client), 413);
    assert!(logged("the body is larger than limit_request_body (413)"));
    assert_eq!(rig.stats().requests, 1);
}

#[test]
fn a_chunked_body_up_to_the_limit_is_served_and_one_byte_more_is_413() {
    let mut rig = Rig::with(|options| options.body_limit = 10);
    let chunks = |last: &[u8]| [CHUNKED, b"5\r\nhello\r\n", last, b"0\r\n\r\n"].concat();
    let (_client, exchange) = rig.request(&chunks(b"5\r\nworld\r\n"));
    assert_eq!(body(&exchange), b"helloworld");
    let mut client = rig.client_sending(&chunks(b"6\r\nworld!\r\n"));
    assert_eq!(rig.last_status(&mut client), 413);
    assert_eq!(rig.stats().requests, 1);
}

#[test]
fn a_body_is_in_memory_up_to_its_limit_and_in_a_file_beyond() {
    let mut rig = Rig::with(|options| options.body_memory = 50_000);
    for (size, in_file) in [
        (49_999, false),
        (50_000, false),
        (50_001, true),
        (5 << 20, true),
    ] {
        let data = noise(size);
        let (_client, exchange) = rig.request(&post(&data));
        assert_eq!(matches!(exchange.body, Body::File(..)), in_file, "{size}");
        assert!(body(&exchange) == data, "{size}");
        rig.respond(exchange, b"");
    }
}

#[test]
fn a_chunked_body_is_in_memory_up_to_its_limit_and_in_a_file_beyond() {
    let mut rig = Rig::with(|options| options.body_memory = 10);
    for (chunk, in_file) in [("5\r\nworld\r\n", false), ("6\r\nworld!\r\n", true)] {
        let all = [CHUNKED, b"5\r\nhello\r\n", chunk.as_bytes(), b"0\r\n\r\n"].concat();
        let (_client, exchange) = rig.request(&all);
        assert_eq!(matches!(exchange.body, Body::File(..)), in_file, "{chunk}");
        assert!(body(&exchange).starts_with(b"helloworld"));
    }
}

#[test]
fn a_body_that_cannot_be_stored_is_500_with_the_reason_in_the_log() {
    let mut rig = Rig::with(|options| options.spool_dir = "/nonexistent".into());
    let mut client = rig.client_sending(&post(&noise(200_000)));
    assert_eq!(rig.last_status(&mut client), 500);
    assert!(logged("the body could not be stored") && logged("No such file or directory"));
    assert!(
        !logged("Invalid request"),
        "it is our fault, not the client's"
    );
    assert!(
        !client.text().contains("No such file"),
        "nor is it the client's business"
    );
    assert_eq!(rig.stats().requests, 0);
}

#[test]
fn contradicting_scheme_fields_of_a_trusted_proxy_are_refused() {
    let mut rig = Rig::new();
    let head =
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n";
    let mut client = rig.client_sending(head);
    assert_eq!(rig.last_status(&mut client), 400);
    assert!(logged(
        "the proxy's scheme fields contradict each other (400)"
    ));
}

#[test]
fn at_max_requests_the_driver_is_told_once_and_connections_go_on() {
    let mut rig = Rig::with(|options| options.max_requests = 3);
    for number in 1..=5 {
        let (_client, exchange) = rig.request(GET);
        assert!(exchange.keep_alive, "request {number}");
        rig.respond(exchange, b"");
    }
    rig.settle();
    assert_eq!(rig.notices, [Notice::Worn]);
}

#[test]
fn a_drained_engine_says_so_once() {
    let mut rig = Rig::new();
    drain(&mut rig);
    rig.until("drained", |rig| rig.notices == [Notice::Drained]);
    for _ in 0..3 {
        rig.nudge();
        rig.round(Duration::ZERO);
    }
    assert_eq!(rig.notices, [Notice::Drained]);
    assert!(rig.engine.is_draining());
}

#[test]
fn draining_takes_those_who_wait_in_the_accept_queue() {
    let mut rig = Rig::new();
    rig.round(Duration::ZERO);
    let mut clients: Vec<Client> = (0..200).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.push(GET);
    }
    drain(&mut rig);
    rig.serve("the answers", |_| {
        clients.iter_mut().all(|client| client.pull().is_some())
    });
    let answered = clients.iter().filter(|client| client.got == response(b"/"));
    assert_eq!(answered.count(), 200);
}

#[test]
fn an_engine_that_cannot_serve_them_leaves_those_who_wait_to_others() {
    let mut rig = Rig::new();
    rig.round(Duration::ZERO);
    let client = rig.client();
    let now = rig.now();
    rig.engine.drain(false, now);
    rig.nudge();
    rig.until("drained", |rig| rig.notices == [Notice::Drained]);
    let accepted = rig.sibling.as_ref().map(std::net::TcpListener::accept);
    assert!(
        accepted.is_some_and(|accepted| accepted.is_ok_and(|(_, peer)| peer == client.address()))
    );
}

#[test]
fn draining_gives_an_idle_connection_a_moment_for_a_request_on_its_way() {
    let mut rig = Rig::with(|options| options.keep_alive = 60_000);
    let (mut asking, mut silent) = (rig.idle_client(), rig.idle_client());
    drain(&mut rig);
    rig.advance(900);
    assert!(silent.is_silent());
    rig.send(&mut asking, GET);
    let exchange = rig.exchange();
    assert!(!exchange.keep_alive);
    rig.respond(exchange, b"");
    assert_eq!(rig.last_status(&mut asking), 200);
    rig.advance(200);
    assert_eq!(rig.last_status(&mut silent), 0);
    drop((asking, silent));
    rig.until("drained", |rig| rig.notices == [Notice::Drained]);
}

#[test]
fn draining_waits_for_the_request_in_the_application_and_ends_its_connection() {
    let mut rig = Rig::new();
    let (mut client, mut exchange) = rig.request(GET);
    drain(&mut rig);
    rig.advance(5_000);
    assert_eq!(rig.notices, []);
    // What the head of the response says.
    exchange.keep_alive = false;
    rig.respond(exchange, b"done");
    assert_eq!(rig.last_status(&mut client), 200);
    drop(client);
    rig.until("drained", |rig| rig.notices == [Notice::Drained]);
}

#[test]
fn a_connection_that_becomes_idle_while_draining_gets_its_moment_and_no_more() {
    let mut rig = Rig::with(|options| options.keep_alive = 60_000);
    let (mut client, exchange) = rig.request(GET);
    let data = noise(16 << 20);
    rig.respond(exchange, &data);
    drain(&mut rig);
    rig.receive(&mut client, response(&data).len());
    rig.until("idle", |rig| !rig.wants_more());
    rig.advance(900);
    assert_eq!(client.pull(), None);
    rig.advance(200);
    assert_eq!(rig.last_status(&mut client), 200);
    rig.until("drained", |rig| rig.notices == [Notice::Drained]);
}

#[test]
fn a_response_that_did_not_say_close_leaves_a_moment_for_the_next_request() {
    let mut rig = Rig::with(|options| options.keep_alive = 60_000);
    let (mut client, exchange) = rig.request(GET);
    drain(&mut rig);
    assert!(exchange.keep_alive, "its head is on its way");
    rig.respond(exchange, b"first");
    rig.receive(&mut client, response(b"first").len());
    rig.advance(900);
    rig.send(&mut client, GET);
    let exchange = rig.exchange();
    assert!(!exchange.keep_alive);
    rig.respond(exchange, b"last");
    assert_eq!(rig.last_status(&mut client), 200);
}

#[test]
fn draining_closes_the_listener() {
    let mut rig = Rig::new();
    rig.sibling = None;
    drain(&mut rig);
    let refused = std::net::TcpStream::connect(rig.address);
    assert!(refused.is_err());
}

fn drain(rig: &mut Rig) {
    let now = rig.now();
    rig.engine.drain(true, now);
    rig.nudge();
}
