//! The connection under test, with its pool and what it has written.

use std::borrow::Cow;
use std::mem;

use oxicorn_websocket::deflate::{Agreement, Policy, Pool};
use oxicorn_websocket::{Connection, Event, Opening};

pub(crate) struct Server {
    pub(crate) connection: Connection,
    pub(crate) pool: Pool,
    pub(crate) out: Vec<u8>,
}

impl Server {
    pub(crate) fn new(limit: usize, deflate: Option<Agreement>) -> Self {
        Self {
            connection: Connection::new(limit, deflate),
            pool: Pool::new(6),
            out: Vec::new(),
        }
    }

    /// Receives `bytes` in one piece, and says what they were.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Vec<Event<'static>> {
        let mut input = bytes.to_vec();
        let mut events = Vec::new();
        let mut at = 0;
        loop {
            let rest = &mut input[at..];
            let step = self.connection.receive(rest, &mut self.pool, &mut self.out);
            at += step.consumed;
            let Some(event) = step.event else {
                assert_eq!(at, bytes.len(), "without an event everything is consumed");
                return events;
            };
            events.push(owned(event));
        }
    }

    /// Receives several pieces.
    pub(crate) fn receive_all<'b>(
        &mut self,
        pieces: impl IntoIterator<Item = &'b [u8]>,
    ) -> Vec<Event<'static>> {
        pieces
            .into_iter()
            .flat_map(|piece| self.receive(piece))
            .collect()
    }

    /// What was written since the last call.
    pub(crate) fn written(&mut self) -> Vec<u8> {
        mem::take(&mut self.out)
    }
}

pub(crate) fn owned(event: Event<'_>) -> Event<'static> {
    let keep = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
    match event {
        Event::Message { kind, data } => Event::Message {
            kind,
            data: keep(data),
        },
        Event::Ping(payload) => Event::Ping(keep(payload)),
        Event::Pong(payload) => Event::Pong(keep(payload)),
        Event::Close(close) => Event::Close(close),
        Event::Failed(violation) => Event::Failed(violation),
    }
}

/// What is agreed on with a client that sends this Sec-WebSocket-Extensions field.
pub(crate) fn agreement(extensions: &str, policy: &Policy) -> Option<Agreement> {
    let fields: [(&[u8], &[u8]); 5] = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"Sec-WebSocket-Extensions", extensions.as_bytes()),
    ];
    let opening = Opening::read(b"GET", 1, fields).expect("a valid handshake");
    opening.deflate(policy)
}
