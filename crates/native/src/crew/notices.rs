//! What reaches a crew besides requests: signals, the arbiter's commands, requests that do not come back; and how the crew
//! ends. None of it needs the interpreter, so it works while the application holds it. Invariant: an end is never undone,
//! and every step towards it may be taken twice.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use oxicorn_arbiter::Signal;
use oxicorn_arbiter::channel::Command;
use oxicorn_engine::{Notice, Now, Stuck, WatchId};
use rustix::event::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::{Bell, Crew, lock};
use crate::relay;

/// How long before the end of `graceful_timeout` the requests are named that do not survive it, at the most.
const LAST_CALL: Duration = Duration::from_millis(200);

/// WebSockets are closed within `graceful_timeout` divided by this, when the worker is about to leave.
const RECALL_SHARE: u32 = 10;

/// What the arbiter wants of this worker at the moment.
#[derive(Debug, Default)]
pub(super) struct Post {
    /// Accepts connections.
    pub(super) serves: AtomicBool,
    /// Gives its connections to another worker.
    pub(super) gives: AtomicBool,
    /// What still runs is about to be cut.
    cuts: AtomicBool,
    /// The timer that fires when what still runs is about to be cut.
    last_call: OnceLock<WatchId>,
    /// The timers with which `graceful_timeout` ends where no arbiter sees to it.
    fuses: Mutex<Vec<WatchId>>,
    /// To whom it will give when it has stopped giving to somebody else.
    pub(super) next: Mutex<Option<OwnedFd>>,
}

impl Post {
    pub(super) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    pub(super) fn gives(&self) -> bool {
        self.gives.load(Ordering::Relaxed)
    }

