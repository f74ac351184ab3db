//! From responses to bytes on the socket: sending, queueing, the end of an exchange. Invariant: a response whose first byte
//! was sent is completed or its connection ends; nothing is ever sent in its place.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use oxicorn_board::Count;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock::Now;
use crate::connection::{Connection, Phase};
use crate::engine::Engine;
use crate::exchange::Exchange;
use crate::options::Options;
use crate::outbox::{FilePart, Flushed, Outbox, Shared};
use crate::slab::Id;

/// Bytes over the memory limit that may be held when spooling fails, before the application is held back.
const MEMORY_SLACK: usize = 1 << 20;

/// A lingering close takes this many times `linger_timeout` at the most, however much the client goes on sending.
const LINGER_TOTAL: u64 = 15;

/// What became of bytes given to [`Engine::send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Sent or queued; go on.
    Clear,
    /// Queued, and the queue is full: hold the application back until [`Engine::flow`] says otherwise.
    Full,
    /// The client is gone; what is sent from here on goes nowhere.
    Gone,
}

/// How an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The response is complete. The connection goes on if [`Exchange::keep_alive`] still says so.
    Complete,
    /// The response could not be completed: the connection ends after what was queued, and the client can tell.
    Cut,
}

impl Engine {
    /// Sends response bytes of `exchange`: to the socket what it takes, the rest to the queue. Give at most about a
    /// megabyte at once.
    pub fn send(&mut self, exchange: &Exchange, parts: &[&[u8]], now: Now) -> Flow {
        match self.send_first(exchange, parts, now) {
            // The usual case: nothing was queued before, and nothing is to be queued.
            Ok((_, sent)) if sent > 0 && is_all(parts, sent) => Flow::Clear,
            Ok((id, sent)) => self.queue_rest(id, parts, sent),
            Err(flow) => flow,
        }
    }

    /// Sends an interim response (RFC 9110 §15.2). The response has not begun with it, and the application's time goes on.
    pub fn send_interim(&mut self, exchange: &Exchange, head: &[u8]) -> Flow {
        let Some((id, _)) = self.in_application(exchange) else {
            return Flow::Gone;
        };
        match self.send_at_once(id, &[head]) {
            Ok((id, sent)) => self.queue_rest(id, &[head], sent),
            Err(flow) => flow,
        }
    }

    /// Whether what the socket does not take of a large block should be kept as it is ([`Engine::send_kept`]). If not, give
    /// it to [`Engine::send`] in slices, which are copied: `response_kept_limit` is used up, or something is queued already,
    /// and one kept block for each connection is enough to free the application's thread.
    pub fn may_keep(&mut self, exchange: &Exchange) -> bool {
        let room = self.kept.bytes() < self.options.response_kept;
        room && self
            .in_application(exchange)
            .is_some_and(|(_, connection)| connection.outbox.as_deref().is_none_or(|it| it.waits))
    }

    /// Sends `before`, a block of the application and `after`. What the socket does not take of the block is not copied:
    /// its `owner`, which has the same bytes, is taken and kept until they are sent.
    pub fn send_kept(
        &mut self,
        exchange: &Exchange,
        [before, block, after]: [&[u8]; 3],
        owner: &mut Option<Shared>,
        now: Now,
    ) -> Flow {
        let (id, sent) = match self.send_first(exchange, &[before, block, after], now) {
            Ok(begun) => begun,
            Err(flow) => return flow,
        };
        let Some(connection) = self.connections.get_mut(id) else {
            return Flow::Gone;
        };
        if sent < before.len() + block.len() + after.len() {
            let outbox = connection.outbox.get_or_insert_default();
            outbox.push_memory(before.get(sent..).unwrap_or_default());
            let sent = sent.saturating_sub(before.len());
            match owner.take_if(|_| sent < block.len()) {
                Some(owner) => outbox.push_kept(owner, sent..block.len(), &self.kept),
                None => outbox.push_memory(block.get(sent..).unwrap_or_default()),
            }
            let sent = sent.saturating_sub(block.len());
            outbox.push_memory(after.get(sent..).unwrap_or_default());
        }
        connection.flow(&self.options)
    }

    /// Sends a part of a file without copying it.
    pub fn send_file(&mut self, exchange: &Exchange, part: FilePart, now: Now) -> Flow {
        let deadline = self.progress_deadline(now);
        let Some((id, connection)) = self.in_application(exchange) else {
            return Flow::Gone;
        };
        connection.deadline = connection.deadline.max(deadline);
        connection.course.begun = true;
        connection.outbox.get_or_insert_default().push_file(part);
        self.flush(id, now);
        self.flow(exchange)
    }

    /// The deadline of a response that has made progress; an asynchronous one has none.
    pub(crate) fn progress_deadline(&self, now: Now) -> u64 {
        if self.options.streams {
            return u64::MAX;
        }
        self.app_deadline(now)
    }

