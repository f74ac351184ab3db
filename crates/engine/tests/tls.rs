//! TLS: from the first byte of a handshake to the last alert, and what is different from plain connections.

mod support;

use oxicorn_engine::{Ending, Flow, Handover, Input, Scheme};
use support::pair::Pair;
use support::secure::{Secure, SecureEnd, encrypt, secure_rig};
use support::{
    End, GET, Rig, body, count_logged, logged, noise, post, raise_file_limit, response, status,
    target,
};

/// One request of a client that may be in the middle of its handshake.
fn is_served(rig: &mut Rig, client: &mut Secure) {
    client.say(GET);
    rig.with_secure(client, "the request", |rig, _| rig.has_exchange());
    let exchange = rig.exchange();
    rig.respond(exchange, b"hello");
    rig.receive_secure(client, response(b"hello").len());
    assert!(client.got.ends_with(b"hello"));
    client.got.clear();
}

#[test]
fn a_request_over_tls_is_https_and_says_what_was_agreed() {
    for old in [false, true] {
        let mut rig = secure_rig(|_| {});
        let mut client = if old {
            Secure::old(&rig)
        } else {
            Secure::new(&rig)
        };
        client.say(GET);
        rig.with_secure(&mut client, "the request", |rig, _| rig.has_exchange());
        let exchange = rig.exchange();
        assert_eq!(exchange.scheme, Scheme::Https);
        let facts = exchange.tls.clone().unwrap();
        assert_eq!(facts.version, if old { 0x0303 } else { 0x0304 });
        assert_ne!(facts.cipher, 0);
        assert_eq!(&*facts.certificate, "the certificate");
        assert!(facts.client.is_empty());
        rig.respond(exchange, b"hello");
        rig.receive_secure(&mut client, response(b"hello").len());
        assert_eq!(status(&client.got), 200);
        client.got.clear();
        is_served(&mut rig, &mut client);
    }
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    for old in [false, true] {
        let mut rig = secure_rig(|_| {});
        for flight in 0..2 {
            let mut cut = 1;
            loop {
                let mut client = if old {
                    Secure::old(&rig)
                } else {
                    Secure::new(&rig)
                };
                for _ in 0..flight {
                    client.step(usize::MAX);
                    let before = client.raw.got.len();
                    rig.with_secure(&mut client, "an answer", |_, one| {
                        one.raw.got.len() > before
                    });
                }
                let bytes = client.flight();
                if cut >= bytes.len() {
                    break;
                }
                rig.send(&mut client.raw, &bytes[..cut]);
                rig.round(std::time::Duration::from_millis(1));
                rig.send(&mut client.raw, &bytes[cut..]);
                is_served(&mut rig, &mut client);
                cut += 7;
            }
            assert!(cut > 40, "flight {flight} has {cut} bytes");
        }
    }
}

#[test]
fn a_whole_conversation_may_come_byte_by_byte() {
    let mut rig = secure_rig(|_| {});
    let mut client = Secure::new(&rig);
    client.say(&post(b"body"));
    rig.until("the request", |rig| {
        client.step(1);
        rig.has_exchange()
    });
    let exchange = rig.exchange();
    assert_eq!(body(&exchange), b"body");
    rig.respond(exchange, b"");
    rig.receive_secure(&mut client, response(b"").len());
}

#[test]
fn whoever_does_not_finish_the_handshake_is_closed_in_time_and_named() {
    let mut rig = secure_rig(|options| options.handshake_timeout = 3_000);
    let mut silent = rig.client();
    let mut half = Secure::new(&rig);
    let hello = half.flight();
    rig.send(&mut half.raw, &hello[..20]);
    rig.until("both are here", |rig| rig.stats().connections == 2);
    rig.advance(2_900);
    assert_eq!(rig.stats().connections, 2);
    rig.advance(200);
    assert_eq!(rig.end_of(&mut silent), End::Closed);
    assert_eq!(rig.end_of(&mut half.raw), End::Closed);
    assert_eq!(
        count_logged("did not finish the TLS handshake within tls_handshake_timeout"),
        2
    );
    assert_eq!(rig.stats().timed_out, 2);
}

#[test]
fn a_client_that_is_silent_after_its_handshake_has_the_time_of_any_other() {
    let mut rig = secure_rig(|options| {
        options.handshake_timeout = 3_000;
        options.head_timeout = 10_000;
    });
    let mut client = rig.secure_client();
    rig.advance(9_000);
    assert_eq!(rig.stats().connections, 1);
    rig.advance(1_500);
    assert_eq!(rig.secure_end(&mut client), SecureEnd::Clean);
}

