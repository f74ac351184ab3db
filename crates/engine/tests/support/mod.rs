//! An engine with its poller, a listener on loopback, and clients, all on the test's own thread. Sockets are real; time is
//! an argument, so tests move it as they like.
//!
//! The virtual clock starts near zero, long before the machine's: the engine's timer descriptor is always due, and what
//! decides is the time given to `turn`. Rigs in real time check that the engine wakes by itself. Invariant: `turn` is called
//! only after an event, when the engine asked for it, or after the test itself did something; so a missed wake-up shows.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test relies on and does not get has to stop it"
)]

mod client;
pub(crate) mod frames;
mod log;
pub(crate) mod pair;
pub(crate) mod preface;
pub(crate) mod relay;
pub(crate) mod secure;
pub(crate) mod websocket;

use std::collections::VecDeque;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oxicorn_engine::{
    Body, Ending, Engine, Exchange, FilePart, Flow, Notice, Now, Options, Poller, Stats, Turn,
};
use oxicorn_logs::AccessLog;

pub(crate) use client::{Client, End};
#[allow(unused_imports, reason = "each test program uses its part")]
pub(crate) use log::{count_logged, forget_log, logged};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The wait of one round. It ends earlier when something happens.
const ROUND: Duration = Duration::from_millis(2);

/// A plain request.
pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n";

#[derive(Clone, Copy, Debug)]
enum Clock {
    Virtual(Now),
    Real,
}

/// Where virtual time begins.
const VIRTUAL: Clock = Clock::Virtual(Now {
    mono: 1_000,
    unix: 1_700_000_000,
});

/// See the module.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) poller: Poller,
    pub(crate) address: SocketAddr,
    /// The same listening socket, as another worker holds it.
    pub(crate) sibling: Option<TcpListener>,
    /// What the engine has told besides requests.
    pub(crate) notices: Vec<Notice>,
    /// Calls of `turn` so far.
    pub(crate) turns: usize,
    waiting: VecDeque<Box<Exchange>>,
    clock: Clock,
    again: bool,
}

