//! Exchanges that became WebSockets: after [`Engine::upgrade`] the connection speaks in messages. The codec
//! (`oxicorn-websocket`) knows the protocol; here is what it needs: bytes (`incoming`), the queue (`outgoing`), time (`times`).
//!
//! ```text
//!  App ── upgrade ─▶ App, with a WebSocket ─ receive ▶ Message … Message ─▶ Closed ─┐
//!                        └─ close (ours: the application's, a restart's) ─────────┴─ finish ─▶ Parting ─▶ Linger
//! ```
//!
//! Invariant: at most one message is gathered that nobody has asked for, and nothing is read while there is one; what the
//! protocol answers needs no application; however a WebSocket ends, the driver is told once, and ends the exchange.

mod incoming;
mod outgoing;
mod times;

use oxicorn_websocket::deflate::Agreement;
use oxicorn_websocket::{ABNORMAL, Code, Connection as Codec, Kind, State};

use crate::clock::Now;
use crate::connection::{Connection, Phase};
use crate::engine::{Engine, Notice};
use crate::exchange::Exchange;
use crate::slab::Id;
use crate::writing::Flow;

pub use incoming::{Heard, Message};
use times::Times;

/// How a WebSocket ended, as its application is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The code of the close frame that came first; 1005 if it had none, 1006 if none came (RFC 6455 §7.1.5).
    pub code: u16,
    /// Its reason, often empty.
    pub reason: String,
}

impl Disconnect {
    /// The client vanished.
    pub(crate) fn abnormal() -> Self {
        Self::with(ABNORMAL)
    }

    fn with(code: u16) -> Self {
        let reason = String::new();
        Self { code, reason }
    }
}

/// What a connection has besides, once it is a WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    codec: Codec,
    /// Bytes that were read; those from `at` on are not decoded.
    input: Vec<u8>,
    at: usize,
    /// A message that came before it was asked for.
    ahead: Option<(Kind, Vec<u8>)>,
    /// What the codec has answered and the queue has no room for yet.
    answers: Vec<u8>,
    end: Option<Disconnect>,
    /// A ping is out, and nothing has come since.
    pinged: bool,
    times: Times,
}

impl WebSocket {
    fn new(limit: usize, deflate: Option<Agreement>, input: Vec<u8>) -> Self {
        Self {
            codec: Codec::new(limit, deflate),
            input,
            at: 0,
            ahead: None,
            answers: Vec::new(),
            end: None,
            pinged: false,
            times: Times::NEVER,
        }
    }

    fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// It is over for the application, which is told so after the messages that came before.
    fn end_with(&mut self, end: Disconnect) {
        if self.end.is_none() {
            self.end = Some(end);
            self.times = Times::NEVER;
        }
    }
}

impl Engine {
    /// The exchange's answer 101 was given to [`Engine::send`]: from here on its connection is a WebSocket, compressed as
    /// agreed. What the exchange keeps of its request is cut to what the access log needs.
    pub fn upgrade(&mut self, exchange: &mut Exchange, deflate: Option<Agreement>, now: Now) {
        let limit = match self.options.message_limit {
            0 => usize::MAX,
            limit => limit,
        };
        let mut times = Times::NEVER;
        times.keep_alive = self.keep_alive_due(now);
        if self.recalls {
            times.recall = now.mono;
        }
        exchange.shrink();
        let Some((id, connection)) = self.in_application(exchange) else {
            return;
        };
        let input = std::mem::take(&mut connection.inbuf);
        let unread = connection.readable || !input.is_empty();
        let mut websocket = WebSocket::new(limit, deflate, input);
        websocket.times = times;
        connection.websocket = Some(Box::new(websocket));
        self.arm(id);
        self.arm_timer();
        if unread {
            self.enqueue(id);
        }
    }

    /// Closes a WebSocket; false if it is closed already. [`Engine::finish`] is to follow.
    pub fn close(&mut self, exchange: &Exchange, code: Code, reason: &str) -> bool {
        let Some((id, connection)) = self.in_application(exchange) else {
            return false;
        };
        let Some(websocket) = connection.websocket.as_deref_mut() else {
            return false;
        };
        let closed = websocket
            .codec
            .close(Some(code), reason, &mut websocket.answers);
        if closed.is_err() {
            return false;
        }
        let (code, reason) = (code.number(), reason.to_owned());
        websocket.end_with(Disconnect { code, reason });
        self.answer(id);
        true
    }

