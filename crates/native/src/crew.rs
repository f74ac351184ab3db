//! The driver `threads`: leader and followers over one engine. The *leader* waits for the network and, when a request is
//! complete, leaves the seat and calls the application on its own thread. A *follower* is armed before that: it queues for
//! the interpreter lock and so leads as soon as the application blocks. When every thread is inside the application, the
//! *steward*, a native thread that never runs Python, keeps the engine going. Serves `sync` (one thread) and `gthread`.
//!
//! Invariants: at most one thread has the seat, and only it turns the engine; no lock is held while waiting for the network
//! or for the interpreter; nothing wakes up while nothing happens.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oxicorn_arbiter::channel::{Command, WorkerChannel};
use oxicorn_arbiter::sys::signals::SignalPipe;
use oxicorn_arbiter::{Listener, Signal};
use oxicorn_engine::{Engine, Exchange, Notice, Now, Options, Poller, Stuck, Turn, Waker, WatchId};
use oxicorn_logs::AccessLog;
use pyo3::prelude::*;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::ffi;
use crate::wsgi::Gateway;

/// How long the seat may be empty before the steward takes it.
const TICK: Duration = Duration::from_millis(5);

/// How long new connections are left to other workers while every thread here is busy.
const PATIENCE: Duration = Duration::from_millis(100);

/// Milliseconds the leader may keep the interpreter lock from threads inside the application, as `sys.getswitchinterval`.
const SWITCH: u64 = 5;

/// Who turns the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Thread,
    Steward,
}

/// Who leads, who waits, who works.
#[derive(Debug, Default)]
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
    /// Complete requests that no thread was free for.
    backlog: VecDeque<Box<Exchange>>,
}