impl Rig {
    /// An engine with default options, in virtual time.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// An engine in virtual time.
    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::build(VIRTUAL, None, change)
    }

    /// An engine in virtual time that writes an access log.
    pub(crate) fn with_access_log(access: AccessLog) -> Self {
        Self::build(VIRTUAL, Some(access), |_| {})
    }

    /// An engine whose time is the machine's.
    pub(crate) fn in_real_time(change: impl FnOnce(&mut Options)) -> Self {
        Self::build(Clock::Real, None, change)
    }

    fn build(clock: Clock, access: Option<AccessLog>, change: impl FnOnce(&mut Options)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        // The library asks for 128; tests let thousands wait.
        rustix::net::listen(&listener, 4096).unwrap();
        Self::on(listener, clock, access, change)
    }

    /// A second engine with the same listener and the same time.
    pub(crate) fn heir(
        &self,
        access: Option<AccessLog>,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let listener = self.sibling.as_ref().unwrap().try_clone().unwrap();
        Self::on(listener, self.clock, access, change)
    }

    fn on(
        listener: TcpListener,
        clock: Clock,
        access: Option<AccessLog>,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        log::install();
        let mut options = Options::default();
        change(&mut options);
        let address = listener.local_addr().unwrap();
        let poller = Poller::new().unwrap();
        let mut engine = Engine::new(&poller, options, access).unwrap();
        let sibling = Some(listener.try_clone().unwrap());
        engine.listen(OwnedFd::from(listener)).unwrap();
        Self {
            engine,
            poller,
            address,
            sibling,
            notices: Vec::new(),
            turns: 0,
            waiting: VecDeque::new(),
            clock,
            again: true,
        }
    }

    pub(crate) fn now(&self) -> Now {
        match self.clock {
            Clock::Virtual(now) => now,
            Clock::Real => Now::read(),
        }
    }

    /// A request that waits for its answer, if there is one.
    pub(crate) fn waiting(&mut self) -> Option<Box<Exchange>> {
        self.waiting.pop_front()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Lets the engine look again although no event came; for after a call that may have left work.
    pub(crate) fn nudge(&mut self) {
        self.again = true;
    }

    /// See [`Rig::has_exchange`]; for conditions.
    pub(crate) fn is_asked(&mut self) -> bool {
        self.has_exchange()
    }

    /// Lets a little virtual time pass, for what the engine tries again later.
    pub(crate) fn tick(&mut self) {
        if let Clock::Virtual(now) = &mut self.clock {
            now.mono += 1;
        }
    }

    /// Whether the engine asked to be called again at once.
    pub(crate) fn wants_more(&self) -> bool {
        self.again
    }

    // Waiting

    /// Waits for events and lets the engine turn until it has nothing more to say. Whether there were any.
    pub(crate) fn round(&mut self, wait: Duration) -> bool {
        let wait = if self.again { Duration::ZERO } else { wait };
        let events = self.poller.wait(Some(wait)).unwrap();
        self.engine.feed(&mut self.poller);
        if events == 0 && !self.again {
            return false;
        }
        loop {
            self.turns += 1;
            match self.engine.turn(self.now()) {
                Turn::Exchange(exchange) => self.waiting.push_back(exchange),
                Turn::Notice(notice) => self.notices.push(notice),
                Turn::Idle { again } => {
                    self.again = again;
                    return events > 0;
                }
            }
        }
    }

    /// Goes round until `done`; fails with `what` when that takes too long.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "never came: {what}; {:?}, log: {:#?}",
                self.stats(),
                log::lines()
            );
            self.round(ROUND);
        }
    }

    /// Lets `millis` of virtual time pass at once, and the engine look at its timers.
    pub(crate) fn advance(&mut self, millis: u64) {
        let Clock::Virtual(now) = &mut self.clock else {
            panic!("real time passes by itself")
        };
        now.mono += millis;
        now.unix = 1_700_000_000 + i64::try_from(now.mono / 1000).unwrap();
        // The timer's event is always due: two rounds have seen it, unless there is no timer.
        for _ in 0..2 {
            self.round(Duration::from_millis(20));
        }
    }

    /// Returns when the engine has handled all that was sent so far: a request on another connection came through.
    pub(crate) fn settle(&mut self) {
        let mut client = self.client();
        client.push(b"GET /fence HTTP/1.1\r\nHost: example\r\n\r\n");
        let mut fence = None;
        self.until("the fence", |rig| {
            let mut waiting = rig.waiting.iter();
            fence = waiting.position(|exchange| target(exchange) == "/fence");
            fence.is_some()
        });
        let exchange = fence.and_then(|at| self.waiting.remove(at)).unwrap();
        let before = self.stats().connections - 1;
        self.respond(exchange, b"");
        drop(client);
        self.until("the end of the fence", |rig| {
            rig.stats().connections <= before
        });
    }

    // Clients

    /// A connected client; the engine may not have accepted it yet.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// A client that has sent `bytes`.
    pub(crate) fn client_sending(&mut self, bytes: &[u8]) -> Client {
        let mut client = self.client();
        self.send(&mut client, bytes);
        client
    }

    /// Sends all of `bytes`, while the engine goes round, until the connection ends.
    pub(crate) fn send(&mut self, client: &mut Client, bytes: &[u8]) {
        let mut sent = 0;
        self.until("room for the client's bytes", |_| {
            sent += client.push(&bytes[sent..]);
            sent == bytes.len() || client.is_refused()
        });
    }

    /// Reads until at least `count` bytes have come since the client began.
    pub(crate) fn receive(&mut self, client: &mut Client, count: usize) {
        self.until("bytes for the client", |_| {
            client.pull();
            client.got.len() >= count
        });
    }

    /// Reads until the connection ends: all that the client got, and how it ended.
    pub(crate) fn end_of(&mut self, client: &mut Client) -> End {
        self.until("the end of the connection", |_| client.pull().is_some());
        client.end.unwrap()
    }

    /// The status code of the client's next answer, after which the connection must end without a reset. 0: no answer.
    pub(crate) fn last_status(&mut self, client: &mut Client) -> u16 {
        assert_eq!(self.end_of(client), End::Closed, "{}", client.text());
        status(&client.got)
    }

    // Exchanges

    /// Whether a request is waiting for the test to answer it.
    pub(crate) fn has_exchange(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next request.
    pub(crate) fn exchange(&mut self) -> Box<Exchange> {
        self.until("a request", |rig| rig.has_exchange());
        self.waiting.pop_front().unwrap()
    }

    /// A client whose request is inside the application.
    pub(crate) fn request(&mut self, bytes: &[u8]) -> (Client, Box<Exchange>) {
        let client = self.client_sending(bytes);
        (client, self.exchange())
    }

    /// Sends response bytes.
    pub(crate) fn push(&mut self, exchange: &Exchange, bytes: &[u8]) -> Flow {
        self.engine.send(exchange, &[bytes], self.now())
    }

    /// Sends a file that holds `bytes`, and some before and behind that are not meant.
    pub(crate) fn push_file(&mut self, exchange: &Exchange, bytes: &[u8]) -> Flow {
        let part = FilePart {
            file: file_with(&[b"before", bytes, b"behind"].concat()),
            offset: 6,
            len: bytes.len() as u64,
        };
        self.engine.send_file(exchange, part, self.now())
    }

    /// Ends an exchange.
    pub(crate) fn finish(&mut self, exchange: Box<Exchange>, ending: Ending) {
        self.engine.finish(exchange, ending, self.now());
        self.again = true;
    }

    /// Answers 200 with this body.
    pub(crate) fn respond(&mut self, exchange: Box<Exchange>, body: &[u8]) {
        self.push(&exchange, &response(body));
        self.finish(exchange, Ending::Complete);
    }

    /// Answers every request that comes, until `done`.
    pub(crate) fn serve(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        self.until(what, |rig| {
            while let Some(exchange) = rig.waiting.pop_front() {
                let body = target(&exchange);
                rig.respond(exchange, body.as_bytes());
            }
            done(rig)
        });
    }

    /// Answers every request that comes with this body, until `done`.
    pub(crate) fn serve_as(&mut self, body: &[u8], mut done: impl FnMut(&mut Self) -> bool) {
        self.until("what is served for", |rig| {
            while let Some(exchange) = rig.waiting.pop_front() {
                rig.respond(exchange, body);
            }
            done(rig)
        });
    }

    /// A client that was answered once and is idle now.
    pub(crate) fn idle_client(&mut self) -> Client {
        let (mut client, exchange) = self.request(GET);
        self.respond(exchange, b"");
        self.receive(&mut client, response(b"").len());
        client.got.clear();
        client
    }

    /// Gives response bytes until the queue is full; how many.
    pub(crate) fn fill(&mut self, exchange: &Exchange) -> usize {
        let block = vec![b'x'; 256 << 10];
        let mut given = block.len();
        while self.push(exchange, &block) == Flow::Clear {
            given += block.len();
            assert!(given < 256 << 20, "the queue is never full");
        }
        given
    }

    pub(crate) fn stuck(&self) -> usize {
        let is_stuck = |notice: &&Notice| matches!(notice, Notice::Stuck(_));
        self.notices.iter().filter(is_stuck).count()
    }
}