    /// Whether the application may go on with its response.
    pub fn flow(&mut self, exchange: &Exchange) -> Flow {
        let Some(id) = exchange.id else {
            return Flow::Gone;
        };
        match self.connections.get_mut(id) {
            Some(connection) if !connection.is_lost() => connection.flow(&self.options),
            _ => Flow::Gone,
        }
    }

    /// The exchange waits for a free thread, or for its client: that time is not the application's.
    pub fn hold(&mut self, exchange: &Exchange) {
        if let Some(connection) = exchange.id.and_then(|id| self.connections.get_mut(id)) {
            connection.deadline = u64::MAX;
        }
    }

    /// The wait that [`Engine::hold`] began is over.
    pub fn release(&mut self, exchange: &Exchange, now: Now) {
        let deadline = self.app_deadline(now);
        let Some(id) = exchange.id else { return };
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if let Phase::App { since, .. } = &mut connection.phase {
            *since = now.mono;
        }
        self.set_deadline(id, deadline);
        self.arm_timer();
    }

    /// The socket of an exchange, to wait for room on it with [`wait_writable`].
    pub fn socket(&mut self, exchange: &Exchange) -> Option<Arc<OwnedFd>> {
        let (_, connection) = self.in_application(exchange)?;
        Some(connection.transport.socket())
    }

    /// Sends what is queued for an exchange that is held back.
    pub fn flush_exchange(&mut self, exchange: &Exchange, now: Now) -> Flow {
        if let Some(id) = exchange.id {
            self.flush(id, now);
        }
        self.flow(exchange)
    }

    /// Milliseconds a response may make no progress; 0 = for ever.
    pub fn write_timeout(&self) -> u64 {
        self.options.write_timeout
    }

    /// Takes an exchange back: writes its access-log line, and the connection goes on or ends.
    pub fn finish(&mut self, exchange: Box<Exchange>, ending: Ending, now: Now) {
        self.log_access(&exchange, now);
        if let Some(id) = exchange.id {
            // Whatever has happened since: what the head says is what the client counts on.
            let keep = ending == Ending::Complete && exchange.keep_alive;
            if ending == Ending::Cut {
                self.cut(id);
            }
            self.end_exchange(id, keep, now);
            self.offer(id);
        }
        self.recycle(exchange);
    }

