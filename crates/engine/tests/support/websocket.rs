//! Exchanges that are WebSockets, from both sides.

use oxicorn_engine::{Disconnect, Ending, Exchange, Flow, Heard, Message, Notice, Options};
use oxicorn_websocket::Kind;

use super::frames::{SWITCHING, UPGRADE};
use super::{Client, Rig};

pub(crate) fn rig() -> Rig {
    rig_with(|_| {})
}

pub(crate) fn rig_with(change: impl FnOnce(&mut Options)) -> Rig {
    Rig::with(|options| {
        options.streams = true;
        change(options);
    })
}

/// Accepts an exchange that asks for a WebSocket.
pub(crate) fn accept(rig: &mut Rig, exchange: &mut Exchange) {
    rig.push(exchange, SWITCHING);
    rig.engine.upgrade(exchange, None, rig.now());
    rig.nudge();
}

/// A client that is a WebSocket's.
pub(crate) fn open(rig: &mut Rig) -> (Client, Box<Exchange>) {
    let (mut client, mut exchange) = rig.request(UPGRADE);
    accept(rig, &mut exchange);
    rig.receive(&mut client, SWITCHING.len());
    assert_eq!(client.got, SWITCHING);
    client.got.clear();
    (client, exchange)
}

/// What the application finds when it asks once.
pub(crate) fn ask(rig: &mut Rig, exchange: &Exchange) -> (Heard, Vec<u8>) {
    let mut message = Message::default();
    let now = rig.now();
    let heard = rig.engine.receive_message(exchange, &mut message, || now);
    rig.nudge();
    (heard, message.bytes().to_vec())
}

/// How often the driver was told to ask again.
pub(crate) fn told(rig: &Rig, exchange: &Exchange) -> usize {
    let token = exchange.token();
    let is_ours = |notice: &&Notice| **notice == Notice::Progress(token);
    rig.notices.iter().filter(is_ours).count()
}

/// What the application finds when it asks and waits.
pub(crate) fn wait(rig: &mut Rig, exchange: &Exchange) -> (Heard, Vec<u8>) {
    loop {
        let before = told(rig, exchange);
        let (heard, bytes) = ask(rig, exchange);
        if heard != Heard::Pending {
            return (heard, bytes);
        }
        rig.until("progress", |rig| told(rig, exchange) > before);
    }
}

pub(crate) fn text(content: &[u8]) -> (Heard, Vec<u8>) {
    (Heard::Message(Kind::Text), content.to_vec())
}

pub(crate) fn binary(content: &[u8]) -> (Heard, Vec<u8>) {
    (Heard::Message(Kind::Binary), content.to_vec())
}

pub(crate) fn closed(code: u16, reason: &str) -> Heard {
    let reason = reason.to_owned();
    Heard::Closed(Disconnect { code, reason })
}

/// The client must be told exactly this.
pub(crate) fn expect(rig: &mut Rig, client: &mut Client, bytes: &[u8]) {
    rig.receive(client, bytes.len());
    assert_eq!(client.got, bytes);
    client.got.clear();
}

pub(crate) fn say(rig: &mut Rig, exchange: &Exchange, kind: Kind, data: &[u8]) -> Flow {
    rig.nudge();
    rig.engine.send_message(exchange, kind, data)
}

/// Ends the exchange, and waits until its connection is gone.
pub(crate) fn finish(rig: &mut Rig, exchange: Box<Exchange>) {
    rig.finish(exchange, Ending::Complete);
    rig.until("no connection", |rig| rig.stats().connections == 0);
}

/// Ends the exchange of a client that does not answer any more.
pub(crate) fn finish_closed(rig: &mut Rig, client: Client, exchange: Box<Exchange>) {
    drop(client);
    finish(rig, exchange);
}

/// Gives messages until the queue is full.
pub(crate) fn fill(rig: &mut Rig, exchange: &Exchange) -> usize {
    let block = vec![b'x'; 256 << 10];
    let mut given = 1;
    while say(rig, exchange, Kind::Binary, &block) == Flow::Clear {
        given += 1;
        assert!(given < 1000, "the queue is never full");
    }
    given
}
