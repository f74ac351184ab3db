//! What an idle WebSocket costs: measured, because ten thousand of them wait in one worker.

mod support;

use oxicorn_engine::{Exchange, Heard, Message};
use peak_alloc::PeakAlloc;
use support::frames::{PING, PONG, SWITCHING, TEXT, masked, plain};
use support::{Client, Rig};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// So many are opened, so that what grows by doubling is shared by many.
const COUNT: usize = 500;

/// A handshake as browsers send it.
fn handshake() -> Vec<u8> {
    let fields = "X-Field: some value of a usual length\r\n".repeat(12);
    format!("GET /chat?room=12 HTTP/1.1\r\nHost: example\r\nConnection: Upgrade\r\n{fields}\r\n")
        .into_bytes()
}

fn open(rig: &mut Rig) -> (Client, Box<Exchange>) {
    let (mut client, mut exchange) = rig.request(&handshake());
    rig.push(&exchange, SWITCHING);
    rig.engine.upgrade(&mut exchange, None, rig.now());
    rig.nudge();
    talk(rig, &mut client, &exchange);
    client.got = Vec::new();
    (client, exchange)
}

/// A message and a ping, so that all that is made for them has been made.
fn talk(rig: &mut Rig, client: &mut Client, exchange: &Exchange) {
    let mut message = Message::default();
    rig.send(client, &masked(TEXT, b"hello"));
    rig.until("a message", |rig| {
        rig.nudge();
        let now = rig.now();
        rig.engine.receive_message(exchange, &mut message, || now) != Heard::Pending
    });
    rig.send(client, &masked(PING, b"?"));
    rig.until("a pong", |_| {
        client.pull();
        client.got.ends_with(&plain(PONG, b"?"))
    });
}

#[test]
fn an_idle_websocket_takes_less_than_two_kibibytes() {
    let mut rig = Rig::with(|options| options.streams = true);
    drop(open(&mut rig));
    rig.until("no connection", |rig| rig.stats().connections <= 1);
    rig.notices = Vec::new();
    let before = ALLOCATOR.current_usage();
    let mut all = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        all.push(open(&mut rig));
        rig.notices = Vec::new();
    }
    let held = (ALLOCATOR.current_usage() - before) / COUNT;
    assert!(held < 2048, "{held} bytes for each");
    assert_eq!(rig.stats().in_application, COUNT + 1);
}
