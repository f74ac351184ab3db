//! From bytes to exchanges: heads, bodies, refusals. The rules of HTTP are in `oxicorn-http1`; here is only where bytes are
//! kept meanwhile. Invariant: nothing after a refused request is looked at, and the application sees a request only when its
//! body is complete, unless it takes bodies while they come ([`crate::Options::streams`]).

use std::io;

use oxicorn_board::Count;
use oxicorn_http1::{Body as Decoder, Framing, Head, Span, Step, Version, worth_parsing};

use crate::clock::Now;
use crate::connection::{Arrival, Connection, Phase, Reading};
use crate::edge::Language;
use crate::engine::{Engine, Notice};
use crate::exchange::{Body, Exchange, READ, Scheme};
use crate::options::Options;
use crate::refusal::Refusal;
use crate::slab::Id;
use crate::spool::Spool;
use crate::streaming::Course;
use crate::transport::Received;

/// System calls spent on one body before others get a turn.
pub(crate) const BODY_READS: usize = 8;

/// The longest request line kept for the log of a stuck request.
const LINE_KEPT: usize = 512;

/// How far a body has come.
enum Progress {
    /// More input is needed; this many bytes of it were used.
    More(usize),
    /// Complete; this many bytes of the input belonged to it.
    Done(usize),
}

/// What is in the spare buffer of a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathered {
    /// Bytes that are in the connection's own buffer as well.
    pub(crate) kept: usize,
    /// Bytes in all.
    pub(crate) filled: usize,
    /// Those of them that are known to be no complete head.
    pub(crate) seen: usize,
}

impl Gathered {
    /// Bytes of which nothing is known and nothing kept.
    pub(crate) fn fresh(filled: usize) -> Self {
        Self {
            kept: 0,
            filled,
            seen: 0,
        }
    }
}

impl Engine {
    /// Reads and advances one connection, as its phase allows.
    pub(crate) fn read(&mut self, id: Id, now: Now) -> Option<Box<Exchange>> {
        if let Phase::App { .. } = self.connections.get_mut(id)?.phase {
            // Input waits in the socket: that is the back-pressure.
            self.look_for_news(id, now);
            return None;
        }
        if self.is_held_back(id) {
            return None;
        }
        match self.connections.get_mut(id)?.phase {
            Phase::Head => self.read_head(id, now),
            Phase::Handshake => self.shake(id, now),
            Phase::Body(_) => self.read_body(id, now),
            Phase::Linger { .. } => {
                self.read_linger(id, now);
                None
            }
            Phase::Parting => {
                self.part(id, now);
                None
            }
            Phase::Skip { .. } => {
                self.skip(id, now);
                None
            }
            Phase::App { .. } | Phase::Flush { .. } => None,
        }
    }

    fn read_head(&mut self, id: Id, now: Now) -> Option<Box<Exchange>> {
        let gathered = self.gather_head(id)?;
        match self.connections.get_mut(id)?.language {
            Language::Http => self.parse_head(id, gathered, now),
            Language::Preface => self.read_preface(id, gathered, now),
            Language::Uwsgi => self.read_packet(id, gathered, now),
        }
    }

    /// Fills the spare buffer with what there is of the head. `None`: nothing new, or the client left.
    #[inline]
    fn gather_head(&mut self, id: Id) -> Option<Gathered> {
        let connection = self.connections.get_mut(id)?;
        let kept = connection.inbuf.len();
        make_space(&mut self.spare.bytes, kept);
        copy_to(&mut self.spare.bytes, &connection.inbuf);
        let mut filled = kept;
        if kept == 0 || connection.partial {
            match receive(connection, &mut self.spare.bytes, kept) {
                Ok(Received::Bytes(n)) => filled += n,
                Ok(Received::Nothing) => return None,
                Ok(Received::End) | Err(_) => {
                    if kept > 0 {
                        log::debug!(target: "oxicorn", "{} left inside a request head", connection.peer);
                    }
                    self.drop_connection(id);
                    return None;
                }
            }
        }
        let seen = if connection.partial { kept } else { 0 };
        Some(Gathered { kept, filled, seen })
    }

