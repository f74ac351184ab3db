//! From messages to bytes: the application's, and what the protocol answers. Invariant: frames leave in the order in which
//! they were made, but that answers wait while much is queued, so that a client that reads nothing gets no memory for its
//! pings.

use oxicorn_websocket::{Kind, State};

use crate::engine::Engine;
use crate::exchange::Exchange;
use crate::slab::Id;
use crate::writing::Flow;

/// Messages up to this size are copied behind their frame's head: cheaper than a system call with several parts.
const SMALL: usize = 8 * 1024;

/// While so many bytes are queued, answers wait.
const CROWDED: usize = 16 * 1024;

impl Engine {
    /// Sends a message of an upgraded exchange: to the socket what it takes, the rest to the queue. A text has to be UTF-8.
    pub fn send_message(&mut self, exchange: &Exchange, kind: Kind, data: &[u8]) -> Flow {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        let flow = self.send_framed(exchange, kind, data, &mut frame);
        frame.shrink_to(4 * SMALL);
        self.frame = frame;
        flow
    }

    /// `frame`: where frames are made.
    fn send_framed(
        &mut self,
        exchange: &Exchange,
        kind: Kind,
        data: &[u8],
        frame: &mut Vec<u8>,
    ) -> Flow {
        let Some(id) = exchange
            .id
            .filter(|_| self.in_application(exchange).is_some())
        else {
            return Flow::Gone;
        };
        let Self {
            connections,
            contexts,
            ..
        } = self;
        let connection = connections.get_mut(id);
        let Some(websocket) = connection.and_then(|found| found.websocket.as_deref_mut()) else {
            return Flow::Gone;
        };
        frame.append(&mut websocket.answers);
        let codec = &mut websocket.codec;
        if codec.compresses(data.len()) {
            return match codec.send(kind, data, contexts, frame) {
                Ok(()) => self.emit(id, &[frame]),
                Err(_) => Flow::Gone,
            };
        }
        let Ok(head) = codec.frame_head(kind, data.len()) else {
            return Flow::Gone;
        };
        frame.extend_from_slice(head.as_bytes());
        if data.len() <= SMALL {
            frame.extend_from_slice(data);
            return self.emit(id, &[frame]);
        }
        self.emit(id, &[frame, data])
    }

    /// Sends what the codec has answered. A close frame goes whatever is queued: it is the last one.
    pub(super) fn answer(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let queued = connection.outbox.as_ref().map_or(0, |it| it.in_memory());
        let Some(websocket) = connection.websocket.as_deref_mut() else {
            return;
        };
        let waits = queued > CROWDED && websocket.codec.state() == State::Open;
        if websocket.answers.is_empty() || waits {
            return;
        }
        let answers = std::mem::take(&mut websocket.answers);
        if !connection.broken {
            self.emit(id, &[&answers]);
        }
    }

    /// There may be room for an answer that had to wait.
    pub(super) fn catch_up(&mut self, id: Id) {
        if let Some(websocket) = self.websocket(id) {
            websocket.codec.catch_up(&mut websocket.answers);
            self.answer(id);
        }
    }

    /// Sends frames, behind what is queued.
    fn emit(&mut self, id: Id, parts: &[&[u8]]) -> Flow {
        match self.send_at_once(id, parts) {
            Ok((id, sent)) => self.queue_rest(id, parts, sent),
            Err(flow) => flow,
        }
    }
}
