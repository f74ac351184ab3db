//! From bytes to messages. All connections read into one buffer, where messages are decoded in place; one that is there whole
//! when the application asks is given to it in that buffer, without a copy. Invariant: bytes are read only while no message
//! lies ahead, so what a client sends unasked waits in the kernel.

use std::borrow::Cow;
use std::ops::Range;

use oxicorn_board::Count;
use oxicorn_websocket::deflate::Pool;
use oxicorn_websocket::{Close, Event, Kind, NO_CODE, Violation};

use super::{Disconnect, WebSocket};
use crate::clock::Now;
use crate::connection::Connection;
use crate::engine::Engine;
use crate::exchange::Exchange;
use crate::reading::{BODY_READS, copy_to, receive};
use crate::slab::Id;
use crate::transport::Received;

/// Bytes that one `recv` takes at the most.
const INTAKE: usize = 64 * 1024;

/// What [`Engine::receive_message`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message of this kind; a text is UTF-8.
    Message(Kind),
    /// Nothing yet. [`crate::Notice::Progress`] says when to ask again.
    Pending,
    /// The end. It is said again however often it is asked for.
    Closed(Disconnect),
}

/// A message, in a buffer that is used for one after the other.
#[derive(Debug, Default)]
pub struct Message {
    buffer: Vec<u8>,
    content: Content,
}

impl Message {
    /// The bytes of the last message.
    pub fn bytes(&self) -> &[u8] {
        self.content.of(&self.buffer)
    }
}

/// Where the bytes of a message are.
#[derive(Debug)]
enum Content {
    /// In the buffer.
    Within(Range<usize>),
    /// It came in pieces, or compressed, or before it was asked for.
    Own(Vec<u8>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Within(0..0)
    }
}

impl Content {
    fn of<'b>(&'b self, buffer: &'b [u8]) -> &'b [u8] {
        match self {
            Self::Within(range) => buffer.get(range.clone()).unwrap_or_default(),
            Self::Own(bytes) => bytes,
        }
    }
}

/// What bytes have become.
enum Found {
    Message(Kind, Content),
    /// No message, and no more bytes.
    Nothing,
    /// No message yet, and there may be more bytes.
    More,
    Closed(Close),
    Failed(Violation),
    /// The client ended without a close frame.
    Lost,
}

impl WebSocket {
    /// A frame is under way, or an answer: what comes next may be nothing for the application.
    pub(super) fn awaits_more(&self) -> bool {
        self.codec.is_amid() || self.pinged
    }

    /// Decodes up to the first thing that matters; how many bytes it took.
    fn decode(&mut self, bytes: &mut [u8], pool: &mut Pool) -> (usize, Option<Found>) {
        let mut at = 0;
        loop {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            let step = self.codec.receive(rest, pool, &mut self.answers);
            at += step.consumed;
            let found = match step.event {
                None => return (at, None),
                Some(Event::Ping(_) | Event::Pong(_)) => continue,
                Some(Event::Message { kind, data }) => Found::Message(kind, content(data, at)),
                Some(Event::Close(close)) => Found::Closed(close),
                Some(Event::Failed(violation)) => Found::Failed(violation),
            };
            return (at, Some(found));
        }
    }

    /// Decodes what was read before. A message in it is copied to the front of `intake`: the rest stays where it is.
    fn decode_kept(&mut self, intake: &mut Vec<u8>, pool: &mut Pool) -> Option<Found> {
        let mut input = std::mem::take(&mut self.input);
        let rest = input.get_mut(self.at..).unwrap_or_default();
        let (used, mut found) = self.decode(rest, pool);
        if let Some(Found::Message(_, content @ Content::Within(_))) = &mut found {
            let message = content.of(rest);
            make_room(intake, message.len());
            copy_to(intake, message);
            *content = Content::Within(0..message.len());
        }
        self.at += used;
        if self.at < input.len() {
            self.input = input;
        } else {
            self.at = 0;
        }
        found
    }
}

/// `end`: where in its input the message ends, if it was lent out from there.
fn content(data: Cow<'_, [u8]>, end: usize) -> Content {
    match data {
        Cow::Borrowed(bytes) => Content::Within(end - bytes.len()..end),
        Cow::Owned(bytes) => Content::Own(bytes),
    }
}

impl Engine {
    /// The next message of an upgraded exchange, in place of what is in `message`. `now` is asked only if there is something
    /// to read.
    pub fn receive_message(
        &mut self,
        exchange: &Exchange,
        message: &mut Message,
        now: impl FnOnce() -> Now,
    ) -> Heard {
        let lost = Heard::Closed(Disconnect::abnormal());
        let Some(id) = exchange.id else { return lost };
        let Some(websocket) = self.websocket(id) else {
            return lost;
        };
        if let Some((kind, bytes)) = websocket.ahead.take() {
            message.content = Content::Own(bytes);
            self.go_on(id);
            return Heard::Message(kind);
        }
        if let Some(end) = &websocket.end {
            return Heard::Closed(end.clone());
        }
        if !self.is_unread(id) {
            return self.await_message(id);
        }
        match self.advance(id, now()) {
            Found::Message(kind, content) => {
                if let Content::Within(_) = content {
                    std::mem::swap(&mut self.intake, &mut message.buffer);
                }
                message.content = content;
                self.go_on(id);
                Heard::Message(kind)
            }
            Found::Closed(_) | Found::Failed(_) | Found::Lost => self.hear_end(id),
            Found::Nothing => self.await_message(id),
            Found::More => {
                self.enqueue(id);
                self.await_message(id)
            }
        }
    }