    /// The bytes in the spare buffer begin a request.
    #[inline]
    pub(crate) fn parse_head(
        &mut self,
        id: Id,
        gathered: Gathered,
        now: Now,
    ) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        let input = self.spare.bytes.get(..gathered.filled).unwrap_or_default();
        let parsed = if worth_parsing(input, gathered.seen) {
            self.spare
                .head
                .parse(input, &self.options.http, connection.trusted)
        } else {
            Ok(false)
        };
        match parsed {
            Ok(true) => self.begin(id, gathered.filled, now),
            Ok(false) => self.keep_partial(id, gathered, now),
            Err(reject) => {
                self.refuse(id, &Refusal::Parse(reject), now);
                None
            }
        }
    }

    /// The head in the spare buffer is incomplete. Never a request; so that callers can end with it.
    pub(crate) fn keep_partial(
        &mut self,
        id: Id,
        gathered: Gathered,
        now: Now,
    ) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        let fresh = self.spare.bytes.get(gathered.kept..gathered.filled);
        connection
            .inbuf
            .extend_from_slice(fresh.unwrap_or_default());
        connection.partial = true;
        connection.show(self.board, Some(Count::Head));
        let more = connection.readable;
        if gathered.kept == 0 && connection.served > 0 {
            self.set_deadline(id, self.head_deadline(now));
        }
        if more {
            self.enqueue(id);
        }
        None
    }

    /// The head in `spare` is complete: decide about the body.
    pub(crate) fn begin(&mut self, id: Id, filled: usize, now: Now) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        connection.partial = false;
        let own = connection.transport.scheme();
        let scheme = if connection.language == Language::Uwsgi {
            Some(self.spare.scheme_of_packet())
        } else if connection.trusted {
            self.options
                .trust
                .scheme(&self.spare.head, &self.spare.bytes, own)
        } else {
            Some(own)
        };
        let Some(scheme) = scheme else {
            self.refuse(id, &Refusal::Scheme, now);
            return None;
        };
        self.spare.scheme = scheme;
        let end_of_head = self.spare.head.len as usize;
        let arrival = connection.arrival.take();
        if arrival
            .as_ref()
            .is_some_and(|arrival| arrival.stored.is_some())
        {
            return self.begin_body(id, filled, arrival, now);
        }
        match self.spare.head.framing {
            Framing::Empty => Some(self.hand_out(id, end_of_head..filled, now)),
            Framing::Length(length) if exceeds(length, &self.options) => {
                self.refuse(id, &Refusal::BodyTooLarge, now);
                None
            }
            Framing::Length(length) if length <= (filled - end_of_head) as u64 => {
                let end = end_of_head + usize::try_from(length).unwrap_or(0);
                self.spare.body = inline(end_of_head, end);
                Some(self.hand_out(id, end..filled, now))
            }
            Framing::Length(_) | Framing::Chunked if self.options.streams => {
                Some(self.hand_out_open(id, filled, arrival.is_none(), now))
            }
            Framing::Length(_) | Framing::Chunked => self.begin_body(id, filled, arrival, now),
        }
    }

    /// `arrival`: the body had begun in another process, where its first bytes may lie in a file.
    fn begin_body(
        &mut self,
        id: Id,
        filled: usize,
        arrival: Option<Box<Arrival>>,
        now: Now,
    ) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        let spare = &mut self.spare;
        let head = std::mem::take(&mut spare.head);
        let end_of_head = head.len as usize;
        let mut wants_continue =
            head.expect_continue && head.version == Version::Http11 && end_of_head == filled;
        let bytes = spare.bytes.get(..end_of_head).unwrap_or_default().to_vec();
        let mut reading = reading(bytes, head, spare.scheme, &self.options, now);
        let (mut start, mut limit) = (end_of_head, u64::MAX);
        if let Some(arrival) = arrival {
            // The other process has answered this, and given the body its time.
            wants_continue = false;
            limit = connection.deadline;
            reading.since = arrival.since;
            if let Some(stored) = arrival.stored {
                start = stored.at;
                let framing = spare.bytes.get(end_of_head..start);
                if framing.is_none_or(|framing| !reading.restore(framing, stored)) {
                    log::error!(target: "oxicorn", "A request of {} was moved here damaged; its connection ends", connection.peer);
                    self.drop_connection(id);
                    return None;
                }
            }
        }
        let received = reading.spool.len();
        let since = reading.since;
        connection.phase = Phase::Body(Box::new(reading));
        connection.show(self.board, Some(Count::Body));
        connection.inbuf.clear();
        connection
            .inbuf
            .extend_from_slice(spare.bytes.get(start..filled).unwrap_or_default());
        if wants_continue {
            self.send_continue(id, now);
        }
        let deadline = self.body_deadline(since, received, now);
        self.set_deadline(id, deadline);
        let found = self.take_kept(id, now);
        self.bring_forward(id, limit);
        found
    }

    pub(crate) fn send_continue(&mut self, id: Id, now: Now) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection
                .outbox
                .get_or_insert_default()
                .push_memory(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.flush(id, now);
        }
    }

    fn read_body(&mut self, id: Id, now: Now) -> Option<Box<Exchange>> {
        for _ in 0..BODY_READS {
            let connection = self.connections.get_mut(id)?;
            if !connection.readable {
                return None;
            }
            let kept = connection.inbuf.len();
            make_space(&mut self.spare.bytes, kept);
            copy_to(&mut self.spare.bytes, &connection.inbuf);
            match receive(connection, &mut self.spare.bytes, kept) {
                Ok(Received::Bytes(n)) => {
                    if let Some(exchange) = self.take_received(id, kept + n, now) {
                        return Some(exchange);
                    }
                }
                Ok(Received::Nothing) => return None,
                Ok(Received::End) | Err(_) => {
                    log::info!(target: "oxicorn", "{} left inside a request body", connection.peer);
                    self.drop_connection(id);
                    return None;
                }
            }
        }
        self.enqueue(id);
        None
    }

    /// The first `filled` bytes of the spare buffer are body input.
    fn take_received(&mut self, id: Id, filled: usize, now: Now) -> Option<Box<Exchange>> {
        let bytes = std::mem::take(&mut self.spare.bytes);
        let exchange = self.advance_body(id, bytes.get(..filled).unwrap_or_default(), now);
        self.spare.bytes = bytes;
        exchange
    }

    /// Body input that came together with the head lies in the connection's own buffer.
    fn take_kept(&mut self, id: Id, now: Now) -> Option<Box<Exchange>> {
        let input = std::mem::take(&mut self.connections.get_mut(id)?.inbuf);
        let exchange = self.advance_body(id, &input, now);
        if exchange.is_none() {
            self.enqueue(id);
        }
        exchange
    }

    fn advance_body(&mut self, id: Id, input: &[u8], now: Now) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        let Phase::Body(reading) = &mut connection.phase else {
            return None;
        };
        let progress = decode(reading, input, &self.options);
        let (since, received) = (reading.since, reading.spool.len());
        match progress {
            Ok(Progress::More(used)) => {
                connection.inbuf.clear();
                connection
                    .inbuf
                    .extend_from_slice(input.get(used..).unwrap_or_default());
                let deadline = self.body_deadline(since, received, now);
                self.set_deadline(id, deadline);
                None
            }
            Ok(Progress::Done(used)) => {
                self.complete_body(id, input.get(used..).unwrap_or_default(), now)
            }
            Err(refusal) => {
                self.refuse(id, &refusal, now);
                None
            }
        }
    }

    fn complete_body(&mut self, id: Id, rest: &[u8], now: Now) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        let Phase::Body(reading) = std::mem::replace(&mut connection.phase, Phase::Head) else {
            return None;
        };
        connection.inbuf.clear();
        connection.inbuf.extend_from_slice(rest);
        let mut exchange = self.fresh_exchange();
        make_space(&mut exchange.bytes, reading.bytes.len());
        copy_to(&mut exchange.bytes, &reading.bytes);
        exchange.head = reading.head;
        exchange.scheme = reading.scheme;
        exchange.body = match reading.spool.into_parts() {
            (_, Some(file), len) => Body::File(file, len),
            (memory, None, _) if memory.is_empty() => Body::Empty,
            (memory, None, _) => Body::Memory(memory),
        };
        self.enter_application(id, &mut exchange, now);
        Some(exchange)
    }

    /// The request in `spare` is complete; `rest` of its buffer belongs to the next one.
    pub(crate) fn hand_out(
        &mut self,
        id: Id,
        rest: std::ops::Range<usize>,
        now: Now,
    ) -> Box<Exchange> {
        let fresh = self.fresh_exchange();
        let mut exchange = std::mem::replace(&mut self.spare, fresh);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.inbuf.clear();
            connection
                .inbuf
                .extend_from_slice(exchange.bytes.get(rest).unwrap_or_default());
            if connection.inbuf.is_empty() {
                // An idle connection keeps no buffer.
                connection.inbuf = Vec::new();
            }
        }
        self.enter_application(id, &mut exchange, now);
        exchange
    }

    fn enter_application(&mut self, id: Id, exchange: &mut Exchange, now: Now) {
        self.board.add(Count::Requests, 1);
        if self.options.max_requests > 0 && !self.worn && self.is_worn() {
            self.worn = true;
            self.notices.push_back(Notice::Worn);
        }
        let mut line = self.lines.pop().unwrap_or_default();
        line.clear();
        exchange.id = Some(id);
        exchange.keep_alive =
            exchange.head.keep_alive && self.options.keep_alive > 0 && self.goes_on(id);
        exchange.started = self.access.is_some().then(std::time::Instant::now);
        if let Some(connection) = self.connections.get_mut(id) {
            exchange.describe_client(connection, &self.options.trust);
            let whole = exchange.line();
            line.extend_from_slice(whole.get(..LINE_KEPT).unwrap_or(&whole));
            exchange.listener = usize::from(connection.listener);
            exchange.tls = connection.transport.facts();
            connection.phase = Phase::App {
                line,
                since: now.mono,
                stuck: false,
            };
            connection.course = Course::default();
            connection.show(self.board, Some(Count::Request));
        }
        if let Some(ids) = &mut self.request_ids {
            ids.mark(exchange);
        }
        self.set_deadline(id, self.app_deadline(now));
    }

    fn is_worn(&self) -> bool {
        self.board.number(Count::Requests) >= self.options.max_requests
    }

    /// Drops what the client still sends, for as long as it goes on sending and the limit of the phase allows.
    fn read_linger(&mut self, id: Id, now: Now) {
        for _ in 0..BODY_READS {
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            if !connection.readable {
                return;
            }
            let received = discard(connection, &mut self.spare.bytes);
            let Phase::Linger { until } = connection.phase else {
                return;
            };
            match received {
                Ok(Received::Bytes(_)) => {
                    self.set_deadline(id, self.linger_deadline(now).min(until));
                }
                Ok(Received::Nothing) => return,
                Ok(Received::End) | Err(_) => {
                    self.drop_connection(id);
                    return;
                }
            }
        }
        self.enqueue(id);
    }
}

