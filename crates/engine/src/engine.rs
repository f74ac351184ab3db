//! The engine: what holds the parts together, and `turn`, which finds the next thing the driver must know. The work itself
//! is in `accept`, `reading`, `writing` and `deadlines`. Invariant: whatever an edge announced is in the batch, on the work
//! list or a flag of its connection, so nothing is lost when a turn ends early.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use oxicorn_board::Board;
use oxicorn_logs::AccessLog;
use oxicorn_websocket::deflate::Pool;

use crate::accept::{Listening, place_of};
use crate::capsule::Place;
use crate::clock::Now;
use crate::connection::{Connection, Phase};
use crate::exchange::{Exchange, READ};
use crate::handover::{Giving, Handover, Taking};
use crate::options::Options;
use crate::outbox::Kept;
use crate::poller::{Poller, Ready};
use crate::request_id::RequestIds;
use crate::slab::{Id, Slab};
use crate::stats::forget;
use crate::timer::Timer;

/// The most bytes that the kernel keeps unsent for a client, as far as TCP is concerned. Large enough that a fast client never
/// waits for us, small enough that a copy takes some ten microseconds.
const UNSENT: u32 = 128 * 1024;

/// Tokens below 2³² are not connections. Each kind has 2¹⁶ of them.
const TIMER: u64 = 0;
pub(crate) const LISTENERS: u64 = 1 << 16;
const WATCHES: u64 = 2 << 16;
pub(crate) const GIVING: u64 = 3 << 16;
pub(crate) const TAKING: u64 = 4 << 16;

/// How hard messages are compressed: fast.
const LEVEL: u8 = 1;

/// Exchanges kept for reuse.
const POOL: usize = 64;

/// Names a descriptor that the driver asked to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchId(pub usize);

/// A request that has been inside the application for longer than `app_timeout` without progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The request line.
    pub line: String,
    /// The client's address.
    pub peer: String,
    /// Milliseconds since the application was given the request.
    pub age: u64,
    /// How many requests are stuck now, this one included.
    pub together: usize,
}

/// A request inside the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The request line.
    pub line: String,
    /// The client's address.
    pub peer: String,
    /// Milliseconds since the application was given the request.
    pub age: u64,
    /// It is a WebSocket now, which may take as long as it likes.
    pub upgraded: bool,
}

/// Something the driver is told besides requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// See [`Stuck`].
    Stuck(Stuck),
    /// A watched descriptor is ready.
    Watched(WatchId),
    /// `max_requests` is reached: the worker should be replaced.
    Worn,
    /// After `drain`: no connection is left.
    Drained,
    /// What the exchange with this token waits for has come, or never will: ask again.
    Progress(u64),
    /// The exchange with this token took longer than `app_timeout` and was answered 504.
    Overdue(u64),
    /// See [`Handover`].
    Handover(Handover),
}

/// What one turn found.
#[derive(Debug)]
pub enum Turn {
    /// A complete request for the application. Give it back with [`Engine::finish`].
    Exchange(Box<Exchange>),
    /// News.
    Notice(Notice),
    /// Nothing more without new events. `again`: there is work left, so poll without waiting.
    Idle {
        /// Do not wait.
        again: bool,
    },
}

