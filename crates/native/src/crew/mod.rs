//! The driver `threads`: leader and followers over one engine. The *leader* waits for the network and, when a request is
//! complete, leaves the seat and calls the application on its own thread. A *follower* is armed before that: it queues for
//! the interpreter lock and so leads as soon as the application blocks. When every thread is inside the application, the
//! *steward*, a native thread that never runs Python, keeps the engine going. Serves `sync` (one thread) and `gthread`.
//!
//! Invariants: at most one thread has the seat, and only it turns the engine; no lock but the poller's, which only the seat's
//! holder takes, is held while waiting for the network
//! or for the interpreter; nothing wakes up while nothing happens.

mod bell;
mod farewell;
mod leader;
mod looped;
mod memory;
mod moves;
mod notices;
mod orphan;
mod readiness;
mod saturation;
mod siblings;
mod steward;
mod vigil;
mod watchdog;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use oxicorn_arbiter::Listener;
use oxicorn_arbiter::channel::WorkerChannel;
use oxicorn_arbiter::orphans::MeetingPlace;
use oxicorn_arbiter::sys::signals::SignalPipe;
use oxicorn_board::{Board, Count, Floor};
use oxicorn_engine::{Engine, Exchange, Now, Options, Poller, Stuck, Waker, WatchId};
use oxicorn_logs::AccessLog;
use pyo3::prelude::*;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

pub(crate) use bell::Bell;
use leader::Led;
pub(crate) use looped::Left;
pub(crate) use readiness::{ReadyCheck, start as start_ready_check};
pub(crate) use steward::start as start_steward;
pub(crate) use watchdog::{Watchdog, start as start_watchdog};

use self::notices::tell;
use crate::gevent::Hub;
use crate::head::Always;
use crate::wsgi::{Gateway, Observer};

/// Who turns the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Thread,
    Steward,
}

/// Who leads, who waits, who works.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about the threads, each on its own"
)]
struct Seat {
    holder: Option<Holder>,
    /// Followers waiting for a ticket.
    parked: usize,
    /// Followers allowed to wake up.
    tickets: usize,
    /// A follower has a ticket and has not looked at the seat yet.
    armed: bool,
    /// Threads inside the application.
    inside: usize,
    /// How often a thread entered the application.
    entries: u64,
    /// A thread wants the seat back from the steward.
    wanted: bool,
    steward_asleep: bool,
    /// Blocks wait in the engine for the next one: the steward sees to it that they do not wait long.
    vigil: bool,
    /// Complete requests that no thread was free for.
    backlog: VecDeque<Box<Exchange>>,
    /// What the steward knows of how long no thread has come out of the application.
    stall: Option<saturation::Stall>,
    /// The arbiter was told that no thread is free, and not since that one is.
    owes_relief: bool,
}

/// What a thread without work got.
enum Claim {
    /// `alone`: no other thread is inside the application, and none can enter it while this one leads, for the backlog is
    /// empty.
    Seat {
        alone: bool,
    },
    Exchange(Box<Exchange>),
    Stop,
}

/// What the crew needs from its worker.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) access: Option<AccessLog>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) channel: WorkerChannel,
    pub(crate) signals: SignalPipe,
    /// What tells the main thread of signals for the application's handlers.
    pub(crate) bell: Option<Bell>,
    /// Where the worker shows what it counts.
    pub(crate) board: &'static Board,
    /// Whether other workers accept from the same listeners.
    pub(crate) siblings: bool,
    /// Where they can be seen, and this worker's number there.
    pub(crate) floor: Option<(&'static Floor, u64)>,
    /// Application threads.
    pub(crate) threads: usize,
    /// Requests that can be inside the application at once.
    pub(crate) capacity: usize,
    /// How long a drain may take (`graceful_timeout`).
    pub(crate) grace: Duration,
    /// The bytes of memory above which the worker asks for a successor; 0 for none.
    pub(crate) memory: u64,
    /// Where a new arbiter finds the worker if its own is killed.
    pub(crate) meeting_place: Option<MeetingPlace>,
    /// How long it waits there (`orphan_timeout`).
    pub(crate) orphan_timeout: Duration,
    /// How long a new arbiter's workers may take to boot (`boot_timeout`).
    pub(crate) boot_timeout: Duration,
    /// The fields that every response has.
    pub(crate) always: Always,
}