/// A body at its beginning.
fn reading(bytes: Vec<u8>, head: Head, scheme: Scheme, options: &Options, now: Now) -> Reading {
    let expected = match head.framing {
        Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
        _ => 0,
    };
    Reading {
        bytes,
        decoder: Decoder::new(head.framing, &options.http.limits),
        // A client may promise much and send nothing: memory follows what has arrived.
        spool: Spool::with_capacity(expected.min(options.body_memory).min(READ)),
        since: now.mono,
        scheme,
        head,
    }
}

fn inline(start: usize, end: usize) -> Body {
    if start == end {
        return Body::Empty;
    }
    let offset = |at| u32::try_from(at).unwrap_or(u32::MAX);
    Body::Inline(Span {
        start: offset(start),
        end: offset(end),
    })
}

pub(crate) fn exceeds(length: u64, options: &Options) -> bool {
    options.body_limit > 0 && length > options.body_limit
}

/// Feeds `input` to the decoder until it wants more or is done.
fn decode(reading: &mut Reading, input: &[u8], options: &Options) -> Result<Progress, Refusal> {
    let mut at = 0;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        match reading.decoder.advance(rest).map_err(Refusal::Parse)? {
            Step::Data { skip, len } => {
                let data = rest.get(skip..skip + len).unwrap_or_default();
                if exceeds(reading.spool.len() + len as u64, options) {
                    return Err(Refusal::BodyTooLarge);
                }
                let dir = &options.spool_dir;
                reading
                    .spool
                    .push(data, options.body_memory, dir)
                    .map_err(Refusal::Spool)?;
                at += skip + len;
            }
            Step::More { consumed } => return Ok(Progress::More(at + consumed)),
            Step::End { consumed } => return Ok(Progress::Done(at + consumed)),
        }
    }
}

/// Room for at least half a read after `kept` bytes.
pub(crate) fn make_space(bytes: &mut Vec<u8>, kept: usize) {
    if bytes.len() < kept + READ / 2 {
        bytes.resize(kept + READ, 0);
    }
}

pub(crate) fn copy_to(bytes: &mut [u8], kept: &[u8]) {
    if let Some(front) = bytes.get_mut(..kept.len()) {
        front.copy_from_slice(kept);
    }
}

/// Receives behind the first `kept` bytes.
pub(crate) fn receive(
    connection: &mut Connection,
    bytes: &mut [u8],
    kept: usize,
) -> io::Result<Received> {
    if !connection.readable {
        return Ok(Received::Nothing);
    }
    let room = bytes.get_mut(kept..).unwrap_or_default();
    let (received, more) = connection.transport.receive(room, connection.ended)?;
    connection.readable = more;
    connection.keep_sending();
    Ok(received)
}

/// Receives what nobody wants, encrypted or not.
fn discard(connection: &mut Connection, bytes: &mut [u8]) -> io::Result<Received> {
    let (received, more) = connection.transport.discard(bytes, connection.ended)?;
    connection.readable = more;
    Ok(received)
}
