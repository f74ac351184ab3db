//! Every connection that can move does, and goes on as if it had always been where it is.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::time::Duration;

use oxicorn_engine::{Ending, Handover};
use support::pair::{Pair, ends, told};
use support::{CHUNKED, End, GET, PATIENCE, body, get, noise, post, response};

#[test]
fn a_silent_connection_moves() {
    let mut pair = Pair::new();
    let mut client = pair.old.client();
    pair.old.until("accept", |rig| rig.stats().connections == 1);
    pair.move_all();
    pair.asks(&mut client, b"new");
}

#[test]
fn an_idle_connection_moves_with_the_count_of_its_requests() {
    let mut pair = Pair::new();
    let mut client = pair.old.client();
    for _ in 0..3 {
        pair.asks(&mut client, b"old");
    }
    pair.move_all();
    // Whoever has been served gets the time of an idle connection, and is closed without a count.
    pair.advance(1_900);
    pair.asks(&mut client, b"new");
    pair.advance(2_050);
    pair.until("the end", |_| client.pull().is_some());
    assert_eq!(
        (client.end, pair.new.stats().timed_out),
        (Some(End::Closed), 0)
    );
}

#[test]
fn unread_bytes_in_the_socket_are_found() {
    let mut pair = Pair::new();
    let mut client = pair.old.client();
    pair.asks(&mut client, b"old");
    pair.connect();
    // Question, answer, offer: from now on the old one does not look at the socket.
    pair.old.round(PATIENCE);
    pair.new.round(PATIENCE);
    pair.old.round(PATIENCE);
    client.push(GET);
    pair.moved(1);
    pair.expect(&mut client, b"new");
}

#[test]
fn half_a_head_is_completed_elsewhere_wherever_it_is_cut() {
    let head = get("/half");
    for cut in 1..head.len() {
        let mut pair = Pair::new();
        let mut client = pair.old.client_sending(&head[..cut]);
        pair.old.settle();
        pair.move_all();
        pair.send(&mut client, &head[cut..]);
        pair.expect(&mut client, b"new");
    }
}

#[test]
fn the_time_for_a_head_goes_on_elsewhere() {
    ends_in_time(Pair::new(), &GET[..10], 10_000);
}

/// A connection that moves a second before its time is over ends then, and not before.
fn ends_in_time(mut pair: Pair, beginning: &[u8], time: u64) {
    let mut client = pair.old.client_sending(beginning);
    pair.old.settle();
    pair.advance(time - 1_000);
    pair.move_all();
    pair.advance(900);
    assert!(client.is_silent());
    pair.advance(200);
    assert_eq!(pair.new.last_status(&mut client), 408);
}

#[test]
fn requests_that_wait_behind_the_first_are_answered_elsewhere() {
    let mut pair = Pair::new();
    let (mut client, exchange) = pair.old.request(&[GET, GET, GET].concat());
    pair.connect();
    pair.until("rest", |pair| {
        pair.told() == [Handover::Given { moved: 0, left: 1 }]
    });
    pair.old.respond(exchange, b"old");
    let three = [response(b"old"), response(b"new"), response(b"new")].concat();
    pair.answer(&mut client, three.len());
    assert_eq!(client.got, three);
}

#[test]
fn half_a_body_in_memory_is_completed_elsewhere() {
    let content = noise(20_000);
    let whole = post(&content);
    for missing in [1, 10_000, 20_000] {
        let mut pair = Pair::new();
        let mut client = pair.old.client_sending(&whole[..whole.len() - missing]);
        pair.old.settle();
        pair.move_all();
        pair.send(&mut client, &whole[whole.len() - missing..]);
        let exchange = pair.new.exchange();
        assert_eq!(body(&exchange), content);
        pair.new.respond(exchange, b"new");
        pair.expect(&mut client, b"new");
        pair.asks(&mut client, b"new");
    }
}

#[test]
fn half_a_body_in_a_file_is_completed_elsewhere() {
    let content = noise(3_000_000);
    let whole = post(&content);
    for missing in [1, 1_000_000] {
        let mut pair = Pair::new();
        let mut client = pair.old.client_sending(&whole[..whole.len() - missing]);
        pair.old.settle();
        pair.move_all();
        pair.send(&mut client, &whole[whole.len() - missing..]);
        let exchange = pair.new.exchange();
        assert_eq!(body(&exchange), content);
        pair.new.respond(exchange, b"new");
        pair.expect(&mut client, b"new");
    }
}

