//! What a connection costs while nothing happens, and at most: measured, because ten thousand of them
//! wait in one worker.

mod support;

use std::mem::{replace, size_of};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oxicorn_websocket::deflate::{Agreement, Policy};
use oxicorn_websocket::{Connection, Event, Violation};
use peak_alloc::PeakAlloc;
use support::{Compressor, FIN, RSV1, Random, Server, agreement, frame, frames};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Tests of this file do not run beside each other: they would be counted together.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `work` has made, and the bytes that are allocated afterwards beyond those before.
fn kept<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    let made = work();
    (made, ALLOCATOR.current_usage().saturating_sub(before))
}

/// The most bytes that were allocated at once by `work`.
fn most(work: impl FnOnce()) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    work();
    ALLOCATOR.peak_usage().saturating_sub(before)
}

fn compressed(takeover: bool) -> Option<Agreement> {
    let policy = Policy {
        server_takeover: takeover,
        client_takeover: takeover,
        threshold: 0,
        ..Policy::default()
    };
    agreement("permessage-deflate; client_max_window_bits", &policy)
}

/// Messages and pings that arrive whole, in pieces and in fragments, and are sent back.
fn talk(server: &mut Server, compressed: bool) {
    let text = [b'x'; 500];
    let mut inputs = vec![
        frame(FIN | 1, &text),
        frames([(1, &text), (FIN | 9, b"ping"), (FIN, &text)]),
    ];
    if compressed {
        inputs.push(frame(FIN | RSV1 | 1, &Compressor::new(15).message(&text)));
    }
    for input in inputs {
        for piece in [1, 7, input.len()] {
            for event in server.receive_all(input.chunks(piece)) {
                echo(server, event);
            }
            server.out.clear();
        }
    }
}

fn echo(server: &mut Server, event: Event<'_>) {
    if let Event::Message { kind, data } = event {
        let (pool, out) = (&mut server.pool, &mut server.out);
        assert_eq!(server.connection.send(kind, &data, pool, out), Ok(()));
    }
}

/// What one more connection keeps when it has talked; what all share is there already.
fn idle(deflate: Option<Agreement>) -> usize {
    let mut server = Server::new(10_000, deflate);
    talk(&mut server, deflate.is_some());
    let (_, bytes) = kept(|| {
        let first = replace(&mut server.connection, Connection::new(10_000, deflate));
        talk(&mut server, deflate.is_some());
        first
    });
    bytes
}

#[test]
fn an_idle_connection_holds_nothing_but_itself() {
    let _alone = alone();
    assert!(
        size_of::<Connection>() <= 136,
        "{}",
        size_of::<Connection>()
    );
    assert_eq!(idle(None), 0);
    let with_compression = idle(compressed(false));
    assert!(with_compression <= 32, "{with_compression}");
}

#[test]
fn contexts_that_outlive_a_message_are_what_an_idle_connection_costs() {
    let _alone = alone();
    let bytes = idle(compressed(true));
    assert!((300_000..450_000).contains(&bytes), "{bytes}");
}

#[test]
fn an_announced_length_takes_no_memory() {
    let _alone = alone();
    let limit = 64 << 20;
    let mut server = Server::new(limit, None);
    let mut bytes = vec![FIN | 2, 0xff];
    bytes.extend((limit as u64).to_be_bytes());
    bytes.extend([0; 4 + 100]);
    let most = most(|| assert_eq!(server.receive(&bytes), []));
    assert!(most < 1000, "{most}");
}

#[test]
fn a_message_that_explodes_takes_no_more_memory_than_its_limit_allows() {
    let _alone = alone();
    let limit = 100_000;
    let payload = Compressor::new(15).message(&vec![0; 5_000_000]);
    let bomb = frame(FIN | RSV1 | 2, &payload);
    let mut server = Server::new(limit, compressed(false));
    talk(&mut server, true);
    let most = most(|| {
        let failed = Event::Failed(Violation::MessageTooLarge);
        assert_eq!(server.receive(&bomb), [failed]);
    });
    // The old buffer and the new one while it grows; and the input's copy.
    assert!(most < bomb.len() + 2 * limit + 1000, "{most}");
}

#[test]
fn random_input_takes_no_more_memory_than_the_limit_allows() {
    let _alone = alone();
    let limit = 3000;
    let mut random = Random::new(7);
    let text: Vec<u8> = (0..limit).map(|_| *random.pick(b"abcd")).collect();
    let mut server = Server::new(limit, compressed(false));
    talk(&mut server, true);
    let message = frame(RSV1 | 1, &Compressor::new(15).message(&text));
    for _ in 0..2_000 {
        let mut bytes = message.clone();
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        server.connection = Connection::new(limit, compressed(false));
        server.out.clear();
        let most = most(|| drop(server.receive_all(bytes.chunks(97))));
        // A message, its old buffer, the caller's copy of both; and a decompressor, since the one
        // before this has gone with its connection.
        assert!(most < 4 * limit + 64 * 1024, "{most}");
    }
}