    fn hear_end(&mut self, id: Id) -> Heard {
        let end = self.websocket(id).and_then(|found| found.end.clone());
        Heard::Closed(end.unwrap_or_else(Disconnect::abnormal))
    }

    fn await_message(&mut self, id: Id) -> Heard {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.course.wants_input = true;
        }
        Heard::Pending
    }

    /// The application has a message. What follows it is looked at also if nobody asks: it may be a close frame.
    fn go_on(&mut self, id: Id) {
        if self.is_unread(id) {
            self.enqueue(id);
        }
    }

    /// Whether there may be bytes that are not decoded.
    fn is_unread(&mut self, id: Id) -> bool {
        let kept = |websocket: &WebSocket| websocket.has_input();
        self.connections.get_mut(id).is_some_and(|connection| {
            connection.readable || connection.websocket.as_deref().is_some_and(kept)
        })
    }

    /// Takes in what has come, up to one message. Not if the application waits, and will read it by itself.
    pub(super) fn gather(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(websocket) = connection.websocket.as_deref() else {
            return;
        };
        let unread = connection.readable || websocket.has_input();
        let asked = connection.course.wants_input && !websocket.awaits_more();
        let done = websocket.ahead.is_some() || websocket.end.is_some();
        if !unread || asked || done || connection.broken {
            return;
        }
        match self.advance(id, now) {
            Found::Message(kind, content) => {
                let bytes = match content {
                    Content::Own(bytes) => bytes,
                    within @ Content::Within(_) => within.of(&self.intake).to_vec(),
                };
                if let Some(websocket) = self.websocket(id) {
                    websocket.ahead = Some((kind, bytes));
                }
            }
            Found::More => self.enqueue(id),
            Found::Nothing | Found::Closed(_) | Found::Failed(_) | Found::Lost => {}
        }
    }

    /// While both sides close: messages that still come are not looked at.
    pub(super) fn discard(&mut self, id: Id, now: Now) {
        if let Found::More = self.advance(id, now) {
            self.enqueue(id);
        }
    }

    /// Reads and decodes up to the first thing that matters, and does what follows from it here.
    fn advance(&mut self, id: Id, now: Now) -> Found {
        let keep_alive = self.keep_alive_due(now);
        let Some(connection) = self.connections.get_mut(id) else {
            return Found::Lost;
        };
        let found = draw(connection, &mut self.intake, &mut self.contexts, keep_alive);
        let peer = connection.peer;
        let Some(websocket) = connection.websocket.as_deref_mut() else {
            return Found::Lost;
        };
        match &found {
            Found::Closed(close) => websocket.end_with(Disconnect {
                code: close.code.map_or(NO_CODE, oxicorn_websocket::Code::number),
                reason: close.reason.clone(),
            }),
            Found::Failed(violation) => {
                let code = violation.code().number();
                log::warn!(target: "oxicorn", "Invalid WebSocket from ip={peer}: {violation} ({code})");
                self.board.add(Count::Refused, 1);
                websocket.end_with(Disconnect {
                    code,
                    reason: violation.text().to_owned(),
                });
            }
            Found::Lost => {
                websocket.end_with(Disconnect::abnormal());
                connection.broken = true;
                connection.outbox = None;
            }
            Found::Message(..) | Found::Nothing | Found::More => {}
        }
        self.answer(id);
        self.arm(id);
        found
    }
}

/// `keep_alive`: when the client has been silent for too long, if something comes now.
fn draw(
    connection: &mut Connection,
    intake: &mut Vec<u8>,
    pool: &mut Pool,
    keep_alive: u64,
) -> Found {
    for read in 0..=BODY_READS {
        let kept = connection
            .websocket
            .as_deref_mut()
            .filter(|found| found.has_input());
        if let Some(found) = kept.and_then(|websocket| websocket.decode_kept(intake, pool)) {
            return found;
        }
        if read == BODY_READS {
            break;
        }
        make_room(intake, INTAKE);
        let received = match receive(connection, intake, 0) {
            Ok(Received::Bytes(count)) => count,
            Ok(Received::Nothing) => return Found::Nothing,
            Ok(Received::End) | Err(_) => return Found::Lost,
        };
        let Some(websocket) = connection.websocket.as_deref_mut() else {
            return Found::Lost;
        };
        websocket.note_life(keep_alive);
        let bytes = intake.get_mut(..received).unwrap_or_default();
        let (used, found) = websocket.decode(bytes, pool);
        if let Some(found) = found {
            websocket.input = bytes.get(used..).unwrap_or_default().to_vec();
            return found;
        }
    }
    Found::More
}

fn make_room(intake: &mut Vec<u8>, len: usize) {
    if intake.len() < len {
        intake.resize(len.max(INTAKE), 0);
    }
}
