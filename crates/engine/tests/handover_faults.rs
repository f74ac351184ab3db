//! A hand-over that fails, at every point: exactly one of the two serves each connection, and nobody waits for ever.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod support;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use oxicorn_engine::{Failure, Handover};
use support::pair::{Pair, ends, told};
use support::relay::{COMMIT, PREPARE, Relay};
use support::{Client, End, GET, Rig, logged, response};

/// Messages of a hand-over of one batch: Ask, Room, Prepare, Accept, Commit.
const MESSAGES: usize = 5;

/// Connections of three kinds: silent, idle, inside a head.
fn clients(pair: &mut Pair) -> Vec<Client> {
    let mut clients: Vec<_> = (0..3).map(|_| pair.old.client()).collect();
    pair.asks(&mut clients[1], b"old");
    pair.send(&mut clients[2], &GET[..10]);
    pair.old.settle();
    clients
}

/// What a client can see of who has its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Old,
    New,
    Ended,
}

/// Each client asks, twice; each time one answers, always the same, or the connection ends.
fn seen(rigs: &mut [&mut Rig], clients: &mut [Client], mut between: impl FnMut()) -> Vec<Seen> {
    let mut all = Vec::new();
    for (index, client) in clients.iter_mut().enumerate() {
        let rest = if index == 2 { &GET[10..] } else { GET };
        let first = ask(rigs, client, rest, &mut between);
        let second = ask(rigs, client, GET, &mut between);
        assert_eq!(first, second, "of client {index}");
        all.push(first);
    }
    all
}

fn ask(
    rigs: &mut [&mut Rig],
    client: &mut Client,
    bytes: &[u8],
    between: &mut impl FnMut(),
) -> Seen {
    client.got.clear();
    client.push(bytes);
    for _ in 0..2_000 {
        between();
        for rig in rigs.iter_mut() {
            rig.round(Duration::from_millis(1));
            while let Some(exchange) = rig.waiting() {
                let name = name_of(rig);
                rig.respond(exchange, &name);
            }
        }
        let ended = client.pull().is_some();
        match client.got.len() {
            0 if ended => return Seen::Ended,
            len if len == response(b"old").len() => {
                let old = client.got == response(b"old");
                assert!(old || client.got == response(b"new"), "{}", client.text());
                return if old { Seen::Old } else { Seen::New };
            }
            _ => {}
        }
    }
    panic!("nobody answers: {rigs:?}");
}

/// The old one is the one that has ever accepted.
fn name_of(rig: &Rig) -> [u8; 3] {
    if rig.stats().accepted > 0 {
        *b"old"
    } else {
        *b"new"
    }
}

/// Goes on until `count` messages were delivered.
fn after_messages(pair: &mut Pair, relay: &mut Relay, count: usize) {
    pair.until("messages", |_| {
        if relay.delivered.len() < count
            && let Some((to, packet)) = relay.next()
        {
            relay.deliver(to, &packet);
        }
        relay.delivered.len() == count
    });
}

#[test]
fn a_message_that_is_lost_costs_no_connection_unless_it_is_the_last_word() {
    for lost in 0..MESSAGES {
        let mut pair = Pair::with(|options| options.keep_alive = 60_000);
        let mut clients = clients(&mut pair);
        let mut relay = Relay::between(&mut pair);
        after_messages(&mut pair, &mut relay, lost);
        pair.until("the message to lose", |_| relay.next().is_some());
        // The giver's patience and the taker's; in between everything else arrives.
        for _ in 0..2 {
            pair.advance(1_100);
            relay.pass_all();
        }
        pair.advance(5_100);
        relay.pass_all();
        let Pair { old, new } = &mut pair;
        let seen = seen(&mut [old, new], &mut clients, || relay.pass_all());
        let expected = if lost == MESSAGES - 1 {
            Seen::Ended
        } else {
            Seen::Old
        };
        assert_eq!(seen, [expected; 3], "message {lost} was lost");
        assert_eq!(
            pair.old.stats().connections + pair.new.stats().connections,
            if lost == 4 { 0 } else { 3 }
        );
    }
}

#[test]
fn when_the_old_one_dies_the_new_one_has_everything_it_was_offered() {
    for count in 0..=MESSAGES {
        let mut pair = Pair::new();
        let mut clients = clients(&mut pair);
        let mut relay = Relay::between(&mut pair);
        after_messages(&mut pair, &mut relay, count);
        let Pair { old, mut new } = pair;
        let offered = relay.knows(PREPARE);
        drop(old);
        relay.bury(0);
        let seen = seen(&mut [&mut new], &mut clients, || relay.pass_all());
        let expected = if offered { Seen::New } else { Seen::Ended };
        assert_eq!(seen, [expected; 3], "after {count} messages");
    }
}

