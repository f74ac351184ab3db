//! Small blocks of a response that come in quick succession leave together. Whoever sends says that more will follow at once
//! ([`Engine::send_soon`]), and promises to send what waits if it does not ([`Engine::send_waiting`]). Not a buffer for slow
//! clients: that is the outbox, which these bytes wait in. Invariant: what waits is sent before anything that comes after it,
//! and with the end of its exchange.

use crate::clock::Now;
use crate::engine::Engine;
use crate::exchange::Exchange;
use crate::outbox::Outbox;
use crate::slab::Id;
use crate::writing::Flow;

/// Bytes that do not wait any longer: as many as fit in one record of TLS (RFC 8446 §5.1).
const JOINED: usize = 16 * 1024;

impl Engine {
    /// As [`Engine::send`], but the bytes may wait for those that follow. Also whether they are the first of the engine's
    /// that do: from then on somebody has to call [`Engine::send_waiting`] in time, until that finds nothing.
    pub fn send_soon(&mut self, exchange: &Exchange, parts: &[&[u8]], now: Now) -> (Flow, bool) {
        let deadline = self.progress_deadline(now);
        let Some((id, connection)) = self.in_application(exchange) else {
            return (Flow::Gone, false);
        };
        connection.deadline = connection.deadline.max(deadline);
        connection.course.begun = true;
        let blocked = |outbox: &Outbox| !outbox.waits;
        if connection.outbox.as_deref().is_some_and(blocked) {
            return (self.queue_rest(id, parts, 0), false);
        }
        let outbox = connection.outbox.get_or_insert_default();
        outbox.waits = true;
        for part in parts {
            outbox.push_memory(part);
        }
        if outbox.in_memory() >= JOINED {
            self.flush(id, now);
            return (self.flow(exchange), false);
        }
        let listed = std::mem::replace(&mut connection.waits, true);
        let first = self.waiting.is_empty();
        if !listed {
            self.waiting.push(id);
        }
        (Flow::Clear, first)
    }

    /// Sends what waits since [`Engine::send_soon`]. Whether anything was given there since the last call.
    pub fn send_waiting(&mut self, now: Now) -> bool {
        let mut waiting = std::mem::take(&mut self.waiting);
        let any = !waiting.is_empty();
        for id in waiting.drain(..) {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            connection.waits = false;
            if connection.outbox.as_deref().is_some_and(|it| it.waits) {
                self.flush(id, now);
            }
        }
        self.waiting = waiting;
        any
    }

    /// Sends what waits on a connection, with `parts` behind it if they are few. Whether they are on their way.
    pub(crate) fn join(&mut self, id: Id, parts: &[&[u8]], now: Now) -> bool {
        let Some(connection) = self.connections.get_mut(id) else {
            return false;
        };
        let Some(outbox) = connection.outbox.as_mut().filter(|outbox| outbox.waits) else {
            return false;
        };
        let few = parts.iter().map(|part| part.len()).sum::<usize>() <= JOINED;
        if few {
            for part in parts {
                outbox.push_memory(part);
            }
        }
        self.flush(id, now);
        few
    }
}
