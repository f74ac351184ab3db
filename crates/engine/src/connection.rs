//! One client connection: plain data. It routes nothing and decides nothing; the engine's parts (`reading`, `writing`,
//! `deadlines`) act on it. Invariant: `phase` says who may touch the socket: the engine in every phase, for reading in `App`
//! only as far as it is asked to.

use oxicorn_board::Count;
use oxicorn_http1::{Head, Step};
use rustix::net::{RecvFlags, recv};
use std::fs::File;

use crate::capsule::Stored;
use crate::clock::Now;
use crate::edge::{Language, Origin};
use crate::exchange::Scheme;
use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::spool::Spool;
use crate::streaming::{Course, Inflow};
use crate::transport::Transport;
use crate::websocket::WebSocket;

/// A request whose body is still coming.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The head's own bytes.
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: Head,
    pub(crate) decoder: oxicorn_http1::Body,
    pub(crate) spool: Spool,
    /// Monotonic milliseconds when the body began.
    pub(crate) since: u64,
    pub(crate) scheme: Scheme,
}

/// What a decoder is shown in place of data that lies in a file: it counts bytes and looks at none.
static PLACEHOLDER: [u8; 1 << 16] = [0; 1 << 16];

impl Reading {
    /// Takes over the beginning of a body: `framing` of it, and then data that lies in a file. Whether they fit together.
    pub(crate) fn restore(&mut self, framing: &[u8], stored: Stored<File>) -> bool {
        let fits = |step, expected| step == Ok(expected);
        let consumed = framing.len();
        if !fits(self.decoder.advance(framing), Step::More { consumed }) {
            return false;
        }
        let mut left = stored.len;
        while left > 0 {
            let len = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(PLACEHOLDER.len());
            let data = PLACEHOLDER.get(..len).unwrap_or_default();
            if !fits(self.decoder.advance(data), Step::Data { skip: 0, len }) {
                return false;
            }
            left -= len as u64;
        }
        self.spool = Spool::stored(stored.file, stored.len);
        true
    }
}

/// A request whose body had begun in another process. Its bytes are in the connection's buffer, from its first one on.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Monotonic milliseconds when the body began.
    pub(crate) since: u64,
    pub(crate) stored: Option<Stored<File>>,
}

/// What the connection is doing.
#[derive(Debug)]
pub(crate) enum Phase {
    /// TLS has not begun yet, or its keys are being agreed.
    Handshake,
    /// Silent, idle, or in the middle of a request head.
    Head,
    /// In the middle of a request body.
    Body(Box<Reading>),
    /// A request is inside the application. `line` is its request line, for the log should it get stuck there.
    App {
        line: Vec<u8>,
        since: u64,
        /// It was reported as stuck.
        stuck: bool,
    },
    /// A WebSocket whose exchange is over: both close frames are on their way.
    Parting,
    /// The response is complete, its last bytes wait for the socket. `close`: nothing follows.
    Flush { close: bool },
    /// The response is sent, and what is unread of the request's body is dropped: `left` bytes at the most.
    Skip { left: u64 },
    /// The write side is shut; input is dropped until the client closes, `until` (monotonic milliseconds) at the most.
    Linger { until: u64 },
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about the socket, each on its own and true in every phase"
)]
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    /// The client: whoever connected, or whom a PROXY header names.
    pub(crate) peer: Peer,
    /// What a PROXY header said.
    pub(crate) origin: Option<Box<Origin>>,
    pub(crate) language: Language,
    pub(crate) listener: u16,
    /// Whoever connected is a trusted proxy.
    pub(crate) trusted: bool,
    /// The socket may hold input that no event will announce again.
    pub(crate) readable: bool,
    /// The client has shut its side; that was the last edge for reading.
    pub(crate) ended: bool,
    /// The connection is on the engine's list of work to do without an event.
    pub(crate) queued: bool,
    /// The connection is on the list of those whose bytes wait for more.
    pub(crate) waits: bool,
    /// The connection is on the list of those to give to another process.
    pub(crate) offered: bool,
    pub(crate) phase: Phase,
    /// What is still to come of a body that the application takes while it comes.
    pub(crate) inflow: Option<Box<Inflow>>,
    /// Only inside an asynchronous application.
    pub(crate) course: Course,
    /// Since its exchange was upgraded.
    pub(crate) websocket: Option<Box<WebSocket>>,
    /// Bytes read and not consumed: a partial head, or pipelined requests.
    pub(crate) inbuf: Vec<u8>,
    /// What another process knew about the request in `inbuf`; only until its head is parsed here.
    pub(crate) arrival: Option<Box<Arrival>>,
    /// `inbuf` is known to be an incomplete head: parsing it again needs more bytes first.
    pub(crate) partial: bool,
    /// The socket failed for writing: whatever is sent goes nowhere.
    pub(crate) broken: bool,
    pub(crate) outbox: Option<Box<Outbox>>,
    /// Monotonic milliseconds; `u64::MAX` = none.
    pub(crate) deadline: u64,
    /// The earliest entry in the timer queue; `u64::MAX` = none.
    pub(crate) queued_deadline: u64,
    /// Monotonic milliseconds of the accept, or of the end of the last response.
    pub(crate) active: u64,
    /// What the board counts it under.
    pub(crate) shown: Option<Count>,
    /// Requests answered on this connection.
    pub(crate) served: u32,
}

impl Connection {
    /// A connection of which nothing is known yet but who is there, and on which nothing has happened.
    pub(crate) fn new(
        transport: Transport,
        peer: Peer,
        listener: usize,
        trusted: bool,
        now: Now,
    ) -> Self {
        let phase = match transport {
            Transport::Plain(_) => Phase::Head,
            Transport::Tls(_) => Phase::Handshake,
        };
        Self {
            transport,
            peer,
            origin: None,
            language: Language::Http,
            listener: u16::try_from(listener).unwrap_or(u16::MAX),
            trusted,
            readable: false,
            ended: false,
            queued: false,
            waits: false,
            offered: false,
            phase,
            inflow: None,
            course: Course::default(),
            websocket: None,
            inbuf: Vec::new(),
            arrival: None,
            partial: false,
            broken: false,
            outbox: None,
            deadline: u64::MAX,
            queued_deadline: u64::MAX,
            active: now.mono,
            shown: None,
            served: 0,
        }
    }

    /// Whether it is plain data now, and may go to another process. What lingers has nothing left to be served.
    pub(crate) fn is_movable(&self) -> bool {
        let here = matches!(
            self.phase,
            Phase::App { .. } | Phase::Parting | Phase::Skip { .. } | Phase::Linger { .. }
        );
        !here && !self.broken && self.inflow.is_none() && self.transport.moves()
    }

    /// What was encrypted and the socket has not taken is unsent, whoever caused it.
    pub(crate) fn keep_sending(&mut self) {
        if !self.transport.is_flushed() {
            self.outbox.get_or_insert_default();
        }
    }

    /// Nothing of a request has been received since the last response.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Head) && self.inbuf.is_empty()
    }

    /// Bytes of the client are in the socket, or decrypted. Asked before an idle connection is closed: a request that the kernel has
    /// accepted is answered.
    pub(crate) fn has_input(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        self.transport.has_unread()
            || matches!(recv(&self.transport, &mut [0u8; 1], flags), Ok((1.., _)))
    }
}