/// The threads of one worker and their engine.
#[derive(Debug)]
pub(crate) struct Crew {
    engine: Mutex<Engine>,
    poller: Mutex<Poller>,
    waker: Waker,
    seat: Mutex<Seat>,
    followers: Condvar,
    steward: Condvar,
    draining: AtomicBool,
    stopping: AtomicBool,
    /// Becomes readable when the crew stops: what the main thread waits for.
    stopped: OwnedFd,
    channel: WorkerChannel,
    signals: SignalPipe,
    signal_watch: WatchId,
    channel_watch: WatchId,
    bell: Option<Bell>,
    /// Where the main thread leads.
    bell_watch: Option<WatchId>,
    board: &'static Board,
    threads: usize,
    capacity: usize,
    grace: Duration,
    /// The arbiter is gone.
    orphaned: AtomicBool,
    /// This process is a fork of the worker, made by the application.
    forked: AtomicBool,
    /// A thread ended by an error.
    failed: AtomicBool,
    /// The request because of which this worker is being replaced.
    stuck: Mutex<Option<Stuck>>,
    /// New connections are left to others while every thread is busy.
    shares_listeners: bool,
    siblings: Option<siblings::Siblings>,
    post: notices::Post,
    farewell: farewell::Farewell,
    orphanhood: orphan::Orphanhood,
    readiness: readiness::Readiness,
    memory: memory::MemoryLimit,
    /// What lets greenlets wait, where requests run in some.
    hub: OnceLock<&'static Hub>,
    pub(crate) always: Always,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under a lock is caught at the border to Python; the state stays usable, each step leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    /// Makes the engine and everything around it. After the fork, with the application loaded.
    pub(crate) fn new(setup: Setup) -> io::Result<Self> {
        let poller = Poller::new()?;
        let board = setup.board;
        let mut engine = Engine::shown_on(board, &poller, setup.options, setup.access)?;
        board.set(Count::Threads, setup.threads as u64);
        for listener in setup.listeners {
            engine.listen(listener.fd)?;
        }
        let signal_watch = engine.watch(setup.signals.as_fd().try_clone_to_owned()?)?;
        let channel_watch = engine.watch(setup.channel.as_fd().try_clone_to_owned()?)?;
        let bell = setup.bell.as_ref().filter(|_| setup.threads == 1);
        let bell = bell.map(|bell| bell.as_fd().try_clone_to_owned());
        let bell_watch = bell.transpose()?.map(|bell| engine.watch(bell));
        let bell_watch = bell_watch.transpose()?;
        Ok(Self {
            waker: poller.waker(),
            engine: Mutex::new(engine),
            poller: Mutex::new(poller),
            seat: Mutex::new(Seat::default()),
            followers: Condvar::new(),
            steward: Condvar::new(),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stopped: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            channel: setup.channel,
            signals: setup.signals,
            signal_watch,
            channel_watch,
            bell: setup.bell,
            bell_watch,
            board,
            threads: setup.threads,
            capacity: setup.capacity,
            grace: setup.grace,
            orphaned: AtomicBool::new(false),
            forked: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            stuck: Mutex::new(None),
            shares_listeners: setup.siblings,
            siblings: setup
                .floor
                .map(|(floor, own)| siblings::Siblings::new(floor, own)),
            post: notices::Post::default(),
            farewell: farewell::Farewell::default(),
            orphanhood: orphan::Orphanhood::new(
                setup.meeting_place,
                setup.orphan_timeout,
                setup.boot_timeout,
            ),
            readiness: readiness::Readiness::default(),
            memory: memory::MemoryLimit::new(setup.memory),
            hub: OnceLock::new(),
            always: setup.always,
        })
    }

