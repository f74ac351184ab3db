//! Brings the server's messages to Python's logging, where the operator wants them. While nothing but Python waits for Python
//! (the arbiter, a worker that boots) they are brought at once. A worker that serves says things under its engine's lock,
//! and without the interpreter lock: there they wait in a queue for a thread that has nothing else to do. What cannot be
//! brought, because Python fails or never answers, is written natively. Invariant: nobody waits for the interpreter lock
//! with a lock of ours, and a message that a logger causes while it logs never comes back to it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use oxicorn_logs::{Level, Relay, print};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::ffi;

/// Messages that may wait; what comes then is written natively.
const QUEUE: usize = 10_000;

/// How long the end of a process may be held up by its messages.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same where a thread may keep the interpreter lock for ever.
const LITTLE_PATIENCE: Duration = Duration::from_millis(500);

static BRIDGE: OnceLock<Bridge> = OnceLock::new();

thread_local! {
    /// This thread is inside the logger.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// How messages get to Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    /// By whoever has them.
    Direct,
    /// By the thread.
    Queued,
    /// Not any more.
    Closed,
}

#[derive(Debug)]
struct Bridge {
    /// Has `write(level, message)` and `reopen()` (`oxicorn.compat.loggers.Writer`).
    writer: Py<PyAny>,
    /// The logger sends the numbers of requests and messages itself.
    counts: bool,
    way: AtomicU8,
    queue: Mutex<Queue>,
    /// There is something in the queue, or the thread is to leave.
    news: Condvar,
    /// The thread has brought something, or has left.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// What the thread is bringing.
    current: Option<Arc<Job>>,
    leaves: bool,
}

#[derive(Debug)]
enum Job {
    Message(Level, String),
    Reopen,
}

/// What the error log knows of the bridge.
#[derive(Debug)]
struct End;

impl Relay for End {
    fn take(&self, level: Level, message: fmt::Arguments<'_>) -> bool {
        BRIDGE
            .get()
            .is_some_and(|bridge| bridge.take(Job::Message(level, message.to_string())))
    }
}

/// Hands the server's messages of at least `level` to `writer` from now on: see [`Bridge`]. `counts`: it sends the numbers
/// of requests and messages itself. Called again, only the level changes.
#[pyfunction]
pub(crate) fn relay_logs(writer: Py<PyAny>, level: &str, counts: bool) -> PyResult<()> {
    let level = level
        .parse()
        .map_err(|problem: oxicorn_logs::UnknownLevel| {
            PyValueError::new_err(problem.to_string())
        })?;
    BRIDGE.get_or_init(|| Bridge {
        writer,
        counts,
        way: AtomicU8::new(Way::Direct as u8),
        queue: Mutex::default(),
        news: Condvar::new(),
        progress: Condvar::new(),
    });
    oxicorn_logs::relay(Arc::new(End));
    oxicorn_logs::set_level(level);
    Ok(())
}

/// Whether numbers of requests are Python's to send.
pub(crate) fn python_counts() -> bool {
    BRIDGE.get().is_some_and(|bridge| bridge.counts)
}

/// Brings a message of Python's own, behind those that wait. `false`: the error log has to take it.
pub(crate) fn deliver(py: Python<'_>, level: Level, message: &str) -> bool {
    let Some(bridge) = BRIDGE.get().filter(|_| !INSIDE.get()) else {
        return false;
    };
    bridge.drain(py);
    bridge.write(py, level, message)
}

/// After a rotation: Python's files as well.
pub(crate) fn reopen() {
    if let Some(bridge) = BRIDGE.get() {
        bridge.take(Job::Reopen);
    }
}

/// A worker is about to serve: from now on messages wait for a thread.
pub(crate) fn queue() -> std::io::Result<()> {
    let Some(bridge) = BRIDGE.get() else {
        return Ok(());
    };
    thread::Builder::new()
        .name("oxicorn-log".into())
        .spawn(|| bridge.work())?;
    bridge.go(Way::Queued);
    Ok(())
}

/// In a process that the application has forked, where the thread is not, nor the engine.
pub(crate) fn forked() {
    if let Some(bridge) = BRIDGE.get() {
        bridge.go(Way::Direct);
    }
}

