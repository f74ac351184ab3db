//! The driver `asgi`: the application's own loop watches the engine's descriptor, and calls the pump when there is something
//! to do. It turns the engine and starts a task for each request, on the loop's thread. Invariant: after each call of the pump
//! either the engine is at rest and its descriptor will say what is new, or another call is scheduled.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use oxicorn_engine::{Message, Notice};
use oxicorn_websocket::deflate::Policy;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};

use crate::asgi::awaitable::{self, Sent};
use crate::asgi::callables::Callables;
use crate::asgi::cycle::Cycle;
use crate::asgi::future::Futures;
use crate::asgi::scope::{Scopes, Setup};
use crate::asgi::task::Starter;
use crate::crew::{Crew, Left, Watchdog};
use crate::ffi::{self, Held, Lent};

/// The token of no request.
pub(super) const NOBODY: u64 = u64::MAX;

/// What of the driver changes.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) scopes: Scopes,
    /// Requests whose exchange is out and whose task is suspended, by token.
    pub(super) out: BTreeMap<u64, Py<Cycle>>,
    /// Every suspended task's cycle: the loop itself keeps tasks only weakly.
    pub(super) suspended: BTreeMap<u64, Py<Cycle>>,
    /// The name of the next one in `suspended`.
    pub(super) serial: u64,
    /// Heads that wait for their first block.
    pub(super) drafts: Vec<Py<Cycle>>,
    buffer: Vec<u8>,
    message: Message,
    /// Of a request that is over.
    pub(super) spare: Option<Callables>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) crew: &'static Crew,
    pub(super) app: Py<PyAny>,
    pub(super) event_loop: Py<PyAny>,
    call_soon: Py<PyAny>,
    /// What a scheduled call of the pump is given besides: a context of its own, not that of the task that happened to
    /// schedule it, which tasks started by the pump would inherit.
    in_own_context: Py<PyDict>,
    pub(super) futures: Futures,
    sent: Py<Sent>,
    pub(super) starter: Starter,
    pub(super) casefold: bool,
    pub(super) websockets: bool,
    /// What is agreed to about compressing messages.
    pub(crate) deflate: Option<Policy>,
    /// How long a request may go on when its client has left.
    pub(super) grace: Option<Duration>,
    inner: Held<Inner>,
    pub(super) pump: OnceLock<Py<Pump>>,
    /// The pump runs: whatever is left will be looked at.
    turning: AtomicBool,
    /// The token of the request whose task makes its first step now.
    pub(super) entering: AtomicU64,
    /// A task that waited for the engine goes on inside the pump.
    resuming: AtomicBool,
    /// A call of the pump is scheduled.
    scheduled: AtomicBool,
    /// The loop was told to stop.
    stopped: AtomicBool,
    /// Counts the tasks that are not done.
    pub(crate) watchdog: Watchdog,
}

