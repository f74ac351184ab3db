//! Requests that the application has not seen, put back into their connections so that they can move. What becomes of such a
//! request is what a capsule would have brought: its bytes from the first one on, with the framing written anew. Invariant:
//! whoever parses them gets the same request, and nobody else has it any more.

use std::fs::File;

use super::parcel::descriptors;
use crate::capsule::Stored;
use crate::clock::Now;
use crate::connection::{Arrival, Connection, Phase};
use crate::engine::Engine;
use crate::exchange::{Body, Exchange};
use crate::slab::Id;
use oxicorn_board::Count;
use oxicorn_http1::Framing;

use super::giving::MOST;

impl Engine {
    /// Whether all connections leave, as fast as the other process takes them, so that [`Engine::put_back`] makes sense.
    pub fn gives_readily(&self) -> bool {
        self.giving
            .as_ref()
            .is_some_and(|giving| giving.holds_back() && giving.is_of_everything())
    }

    /// Takes back a request of which the application has seen nothing, to give it away with its connection. `stats` count
    /// it as if it had never been handed out.
    ///
    /// # Errors
    /// The exchange itself, unchanged: nothing is given at the moment, or its connection cannot move.
    pub fn put_back(&mut self, exchange: Box<Exchange>, now: Now) -> Result<(), Box<Exchange>> {
        if !self.gives_readily() {
            return Err(exchange);
        }
        let id = self.take_back(exchange, now)?;
        self.offer(id);
        Ok(())
    }

    /// The request is its connection's again, which is to be offered at once.
    pub(super) fn take_back(
        &mut self,
        mut exchange: Box<Exchange>,
        now: Now,
    ) -> Result<Id, Box<Exchange>> {
        let is_open = matches!(exchange.body, Body::Open);
        let Some(id) = exchange.id.filter(|&id| !is_open && self.can_return(id)) else {
            return Err(exchange);
        };
        if let Some(connection) = self.connections.get_mut(id) {
            let line = restore(connection, &mut exchange, now);
            connection.show(self.board, connection.state());
            self.lines.extend(line);
        }
        // The request is complete, so no client is waited for.
        self.set_deadline(id, u64::MAX);
        self.board.sub(Count::Requests, 1);
        self.recycle(exchange);
        Ok(id)
    }

    fn can_return(&mut self, id: Id) -> bool {
        let found = self.connections.get_mut(id);
        let fits = |found: &mut Connection| {
            let waits = matches!(found.phase, Phase::App { .. })
                && !found.broken
                && found.transport.moves();
            // One descriptor more if the body is in a file.
            waits && descriptors(found) < MOST
        };
        found.is_some_and(fits)
    }
}

/// The connection as it would have arrived with this request in its buffer. The request line that was kept for the log.
fn restore(connection: &mut Connection, exchange: &mut Exchange, now: Now) -> Option<Vec<u8>> {
    let (input, stored) = raw(exchange, &connection.inbuf);
    connection.inbuf = input;
    connection.partial = false;
    connection.arrival = stored.map(|stored| {
        Box::new(Arrival {
            since: now.mono,
            stored: Some(stored),
        })
    });
    match std::mem::replace(&mut connection.phase, Phase::Head) {
        Phase::App { line, .. } => Some(line),
        _ => None,
    }
}

/// The request's bytes and those behind it; and its body, if that is in a file.
fn raw(exchange: &mut Exchange, rest: &[u8]) -> (Vec<u8>, Option<Stored<File>>) {
    let end = exchange.head.len as usize;
    let chunked = exchange.head.framing == Framing::Chunked;
    let body = std::mem::take(&mut exchange.body);
    let head = exchange.bytes.get(..end).unwrap_or_default();
    let framed = |len: u64| match (chunked, len) {
        (false, _) => (String::new(), ""),
        (true, 0) => (String::new(), "0\r\n\r\n"),
        (true, len) => (format!("{len:x}\r\n"), "\r\n0\r\n\r\n"),
    };
    let whole = |data: &[u8]| {
        let (before, after) = framed(data.len() as u64);
        [head, before.as_bytes(), data, after.as_bytes(), rest].concat()
    };
    match body {
        // An open one is never put back.
        Body::Empty | Body::Open => (whole(b""), None),
        Body::Inline(span) => (whole(span.of(&exchange.bytes)), None),
        Body::Memory(data) => (whole(&data), None),
        Body::File(file, len) => {
            let (before, after) = framed(len);
            let at = head.len() + before.len();
            let input = [head, before.as_bytes(), after.as_bytes(), rest].concat();
            (input, Some(Stored { at, len, file }))
        }
    }
}