#[test]
fn when_the_new_one_dies_the_old_one_has_everything_it_did_not_give() {
    for count in 0..=MESSAGES {
        let mut pair = Pair::new();
        let mut clients = clients(&mut pair);
        let mut relay = Relay::between(&mut pair);
        after_messages(&mut pair, &mut relay, count);
        let given = relay.knows(COMMIT);
        let Pair { mut old, new } = pair;
        drop(new);
        relay.bury(1);
        let seen = seen(&mut [&mut old], &mut clients, || relay.pass_all());
        let expected = if given { Seen::Ended } else { Seen::Old };
        assert_eq!(seen, [expected; 3], "after {count} messages");
        old.until("the notice", |rig| {
            told(rig)
                .iter()
                .any(|news| matches!(news, Handover::Ended { .. }))
        });
    }
}

#[test]
fn a_peer_that_is_gone_from_the_start_changes_nothing() {
    let mut pair = Pair::new();
    let mut clients = clients(&mut pair);
    let (giver, taker) = ends();
    drop(taker);
    pair.give_to(giver);
    pair.old.until("the notice", |rig| !told(rig).is_empty());
    assert_eq!(
        pair.told(),
        [Handover::Ended {
            moved: 0,
            failure: Some(Failure::Gone)
        }]
    );
    let Pair { old, new } = &mut pair;
    assert_eq!(seen(&mut [old, new], &mut clients, || ()), [Seen::Old; 3]);
    // Its listeners are back.
    let mut later = pair.old.client();
    pair.new.engine.set_accepting(false);
    pair.asks(&mut later, b"old");
}

#[test]
fn a_peer_that_never_answers_costs_a_second_of_nothing() {
    let mut pair = Pair::new();
    let mut clients = clients(&mut pair);
    let (giver, _taker) = ends();
    pair.give_to(giver);
    let Pair { old, new } = &mut pair;
    assert_eq!(
        seen(&mut [old, new], &mut clients, || ())[1],
        Seen::Old,
        "while it waits"
    );
    pair.old.advance(1_100);
    pair.old.until("the notice", |rig| !told(rig).is_empty());
    assert_eq!(
        pair.told(),
        [Handover::Ended {
            moved: 0,
            failure: Some(Failure::Silent)
        }]
    );
}

/// Sends a packet to an engine as a giver or a taker would, or would not.
fn say(link: &OwnedFd, packet: &[u8]) {
    rustix::net::send(link, packet, rustix::net::SendFlags::NOSIGNAL).unwrap();
}

/// The next packet from an engine, without descriptors.
fn hear(rig: &mut Rig, link: &OwnedFd) -> Vec<u8> {
    let mut packet = vec![0; 1 << 16];
    let mut len = None;
    rig.until("a packet", |_| {
        let flags = rustix::net::RecvFlags::DONTWAIT;
        len = rustix::net::recv(link.as_fd(), packet.as_mut_slice(), flags)
            .ok()
            .map(|(len, _)| len);
        len.is_some()
    });
    packet.truncate(len.unwrap());
    packet
}

#[test]
fn a_taker_of_another_version_gets_nothing() {
    let mut pair = Pair::new();
    let mut clients = clients(&mut pair);
    let (giver, taker) = ends();
    pair.give_to(giver);
    assert_eq!(
        hear(&mut pair.old, &taker)[..3],
        [1, 1, 0],
        "a question, version 1"
    );
    say(&taker, &[2, 9, 0, 100, 0, 0, 0]);
    pair.old.until("the notice", |rig| !told(rig).is_empty());
    assert_eq!(
        pair.told(),
        [Handover::Ended {
            moved: 0,
            failure: Some(Failure::Version)
        }]
    );
    let Pair { old, new } = &mut pair;
    assert_eq!(seen(&mut [old, new], &mut clients, || ()), [Seen::Old; 3]);
}

#[test]
fn a_taker_that_talks_nonsense_gets_nothing() {
    let mut pair = Pair::new();
    let mut clients = clients(&mut pair);
    let (giver, taker) = ends();
    pair.give_to(giver);
    say(&taker, b"nonsense");
    pair.old.until("the notice", |rig| !told(rig).is_empty());
    assert_eq!(
        pair.told(),
        [Handover::Ended {
            moved: 0,
            failure: Some(Failure::Malformed)
        }]
    );
    let Pair { old, new } = &mut pair;
    assert_eq!(seen(&mut [old, new], &mut clients, || ()), [Seen::Old; 3]);
}

