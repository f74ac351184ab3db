//! Clients that break off, hold on, or share: nobody else notices, and nothing is left behind.

mod support;

use std::sync::Arc;

use oxicorn_engine::{Ending, Flow};
use support::{CHUNKED, Client, End, GET, Rig, get, noise, post, raise_file_limit, response};

/// After whatever happened to one client: the next one is served, and nothing is left.
fn is_unharmed(rig: &mut Rig) {
    let mut client = rig.client_sending(&get("/next"));
    rig.serve("the next client's answer", |_| {
        client.pull();
        client.got == response(b"/next")
    });
    drop(client);
    rig.until("nobody left", |rig| rig.stats().connections == 0);
    assert_eq!(rig.stats().in_application, 0);
}

#[test]
fn a_reset_before_anything_was_sent_harms_nobody() {
    let mut rig = Rig::new();
    rig.client().reset();
    is_unharmed(&mut rig);
}

#[test]
fn a_reset_inside_a_request_harms_nobody() {
    let body = post(&noise(200_000));
    let phases: [&[u8]; 5] = [
        b"G",
        b"GET / HTTP/1.1\r\nHo",
        &body[..100],
        &body[..150_000],
        CHUNKED,
    ];
    for sent in phases {
        let mut rig = Rig::new();
        let client = rig.client_sending(sent);
        rig.settle();
        client.reset();
        is_unharmed(&mut rig);
        assert_eq!(rig.stats().requests, 2, "the fence and the next one");
    }
}

#[test]
fn a_reset_while_the_application_works_harms_nobody() {
    let mut rig = Rig::new();
    let (client, exchange) = rig.request(GET);
    client.reset();
    rig.settle();
    rig.respond(exchange, b"");
    is_unharmed(&mut rig);
}

#[test]
fn a_reset_while_the_response_is_queued_harms_nobody() {
    let mut rig = Rig::new();
    let (client, exchange) = rig.request(GET);
    rig.respond(exchange, &noise(16 << 20));
    client.reset();
    is_unharmed(&mut rig);
}

#[test]
fn a_reset_on_an_idle_connection_harms_nobody() {
    let mut rig = Rig::new();
    rig.idle_client().reset();
    is_unharmed(&mut rig);
}

#[test]
fn a_reset_during_the_lingering_close_harms_nobody() {
    let mut rig = Rig::new();
    let mut client = rig.client_sending(b"nonsense\r\n\r\n");
    assert_eq!(rig.last_status(&mut client), 400);
    client.reset();
    is_unharmed(&mut rig);
}

#[test]
fn a_reset_with_pipelined_requests_left_harms_nobody() {
    let mut rig = Rig::new();
    let (client, exchange) = rig.request(&GET.repeat(50));
    client.reset();
    rig.settle();
    rig.respond(exchange, b"");
    is_unharmed(&mut rig);
}

const SLOW_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ";

/// Clients that have sent this and no more.
fn crowd(rig: &mut Rig, count: usize, sent: &[u8]) -> Vec<Client> {
    let before = rig.stats().accepted;
    let crowd: Vec<Client> = (0..count).map(|_| rig.client_sending(sent)).collect();
    rig.until("the crowd", |rig| {
        rig.stats().accepted == before + count as u64
    });
    rig.settle();
    crowd
}

/// How many turns it takes to answer one normal client.
fn turns_of_one(rig: &mut Rig) -> usize {
    let before = rig.turns;
    let (mut client, exchange) = rig.request(GET);
    rig.respond(exchange, b"");
    rig.receive(&mut client, response(b"").len());
    rig.turns - before
}

#[test]
fn two_thousand_slow_heads_cost_a_normal_client_no_turn() {
    raise_file_limit();
    let mut rig = Rig::in_real_time(|_| {});
    let alone = turns_of_one(&mut rig);
    let crowd = crowd(&mut rig, 2_000, SLOW_HEAD);
    let among_them = turns_of_one(&mut rig);
    assert!(
        among_them <= alone + 4,
        "{among_them} turns, {alone} without them"
    );
    assert_eq!(crowd.len(), 2_000);
}

#[test]
fn a_normal_client_is_answered_while_two_thousand_send_at_once() {
    raise_file_limit();
    let mut rig = Rig::new();
    let mut crowd = crowd(&mut rig, 2_000, SLOW_HEAD);
    let mut client = rig.client_sending(&get("/normal"));
    for slow in &mut crowd {
        slow.push(b"x");
    }
    let before = rig.turns;
    rig.until("the normal request", Rig::is_asked);
    // 256 events come with each wait, so ten rounds see everybody.
    assert!(rig.turns - before <= 12, "{} turns", rig.turns - before);
    let exchange = rig.exchange();
    rig.respond(exchange, b"");
    rig.receive(&mut client, 1);
}

#[test]
fn two_thousand_slow_bodies_and_readers_leave_a_normal_client_alone() {
    raise_file_limit();
    let mut rig = Rig::new();
    let bodies = crowd(&mut rig, 1_000, &post(b"hello")[..55]);
    let mut readers = Vec::new();
    for _ in 0..20 {
        let (reader, exchange) = rig.request(GET);
        rig.respond(exchange, &noise(6 << 20));
        readers.push(reader);
    }
    let turns = turns_of_one(&mut rig);
    assert!(turns <= 6, "{turns} turns");
    assert_eq!(rig.stats().connections, bodies.len() + readers.len() + 1);
}

#[test]
fn one_fast_uploader_does_not_keep_the_engine_to_itself() {
    let mut rig = Rig::new();
    let mut uploader = rig.client_sending(&post(&noise(64 << 20))[..1 << 20]);
    let block = noise(1 << 20);
    let mut client = rig.client_sending(GET);
    let before = rig.turns;
    rig.until("the other request", |rig| {
        uploader.push(&block);
        rig.has_exchange()
    });
    assert!(rig.turns - before < 10, "{} turns", rig.turns - before);
    let exchange = rig.exchange();
    rig.respond(exchange, b"");
    rig.receive(&mut client, 1);
}

#[test]
fn a_copy_of_the_socket_elsewhere_does_not_keep_the_client_waiting() {
    let mut rig = Rig::new();
    let (mut client, mut exchange) = rig.request(GET);
    let socket = rig.engine.socket(&exchange).unwrap();
    let _inherited = socket.try_clone().unwrap();
    exchange.keep_alive = false;
    rig.respond(exchange, b"bye");
    assert_eq!(rig.last_status(&mut client), 200);
    drop(client);
    rig.until("nobody left", |rig| rig.stats().connections == 0);
}

#[test]
fn a_copy_of_an_idle_connections_socket_does_not_outlive_its_keep_alive() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let socket: Arc<_> = rig.engine.socket(&exchange).unwrap();
    rig.respond(exchange, b"");
    rig.receive(&mut client, 1);
    rig.advance(2_100);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(Arc::strong_count(&socket), 1, "the engine has let go");
}

#[test]
fn an_exchange_given_up_while_full_ends_after_what_was_queued() {
    let mut rig = Rig::with(|options| options.response_spool = 1 << 20);
    let (mut client, exchange) = rig.request(GET);
    let given = rig.fill(&exchange);
    assert_eq!(rig.engine.flow(&exchange), Flow::Full);
    rig.finish(exchange, Ending::Cut);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(client.got.len(), given);
}