    /// Whether a WebSocket has ended: its exchange is to be finished, also if the application does not ask. At most one
    /// message is left for [`Engine::receive_message`] before the end.
    pub fn has_ended(&mut self, exchange: &Exchange) -> bool {
        let websocket = exchange.id.and_then(|id| self.websocket(id));
        websocket.is_some_and(|websocket| websocket.end.is_some())
    }

    /// Closes every WebSocket with 1012, spread over `window` milliseconds, so that the clients do not all come back at once (0:
    /// now);
    /// and those that are still being opened as soon as they are.
    pub fn recall(&mut self, window: u64, now: Now) {
        self.recalls = true;
        let open = self.connections.iter_mut().filter_map(|(id, connection)| {
            let websocket = connection.websocket.as_deref()?;
            let stays = websocket.end.is_none() && websocket.times.recall == u64::MAX;
            stays.then_some(id)
        });
        let open: Vec<Id> = open.collect();
        let count = open.len().max(1) as u64;
        for (id, number) in open.into_iter().zip(0..) {
            let delay = window.saturating_mul(number) / count;
            self.plan_recall(id, now.mono.saturating_add(delay));
            if delay == 0 {
                self.websocket_due(id, now);
            }
        }
        self.arm_timer();
    }

    /// Takes [`Engine::recall`] back for those that are still open.
    pub fn stop_recall(&mut self) {
        if !std::mem::take(&mut self.recalls) {
            return;
        }
        let recalled: Vec<Id> = self.connections.iter_mut().map(|(id, _)| id).collect();
        for id in recalled {
            self.plan_recall(id, u64::MAX);
        }
    }

    fn plan_recall(&mut self, id: Id, at: u64) {
        let websocket = self.websocket(id).filter(|found| found.end.is_none());
        if let Some(websocket) = websocket {
            websocket.times.recall = at;
            self.arm(id);
        }
    }

    fn websocket(&mut self, id: Id) -> Option<&mut WebSocket> {
        self.connections.get_mut(id)?.websocket.as_deref_mut()
    }

    /// Something has happened to a WebSocket inside the application: goes on as far as that is possible without it, and
    /// tells the driver what it waits for.
    pub(crate) fn attend(&mut self, id: Id, now: Now) {
        self.catch_up(id);
        self.gather(id, now);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let flow = connection.flow(&self.options);
        let Some(websocket) = connection.websocket.as_deref_mut() else {
            return;
        };
        if connection.broken {
            websocket.end_with(Disconnect::abnormal());
        }
        let ended = websocket.end.is_some();
        let course = &mut connection.course;
        let room = course.wants_room && (ended || flow != Flow::Full);
        if room {
            course.wants_room = false;
            websocket.times.write = u64::MAX;
        }
        let waits_for_us = !websocket.awaits_more();
        let input = course.wants_input
            && (websocket.ahead.is_some()
                || waits_for_us && (connection.readable || websocket.has_input()));
        if input {
            course.wants_input = false;
        }
        if room || input || ended {
            self.notices.push_back(Notice::Progress(id.token()));
        }
        self.arm(id);
    }

    /// The exchange of a WebSocket is over: both close frames, then the end.
    pub(crate) fn begin_parting(&mut self, id: Id, now: Now) {
        let patience = self.parting_deadline(now);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if let Some(websocket) = connection.websocket.as_deref_mut() {
            // It is open only if the driver has failed. The codec says so if it is not.
            let answers = &mut websocket.answers;
            let _ = websocket.codec.close(Some(Code::INTERNAL), "", answers);
            websocket.end_with(Disconnect::abnormal());
            websocket.ahead = None;
        }
        connection.phase = Phase::Parting;
        connection.show(self.board, connection.state());
        self.answer(id);
        self.set_deadline(id, patience);
        self.part(id, now);
    }

    /// Waits for the client's close frame, and for ours to leave.
    pub(crate) fn part(&mut self, id: Id, now: Now) {
        let is_over = |websocket: &WebSocket| websocket.codec.state() == State::Over;
        if !self.websocket(id).is_some_and(|found| is_over(found)) {
            self.discard(id, now);
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.broken {
            return self.drop_connection(id);
        }
        let over = |websocket: &WebSocket| is_over(websocket) && websocket.answers.is_empty();
        let over = connection.websocket.as_deref().is_none_or(over);
        if over && connection.outbox.is_none() {
            connection.websocket = None;
            connection.phase = Phase::Flush { close: true };
            self.after_response(id, now);
        }
    }
}

impl Connection {
    /// It is a WebSocket inside the application.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.websocket.is_some() && matches!(self.phase, Phase::App { .. })
    }
}