/// Brings what waits; later messages are written natively. At the end of a worker.
#[pyfunction]
pub(crate) fn settle_logs(py: Python<'_>) {
    py.detach(|| settle(PATIENCE));
}

/// Ends the process at once, but for messages that wait.
pub(crate) fn exit_now(code: i32) -> ! {
    if ffi::is_attached() {
        // The thread needs the interpreter lock.
        Python::attach(|py| py.detach(|| settle(LITTLE_PATIENCE)));
    } else {
        settle(LITTLE_PATIENCE);
    }
    ffi::exit_now(code);
}

fn settle(patience: Duration) {
    if let Some(bridge) = BRIDGE.get()
        && bridge.way() == Way::Queued
    {
        bridge.go(Way::Closed);
        bridge.settle(Instant::now() + patience);
    }
}

impl Bridge {
    fn way(&self) -> Way {
        match self.way.load(Ordering::Acquire) {
            0 => Way::Direct,
            1 => Way::Queued,
            _ => Way::Closed,
        }
    }

    fn go(&self, way: Way) {
        self.way.store(way as u8, Ordering::Release);
    }

    /// Whether it was brought, or will be.
    fn take(&self, job: Job) -> bool {
        if INSIDE.get() {
            return false;
        }
        match self.way() {
            Way::Direct => Python::try_attach(|py| self.run(py, &job)).unwrap_or(false),
            Way::Queued => self.push(job),
            Way::Closed => false,
        }
    }

    fn push(&self, job: Job) -> bool {
        let mut queue = self.lock();
        if queue.jobs.len() >= QUEUE {
            return false;
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.news.notify_one();
        true
    }

    fn run(&self, py: Python<'_>, job: &Job) -> bool {
        match job {
            Job::Message(level, message) => self.write(py, *level, message),
            Job::Reopen => call(|| self.writer.call_method0(py, "reopen")),
        }
    }

    fn write(&self, py: Python<'_>, level: Level, message: &str) -> bool {
        let name = level.name().to_ascii_lowercase();
        call(|| self.writer.call_method1(py, "write", (name, message)))
    }

    /// Brings what waits. A process that was forked may have the lock for ever.
    fn drain(&self, py: Python<'_>) {
        while let Some(job) = self.next() {
            self.bring(py, &job);
        }
    }

    fn bring(&self, py: Python<'_>, job: &Job) {
        if !self.run(py, job) {
            write_natively(job);
        }
    }

    fn next(&self) -> Option<Job> {
        match self.queue.try_lock() {
            Ok(mut queue) => queue.jobs.pop_front(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().jobs.pop_front(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of the thread.
    fn work(&self) {
        while let Some(job) = self.await_job() {
            if Python::try_attach(|py| self.bring(py, &job)).is_none() {
                write_natively(&job);
            }
            self.lock().current = None;
            self.progress.notify_all();
        }
    }

    fn await_job(&self) -> Option<Arc<Job>> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                let job = Arc::new(job);
                queue.current = Some(job.clone());
                return Some(job);
            }
            if queue.leaves {
                return None;
            }
            queue = self
                .news
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the thread until `end`, then writes what is left.
    fn settle(&self, end: Instant) {
        let mut queue = self.lock();
        queue.leaves = true;
        self.news.notify_all();
        while queue.current.is_some() || !queue.jobs.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.progress.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let (current, rest) = (queue.current.take(), std::mem::take(&mut queue.jobs));
        drop(queue);
        let left = current.as_deref().into_iter().chain(&rest);
        left.for_each(write_natively);
    }
}

/// Calls the logger. Whether it has not failed.
fn call(call: impl FnOnce() -> PyResult<Py<PyAny>>) -> bool {
    INSIDE.set(true);
    let called = call();
    INSIDE.set(false);
    if let Err(error) = &called {
        print(
            Level::Error,
            format_args!("The logger has failed, and the message follows here: {error}"),
        );
    }
    called.is_ok()
}

fn write_natively(job: &Job) {
    if let Job::Message(level, message) = job {
        print(*level, format_args!("{message}"));
    }
}