/// See the crate documentation.
#[expect(
    clippy::struct_excessive_bools,
    reason = "accepting, draining, worn are independent of each other"
)]
pub struct Engine {
    pub(crate) options: Options,
    pub(crate) registry: Registry,
    pub(crate) timer: Timer,
    pub(crate) listeners: Vec<Listening>,
    pub(crate) connections: Slab<Connection>,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) spare: Box<Exchange>,
    #[expect(
        clippy::vec_box,
        reason = "exchanges travel as boxes; keeping the box saves an allocation each time"
    )]
    pub(crate) pool: Vec<Box<Exchange>>,
    /// Where body bytes of an open body are read to; empty until the first one.
    pub(crate) intake: Vec<u8>,
    /// What compresses and decompresses messages.
    pub(crate) contexts: Pool,
    /// Where frames are made.
    pub(crate) frame: Vec<u8>,
    /// WebSockets are being closed, because the worker is about to leave.
    pub(crate) recalls: bool,
    pub(crate) lines: Vec<Vec<u8>>,
    /// The counters, where others may see them.
    pub(crate) board: &'static Board,
    pub(crate) access: Option<AccessLog>,
    pub(crate) request_ids: Option<RequestIds>,
    pub(crate) accepting: bool,
    /// Connections that may be accepted before new events are looked at.
    pub(crate) accept_budget: usize,
    /// When the next word about waiting connections is due.
    pub(crate) complain_after: u64,
    pub(crate) draining: bool,
    /// What the outboxes keep of the application's objects.
    pub(crate) kept: Kept,
    /// Connections with bytes that wait for more.
    pub(crate) waiting: Vec<Id>,
    pub(crate) worn: bool,
    /// Requests reported as stuck that are still inside the application.
    pub(crate) stuck: usize,
    batch: Vec<Ready>,
    next: usize,
    work: VecDeque<Id>,
    /// How many of `work` this round may still look at, so that new events get their turn.
    budget: usize,
    /// `None` where somebody has stopped watching.
    watches: Vec<Option<OwnedFd>>,
    drained_told: bool,
    /// The addresses of the listeners, also after they are gone.
    pub(crate) places: Vec<Place>,
    /// The listeners are not in the poller: connections are left to other processes.
    pub(crate) disarmed: bool,
    pub(crate) giving: Option<Box<Giving>>,
    pub(crate) taking: Vec<Option<Taking>>,
    /// The time of the last turn, for questions that come without one.
    seen: Now,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A new engine on `poller`, for the life of the process. Listeners and watches are added to it before the first turn.
    pub fn new(poller: &Poller, options: Options, access: Option<AccessLog>) -> io::Result<Self> {
        Self::shown_on(Box::leak(Box::default()), poller, options, access)
    }

    /// As [`Engine::new`], with its counters on `board`, which nobody else writes to what the engine counts.
    pub fn shown_on(
        board: &'static Board,
        poller: &Poller,
        options: Options,
        access: Option<AccessLog>,
    ) -> io::Result<Self> {
        let timer = Timer::new()?;
        let registry = poller.registry()?;
        let timer_fd = timer.fd().as_raw_fd();
        registry.register(&mut SourceFd(&timer_fd), token(TIMER), Interest::READABLE)?;
        let request_ids = options.request_id.as_deref().map(RequestIds::new);
        Ok(Self {
            request_ids: request_ids.transpose()?,
            options,
            registry,
            timer,
            listeners: Vec::new(),
            connections: Slab::new(),
            notices: VecDeque::new(),
            spare: Box::new(Exchange::new()),
            pool: Vec::new(),
            intake: Vec::new(),
            contexts: Pool::new(LEVEL),
            frame: Vec::new(),
            recalls: false,
            lines: Vec::new(),
            board,
            access,
            accepting: true,
            accept_budget: 0,
            complain_after: 0,
            draining: false,
            kept: Kept::default(),
            waiting: Vec::new(),
            worn: false,
            stuck: 0,
            batch: Vec::new(),
            next: 0,
            work: VecDeque::new(),
            budget: 0,
            watches: Vec::new(),
            drained_told: false,
            places: Vec::new(),
            disarmed: false,
            giving: None,
            taking: Vec::new(),
            seen: Now::default(),
        })
    }

    /// Accepts connections from a listening socket from now on. It must be non-blocking.
    pub fn listen(&mut self, socket: OwnedFd) -> io::Result<()> {
        let at = LISTENERS + self.listeners.len() as u64;
        let fd = socket.as_fd().as_raw_fd();
        self.registry
            .register(&mut SourceFd(&fd), token(at), Interest::READABLE)?;
        self.places.push(place_of(&socket));
        bound_unsent(&socket);
        self.listeners.push(Listening::new(socket));
        Ok(())
    }

    /// Tells the driver whenever `fd` becomes readable (edge-triggered: read it until it would block).
    pub fn watch(&mut self, fd: OwnedFd) -> io::Result<WatchId> {
        let id = self.watches.len();
        let raw = fd.as_raw_fd();
        let at = WATCHES + id as u64;
        self.registry
            .register(&mut SourceFd(&raw), token(at), Interest::READABLE)?;
        self.watches.push(Some(fd));
        Ok(WatchId(id))
    }

    /// Closes what was watched. News of it that is on its way may still come; its id is not used again.
    pub fn unwatch(&mut self, id: WatchId) {
        if let Some(fd) = self.watches.get_mut(id.0).and_then(Option::take) {
            let raw = fd.as_raw_fd();
            // Closing it would do as well, unless another process holds a copy.
            let _ = self.registry.deregister(&mut SourceFd(&raw));
        }
    }

    /// The sockets that connections are accepted from.
    pub fn listening(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners
            .iter()
            .map(|listener| listener.socket.as_fd())
    }

    /// Takes over the events of the poller's last wait.
    pub fn feed(&mut self, poller: &mut Poller) {
        if self.next == self.batch.len() {
            self.batch.clear();
            self.next = 0;
        }
        self.batch.extend(poller.drain());
        poller.clear();
        self.budget = self.work.len();
        self.accept_budget = self.options.accept_burst.max(1);
    }

    /// Finds the next thing the driver must know. Never blocks.
    pub fn turn(&mut self, now: Now) -> Turn {
        self.seen = now;
        // First of all: a connection that is to move must not begin another request here.
        self.give(now);
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Turn::Notice(notice);
            }
            let found = if let Some(ready) = self.next_ready() {
                self.dispatch(ready, now)
            } else if let Some(id) = self.next_work() {
                self.resume(id, now)
            } else {
                break;
            };
            if let Some(exchange) = found {
                return Turn::Exchange(exchange);
            }
        }
        self.rest(now)
    }

    /// Whether something is left that no event will announce: whoever waits for events at this moment must be woken.
    pub fn needs_turn(&self) -> bool {
        !self.work.is_empty()
            || !self.notices.is_empty()
            || self.timer.is_late()
            || self.has_handover_work(self.seen)
            || (self.draining && !self.drained_told && self.is_empty())
    }

    /// The time of the last turn.
    pub(crate) fn last_seen(&self) -> Now {
        self.seen
    }

    pub(crate) fn arm_timer(&mut self) {
        let pauses = self.accept_pause().into_iter();
        let other = pauses.chain(self.handover_deadline(self.seen)).min();
        if let Err(error) = self.timer.arm(other) {
            log::error!(target: "oxicorn", "Timers cannot be armed: {error}");
        }
    }

    /// Nothing ready: the moment for timers, pending accepts and the access log.
    fn rest(&mut self, now: Now) -> Turn {
        let hands_over = self.hand_over(now);
        self.tell_if_drained();
        let accepts = self.accept_pending(now);
        self.arm_timer();
        debug_assert!(self.is_shown_truly(), "{:?}", self.board);
        if let Some(notice) = self.notices.pop_front() {
            return Turn::Notice(notice);
        }
        let again = accepts || hands_over || !self.work.is_empty();
        if let Some(access) = self.access.as_mut().filter(|_| !again) {
            access.flush();
        }
        Turn::Idle { again }
    }

    fn tell_if_drained(&mut self) {
        if self.draining && !self.drained_told && self.is_empty() {
            self.drained_told = true;
            self.notices.push_back(Notice::Drained);
        }
    }

    /// Whether no connection is here or on its way to or from here.
    fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.in_between() == 0
    }

    fn next_ready(&mut self) -> Option<Ready> {
        let ready = *self.batch.get(self.next)?;
        self.next += 1;
        Some(ready)
    }

    /// Connections with input that was announced and that nobody has looked at yet, the last one first.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = Id> {
        let events = self.batch.get(self.next..).unwrap_or_default();
        let input = events.iter().rev().filter(|ready| ready.readable);
        input.filter_map(|ready| Id::from_token(ready.token))
    }

    /// How many connections have said something that nobody has looked at yet.
    pub fn unseen_input(&self) -> usize {
        self.unseen().count()
    }

    fn next_work(&mut self) -> Option<Id> {
        self.budget = self.budget.checked_sub(1)?;
        self.work.pop_front()
    }

    /// Puts a connection on the work list, once.
    pub(crate) fn enqueue(&mut self, id: Id) {
        if let Some(connection) = self.connections.get_mut(id).filter(|found| !found.queued) {
            connection.queued = true;
            self.work.push_back(id);
        }
    }

    fn dispatch(&mut self, ready: Ready, now: Now) -> Option<Box<Exchange>> {
        if let Some(id) = Id::from_token(ready.token) {
            return self.on_connection(id, ready, now);
        }
        if ready.token == TIMER {
            self.timer.fired();
            self.expire_due(now);
        } else if ready.token >= TAKING {
            self.taking_ready(usize::try_from(ready.token - TAKING).unwrap_or(usize::MAX));
        } else if ready.token >= GIVING {
            self.giving_ready(ready.readable, ready.writable, now);
        } else if ready.token >= WATCHES {
            let id = usize::try_from(ready.token - WATCHES).unwrap_or(usize::MAX);
            self.notices.push_back(Notice::Watched(WatchId(id)));
        } else {
            let index = usize::try_from(ready.token - LISTENERS).unwrap_or(usize::MAX);
            self.listener_ready(index, now);
        }
        None
    }

    fn on_connection(&mut self, id: Id, ready: Ready, now: Now) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        connection.readable |= ready.readable;
        connection.ended |= ready.ended;
        if ready.writable && connection.outbox.is_some() {
            self.flush(id, now);
        }
        let found = self.read(id, now);
        self.offer(id);
        found
    }

    fn resume(&mut self, id: Id, now: Now) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        connection.queued = false;
        if connection.outbox.is_some() {
            self.flush(id, now);
        }
        let found = self.read(id, now);
        self.offer(id);
        found
    }

    /// An exchange from the pool, or a new one.
    pub(crate) fn fresh_exchange(&mut self) -> Box<Exchange> {
        self.pool.pop().unwrap_or_else(|| Box::new(Exchange::new()))
    }

    /// Puts a finished exchange back.
    pub(crate) fn recycle(&mut self, mut exchange: Box<Exchange>) {
        // One that was upgraded has a small buffer.
        if self.pool.len() < POOL && exchange.bytes.len() >= READ {
            exchange.recycle();
            self.pool.push(exchange);
        }
    }

    /// Whether new connections are accepted by this engine. While off they wait in the listeners' queues, where another
    /// process may take them.
    pub fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
    }

    /// Stops listening and ends every connection as soon as its request is answered. [`Notice::Drained`] follows when none
    /// is left. `take`: connections waiting in the accept queues are still taken; a worker that could not serve them leaves
    /// them to the others.
    pub fn drain(&mut self, take: bool, now: Now) {
        if self.draining {
            return;
        }
        if take {
            self.accepting = true;
            self.empty_accept_queues(now);
        }
        self.disarm_listeners();
        self.listeners.clear();
        self.draining = true;
        self.hurry_idle(now);
    }

    /// Whether [`Engine::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether a request that was reported as stuck is still inside the application.
    pub fn has_stuck(&self) -> bool {
        self.stuck > 0
    }

    /// Whether finished responses are written to an access log.
    pub fn has_access_log(&self) -> bool {
        self.access.is_some()
    }

    /// The access log, for reopening and flushing.
    pub fn access_log(&mut self) -> Option<&mut AccessLog> {
        self.access.as_mut()
    }

    /// Removes a connection; the socket closes with it.
    pub(crate) fn drop_connection(&mut self, id: Id) {
        let Some(mut connection) = self.connections.remove(id) else {
            return;
        };
        forget(self.board, connection.shown);
        if connection.is_idle() {
            connection.transport.say_goodbye();
        }
        // Shut first: a process forked by the application may hold a copy of the descriptor, and the client must see the
        // end all the same. An error means that the client was faster.
        let _ = rustix::net::shutdown(&connection.transport, rustix::net::Shutdown::Both);
        if let Phase::App { line, .. } = connection.phase {
            self.lines.push(line);
        }
    }
}

/// Accepted sockets inherit it. Without a bound the kernel copies megabytes for a client that reads nothing, while everybody
/// else waits; the rest of a response costs nothing where it is. Not for Unix sockets, whose buffers are small anyway.
fn bound_unsent(listener: &OwnedFd) {
    let socket = socket2::SockRef::from(listener);
    if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT) {
        log::debug!(target: "oxicorn", "TCP_NOTSENT_LOWAT is not available: {error}");
    }
}

pub(crate) fn token(value: u64) -> Token {
    Token(usize::try_from(value).unwrap_or(usize::MAX))
}