#[test]
fn half_a_chunked_body_is_completed_elsewhere_wherever_it_is_cut() {
    let chunks = b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n";
    let whole = [CHUNKED, chunks].concat();
    for cut in CHUNKED.len()..whole.len() {
        let mut pair = Pair::new();
        let mut client = pair.old.client_sending(&whole[..cut]);
        pair.old.settle();
        pair.move_all();
        pair.send(&mut client, &whole[cut..]);
        let exchange = pair.new.exchange();
        assert_eq!(body(&exchange), b"hello", "cut at {cut}");
        pair.new.respond(exchange, b"new");
        pair.expect(&mut client, b"new");
    }
}

#[test]
fn half_a_chunked_body_in_a_file_is_completed_elsewhere() {
    let content = noise(400_000);
    let mut chunks = Vec::new();
    for block in content.chunks(50_000) {
        chunks.extend(format!("{:x}\r\n", block.len()).bytes());
        chunks.extend_from_slice(block);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\n\r\n");
    // Inside a chunk; before, inside and behind the end of one; inside a size; before the last chunk; inside the end.
    let chunk = 50_000 + 8;
    let all = chunks.len();
    for cut in [
        chunk * 4 + 99,
        chunk * 5 - 2,
        chunk * 5 - 1,
        chunk * 5,
        chunk * 5 + 3,
        all - 5,
        all - 1,
    ] {
        let mut pair = Pair::new();
        let mut client = pair.old.client_sending(&[CHUNKED, &chunks[..cut]].concat());
        pair.old.settle();
        pair.move_all();
        pair.send(&mut client, &chunks[cut..]);
        let exchange = pair.new.exchange();
        assert_eq!(body(&exchange), content, "cut at {cut}");
        pair.new.respond(exchange, b"new");
        pair.expect(&mut client, b"new");
    }
}

#[test]
fn a_client_that_waited_for_100_continue_is_told_once() {
    let mut pair = Pair::new();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut client = pair.old.client_sending(head);
    let told = b"HTTP/1.1 100 Continue\r\n\r\n";
    pair.old.receive(&mut client, told.len());
    pair.move_all();
    pair.send(&mut client, b"hello");
    let all = [told.as_slice(), &response(b"new")].concat();
    pair.answer(&mut client, all.len());
    assert_eq!(client.got, all);
}

#[test]
fn the_time_for_a_body_goes_on_elsewhere() {
    let pair = Pair::with(|options| options.body_min_rate = 0);
    ends_in_time(pair, &post(b"hello")[..55], 30_000);
}

#[test]
fn the_rate_of_a_body_is_counted_from_its_true_beginning() {
    let mut pair = Pair::new();
    let mut client = pair.old.client_sending(CHUNKED);
    for _ in 0..5 {
        pair.send(&mut client, b"5\r\nhello\r\n");
        pair.old.settle();
        pair.advance(5_100);
    }
    pair.move_all();
    pair.send(&mut client, b"5\r\nhello\r\n");
    pair.new.settle();
    assert!(client.is_silent());
    pair.advance(5_100);
    assert_eq!(pair.new.last_status(&mut client), 408);
}

#[test]
fn a_response_that_waits_in_memory_is_completed_elsewhere() {
    complete_response(|options| {
        options.response_memory = 64 << 20;
    });
}

#[test]
fn a_response_that_waits_in_a_file_is_completed_elsewhere() {
    complete_response(|options| options.response_memory = 0);
}

/// A large response of which the socket takes a part; the rest moves, and the connection goes on.
fn complete_response(change: impl Fn(&mut oxicorn_engine::Options)) {
    let content = noise(12 << 20);
    let mut pair = Pair::with(change);
    let (mut client, exchange) = pair.old.request(GET);
    pair.old.push(&exchange, &response(&content));
    pair.old.finish(exchange, Ending::Complete);
    client.pull_once(100_000);
    pair.move_all();
    let whole = response(&content);
    pair.answer(&mut client, whole.len());
    assert!(client.got == whole);
    pair.asks(&mut client, b"new");
}

#[test]
fn a_response_that_is_kept_as_the_applications_own_is_completed_elsewhere() {
    let content = noise(20 << 20);
    let mut pair = Pair::new();
    let (mut client, exchange) = pair.old.request(GET);
    let head = response(&content)[..response(&content).len() - content.len()].to_vec();
    let mut owner: Option<oxicorn_engine::Shared> = Some(Box::new(content.clone()));
    let now = pair.old.now();
    let engine = &mut pair.old.engine;
    engine.send_kept(&exchange, [&head, &content, b""], &mut owner, now);
    assert!(owner.is_none());
    pair.old.finish(exchange, Ending::Complete);
    pair.move_all();
    assert_eq!(pair.old.stats().kept, 0);
    let whole = response(&content);
    pair.answer(&mut client, whole.len());
    assert!(client.got == whole);
    pair.asks(&mut client, b"new");
}

#[test]
fn parts_of_files_are_sent_elsewhere_in_their_order() {
    let content = noise(12 << 20);
    let mut pair = Pair::new();
    let (mut client, exchange) = pair.old.request(GET);
    let (first, second) = content.split_at(7 << 20);
    pair.old.push(
        &exchange,
        &response(&content)[..response(&content).len() - content.len()],
    );
    pair.old.push_file(&exchange, first);
    pair.old.push(&exchange, &second[..1_000]);
    pair.old.push_file(&exchange, &second[1_000..]);
    pair.old.finish(exchange, Ending::Complete);
    pair.move_all();
    let whole = response(&content);
    pair.answer(&mut client, whole.len());
    assert!(client.got == whole);
    pair.asks(&mut client, b"new");
}

#[test]
fn a_response_that_ends_its_connection_does_so_elsewhere() {
    let mut pair = Pair::new();
    let (mut client, exchange) = pair.old.request(GET);
    let given = pair.old.fill(&exchange);
    pair.old.finish(exchange, Ending::Cut);
    pair.move_all();
    pair.until("the end", |_| client.pull().is_some());
    assert_eq!((client.end, client.got.len()), (Some(End::Closed), given));
}

#[test]
fn a_request_in_the_application_is_answered_there_and_its_connection_moves_then() {
    let mut pair = Pair::new();
    let (mut client, exchange) = pair.old.request(GET);
    let mut idle = pair.old.client();
    pair.old.until("accept", |rig| rig.stats().connections == 2);
    pair.connect();
    pair.until("the first notice", |pair| !pair.told().is_empty());
    assert_eq!(pair.told(), [Handover::Given { moved: 1, left: 1 }]);
    pair.asks(&mut idle, b"new");
    pair.old.respond(exchange, b"old");
    pair.until("the second notice", |pair| pair.told().len() == 2);
    assert_eq!(pair.told()[1], Handover::Given { moved: 2, left: 0 });
    pair.expect(&mut client, b"old");
    pair.asks(&mut client, b"new");
}

#[test]
fn while_giving_new_connections_are_left_to_the_other() {
    let mut pair = Pair::new();
    pair.connect();
    let mut clients: Vec<_> = (0..20).map(|_| pair.old.client()).collect();
    for client in &mut clients {
        pair.asks(client, b"new");
    }
    assert_eq!(
        (pair.old.stats().accepted, pair.new.stats().accepted),
        (0, 20)
    );
}

#[test]
fn giving_can_stop_and_start_again() {
    let mut pair = Pair::new();
    let mut client = pair.old.client();
    pair.asks(&mut client, b"old");
    pair.move_all();
    let now = pair.old.now();
    pair.old.engine.stop_giving(now);
    pair.old.nudge();
    pair.until("the end", |pair| {
        pair.told().contains(&Handover::Ended {
            moved: 1,
            failure: None,
        })
    });
    pair.until("its echo", |pair| {
        told(&pair.new) == [Handover::Taken { moved: 1 }]
    });
    pair.new.engine.set_accepting(false);
    let mut later = pair.old.client();
    pair.asks(&mut later, b"old");
    pair.connect();
    pair.moved(2);
    pair.asks(&mut later, b"new");
    pair.asks(&mut client, b"new");
}

#[test]
fn what_arrives_at_one_that_gives_and_leaves_goes_on_with_its_usual_time() {
    let mut pair = Pair::new();
    let mut client = pair.old.client();
    pair.asks(&mut client, b"old");
    pair.connect();
    // Question, answer, offer, acceptance; what is missing is the word that they are the other one's.
    for _ in 0..2 {
        pair.old.round(PATIENCE);
        pair.new.round(PATIENCE);
    }
    let mut third = pair.new.heir(None, |_| {});
    let (giver, taker) = ends();
    let now = pair.new.now();
    third.engine.take_from(taker, now).unwrap();
    pair.new.engine.give_to(giver, now).unwrap();
    pair.new.engine.drain(false, now);
    pair.until("the move to the third", |_| {
        third.round(Duration::from_millis(1));
        third.stats().taken == 1
    });
    assert_eq!((pair.new.stats().given, pair.new.stats().taken), (1, 1));
    third.advance(1_500);
    pair.send(&mut client, &get("/asks"));
    pair.until("the answer of the third", |_| {
        third.round(Duration::from_millis(1));
        if let Some(exchange) = third.waiting() {
            third.respond(exchange, b"third");
        }
        client.pull();
        assert_eq!(client.end, None, "closed");
        client.got.len() == response(b"third").len()
    });
}

#[test]
fn connections_come_back_the_same_way() {
    let mut pair = Pair::new();
    let mut clients: Vec<_> = (0..300).map(|_| pair.old.client()).collect();
    for client in &mut clients {
        pair.asks(client, b"old");
    }
    pair.move_all();
    std::mem::swap(&mut pair.old, &mut pair.new);
    pair.move_all();
    for client in &mut clients {
        // Names are by role: what was old is new again.
        pair.asks(client, b"new");
    }
}

#[test]
fn a_connection_that_was_not_looked_at_since_it_came_can_go_back() {
    let content = noise(200_000);
    let whole = post(&content);
    let mut pair = Pair::new();
    let mut client = pair.old.client_sending(&whole[..150_000]);
    pair.old.settle();
    pair.move_all();
    std::mem::swap(&mut pair.old, &mut pair.new);
    pair.move_all();
    std::mem::swap(&mut pair.old, &mut pair.new);
    pair.send(&mut client, &whole[150_000..]);
    let exchange = pair.old.exchange();
    assert_eq!(body(&exchange), content);
}

/// Both wait for nothing: no event comes, and none is needed.
fn are_silent(pair: &mut Pair) -> bool {
    let quiet = Some(Duration::from_millis(1_200));
    for rig in [&mut pair.old, &mut pair.new] {
        if rig.wants_more() || rig.engine.needs_turn() || rig.poller.wait(quiet).unwrap() > 0 {
            return false;
        }
    }
    true
}

#[test]
fn a_hand_over_that_has_nothing_to_do_makes_no_wake_ups() {
    let mut pair = Pair::in_real_time(|options| {
        options.keep_alive = 3_600_000;
        options.head_timeout = 0;
        options.app_timeout = 0;
    });
    let (mut client, exchange) = pair.old.request(GET);
    let mut idle = pair.old.client();
    pair.old.until("accept", |rig| rig.stats().connections == 2);
    pair.connect();
    pair.until("the notice", |pair| !pair.told().is_empty());
    pair.asks(&mut idle, b"new");
    for _ in 0..10 {
        pair.old.round(Duration::from_millis(5));
        pair.new.round(Duration::from_millis(5));
    }
    assert!(are_silent(&mut pair));
    // A new connection is no event for the one that gives.
    let mut later = pair.old.client();
    assert_eq!(
        pair.old
            .poller
            .wait(Some(Duration::from_millis(100)))
            .unwrap(),
        0
    );
    pair.asks(&mut later, b"new");
    // What the application ends between two turns is work that the engine asks to be called for.
    let now = pair.old.now();
    pair.old.engine.send(&exchange, &[&response(b"old")], now);
    pair.old.engine.finish(exchange, Ending::Complete, now);
    assert!(pair.old.engine.needs_turn());
    pair.old.nudge();
    pair.moved(2);
    pair.expect(&mut client, b"old");
    pair.asks(&mut client, b"new");
}

#[test]
fn a_client_on_a_unix_socket_and_its_listener_are_known_elsewhere() {
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    let path = support::folder("unix").join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut pair = Pair::new();
    // The old one has it second, the new one third: addresses say which is meant.
    let other = UnixListener::bind(path.with_extension("other")).unwrap();
    other.set_nonblocking(true).unwrap();
    pair.new.engine.listen(OwnedFd::from(other)).unwrap();
    pair.new
        .engine
        .listen(OwnedFd::from(listener.try_clone().unwrap()))
        .unwrap();
    pair.old.engine.listen(OwnedFd::from(listener)).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    pair.old.until("accept", |rig| rig.stats().connections == 1);
    pair.move_all();
    client.write_all(GET).unwrap();
    let exchange = pair.new.exchange();
    assert_eq!(
        (exchange.listener, exchange.peer),
        (2, oxicorn_engine::Peer::Unix)
    );
    pair.new.respond(exchange, b"new");
    let mut got = vec![0; response(b"new").len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, response(b"new"));
}

#[test]
fn the_peer_is_the_client_wherever_its_request_is_answered() {
    let mut pair = Pair::new();
    let mut client = pair.old.client();
    pair.asks(&mut client, b"old");
    pair.move_all();
    pair.send(&mut client, GET);
    let exchange = pair.new.exchange();
    assert_eq!(exchange.peer, oxicorn_engine::Peer::Ip(client.address()));
    assert_eq!(exchange.listener, 0);
}