/// What a thread without work got.
enum Claim {
    Seat,
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
    /// Whether other workers accept from the same listeners.
    pub(crate) siblings: bool,
    /// Application threads.
    pub(crate) threads: usize,
    /// How long a drain may take (`graceful_timeout`).
    pub(crate) grace: Duration,
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
    threads: usize,
    grace: Duration,
    /// The arbiter is gone.
    orphaned: AtomicBool,
    /// This process is a fork of the worker, made by the application.
    forked: AtomicBool,
    /// A thread ended by an error.
    failed: AtomicBool,
    /// The request because of which this worker is being replaced.
    stuck: Mutex<Option<Stuck>>,
    siblings: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under a lock is caught at the border to Python; the state stays usable, each step leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    /// Makes the engine and everything around it. After the fork, with the application loaded.
    pub(crate) fn new(setup: Setup) -> io::Result<Self> {
        let poller = Poller::new()?;
        let mut engine = Engine::new(&poller, setup.options, setup.access)?;
        for listener in setup.listeners {
            engine.listen(listener.fd)?;
        }
        let signal_watch = engine.watch(setup.signals.as_fd().try_clone_to_owned()?)?;
        let channel_watch = engine.watch(setup.channel.as_fd().try_clone_to_owned()?)?;
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
            threads: setup.threads,
            grace: setup.grace,
            orphaned: AtomicBool::new(false),
            forked: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            stuck: Mutex::new(None),
            siblings: setup.siblings,
        })
    }

    /// The engine, for a moment: never across a call into Python.
    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
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

    fn is_stopping(&self) -> bool {
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

    /// The arbiter's channel.
    pub(crate) fn channel(&self) -> &WorkerChannel {
        &self.channel
    }

    /// The life of one application thread: returns when the crew stops. A thread less for ever is worse than a new worker:
    /// if this one ends by an error of ours, the crew stops.
    pub(crate) fn lead(&self, py: Python<'_>, gateway: &mut Gateway) -> PyResult<()> {
        let guard = StopOnFailure {
            crew: self,
            failed: true,
        };
        let mut returns = false;
        while let Some(exchange) = self.next(py, returns)? {
            gateway.serve(py, exchange)?;
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
                Claim::Seat => {
                    let found = self.turn_until_exchange(py);
                    self.leave_seat(found.as_ref().is_ok_and(Option::is_some));
                    if let Some(exchange) = found? {
                        return Ok(Some(exchange));
                    }
                }
            }
        }
    }

    /// Waits for something to do, without the interpreter lock.
    fn claim(&self, py: Python<'_>, mut returns: bool) -> Claim {
        loop {
            {
                let mut seat = lock(&self.seat);
                seat.inside -= usize::from(std::mem::take(&mut returns));
                if self.is_stopping() {
                    return Claim::Stop;
                }
                if let Some(exchange) = seat.backlog.pop_front() {
                    self.enter(&mut seat);
                    return Claim::Exchange(exchange);
                }
                match seat.holder {
                    None => {
                        seat.holder = Some(Holder::Thread);
                        return Claim::Seat;
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
        seat.entries += 1;
        if seat.holder.is_none() && seat.parked > 0 && !seat.armed {
            seat.armed = true;
            self.give_ticket(seat);
        }
        if seat.steward_asleep {
            seat.steward_asleep = false;
            self.steward.notify_one();
        }
    }

    fn give_ticket(&self, seat: &mut Seat) {
        seat.tickets += 1;
        self.followers.notify_one();
    }

    fn turn_until_exchange(&self, py: Python<'_>) -> PyResult<Option<Box<Exchange>>> {
        let mut attached = Now::read().mono;
        loop {
            let now = Now::read();
            let turn = self.engine().turn(now);
            match turn {
                Turn::Exchange(exchange) => return Ok(Some(exchange)),
                Turn::Notice(notice) => self.on_notice(notice),
                Turn::Idle { .. } if self.is_stopping() => return Ok(None),
                Turn::Idle { again } => {
                    if self.wait(py, again)? {
                        attached = Now::read().mono;
                    } else if now.mono >= attached + SWITCH {
                        // Native code never looks whether another thread wants the interpreter lock.
                        py.detach(|| ());
                        attached = now.mono;
                    }
                }
            }
        }
    }

    /// Waits for events: first without letting go of the interpreter lock, for under load there are some already. Whether
    /// it let go.
    fn wait(&self, py: Python<'_>, again: bool) -> PyResult<bool> {
        let mut poller = lock(&self.poller);
        let mut found = poller.wait(Some(Duration::ZERO))?;
        let waits = found == 0 && !again;
        if waits {
            let poller: &mut Poller = &mut poller;
            found = py.detach(|| poller.wait(None))?;
        }
        self.engine().feed(&mut poller);
        drop(poller);
        if found == 0 {
            // A signal may have ended the wait: the main thread runs Python's handlers here.
            py.check_signals()?;
        }
        Ok(waits)
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!(target: "oxicorn", "The worker cannot wake its leader: {error}");
        }
    }

    /// The steward's life; runs on a native thread of its own. While requests come and go it looks once a tick; when a tick
    /// passes without any it sleeps until a thread enters the application.
    pub(crate) fn keep_house(&self) {
        let mut seat = lock(&self.seat);
        while !self.is_stopping() {
            let entries = seat.entries;
            (seat, _) = self
                .steward
                .wait_timeout(seat, TICK)
                .unwrap_or_else(PoisonError::into_inner);
            if seat.entries != entries {
                continue;
            }
            if seat.inside > 0 && seat.holder.is_none() {
                seat.holder = Some(Holder::Steward);
                drop(seat);
                self.stand_in();
                seat = lock(&self.seat);
                seat.holder = None;
                seat.wanted = false;
                if seat.parked > 0 {
                    self.give_ticket(&mut seat);
                }
                continue;
            }
            seat.steward_asleep = true;
            while seat.steward_asleep && !self.is_stopping() {
                seat = self
                    .steward
                    .wait(seat)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Leads without Python until a thread wants the seat. Requests that become complete meanwhile wait; new connections
    /// stay in the listeners' queues, if another worker can take them there.
    fn stand_in(&self) {
        self.engine().set_accepting(!self.siblings);
        let (mut since, mut entries) = (Instant::now(), lock(&self.seat).entries);
        while !self.is_stopping() && !lock(&self.seat).wanted {
            // Who still waits outside after this while was left there by the other workers too, and our threads do come back.
            let open = since.elapsed() > PATIENCE && lock(&self.seat).entries != entries;
            if open {
                self.engine().set_accepting(true);
            }
            let turn = self.engine().turn(Now::read());
            match turn {
                Turn::Exchange(exchange) => self.put_off(exchange),
                Turn::Notice(notice) => self.on_notice(notice),
                Turn::Idle { again } => {
                    if open {
                        self.engine().set_accepting(!self.siblings);
                        (since, entries) = (Instant::now(), lock(&self.seat).entries);
                    }
                    if !self.wait_without_python(again) {
                        break;
                    }
                }
            }
        }
        self.engine().set_accepting(true);
    }

    fn wait_without_python(&self, again: bool) -> bool {
        let mut poller = lock(&self.poller);
        if let Err(error) = poller.wait(again.then_some(Duration::ZERO)) {
            log::error!(target: "oxicorn", "Waiting for events failed: {error}");
            return false;
        }
        self.engine().feed(&mut poller);
        true
    }

    fn put_off(&self, exchange: Box<Exchange>) {
        self.engine().hold(&exchange);
        let mut seat = lock(&self.seat);
        seat.backlog.push_back(exchange);
        if seat.parked > 0 {
            self.give_ticket(&mut seat);
        }
    }

    fn on_notice(&self, notice: Notice) {
        match notice {
            Notice::Stuck(stuck) => self.report_stuck(stuck),
            Notice::Watched(id) if id == self.signal_watch => {
                self.signals
                    .received()
                    .into_iter()
                    .for_each(|signal| self.on_signal(signal));
            }
            Notice::Watched(id) if id == self.channel_watch => self.on_channel(),
            Notice::Watched(_) => self.end_of_grace(),
            Notice::Worn => {
                log::info!(target: "oxicorn", "Autorestarting worker after current request.");
                tell("retiring", self.channel.retiring());
            }
            Notice::Drained => self.stop(),
        }
    }

    /// A request takes too long. While other threads serve, to end the worker would end their requests too: then a
    /// successor is asked for, and this worker has `graceful_timeout` to come clean. When no thread can lead any more, the
    /// worker hangs, and the arbiter ends it at once.
    fn report_stuck(&self, stuck: Stuck) {
        let hangs =
            stuck.together >= self.threads || lock(&self.seat).holder == Some(Holder::Steward);
        if hangs {
            return self.give_up_on(&stuck);
        }
        log::warn!(
            target: "oxicorn",
            "\"{}\" from {} has been running for {} s; the other threads still serve, the worker will be replaced",
            stuck.line, stuck.peer, stuck.age / 1000
        );
        if lock(&self.stuck).replace(stuck).is_none() {
            tell("retiring", self.channel.retiring());
            self.light_fuse();
        }
    }

    fn give_up_on(&self, stuck: &Stuck) {
        if self.orphaned.load(Ordering::Relaxed) {
            log::error!(target: "oxicorn", "\"{}\" hangs and there is no arbiter: the worker ends", stuck.line);
            ffi::exit_now(1);
        }
        let age = Duration::from_millis(stuck.age);
        tell("stuck", self.channel.stuck(&stuck.line, &stuck.peer, age));
    }

    fn on_signal(&self, signal: Signal) {
        match signal {
            Signal::Term => {
                tell("draining", self.channel.draining());
                self.drain();
            }
            Signal::Int | Signal::Quit => self.quit(),
            Signal::Usr1 => oxicorn_logs::reopen_all(),
            _ => {}
        }
    }

    fn on_channel(&self) {
        match self.channel.received() {
            Some(Command::Drain) => self.drain(),
            Some(Command::Orphaned) if !self.orphaned.swap(true, Ordering::Relaxed) => {
                log::warn!(target: "oxicorn", "Parent changed, shutting down: the arbiter is gone");
                self.light_fuse();
                self.drain();
            }
            Some(Command::Orphaned) | None => {}
        }
    }

    /// From here on the worker has `graceful_timeout` left.
    fn light_fuse(&self) {
        let lit = fuse(self.grace).and_then(|timer| self.engine().watch(timer));
        if let Err(error) = lit {
            log::error!(target: "oxicorn", "No timer for the shutdown: {error}");
        }
    }

    fn end_of_grace(&self) {
        if self.orphaned.load(Ordering::Relaxed) {
            log::warn!(target: "oxicorn", "Worker graceful timeout (pid: {}), requests were cut", std::process::id());
            ffi::exit_now(0);
        }
        let stuck = lock(&self.stuck).take();
        if let Some(stuck) = stuck.filter(|_| self.engine().has_stuck()) {
            let age = stuck.age + u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
            self.give_up_on(&Stuck { age, ..stuck });
        }
    }

    /// Graceful stop: the crew stops when the last connection is gone.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        let free = lock(&self.seat).inside < self.threads;
        self.engine().drain(free, Now::read());
        self.wake();
    }

    /// Quick stop. A request inside the application cannot be interrupted; then the process ends under it.
    fn quit(&self) {
        if lock(&self.seat).inside > 0 {
            if let Some(access) = self.engine().access_log() {
                access.flush();
            }
            log::info!(target: "oxicorn", "Worker exiting (pid: {}), requests were cut", std::process::id());
            ffi::exit_now(0);
        }
        self.stop();
    }

    /// Every thread leaves.
    pub(crate) fn stop(&self) {
        if let Some(access) = self.engine().access_log() {
            access.flush();
        }
        let seat = lock(&self.seat);
        self.stopping.store(true, Ordering::Release);
        drop(seat);
        self.followers.notify_all();
        self.steward.notify_all();
        self.wake();
        // The counter cannot overflow by ones.
        let _ = rustix::io::write(&self.stopped, &1u64.to_ne_bytes());
    }

    /// Parks the main thread where signals reach it, until the crew stops.
    pub(crate) fn watch(&self, py: Python<'_>) -> PyResult<()> {
        while !self.is_stopping() {
            py.detach(|| {
                let mut fds = [PollFd::new(&self.stopped, PollFlags::IN)];
                // Interrupted or not: the loop looks again.
                let _ = poll(&mut fds, None);
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

/// A timer that fires once, after `delay`.
fn fuse(delay: Duration) -> io::Result<OwnedFd> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // Zero would disarm it.
    let value = Timespec::try_from(delay.max(Duration::from_millis(1))).unwrap_or(zero);
    let spec = Itimerspec {
        it_interval: zero,
        it_value: value,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
    Ok(timer)
}

/// A report that does not arrive changes nothing here; the arbiter has its own deadlines.
fn tell(what: &str, told: io::Result<()>) {
    if let Err(error) = told {
        log::warn!(target: "oxicorn", "The arbiter could not be told '{what}': {error}");
    }
}

/// Starts the steward of `crew`.
pub(crate) fn start_steward(crew: Arc<Crew>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("oxicorn-steward".to_owned());
    thread.spawn(move || crew.keep_house()).map(drop)
}