/// A complete response.
pub(crate) fn response(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A complete request with a body.
pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nHost: example\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The head of a request that announces a chunked body.
pub(crate) const CHUNKED: &[u8] =
    b"POST / HTTP/1.1\r\nHost: example\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The head of a request for `path`.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: example\r\n\r\n").into_bytes()
}

/// The target of the request.
pub(crate) fn target(exchange: &Exchange) -> String {
    let bytes = exchange.head.target.of(exchange.bytes());
    String::from_utf8_lossy(bytes).into_owned()
}

/// The request's body, wherever it is.
pub(crate) fn body(exchange: &Exchange) -> Vec<u8> {
    match &exchange.body {
        Body::Empty | Body::Open => Vec::new(),
        Body::Inline(span) => span.of(exchange.bytes()).to_vec(),
        Body::Memory(bytes) => bytes.clone(),
        Body::File(file, len) => {
            let mut bytes = vec![0; usize::try_from(*len).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        }
    }
}

/// The status code of the response at the beginning of `bytes`; 0 when there is none.
pub(crate) fn status(bytes: &[u8]) -> u16 {
    let digits = bytes
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    digits.map_or(0, |digits| String::from_utf8_lossy(digits).parse().unwrap())
}

/// Bytes that are nowhere the same, so that a wrong order shows.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// An open file without a name.
pub(crate) fn file_with(bytes: &[u8]) -> File {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("engine-{}-{number}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// A new folder.
pub(crate) fn folder(name: &str) -> PathBuf {
    let name = format!("engine-{name}-{}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir(&path).unwrap();
    path
}

/// Allows this process as many open files as the system lets it, and returns how many.
pub(crate) fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.unwrap_or(1 << 20)
}