#[test]
fn two_thousand_silent_handshakes_stop_nobody() {
    raise_file_limit();
    let mut rig = secure_rig(|options| options.connections = 2_500);
    let silent: Vec<_> = (0..2_000).map(|_| rig.client()).collect();
    rig.until("all are here", |rig| {
        rig.stats().connections == silent.len()
    });
    let mut client = Secure::new(&rig);
    is_served(&mut rig, &mut client);
    assert_eq!(rig.stats().connections, silent.len() + 1);
}

#[test]
fn silent_handshakes_make_room_for_newcomers() {
    let mut rig = secure_rig(|options| options.connections = 50);
    let silent: Vec<_> = (0..60).map(|_| rig.client()).collect();
    rig.until("the limit", |rig| rig.stats().evicted > 0);
    let mut client = Secure::new(&rig);
    is_served(&mut rig, &mut client);
    drop(silent);
}

#[test]
fn plain_http_gets_a_readable_answer() {
    let mut rig = secure_rig(|_| {});
    let mut client = rig.client_sending(GET);
    assert_eq!(rig.last_status(&mut client), 400);
    assert!(
        client
            .text()
            .contains("The plain HTTP request was sent to HTTPS port")
    );
    assert_eq!(count_logged("sent to HTTPS port"), 1);
    assert!(!rig.has_exchange());
}

#[test]
fn garbage_ends_the_connection_and_is_logged() {
    let mut rig = secure_rig(|_| {});
    for garbage in [
        &[0x16, 3, 1, 0, 5, 9, 9, 9, 9, 9][..],
        &[0x80, 0x2e, 1, 3, 1],
        &[0; 100],
    ] {
        let mut client = rig.client_sending(garbage);
        client.shut();
        rig.end_of(&mut client);
    }
    assert_eq!(count_logged("The TLS handshake with"), 3);
    rig.until("nobody is left", |rig| rig.stats().connections == 0);
}

#[test]
fn damage_after_the_handshake_ends_the_connection() {
    let mut rig = secure_rig(|_| {});
    let mut client = rig.secure_client();
    client.say(GET);
    let mut bytes = client.flight();
    *bytes.last_mut().unwrap() ^= 1;
    rig.send(&mut client.raw, &bytes);
    assert_eq!(rig.secure_end(&mut client), SecureEnd::Failed);
    assert!(!rig.has_exchange());
}

#[test]
fn bodies_arrive_whole_in_both_ways_of_reading() {
    for streams in [false, true] {
        let mut rig = secure_rig(|options| options.streams = streams);
        let sent = noise(3 << 20);
        let mut client = rig.secure_client();
        client.say(&post(&sent));
        rig.with_secure(&mut client, "the request", |rig, _| rig.has_exchange());
        let exchange = rig.exchange();
        let mut got = body(&exchange);
        rig.until("the body", |rig| {
            client.step(usize::MAX);
            let mut data = Vec::new();
            let input = if streams {
                rig.engine.pull(&exchange, &mut data, rig.now())
            } else {
                Input::Data { more: false }
            };
            rig.nudge();
            got.extend_from_slice(&data);
            input == Input::Data { more: false }
        });
        assert!(got == sent, "{streams}");
        rig.respond(exchange, b"");
        rig.receive_secure(&mut client, response(b"").len());
    }
}

#[test]
fn responses_wait_for_slow_clients_and_arrive_whole() {
    let mut rig = secure_rig(|options| {
        options.response_memory = 4096;
        options.response_spool = 64 << 20;
    });
    let mut client = rig.secure_client();
    client.say(GET);
    rig.with_secure(&mut client, "the request", |rig, _| rig.has_exchange());
    let exchange = rig.exchange();
    let (first, file, last) = (noise(6 << 20), noise(2 << 20), noise(40_000));
    let total = first.len() + file.len() + last.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n");
    let sent = rig
        .engine
        .send(&exchange, &[head.as_bytes(), &first], rig.now());
    assert_eq!(sent, Flow::Clear);
    rig.push_file(&exchange, &file);
    rig.push(&exchange, &last);
    rig.finish(exchange, Ending::Complete);
    rig.until("everything", |_| {
        client.listen(100_000);
        client.got.len() >= head.len() + total
    });
    assert!(client.got[head.len()..] == [first, file, last].concat());
    client.got.clear();
    is_served(&mut rig, &mut client);
}

#[test]
fn a_connection_that_ends_says_so() {
    let mut rig = secure_rig(|_| {});
    let mut client = rig.secure_client();
    client.say(b"GET / HTTP/1.0\r\n\r\n");
    rig.with_secure(&mut client, "the request", |rig, _| rig.has_exchange());
    let exchange = rig.exchange();
    rig.respond(exchange, b"bye");
    assert_eq!(rig.secure_end(&mut client), SecureEnd::Clean);
    assert!(client.got.ends_with(b"bye"));
}

