//! Large blocks that a client does not take at once: kept as they are, bounded for the whole engine, never handed to the
//! kernel by the megabyte.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oxicorn_engine::{Ending, Exchange, Flow, Shared};
use support::{Rig, noise};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A block of the application that tells when it was let go.
struct Block {
    bytes: Arc<[u8]>,
    released: Arc<AtomicBool>,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.released.store(true, Ordering::Relaxed);
    }
}

/// Sends a block that may be kept, between `<` and `>`. Tells when the engine let it go.
fn send_kept(rig: &mut Rig, exchange: &Exchange, bytes: &Arc<[u8]>) -> (Flow, Arc<AtomicBool>) {
    let released = Arc::new(AtomicBool::new(false));
    let mut owner: Option<Shared> = Some(Box::new(Block {
        bytes: bytes.clone(),
        released: released.clone(),
    }));
    let now = rig.now();
    let flow = rig
        .engine
        .send_kept(exchange, [b"<", bytes, b">"], &mut owner, now);
    (flow, released)
}

#[test]
fn a_kept_block_arrives_whole_and_is_let_go() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let bytes = Arc::from(noise(4 << 20));
    let (flow, released) = send_kept(&mut rig, &exchange, &bytes);
    assert_eq!(flow, Flow::Clear);
    assert_eq!(rig.stats().kept, bytes.len());
    rig.push(&exchange, b"end");
    rig.finish(exchange, Ending::Complete);
    assert!(!released.load(Ordering::Relaxed), "the client has not read");
    rig.receive(&mut client, bytes.len() + 5);
    assert!(client.got.starts_with(b"<") && client.got.ends_with(b">end"));
    assert!(client.got[1..=bytes.len()] == bytes[..]);
    rig.until("the release", |_| released.load(Ordering::Relaxed));
    assert_eq!(rig.stats().kept, 0);
}

#[test]
fn a_block_that_the_socket_takes_is_not_kept() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let (_, released) = send_kept(&mut rig, &exchange, &Arc::from(noise(1000)));
    assert!(released.load(Ordering::Relaxed));
    rig.finish(exchange, Ending::Complete);
    rig.receive(&mut client, 1002);
}

#[test]
fn what_is_kept_is_bounded_for_all_connections_together() {
    let mut rig = Rig::with(|options| options.response_kept = 1 << 20);
    let bytes = Arc::from(noise(2 << 20));
    let (slow, first) = rig.request(GET);
    let (_other, second) = rig.request(GET);
    assert!(rig.engine.may_keep(&first));
    let (_, released) = send_kept(&mut rig, &first, &bytes);
    assert!(!rig.engine.may_keep(&second), "the first has used it up");
    rig.finish(first, Ending::Complete);
    drop(slow);
    rig.until("the release", |_| released.load(Ordering::Relaxed));
    assert!(rig.engine.may_keep(&second));
}

#[test]
fn one_connection_keeps_one_block_at_a_time() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    send_kept(&mut rig, &exchange, &Arc::from(noise(4 << 20)));
    assert!(!rig.engine.may_keep(&exchange));
    rig.until("an empty queue", |rig| {
        client.pull();
        rig.engine.may_keep(&exchange)
    });
}

#[test]
fn nothing_is_kept_for_a_client_that_left() {
    let mut rig = Rig::new();
    let (client, exchange) = rig.request(GET);
    let bytes = Arc::from(noise(4 << 20));
    let (_, released) = send_kept(&mut rig, &exchange, &bytes);
    drop(client);
    rig.until("the end of the connection", |rig| {
        rig.engine.flow(&exchange) == Flow::Gone
    });
    assert!(released.load(Ordering::Relaxed));
    assert!(!rig.engine.may_keep(&exchange));
    let (flow, released) = send_kept(&mut rig, &exchange, &bytes);
    assert_eq!(flow, Flow::Gone);
    assert!(released.load(Ordering::Relaxed));
}

#[test]
fn the_kernel_is_given_little_for_a_client_that_does_not_read() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let bytes = Arc::from(noise(8 << 20));
    send_kept(&mut rig, &exchange, &bytes);
    // The engine does not get a turn: whatever arrives was with the kernel already.
    while client.pull_once(1 << 20) > 0 {}
    let with_kernel = client.got.len();
    assert!(with_kernel > 0);
    assert!(with_kernel < 2 << 20, "{with_kernel} bytes");
}
