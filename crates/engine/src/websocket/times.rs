//! What a WebSocket waits for, and how long: signs of life, room for what it says, its turn to be closed. Invariant: a client
//! that reads and answers nothing is found out, unless `ws_ping_interval` is 0; silence counts only while the client is read.

use oxicorn_board::Count;
use oxicorn_websocket::Code;

use super::{Disconnect, WebSocket};
use crate::clock::Now;
use crate::deadlines::after;
use crate::engine::Engine;
use crate::slab::Id;

/// What a client is told that has not answered a ping.
const SILENT: &str = "keepalive ping timeout";

/// The wait for the client's close frame takes this many times `linger_timeout`.
const PATIENCE: u64 = 5;

/// When something is due, in monotonic milliseconds; `u64::MAX` = never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The client has been silent for too long: to be asked by a ping, or, if that was done, given up.
    pub(super) keep_alive: u64,
    /// The client has read nothing for too long, while the application waits for it.
    pub(super) write: u64,
    /// To be closed with 1012.
    pub(super) recall: u64,
}

impl Times {
    pub(super) const NEVER: Self = Self {
        keep_alive: u64::MAX,
        write: u64::MAX,
        recall: u64::MAX,
    };

    fn earliest(self) -> u64 {
        self.keep_alive.min(self.write).min(self.recall)
    }
}

impl WebSocket {
    /// The client has sent something.
    pub(super) fn note_life(&mut self, keep_alive: u64) {
        self.pinged = false;
        if self.end.is_none() {
            self.times.keep_alive = keep_alive;
        }
    }

    /// Closes with `code`; the application is told `told`. The codec knows whether it is closed already.
    fn close_with(&mut self, code: Code, reason: &str, told: Disconnect) {
        let closed = self.codec.close(Some(code), reason, &mut self.answers);
        if closed.is_ok() {
            self.end_with(told);
        }
    }
}

impl Engine {
    /// When a client that says something now has been silent for too long.
    pub(super) fn keep_alive_due(&self, now: Now) -> u64 {
        after(now, self.options.ping_interval)
    }

    /// How long the end of a WebSocket may take. A worker that is about to leave does not wait as long.
    pub(super) fn parting_deadline(&self, now: Now) -> u64 {
        let times = if self.recalls { 1 } else { PATIENCE };
        now.mono + times * self.options.linger_timeout.max(1)
    }

    /// Brings the connection's deadline up to date.
    pub(super) fn arm(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if !connection.is_upgraded() {
            return;
        }
        if let Some(websocket) = connection.websocket.as_deref() {
            let at = websocket.times.earliest();
            self.set_deadline(id, at);
        }
    }

    /// The client has read something: it lives, and has its time again.
    pub(crate) fn note_reader(&mut self, id: Id, now: Now) {
        let (keep_alive, write) = (self.keep_alive_due(now), self.write_deadline(now));
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let waits = connection.course.wants_room;
        if let Some(websocket) = connection.websocket.as_deref_mut() {
            websocket.note_life(keep_alive);
            if waits {
                websocket.times.write = write;
            }
        }
        self.arm(id);
    }

    /// The application waits for its client to read; `at`: until when.
    pub(crate) fn limit_wait(&mut self, id: Id, at: u64) {
        if let Some(websocket) = self.websocket(id).filter(|found| found.end.is_none()) {
            websocket.times.write = at;
            self.arm(id);
        }
    }

    /// Something of a WebSocket is due.
    pub(crate) fn websocket_due(&mut self, id: Id, now: Now) {
        // What has come and was not looked at may be the answer to a ping.
        self.gather(id, now);
        if let Some(websocket) = self.websocket(id) {
            let times = websocket.times;
            if times.recall <= now.mono {
                websocket.times.recall = u64::MAX;
                let told = Disconnect::with(Code::RESTART.number());
                websocket.close_with(Code::RESTART, "", told);
            } else if times.write <= now.mono {
                self.give_up_reader(id);
            } else if times.keep_alive <= now.mono {
                self.look_for_life(id, now);
            }
        }
        self.answer(id);
        self.attend(id, now);
    }

    fn give_up_reader(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        log::info!(target: "oxicorn", "Closed: {} does not read its messages", connection.peer);
        self.board.add(Count::TimedOut, 1);
        connection.broken = true;
        connection.outbox = None;
    }

    fn look_for_life(&mut self, id: Id, now: Now) {
        let answer_due = after(now, self.options.ping_timeout);
        let next = self.keep_alive_due(now);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let peer = connection.peer;
        let Some(websocket) = connection.websocket.as_deref_mut() else {
            return;
        };
        if websocket.ahead.is_some() {
            // It is not read, so whether it answers cannot be known.
            websocket.pinged = false;
            websocket.times.keep_alive = next;
        } else if websocket.pinged {
            log::info!(target: "oxicorn", "Closed: {peer} does not answer pings");
            self.board.add(Count::TimedOut, 1);
            websocket.close_with(Code::INTERNAL, SILENT, Disconnect::abnormal());
        } else {
            let [.., a, b, c, d] = now.mono.to_be_bytes();
            let sent = websocket.codec.ping([a, b, c, d], &mut websocket.answers);
            // Without a limit for the answer the next ping is all that follows.
            let awaited = self.options.ping_timeout > 0;
            websocket.pinged = sent.is_ok() && awaited;
            websocket.times.keep_alive = if awaited { answer_due } else { next };
        }
    }
}