#[test]
fn a_response_that_is_cut_ends_without_the_word_for_an_end() {
    let mut rig = secure_rig(|_| {});
    let mut client = rig.secure_client();
    client.say(b"GET / HTTP/1.0\r\n\r\n");
    rig.with_secure(&mut client, "the request", |rig, _| rig.has_exchange());
    let exchange = rig.exchange();
    rig.push(&exchange, b"HTTP/1.1 200 OK\r\n\r\nhalf of");
    rig.finish(exchange, Ending::Cut);
    assert_eq!(rig.secure_end(&mut client), SecureEnd::Truncated);
    assert!(client.got.ends_with(b"half of"));
}

#[test]
fn a_client_that_vanishes_inside_a_body_is_gone_with_and_without_a_word() {
    for says_so in [false, true] {
        let mut rig = secure_rig(|_| {});
        let mut client = rig.secure_client();
        let whole = post(&noise(1000));
        client.say(&whole[..whole.len() - 500]);
        client.step(usize::MAX);
        if says_so {
            client.part();
            client.step(usize::MAX);
        }
        client.raw.shut();
        rig.until("the end", |rig| rig.stats().connections == 0);
        assert!(logged("left inside a request body"));
        assert!(!rig.has_exchange());
    }
}

#[test]
fn pipelined_requests_in_one_record_are_all_answered() {
    let mut rig = secure_rig(|_| {});
    let mut client = rig.secure_client();
    client.say(&GET.repeat(20));
    let mut answered = 0;
    rig.until("all answers", |rig| {
        client.step(usize::MAX);
        while let Some(exchange) = rig.waiting() {
            assert_eq!(target(&exchange), "/");
            rig.respond(exchange, b"one");
            answered += 1;
        }
        answered == 20
    });
    rig.receive_secure(&mut client, response(b"one").len() * 20);
}

#[test]
fn nothing_wakes_up_for_an_idle_encrypted_connection() {
    let mut rig = secure_rig(|_| {});
    let mut client = Secure::new(&rig);
    is_served(&mut rig, &mut client);
    rig.until("rest", |rig| !rig.wants_more());
    // The timer's event is always due in virtual time.
    rig.round(std::time::Duration::from_millis(20));
    let turns = rig.turns;
    rig.round(std::time::Duration::from_millis(20));
    assert!(rig.turns <= turns + 1, "{} {turns}", rig.turns);
}

#[test]
fn an_idle_connection_is_told_when_the_worker_leaves() {
    let mut rig = secure_rig(|_| {});
    let mut client = Secure::new(&rig);
    is_served(&mut rig, &mut client);
    rig.engine.drain(true, rig.now());
    rig.nudge();
    // A request that is on its way is answered, and is the last one.
    client.say(GET);
    rig.with_secure(&mut client, "the request", |rig, _| rig.has_exchange());
    let exchange = rig.exchange();
    assert!(!exchange.keep_alive);
    rig.respond(exchange, b"last");
    assert_eq!(rig.secure_end(&mut client), SecureEnd::Clean);
    assert!(client.got.ends_with(b"last"));
}

#[test]
fn whoever_has_not_begun_does_not_hold_up_a_worker_that_leaves() {
    let mut rig = secure_rig(|_| {});
    let mut silent = rig.client();
    let mut slow = Secure::new(&rig);
    let hello = slow.flight();
    rig.send(&mut slow.raw, &hello[..50]);
    rig.until("both are here", |rig| rig.stats().connections == 2);
    rig.round(std::time::Duration::from_millis(20));
    rig.engine.drain(true, rig.now());
    rig.nudge();
    rig.advance(1_100);
    assert_eq!(rig.end_of(&mut silent), End::Closed);
    assert_eq!(rig.stats().connections, 1);
    assert_eq!(count_logged("did not finish"), 0);
    rig.send(&mut slow.raw, &hello[50..]);
    slow.say(GET);
    rig.with_secure(&mut slow, "the request", |rig, _| rig.has_exchange());
    let exchange = rig.exchange();
    rig.respond(exchange, b"last");
    assert_eq!(rig.secure_end(&mut slow), SecureEnd::Clean);
}

#[test]
fn encrypted_connections_stay_when_others_move_and_end_with_their_next_response() {
    let mut pair = Pair::with(encrypt);
    let mut client = Secure::new(&pair.old);
    is_served(&mut pair.old, &mut client);
    pair.connect();
    let stays = Handover::Given { moved: 0, left: 1 };
    pair.until("what can move has moved", |pair| {
        pair.told().contains(&stays)
    });
    client.say(GET);
    pair.old
        .with_secure(&mut client, "the request", |rig, _| rig.has_exchange());
    let exchange = pair.old.exchange();
    assert!(!exchange.keep_alive, "the client shall come back elsewhere");
    pair.old.respond(exchange, b"last");
    assert_eq!(pair.old.secure_end(&mut client), SecureEnd::Clean);
}
