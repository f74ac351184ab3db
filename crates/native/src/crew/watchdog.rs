//! Whether the loop of a [looped](super::looped) crew still runs. While requests are inside the application, a native thread
//! asks the loop for a sign of life now and then; a loop that gives none for `timeout` hangs, and the arbiter is told.
//! Invariant: nothing wakes up while no request is inside.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oxicorn_engine::{Now, Stuck};

use super::Crew;

/// How often the loop is asked in the time that it may be silent.
const QUESTIONS: u32 = 4;

/// What the loop's thread and the watchdog share.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    /// Requests inside the application, what they go on doing behind their response included.
    inside: AtomicUsize,
    /// When the loop last gave a sign of life, monotonic milliseconds.
    alive: AtomicU64,
    /// It waits for a request. Set before it looks whether there is one, read after one was counted.
    asleep: AtomicBool,
    over: Mutex<bool>,
    called: Condvar,
}

impl Watchdog {
    fn over(&self) -> MutexGuard<'_, bool> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop runs.
    pub(crate) fn beat(&self) {
        self.alive.store(Now::read().mono, Ordering::Relaxed);
    }

    /// How many requests are inside the application.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    /// One has left it. Whether it was the last one.
    pub(crate) fn leave(&self) -> bool {
        self.inside.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// A request enters the application.
    pub(crate) fn enter(&self) {
        self.inside.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            // Whoever is about to wait holds the lock.
            drop(self.over());
            self.called.notify_one();
        }
    }

    /// The loop is about to end.
    pub(crate) fn stop(&self) {
        *self.over() = true;
        self.called.notify_one();
    }

    /// Sleeps while `idle`. Whether there is something to watch.
    fn sleep(&self, idle: impl Fn() -> bool) -> bool {
        let mut over = self.over();
        self.asleep.store(true, Ordering::SeqCst);
        if !idle() {
            self.asleep.store(false, Ordering::SeqCst);
        }
        while self.asleep.load(Ordering::SeqCst) && !*over {
            over = self
                .called
                .wait(over)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !*over
    }

    /// Lets `time` pass. Whether there is still something to watch.
    fn pass(&self, time: Duration) -> bool {
        let (over, _) = self
            .called
            .wait_timeout_while(self.over(), time, |over| !*over)
            .unwrap_or_else(PoisonError::into_inner);
        !*over
    }
}

/// Starts the thread, for a loop that may be silent for `timeout`; zero is for ever.
pub(crate) fn start(
    crew: &'static Crew,
    watchdog: &'static Watchdog,
    timeout: Duration,
) -> std::io::Result<()> {
    watchdog.beat();
    if timeout.is_zero() {
        return Ok(());
    }
    let thread = std::thread::Builder::new().name("oxicorn-watchdog".to_owned());
    thread
        .spawn(move || watch(crew, watchdog, timeout))
        .map(drop)
}

fn watch(crew: &Crew, watchdog: &Watchdog, timeout: Duration) {
    let limit = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    while watchdog.sleep(|| watchdog.inside() == 0) {
        let asked = Now::read().mono;
        crew.call_loop();
        let mut waited = 0;
        loop {
            if !watchdog.pass(timeout / QUESTIONS) {
                return;
            }
            if watchdog.alive.load(Ordering::Relaxed) >= asked || waited >= limit {
                break;
            }
            waited = Now::read().mono.saturating_sub(asked);
        }
        if watchdog.alive.load(Ordering::Relaxed) < asked {
            report(crew, asked);
        }
    }
}

/// Names the request that has been inside for the longest time, a WebSocket only if there is no other; it may be another one
/// that does not let go.
fn report(crew: &Crew, since: u64) {
    let now = Now::read();
    let running = crew.engine().running(now);
    let together = running.len();
    let oldest = running
        .into_iter()
        .max_by_key(|request| (!request.upgraded, request.age));
    let stuck = oldest.map_or_else(
        || Stuck {
            line: "background work".to_owned(),
            peer: "-".to_owned(),
            age: now.mono.saturating_sub(since),
            together,
        },
        |request| Stuck {
            line: request.line,
            peer: request.peer,
            age: request.age,
            together,
        },
    );
    crew.report_hang(&stuck);
}