    pub(super) fn cuts(&self) -> bool {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Crew {
    pub(crate) fn on_notice(&self, notice: Notice) {
        match notice {
            Notice::Stuck(stuck) => self.report_stuck(stuck),
            Notice::Watched(id) if id == self.signal_watch => {
                self.signals
                    .received()
                    .into_iter()
                    .for_each(|signal| self.on_signal(signal));
            }
            Notice::Watched(id) if id == self.channel_watch => self.on_channel(),
            Notice::Watched(id) if Some(id) == self.bell_watch => {
                self.bell.iter().for_each(Bell::silence);
            }
            Notice::Watched(id) if self.post.last_call.get() == Some(&id) => {
                self.post.cuts.store(true, Ordering::Relaxed);
                self.log_cut_requests();
            }
            Notice::Watched(id) if lock(&self.post.fuses).contains(&id) => self.end_of_grace(),
            Notice::Watched(id) => self.on_orphan_watch(id),
            Notice::Worn => {
                log::info!(target: "oxicorn", "Autorestarting worker after current request.");
                tell("retiring", self.channel.retiring());
            }
            Notice::Drained => self.stop(),
            Notice::Handover(news) => self.on_handover(&news),
            // Of asynchronous applications, whose driver looks at them first.
            Notice::Progress(_) | Notice::Overdue(_) => {}
        }
    }

    /// A request takes too long. While other requests may still come to an end, to end the worker would cut them too: then a
    /// successor is asked for, and this worker has `graceful_timeout` to come clean. When nothing else is left in it, and no
    /// thread can lead any more, the worker hangs, and the arbiter ends it at once.
    fn report_stuck(&self, stuck: Stuck) {
        if self.is_booting() {
            // `boot_timeout` is for the ready check as well.
            return;
        }
        if stuck.together >= self.threads || self.hangs_beside(stuck.together) {
            return self.give_up_on(&stuck);
        }
        let then = if self.orphaned.load(Ordering::Relaxed) {
            "there is no arbiter: the worker ends if this goes on"
        } else {
            "the worker will be replaced"
        };
        log::warn!(
            target: "oxicorn",
            "\"{}\" from {} has been running for {} s; others go on beside it, {then}",
            stuck.line, stuck.peer, stuck.age / 1000
        );
        if lock(&self.stuck).replace(stuck).is_none() {
            tell("retiring", self.channel.retiring());
            self.light_fuse();
        }
    }

    pub(super) fn give_up_on(&self, stuck: &Stuck) {
        let age = Duration::from_millis(stuck.age);
        let told = self.channel.stuck(&stuck.line, &stuck.peer, age);
        // A loop that hangs has not heard that the arbiter is gone.
        if self.orphaned.load(Ordering::Relaxed) || told.as_ref().is_err_and(is_parting) {
            log::error!(target: "oxicorn", "\"{}\" hangs and there is no arbiter: the worker ends", stuck.line);
            return self.part(1);
        }
        if told.is_ok() {
            self.abstain();
        }
        tell("stuck", told);
    }

    fn on_signal(&self, signal: Signal) {
        match signal {
            Signal::Term => {
                // What the arbiter said before it sent the signal comes before it.
                self.on_channel();
                self.leave();
            }
            Signal::Int | Signal::Quit => self.quit(),
            Signal::Usr1 => {
                oxicorn_logs::reopen_all();
                relay::reopen();
            }
            _ => {}
        }
    }

    /// Every command that has come: the descriptor does not tell twice.
    fn on_channel(&self) {
        while let Some(command) = self.channel.received() {
            match command {
                Command::Serve => self.serve(),
                Command::Park => self.stand_by(),
                Command::Give(to) => self.give_connections(to),
                Command::Share { to, most } => self.share_connections(to, most),
                Command::Take(from) => self.take_connections(from),
                Command::Drain => self.drain(),
                Command::Orphaned => return self.orphaned(),
            }
        }
    }

    /// Accepts connections from now on, and keeps those that are here.
    pub(super) fn serve(&self) {
        self.post.serves.store(true, Ordering::Relaxed);
        self.renew_stall();
        *lock(&self.post.next) = None;
        let mut engine = self.engine();
        engine.stop_giving(Now::read());
        engine.stop_recall();
        engine.set_accepting(true);
    }

    /// Accepts none until told to serve. Those that are here go on.
    pub(crate) fn stand_by(&self) {
        self.renew_stall();
        self.post.serves.store(false, Ordering::Relaxed);
        self.engine().set_accepting(false);
    }

    /// Whether the arbiter wants it to accept connections, and to keep them.
    pub(super) fn serves(&self) -> bool {
        self.post.serves.load(Ordering::Relaxed) && !self.draining.load(Ordering::Relaxed)
    }

    /// The arbiter is about to end this worker; if a thread comes back before that, it says so. Who comes now waits for
    /// another worker, however long the stacks and the hooks take.
    fn abstain(&self) {
        self.post.serves.store(false, Ordering::Relaxed);
        self.engine().set_accepting(false);
    }

    /// For whoever has the seat: accepts if it is good for the crew and the arbiter wants it.
    pub(super) fn accept_if(&self, good: bool) {
        let accepts = good && self.post.serves.load(Ordering::Relaxed);
        self.engine().set_accepting(accepts);
    }

    /// The arbiter kills this process at the end of `graceful_timeout`, so what is to be said is said shortly before.
    fn arm_last_call(&self) {
        let delay = self.grace.saturating_sub(LAST_CALL.min(self.grace / 10));
        let armed = fuse(delay).and_then(|timer| self.engine().watch(timer));
        match armed {
            // Only who began the drain comes here.
            Ok(id) => _ = self.post.last_call.set(id),
            Err(error) => log::error!(target: "oxicorn", "No timer for the shutdown: {error}"),
        }
    }

    pub(super) fn log_cut_requests(&self) {
        let running = self.engine().running(Now::read());
        for request in running {
            log::warn!(
                target: "oxicorn",
                "Request cut (pid: {}): \"{}\" from {} after {} s",
                std::process::id(), request.line, request.peer, Duration::from_millis(request.age).as_secs_f32()
            );
        }
    }

    /// From here on the worker has `graceful_timeout` left.
    pub(super) fn light_fuse(&self) {
        let lit = fuse(self.grace).and_then(|timer| self.engine().watch(timer));
        match lit {
            Ok(id) => lock(&self.post.fuses).push(id),
            Err(error) => log::error!(target: "oxicorn", "No timer for the shutdown: {error}"),
        }
    }

    fn end_of_grace(&self) {
        let leaves = self.draining.load(Ordering::Relaxed);
        if leaves && self.orphaned.load(Ordering::Relaxed) {
            log::warn!(target: "oxicorn", "Worker graceful timeout (pid: {}), requests were cut", std::process::id());
            return self.part(0);
        }
        let stuck = lock(&self.stuck).take();
        if let Some(stuck) = stuck.filter(|_| self.engine().has_stuck()) {
            let age = stuck.age + u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
            self.give_up_on(&Stuck { age, ..stuck });
        }
    }

    /// Graceful stop of our own accord: the arbiter replaces the worker at once.
    pub(crate) fn leave(&self) {
        tell("draining", self.channel.draining());
        if self.orphaned.load(Ordering::Relaxed) {
            self.light_fuse();
        }
        self.drain();
    }

    /// Graceful stop: the crew stops when the last connection is gone.
    pub(crate) fn drain(&self) {
        if !self.draining.swap(true, Ordering::Relaxed) {
            self.arm_last_call();
            self.close_door();
        }
        // What a worker that does not serve leaves in the queues is for others.
        let serves = self.post.serves();
        let free = lock(&self.seat).inside < self.capacity;
        self.engine().drain(free && serves, Now::read());
        self.recall_websockets();
        self.wake();
    }

    /// WebSockets cannot move. Their clients come back elsewhere, one after the other.
    pub(super) fn recall_websockets(&self) {
        let window = self.grace / RECALL_SHARE;
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        self.engine().recall(window, Now::read());
    }

    /// Quick stop. A request inside the application cannot be interrupted; then the process ends under it. The clients of
    /// WebSockets are told.
    fn quit(&self) {
        self.interrupted();
        if lock(&self.seat).inside > 0 {
            if let Some(access) = self.engine().access_log() {
                access.flush();
            }
            self.engine().recall(0, Now::read());
            self.log_cut_requests();
            log::info!(target: "oxicorn", "Worker exiting (pid: {}), requests were cut", std::process::id());
            return self.part(0);
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
}

/// A timer that fires once, after `delay`.
pub(super) fn fuse(delay: Duration) -> io::Result<OwnedFd> {
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

/// Whether the arbiter is gone. (`ECONNRESET`: with reports that it has not read.)
fn is_parting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// A report that does not arrive changes nothing here; the arbiter has its own deadlines.
pub(super) fn tell(what: &str, told: io::Result<()>) {
    if let Err(error) = told {
        // That there is none is said elsewhere.
        let level = if is_parting(&error) {
            log::Level::Debug
        } else {
            log::Level::Warn
        };
        log::log!(target: "oxicorn", level, "The arbiter could not be told '{what}': {error}");
    }
}