#[test]
fn a_batch_of_another_version_or_without_sense_is_refused_and_the_taker_goes_on() {
    let mut pair = Pair::new();
    let (giver, taker) = ends();
    pair.take_from(taker);
    for (packet, reason) in [
        (&[3, 9, 0, 1, 0, 0, 0, 1][..], 1),
        // No descriptor where the capsules should be; a capsule that is cut; one without its socket.
        (&[3, 1, 0, 1, 0, 0, 0], 2),
        (&[3, 1, 0, 1, 0, 0, 0, 200, 0, 0, 0, 1], 2),
        (&[3, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0], 2),
    ] {
        say(&giver, packet);
        assert_eq!(hear(&mut pair.new, &giver)[..6], [5, 1, 0, 0, 0, reason]);
    }
    assert!(logged("Connections were not taken over"));
    // A word about a batch that nobody knows is no harm either.
    say(&giver, &[6, 7, 0, 0, 0]);
    say(&giver, &[1, 1, 0, 5, 0, 0, 0]);
    assert_eq!(
        hear(&mut pair.new, &giver),
        [2, 1, 0, 5, 0, 0, 0],
        "room for five"
    );
    assert_eq!(pair.new.stats().connections, 0);
}

#[test]
fn a_taker_that_drains_refuses() {
    let mut pair = Pair::new();
    let mut clients = clients(&mut pair);
    let now = pair.new.now();
    pair.new.engine.drain(false, now);
    pair.connect();
    pair.until("the notice", |pair| !pair.told().is_empty());
    assert_eq!(
        pair.told(),
        [Handover::Ended {
            moved: 0,
            failure: Some(Failure::Leaving)
        }]
    );
    let Pair { old, new } = &mut pair;
    assert_eq!(seen(&mut [old, new], &mut clients, || ()), [Seen::Old; 3]);
}

#[test]
fn a_giver_that_drains_is_drained_when_everything_has_moved() {
    let mut pair = Pair::new();
    let (mut client, exchange) = pair.old.request(GET);
    let mut idle = pair.old.client();
    pair.old.until("accept", |rig| rig.stats().connections == 2);
    pair.connect();
    let now = pair.old.now();
    pair.old.engine.drain(false, now);
    pair.until("the idle one", |pair| pair.new.stats().taken == 1);
    let drained = |pair: &Pair| pair.old.notices.contains(&oxicorn_engine::Notice::Drained);
    assert!(!drained(&pair));
    pair.old.respond(exchange, b"old");
    pair.until("the end", |pair| drained(pair));
    pair.expect(&mut client, b"old");
    // The short time of a connection that drains did not come along.
    pair.advance(1_900);
    pair.asks(&mut client, b"new");
    pair.asks(&mut idle, b"new");
}

#[test]
fn a_giver_that_was_draining_already_gives_what_is_left_with_its_usual_time() {
    let mut pair = Pair::new();
    let mut idle = pair.old.client();
    pair.asks(&mut idle, b"old");
    let now = pair.old.now();
    pair.old.engine.drain(false, now);
    pair.move_all();
    pair.advance(1_900);
    pair.asks(&mut idle, b"new");
}

#[test]
fn a_giver_that_drains_and_fails_ends_its_connections_gracefully() {
    let mut pair = Pair::new();
    let mut idle = pair.old.client();
    pair.asks(&mut idle, b"old");
    let (giver, taker) = ends();
    pair.give_to(giver);
    let now = pair.old.now();
    pair.old.engine.drain(false, now);
    drop(taker);
    pair.old.until("the notice", |rig| !told(rig).is_empty());
    pair.old.advance(1_100);
    assert_eq!(pair.old.end_of(&mut idle), End::Closed);
}

#[test]
fn stopping_in_the_middle_takes_back_what_is_not_given() {
    for count in 0..MESSAGES {
        let mut pair = Pair::new();
        let mut clients = clients(&mut pair);
        let mut relay = Relay::between(&mut pair);
        after_messages(&mut pair, &mut relay, count);
        let given = relay.knows(COMMIT);
        let now = pair.old.now();
        pair.old.engine.stop_giving(now);
        pair.old.nudge();
        pair.new.engine.set_accepting(false);
        let Pair { old, new } = &mut pair;
        let seen = seen(&mut [old, new], &mut clients, || relay.pass_all());
        let expected = if given { Seen::New } else { Seen::Old };
        assert_eq!(seen, [expected; 3], "after {count} messages");
    }
}

#[test]
fn a_client_that_leaves_on_the_way_is_noticed_where_it_arrives() {
    let mut pair = Pair::new();
    let mut clients = clients(&mut pair);
    let mut relay = Relay::between(&mut pair);
    after_messages(&mut pair, &mut relay, 3);
    clients.remove(2).reset();
    clients.remove(1);
    pair.until("the move", |pair| {
        relay.pass_all();
        pair.new.stats().taken == 3
    });
    pair.until("their ends", |pair| pair.new.stats().connections == 1);
    pair.asks(&mut clients[0], b"new");
    assert_eq!(clients[0].end, None::<End>);
}