    /// The client shall be able to tell that the response is not complete.
    fn cut(&mut self, id: Id) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.transport.cut();
        }
    }

    fn end_exchange(&mut self, id: Id, keep: bool, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let course = std::mem::take(&mut connection.course);
        let keep = keep && !course.refused && connection.skips_rest();
        let next = Phase::Flush { close: !keep };
        if let Phase::App { line, stuck, .. } = std::mem::replace(&mut connection.phase, next) {
            self.lines.push(line);
            self.stuck -= usize::from(stuck);
        }
        connection.served = connection.served.saturating_add(1);
        if !keep {
            connection.inflow = None;
        }
        if connection.broken {
            self.drop_connection(id);
        } else if connection.websocket.is_some() {
            self.begin_parting(id, now);
        } else if connection.outbox.is_some() {
            connection.show(self.board, Some(Count::Sending));
            self.set_deadline(id, self.write_deadline(now));
            self.flush(id, now);
        } else {
            self.after_response(id, now);
        }
    }

    /// Everything of the response is with the kernel.
    pub(crate) fn after_response(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Phase::Flush { close } = connection.phase else {
            return;
        };
        if close {
            if !connection.transport.end() {
                // The last word waits for the socket as the response did.
                connection.keep_sending();
                return;
            }
            let until = now.mono + LINGER_TOTAL * self.options.linger_timeout.max(1);
            connection.phase = Phase::Linger { until };
            connection.inbuf = Vec::new();
            connection.show(self.board, Some(Count::Closing));
            self.set_deadline(id, self.linger_deadline(now));
            self.enqueue(id);
            return;
        }
        if connection.inflow.is_some() {
            return self.begin_skipping(id, now);
        }
        self.begin_next(id, now);
    }

    /// The connection is ready for its next request.
    pub(crate) fn begin_next(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.phase = Phase::Head;
        connection.active = now.mono;
        connection.partial = false;
        connection.show(self.board, connection.state());
        if connection.inbuf.is_empty() {
            if connection.readable {
                self.enqueue(id);
            }
            let goes_on = !self.draining || self.goes_on(id);
            self.set_deadline(id, self.idle_limit(goes_on, now));
        } else {
            self.enqueue(id);
            self.set_deadline(id, self.head_deadline(now));
        }
    }

    /// Sends queued bytes; ends the response when they are the last.
    pub(crate) fn flush(&mut self, id: Id, now: Now) {
        let deadline = self.write_deadline(now);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(outbox) = connection.outbox.as_mut() else {
            return;
        };
        let before = outbox.left_so_far;
        let flushed = outbox.flush(&mut connection.transport);
        let progress = outbox.left_so_far > before;
        match flushed {
            Ok(Flushed::Empty) => {
                connection.outbox = None;
                if let Phase::Parting = connection.phase {
                    return self.part(id, now);
                }
                self.after_response(id, now);
                self.look_for_news(id, now);
            }
            Ok(state) => {
                if progress && connection.is_upgraded() {
                    self.note_reader(id, now);
                } else if progress && connection.waits_for_room() {
                    connection.deadline = deadline;
                }
                if state == Flushed::Burst {
                    self.enqueue(id);
                }
            }
            Err(error) => {
                self.give_up(id, &error);
            }
        }
    }

    /// The connection failed for writing. In the application's hands it stays until the exchange ends.
    fn give_up(&mut self, id: Id, error: &io::Error) -> Flow {
        let Some(connection) = self.connections.get_mut(id) else {
            return Flow::Gone;
        };
        log::debug!(target: "oxicorn", "{} left before its response was sent: {error}", connection.peer);
        connection.broken = true;
        connection.outbox = None;
        if matches!(connection.phase, Phase::App { .. }) {
            self.look_for_news(id, self.last_seen());
        } else {
            self.drop_connection(id);
        }
        Flow::Gone
    }

    pub(crate) fn in_application(&mut self, exchange: &Exchange) -> Option<(Id, &mut Connection)> {
        let id = exchange.id?;
        let connection = self.connections.get_mut(id)?;
        (!connection.is_lost()).then_some((id, connection))
    }

    /// Gives the socket what it takes at once, which is nothing while older bytes wait. The connection, and how much it took;
    /// or how the application may go on, when nothing is left to be done.
    fn send_first(
        &mut self,
        exchange: &Exchange,
        parts: &[&[u8]],
        now: Now,
    ) -> Result<(Id, usize), Flow> {
        let deadline = self.progress_deadline(now);
        let (id, connection) = self.in_application(exchange).ok_or(Flow::Gone)?;
        connection.deadline = connection.deadline.max(deadline);
        connection.course.begun = true;
        let waits = connection.outbox.as_deref().is_some_and(|it| it.waits);
        if waits && self.join(id, parts, now) {
            return Err(self.flow(exchange));
        }
        self.send_at_once(id, parts)
    }

    /// How much of `parts` the socket took.
    pub(crate) fn send_at_once(&mut self, id: Id, parts: &[&[u8]]) -> Result<(Id, usize), Flow> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Err(Flow::Gone);
        };
        if connection.outbox.is_some() {
            return Ok((id, 0));
        }
        match connection.transport.send(parts) {
            Ok(sent) => {
                connection.keep_sending();
                Ok((id, sent))
            }
            Err(error) => Err(self.give_up(id, &error)),
        }
    }

    pub(crate) fn queue_rest(&mut self, id: Id, parts: &[&[u8]], sent: usize) -> Flow {
        let Some(connection) = self.connections.get_mut(id) else {
            return Flow::Gone;
        };
        let mut skip = sent;
        for part in parts {
            let rest = part.get(skip.min(part.len())..).unwrap_or_default();
            skip -= skip.min(part.len());
            push(connection, rest, &self.options);
        }
        connection.flow(&self.options)
    }

    fn log_access(&mut self, exchange: &Exchange, now: Now) {
        let (Some(access), Some(started)) = (self.access.as_mut(), exchange.started) else {
            return;
        };
        let status = exchange.response.status;
        if status != 0 {
            crate::access::write(access, exchange, started.elapsed(), now);
        }
    }
}

/// Queues `rest`; in memory if it cannot be spooled, and the full queue then holds the application back.
fn push(connection: &mut Connection, rest: &[u8], options: &Options) {
    if rest.is_empty() {
        return;
    }
    let outbox = connection.outbox.get_or_insert_default();
    if outbox.no_file || options.streams {
        outbox.push_memory(rest);
        return;
    }
    if let Err(error) = outbox.push(rest, options.response_memory, &options.spool_dir) {
        log::warn!(
            target: "oxicorn",
            "A response could not be spooled to tmp_upload_dir ({error}); the application waits for its client instead"
        );
        outbox.no_file = true;
        outbox.push_memory(rest);
    }
}

impl Connection {
    /// Nothing that the application sends reaches the client any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.broken || self.course.refused
    }

    /// Whether the application may go on with its response.
    pub(crate) fn flow(&self, options: &Options) -> Flow {
        let full = |outbox: &Outbox| {
            if options.streams {
                return outbox.in_memory() + outbox.kept() > options.response_memory;
            }
            outbox.spooled() > options.response_spool
                || outbox.in_memory() > options.response_memory + MEMORY_SLACK
        };
        if self.outbox.as_deref().is_some_and(full) {
            Flow::Full
        } else {
            Flow::Clear
        }
    }
}

/// Whether `parts` are no more than `sent` bytes.
#[inline]
fn is_all(parts: &[&[u8]], sent: usize) -> bool {
    parts.iter().map(|part| part.len()).sum::<usize>() == sent
}

/// Waits until `socket` takes bytes again, at most `timeout` milliseconds (0 = for ever). Blocks: call it without any lock.
pub fn wait_writable(socket: &impl AsFd, timeout: u64) -> io::Result<bool> {
    let limit = (timeout > 0).then(|| Duration::from_millis(timeout));
    let timeout = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