    /// The engine, for a moment: never across a call into Python.
    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }

    /// Whether connections end with their response. While they are given away they go on elsewhere.
    pub(crate) fn ends_connections(&self) -> bool {
        self.draining.load(Ordering::Relaxed) && !self.post.gives()
    }

    /// Called in the child of a fork that the application made: it must not serve.
    pub(crate) fn forked(&self) {
        self.forked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forked.load(Ordering::Relaxed)
    }

    /// Whether a thread ended by an error of ours.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// How many requests were handed to the application.
    pub(crate) fn requests(&self) -> u64 {
        self.board.number(Count::Requests)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Does something to the engine from inside the application, and wakes who waits for events if it left work that no
    /// event will announce.
    pub(crate) fn with_engine<T>(&self, work: impl FnOnce(&mut Engine) -> T) -> T {
        let (result, pending) = {
            let mut engine = self.engine();
            let result = work(&mut engine);
            (result, engine.needs_turn())
        };
        if pending && lock(&self.seat).holder.is_some() {
            self.wake();
        }
        result
    }

    /// The life of one application thread: returns when the crew stops. A thread less for ever is worse than a new worker:
    /// if this one ends by an error of ours, the crew stops.
    pub(crate) fn lead<O: Observer>(
        &self,
        py: Python<'_>,
        gateway: &mut Gateway<O>,
    ) -> PyResult<()> {
        let guard = StopOnFailure {
            crew: self,
            failed: true,
        };
        let mut returns = false;
        while let Some(exchange) = self.next(py, returns)? {
            gateway.serve(py, exchange)?;
            self.watch_memory();
            returns = true;
        }
        guard.dismiss();
        Ok(())
    }

    /// The next request for this thread. `returns`: it comes out of the application.
    fn next(&self, py: Python<'_>, mut returns: bool) -> PyResult<Option<Box<Exchange>>> {
        loop {
            match self.claim(py, std::mem::take(&mut returns)) {
                Claim::Stop => return Ok(None),
                Claim::Exchange(exchange) => {
                    self.engine().release(&exchange, Now::read());
                    return Ok(Some(exchange));
                }
                Claim::Seat { alone } => match self.lead_until_exchange(py, alone) {
                    Ok(Led::Exchange(exchange)) => {
                        self.leave_seat(true);
                        return Ok(Some(exchange));
                    }
                    Ok(Led::Stop) => self.leave_seat(false),
                    // A signal may have ended the wait: the main thread runs Python's handlers here.
                    Ok(Led::Aside) => py.check_signals()?,
                    Err(error) => {
                        self.leave_seat(false);
                        return Err(error);
                    }
                },
            }
        }
    }

    /// Waits for something to do, without the interpreter lock.
    fn claim(&self, py: Python<'_>, mut returns: bool) -> Claim {
        loop {
            {
                let mut seat = lock(&self.seat);
                if std::mem::take(&mut returns) {
                    seat.inside -= 1;
                    self.board.set(Count::Busy, seat.inside as u64);
                }
                if self.is_stopping() {
                    return Claim::Stop;
                }
                if let Some(exchange) = seat.backlog.pop_front() {
                    self.board.set(Count::Backlog, seat.backlog.len() as u64);
                    self.relieve(&mut seat);
                    self.enter(&mut seat);
                    return Claim::Exchange(exchange);
                }
                match seat.holder {
                    None => {
                        self.relieve(&mut seat);
                        seat.holder = Some(Holder::Thread);
                        let alone = seat.inside == 0;
                        return Claim::Seat { alone };
                    }
                    Some(Holder::Steward) => seat.wanted = true,
                    Some(Holder::Thread) => {}
                }
                seat.parked += 1;
            }
            py.detach(|| {
                self.hand_over();
                self.park();
            });
            lock(&self.seat).armed = false;
        }
    }

    /// Somebody else has the seat, and may be waiting: the access log is not left to them, and the steward is told to go.
    fn hand_over(&self) {
        if let Some(access) = self.engine().access_log() {
            access.flush();
        }
        if lock(&self.seat).wanted {
            self.wake();
        }
    }

    fn park(&self) {
        let mut seat = lock(&self.seat);
        while seat.tickets == 0 && !self.is_stopping() {
            seat = self
                .followers
                .wait(seat)
                .unwrap_or_else(PoisonError::into_inner);
        }
        seat.tickets = seat.tickets.saturating_sub(1);
        seat.parked -= 1;
    }

    /// Leaves the seat, to enter the application or because all is over; sees to it that somebody else leads when needed.
    fn leave_seat(&self, enters: bool) {
        let mut seat = lock(&self.seat);
        seat.holder = None;
        if enters {
            self.enter(&mut seat);
        }
    }

    /// A thread enters the application. Unless somebody leads, one who waits is told to, and the steward watches.
    fn enter(&self, seat: &mut Seat) {
        seat.inside += 1;
        self.board.set(Count::Busy, seat.inside as u64);
        seat.entries += 1;
        if seat.holder.is_none() && seat.parked > 0 && !seat.armed {
            seat.armed = true;
            self.give_ticket(seat);
        }
        self.call_steward(seat);
    }

    /// The steward looks whether the seat stays empty.
    fn call_steward(&self, seat: &mut Seat) {
        if std::mem::take(&mut seat.steward_asleep) {
            self.steward.notify_one();
        }
    }

    fn give_ticket(&self, seat: &mut Seat) {
        seat.tickets += 1;
        self.followers.notify_one();
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!(target: "oxicorn", "The worker cannot wake its leader: {error}");
        }
    }

    /// Parks the main thread where signals reach it, until the crew stops.
    pub(crate) fn watch(&self, py: Python<'_>) -> PyResult<()> {
        while !self.is_stopping() {
            py.detach(|| {
                let stopped = PollFd::new(&self.stopped, PollFlags::IN);
                let bell = self.bell.iter().map(|it| PollFd::new(it, PollFlags::IN));
                let mut fds: Vec<_> = bell.chain([stopped]).collect();
                // Interrupted or not: the loop looks again.
                let _ = poll(&mut fds, None);
                self.bell.iter().for_each(Bell::silence);
            });
            py.check_signals()?;
        }
        Ok(())
    }
}

/// Stops the crew when a thread ends otherwise than by returning: by an error, or by a panic that passes through.
struct StopOnFailure<'c> {
    crew: &'c Crew,
    failed: bool,
}

impl StopOnFailure<'_> {
    fn dismiss(mut self) {
        self.failed = false;
    }
}

impl Drop for StopOnFailure<'_> {
    fn drop(&mut self) {
        if self.failed {
            self.crew.failed.store(true, Ordering::Relaxed);
            self.crew.stop();
        }
    }
}