impl Driver {
    /// For `app` on `event_loop`, which does not run yet.
    pub(crate) fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        event_loop: &Bound<'_, PyAny>,
        crew: &'static Crew,
        setup: Setup,
    ) -> PyResult<&'static Self> {
        let Setup {
            casefold,
            websockets,
            deflate,
            grace,
            ..
        } = setup;
        let inner = Inner {
            scopes: Scopes::new(py, setup)?,
            out: BTreeMap::new(),
            suspended: BTreeMap::new(),
            serial: 0,
            drafts: Vec::new(),
            buffer: Vec::new(),
            message: Message::default(),
            spare: None,
        };
        let starter = Starter::new(py, event_loop)?;
        awaitable::prepare(py);
        let in_own_context = PyDict::new(py);
        let context = py.import("contextvars")?.call_method0("copy_context")?;
        in_own_context.set_item("context", context)?;
        // One for the life of the process: the loop and its pump have it as well.
        let driver: &'static Self = Box::leak(Box::new(Self {
            crew,
            app,
            call_soon: event_loop.getattr(intern!(py, "call_soon"))?.unbind(),
            in_own_context: in_own_context.unbind(),
            futures: Futures::new(event_loop)?,
            event_loop: event_loop.clone().unbind(),
            sent: Py::new(py, Sent)?,
            starter,
            casefold,
            websockets,
            deflate,
            grace,
            inner: Held::new(inner),
            pump: OnceLock::new(),
            turning: AtomicBool::new(false),
            entering: AtomicU64::new(NOBODY),
            resuming: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            watchdog: Watchdog::default(),
        }));
        let pump = Py::new(py, Pump(driver))?;
        // It was empty.
        let _ = driver.pump.set(pump);
        Ok(driver)
    }

    /// What the loop calls.
    pub(crate) fn pump(&self, py: Python<'_>) -> Option<Py<Pump>> {
        self.pump.get().map(|pump| pump.clone_ref(py))
    }

    pub(super) fn inner<'a>(&'a self, py: Python<'a>) -> Lent<'a, Inner> {
        self.inner.lock(py)
    }

    /// The awaitable of a `send` that is done.
    pub(crate) fn sent<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.sent.bind(py).clone().into_any()
    }

    /// Ends a future that a task waits for. From inside the pump the task goes on at once, which saves it a round of the loop,
    /// unless another one is in the middle of a step.
    pub(crate) fn wake(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let in_pump = self.turning.load(Ordering::Relaxed);
        let in_first = self.entering.load(Ordering::Relaxed) != NOBODY;
        if !in_pump || in_first || self.resuming.swap(true, Ordering::Relaxed) {
            return self.futures.end(future);
        }
        let woken = self.starter.wake(&self.futures, future);
        self.resuming.store(false, Ordering::Relaxed);
        woken
    }

    /// A buffer for body bytes; give it back.
    pub(crate) fn take_buffer(&self, py: Python<'_>) -> Vec<u8> {
        std::mem::take(&mut self.inner(py).buffer)
    }

    pub(crate) fn keep_buffer(&self, py: Python<'_>, buffer: Vec<u8>) {
        self.inner(py).buffer = buffer;
    }

    /// A buffer for messages; give it back.
    pub(crate) fn take_message(&self, py: Python<'_>) -> Message {
        std::mem::take(&mut self.inner(py).message)
    }

    pub(crate) fn keep_message(&self, py: Python<'_>, message: Message) {
        self.inner(py).message = message;
    }

    /// The head of this response waits for what follows, until the loop has control again.
    pub(crate) fn hold_head(&self, cycle: &Bound<'_, Cycle>) -> PyResult<()> {
        if self.entering.load(Ordering::Relaxed) == cycle.get().token() {
            // What follows may come at once. It is looked at when the task is suspended.
            return Ok(());
        }
        self.inner(cycle.py()).drafts.push(cycle.clone().unbind());
        self.schedule(cycle.py())
    }

    /// The exchange with this token is over.
    pub(crate) fn forget_token(&self, py: Python<'_>, token: u64) {
        if self.entering.load(Ordering::Relaxed) == token {
            // It is noted only when its task is suspended.
            return;
        }
        let forgotten = self.inner(py).out.remove(&token);
        drop(forgotten);
    }

    /// What was done to the engine may have left work that no event announces.
    pub(crate) fn turn_if_needed(&self, py: Python<'_>) -> PyResult<()> {
        if !self.turning.load(Ordering::Relaxed) && self.crew.engine().needs_turn() {
            return self.schedule(py);
        }
        Ok(())
    }

    /// Sees to it that the pump is called soon, unless it runs now.
    pub(super) fn schedule(&self, py: Python<'_>) -> PyResult<()> {
        if self.turning.load(Ordering::Relaxed) || self.scheduled.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        match self.pump.get() {
            Some(pump) => {
                let context = self.in_own_context.bind(py);
                self.call_soon.call(py, (pump,), Some(context)).map(drop)
            }
            None => Ok(()),
        }
    }

    /// One call of the loop.
    fn run(&'static self, py: Python<'_>) -> PyResult<()> {
        if self.crew.is_forked() {
            // A child that the application forked runs its parent's loop: the connections are not its own.
            ffi::exit_now(0);
        }
        self.watchdog.beat();
        self.scheduled.store(false, Ordering::Relaxed);
        self.turning.store(true, Ordering::Relaxed);
        let left = self.turn(py);
        self.turning.store(false, Ordering::Relaxed);
        self.crew.set_inside(self.watchdog.inside());
        let over = self.is_over();
        match left {
            Ok(_) if over => self.stop(py),
            Ok(Left::Work) => self.schedule(py),
            Ok(Left::Nothing | Left::Child) => Ok(()),
            Err(error) => {
                self.crew.fail();
                self.stop(py)?;
                Err(error)
            }
        }
    }

    fn turn(&'static self, py: Python<'_>) -> PyResult<Left> {
        self.crew.take_events()?;
        self.starter.look(py)?;
        self.crew.turn_by_loop(
            |exchange| self.begin(py, exchange),
            |notice| self.on_notice(py, notice),
            || self.send_heads(py),
        )
    }

    fn on_notice(&self, py: Python<'_>, notice: Notice) -> PyResult<()> {
        match notice {
            Notice::Progress(token) => match self.cycle_out(py, token) {
                Some(cycle) => {
                    Cycle::look_for_leaving(cycle.bind(py))?;
                    cycle.get().progress(py)
                }
                None => Ok(()),
            },
            Notice::Overdue(token) => {
                let Some(cycle) = self.cycle_out(py, token) else {
                    return Ok(());
                };
                cycle.get().report_overdue(py);
                cycle.get().cancel(py)
            }
            other => {
                self.crew.set_inside(self.watchdog.inside());
                self.crew.on_notice(other);
                if self.crew.cuts_requests() {
                    return self.cancel_all(py);
                }
                Ok(())
            }
        }
    }

    /// What is cancelled now ends in time for the shutdown of the application.
    fn cancel_all(&self, py: Python<'_>) -> PyResult<()> {
        let cycles: Vec<Py<Cycle>> = {
            let inner = self.inner(py);
            let suspended = inner.suspended.values();
            suspended.map(|cycle| cycle.clone_ref(py)).collect()
        };
        cycles.iter().try_for_each(|cycle| cycle.get().cancel(py))
    }

    fn cycle_out(&self, py: Python<'_>, token: u64) -> Option<Py<Cycle>> {
        self.inner(py)
            .out
            .get(&token)
            .map(|cycle| cycle.clone_ref(py))
    }

    /// Sends the heads that nothing has followed so far.
    fn send_heads(&self, py: Python<'_>) {
        let drafts = std::mem::take(&mut self.inner(py).drafts);
        for draft in &drafts {
            let sent = draft.get().with(py, |state| {
                state.send_head(self);
                Ok(())
            });
            if let Err(error) = sent {
                // Another thread of the application is sending, which it must not.
                log::error!(target: "oxicorn", "A response head could not be sent: {error}");
            }
        }
    }

    fn is_over(&self) -> bool {
        self.crew.is_over(self.watchdog.inside())
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        // The next run of the loop is the lifespan's.
        if self.stopped.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.watchdog.stop();
        self.event_loop
            .call_method0(py, intern!(py, "stop"))
            .map(drop)
    }
}

/// What the loop calls when the engine has something to do: `loop.add_reader(pump.fileno(), pump)`.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Pump(pub(super) &'static Driver);

#[pymethods]
impl Pump {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.0.run(py)
    }

    /// The descriptor to watch.
    fn fileno(&self) -> RawFd {
        self.0.crew.lead_by_loop()
    }

    /// Whether the worker has served its last request.
    #[getter]
    fn over(&self) -> bool {
        self.0.is_over()
    }
}
