//! Many connections, and descriptors: none is lost, none stays behind. A program of its own, one test at a time: what is
//! counted is the whole process's.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use support::pair::{Pair, open_descriptors};
use support::relay::Relay;
use support::{Client, GET, noise, post, raise_file_limit, response};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections of all kinds, with descriptors of their own.
fn all_kinds(pair: &mut Pair) -> Vec<Client> {
    let mut clients = vec![pair.old.client(), pair.old.client()];
    pair.asks(&mut clients[1], b"old");
    for bytes in [&GET[..10], &post(&noise(200_000))[..150_000]] {
        clients.push(pair.old.client_sending(bytes));
    }
    let (client, exchange) = pair.old.request(GET);
    pair.old.fill(&exchange);
    pair.old.push_file(&exchange, b"a file");
    pair.old.finish(exchange, oxicorn_engine::Ending::Complete);
    clients.push(client);
    pair.old.settle();
    clients
}

#[test]
fn no_descriptor_stays_behind_however_a_hand_over_ends() {
    let _alone = alone();
    let before = open_descriptors();
    for count in 0..=5 {
        for fate in ["goes on", "old dies", "new dies", "stops"] {
            let mut pair = Pair::new();
            let clients = all_kinds(&mut pair);
            let mut relay = Relay::between(&mut pair);
            pair.until("messages", |_| {
                if relay.delivered.len() < count
                    && let Some((to, packet)) = relay.next()
                {
                    relay.deliver(to, &packet);
                }
                relay.delivered.len() == count
            });
            match fate {
                "goes on" => pair.until("the move", |pair| {
                    relay.pass_all();
                    pair.new.stats().taken == clients.len() as u64
                }),
                "stops" => {
                    let now = pair.old.now();
                    pair.old.engine.stop_giving(now);
                }
                "old dies" => {
                    drop(pair.old);
                    relay.bury(0);
                    pair.new.until("all that is left", |_| {
                        relay.pass_all();
                        relay.knows(7) || relay.delivered.len() >= count
                    });
                    drop(pair.new);
                    drop((clients, relay));
                    assert_eq!(open_descriptors(), before, "{fate} after {count}");
                    continue;
                }
                _ => {
                    drop(pair.new);
                    relay.bury(1);
                    relay.pass_all();
                    pair.old.round(support::PATIENCE);
                    drop(pair.old);
                    drop((clients, relay));
                    assert_eq!(open_descriptors(), before, "{fate} after {count}");
                    continue;
                }
            }
            drop((clients, relay));
            drop(pair);
            assert_eq!(open_descriptors(), before, "{fate} after {count}");
        }
    }
}

#[test]
fn moving_to_and_fro_leaves_no_descriptor() {
    let _alone = alone();
    let mut pair = Pair::with(|options| options.keep_alive = 60_000);
    let clients = all_kinds(&mut pair);
    pair.move_all();
    pair.until("the first link is gone", |pair| {
        let now = pair.old.now();
        pair.old.engine.stop_giving(now);
        !pair.new.notices.is_empty()
    });
    let before = open_descriptors();
    for _ in 0..10 {
        std::mem::swap(&mut pair.old, &mut pair.new);
        let count = pair.old.stats().connections as u64;
        let (given, taken) = (pair.old.stats().given, pair.new.stats().taken);
        pair.connect();
        pair.until("the move", |pair| {
            (pair.old.stats().given, pair.new.stats().taken) == (given + count, taken + count)
        });
        pair.new.notices.clear();
        let now = pair.old.now();
        pair.old.engine.stop_giving(now);
        pair.until("the end", |pair| !pair.new.notices.is_empty());
        assert_eq!(count, clients.len() as u64);
        assert_eq!(open_descriptors(), before);
    }
}

#[test]
fn four_thousand_connections_move_half_of_them_with_unread_bytes() {
    let _alone = alone();
    let most = usize::try_from(raise_file_limit().saturating_sub(400)).unwrap() / 4;
    let count = most.min(4_000);
    let mut pair = Pair::with(|options| {
        options.head_timeout = 0;
        options.keep_alive = 600_000;
    });
    let mut clients: Vec<_> = (0..count).map(|_| pair.old.client()).collect();
    pair.old
        .until("accept", |rig| rig.stats().connections == count);
    pair.connect();
    // Question and answer: from now on what arrives is the new one's to read.
    pair.old.round(support::PATIENCE);
    pair.new.round(support::PATIENCE);
    for client in clients.iter_mut().step_by(2) {
        client.push(GET);
    }
    let started = Instant::now();
    pair.moved(count as u64);
    let moved = started.elapsed();
    for client in clients.iter_mut().skip(1).step_by(2) {
        client.push(GET);
    }
    let all = response(b"new").len();
    for client in &mut clients {
        pair.answer(client, all);
        assert_eq!(client.got, response(b"new"));
    }
    println!("{count} connections moved in {moved:?}, half of them with unread bytes");
}
