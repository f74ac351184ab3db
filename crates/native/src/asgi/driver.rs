//! The driver `asgi`: the application's own loop watches the engine's descriptor, and calls the pump when there is something
//! to do. It turns the engine and starts a task for each request, on the loop's thread. Invariant: after each call of the pump
//! either the engine is at rest and its descriptor will say what is new, or another call is scheduled.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use oxicorn_engine::{Exchange, Message, Notice, Now, Turn};
use oxicorn_websocket::deflate::Policy;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};

use crate::asgi::awaitable::Sent;
use crate::asgi::callables::Callables;
use crate::asgi::cycle::{Cycle, State};
use crate::asgi::scope::{Scopes, Setup};
use crate::asgi::task::{Starter, Task};
use crate::asgi::{watchdog, websocket};
use crate::crew::Crew;
use crate::ffi;

/// Requests started in one call before the rest of the loop has its turn.
const STARTS: usize = 64;

/// The token of no request.
const NOBODY: u64 = u64::MAX;

/// What a call of the pump leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// The descriptor will say what is new.
    Nothing,
    /// More to do at once.
    Work,
}

/// What of the driver changes.
#[derive(Debug)]
struct Inner {
    scopes: Scopes,
    /// Requests whose exchange is out and whose task is suspended, by token.
    out: HashMap<u64, Py<Cycle>>,
    /// Every suspended task's cycle: the loop itself keeps tasks only weakly.
    suspended: HashMap<u64, Py<Cycle>>,
    /// The name of the next one in `suspended`.
    serial: u64,
    /// Heads that wait for their first block.
    drafts: Vec<Py<Cycle>>,
    buffer: Vec<u8>,
    message: Message,
    /// Of a request that is over.
    spare: Option<Callables>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) crew: Arc<Crew>,
    app: Py<PyAny>,
    event_loop: Py<PyAny>,
    call_soon: Py<PyAny>,
    /// What a scheduled call of the pump is given besides: a context of its own, not that of the task that happened to
    /// schedule it, which tasks started by the pump would inherit.
    in_own_context: Py<PyDict>,
    create_future: Py<PyAny>,
    sent: Py<Sent>,
    starter: Starter,
    casefold: bool,
    websockets: bool,
    /// What is agreed to about compressing messages.
    pub(crate) deflate: Option<Policy>,
    inner: Mutex<Inner>,
    pump: OnceLock<Py<Pump>>,
    /// The pump runs: whatever is left will be looked at.
    turning: AtomicBool,
    /// The token of the request whose task makes its first step now.
    entering: AtomicU64,
    /// A call of the pump is scheduled.
    scheduled: AtomicBool,
    /// The loop was told to stop.
    stopped: AtomicBool,
    /// Tasks that are not done.
    pub(crate) tasks: AtomicUsize,
    /// When the loop last gave a sign of life, monotonic milliseconds.
    pub(crate) alive: AtomicU64,
    pub(crate) watchdog: watchdog::Watchdog,
}

impl Driver {
    /// For `app` on `event_loop`, which does not run yet.
    pub(crate) fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        event_loop: &Bound<'_, PyAny>,
        crew: Arc<Crew>,
        setup: Setup,
    ) -> PyResult<Arc<Self>> {
        let Setup {
            casefold,
            websockets,
            deflate,
            ..
        } = setup;
        let inner = Inner {
            scopes: Scopes::new(py, setup)?,
            out: HashMap::new(),
            suspended: HashMap::new(),
            serial: 0,
            drafts: Vec::new(),
            buffer: Vec::new(),
            message: Message::default(),
            spare: None,
        };
        let starter = Starter::new(py, event_loop)?;
        let in_own_context = PyDict::new(py);
        let context = py.import("contextvars")?.call_method0("copy_context")?;
        in_own_context.set_item("context", context)?;
        let driver = Arc::new(Self {
            crew,
            app,
            call_soon: event_loop.getattr(intern!(py, "call_soon"))?.unbind(),
            in_own_context: in_own_context.unbind(),
            create_future: event_loop.getattr(intern!(py, "create_future"))?.unbind(),
            event_loop: event_loop.clone().unbind(),
            sent: Py::new(py, Sent)?,
            starter,
            casefold,
            websockets,
            deflate,
            inner: Mutex::new(inner),
            pump: OnceLock::new(),
            turning: AtomicBool::new(false),
            entering: AtomicU64::new(NOBODY),
            scheduled: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            tasks: AtomicUsize::new(0),
            alive: AtomicU64::new(Now::read().mono),
            watchdog: watchdog::Watchdog::default(),
        });
        let pump = Py::new(py, Pump(driver.clone()))?;
        // It was empty.
        let _ = driver.pump.set(pump);
        Ok(driver)
    }

    /// What the loop calls.
    pub(crate) fn pump(&self, py: Python<'_>) -> Option<Py<Pump>> {
        self.pump.get().map(|pump| pump.clone_ref(py))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The awaitable of a `send` that is done.
    pub(crate) fn sent<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.sent.bind(py).clone().into_any()
    }

    /// A future of the loop.
    pub(crate) fn new_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.create_future.bind(py).call0()
    }

    /// A buffer for body bytes; give it back.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        std::mem::take(&mut self.inner().buffer)
    }

    pub(crate) fn keep_buffer(&self, buffer: Vec<u8>) {
        self.inner().buffer = buffer;
    }

    /// A buffer for messages; give it back.
    pub(crate) fn take_message(&self) -> Message {
        std::mem::take(&mut self.inner().message)
    }

    pub(crate) fn keep_message(&self, message: Message) {
        self.inner().message = message;
    }

    /// The head of this response waits for what follows, until the loop has control again.
    pub(crate) fn hold_head(&self, cycle: &Bound<'_, Cycle>) -> PyResult<()> {
        if self.entering.load(Ordering::Relaxed) == cycle.get().token() {
            // What follows may come at once. It is looked at when the task is suspended.
            return Ok(());
        }
        self.inner().drafts.push(cycle.clone().unbind());
        self.schedule(cycle.py())
    }

    /// The exchange with this token is over.
    pub(crate) fn forget_token(&self, token: u64) {
        let forgotten = self.inner().out.remove(&token);
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
    fn schedule(&self, py: Python<'_>) -> PyResult<()> {
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
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        if self.crew.is_forked() {
            // A child that the application forked runs its parent's loop: the connections are not its own.
            ffi::exit_now(0);
        }
        self.alive.store(Now::read().mono, Ordering::Relaxed);
        self.scheduled.store(false, Ordering::Relaxed);
        self.turning.store(true, Ordering::Relaxed);
        let left = self.turn(py);
        self.turning.store(false, Ordering::Relaxed);
        self.crew.set_inside(self.tasks.load(Ordering::Relaxed));
        let over = self.is_over();
        match left {
            Ok(_) if over => self.stop(py),
            Ok(Left::Work) => self.schedule(py),
            Ok(Left::Nothing) => Ok(()),
            Err(error) => {
                self.crew.fail();
                self.stop(py)?;
                Err(error)
            }
        }
    }

    fn turn(&self, py: Python<'_>) -> PyResult<Left> {
        self.crew.take_events()?;
        self.starter.look(py)?;
        let now = Now::read();
        let mut started = 0;
        let left = loop {
            if started == STARTS {
                break Left::Work;
            }
            let turn = self.crew.engine().turn(now);
            match turn {
                Turn::Exchange(exchange) => {
                    started += 1;
                    self.begin(py, exchange)?;
                }
                Turn::Notice(notice) => self.on_notice(py, notice)?,
                Turn::Idle { again: true } => break Left::Work,
                Turn::Idle { again: false } => break Left::Nothing,
            }
        };
        self.send_heads(py);
        if started > 0 {
            self.crew.watch_memory();
        }
        // What was done to the engine since it came to rest.
        if self.crew.engine().needs_turn() {
            return Ok(Left::Work);
        }
        Ok(left)
    }

    fn on_notice(&self, py: Python<'_>, notice: Notice) -> PyResult<()> {
        match notice {
            Notice::Progress(token) => match self.cycle_out(py, token) {
                Some(cycle) => cycle.get().progress(py),
                None => Ok(()),
            },
            Notice::Overdue(token) => {
                let Some(cycle) = self.cycle_out(py, token) else {
                    return Ok(());
                };
                cycle.get().report_overdue();
                cycle.get().cancel(py)
            }
            other => {
                self.crew.set_inside(self.tasks.load(Ordering::Relaxed));
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
            let inner = self.inner();
            let suspended = inner.suspended.values();
            suspended.map(|cycle| cycle.clone_ref(py)).collect()
        };
        cycles.iter().try_for_each(|cycle| cycle.get().cancel(py))
    }

    fn cycle_out(&self, py: Python<'_>, token: u64) -> Option<Py<Cycle>> {
        self.inner()
            .out
            .get(&token)
            .map(|cycle| cycle.clone_ref(py))
    }

    /// Sends the heads that nothing has followed so far.
    fn send_heads(&self, py: Python<'_>) {
        let drafts = std::mem::take(&mut self.inner().drafts);
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

    /// Calls the application for `exchange`, and goes with it as far as it comes at once. An error is ours.
    fn begin(&self, py: Python<'_>, exchange: Box<Exchange>) -> PyResult<()> {
        if self.websockets && websocket::is_wanted(&exchange) {
            return self.begin_websocket(py, exchange);
        }
        let scope = self.inner().scopes.build(py, &exchange);
        let method = exchange.head.method.of(exchange.bytes());
        let is_head = method == b"HEAD" || (self.casefold && method.eq_ignore_ascii_case(b"HEAD"));
        let Some(driver) = self.pump.get().map(|pump| pump.get().0.clone()) else {
            return Ok(());
        };
        self.enter(py, driver, scope, State::new(exchange, is_head))
    }

    /// Calls the application for an exchange that is to become a WebSocket, unless its handshake is none.
    fn begin_websocket(&self, py: Python<'_>, mut exchange: Box<Exchange>) -> PyResult<()> {
        exchange.keep_alive = false;
        let scope = match websocket::opening(&exchange) {
            Ok(opening) => {
                let mut inner = self.inner();
                inner
                    .scopes
                    .build_websocket(py, &exchange, opening.protocols())
            }
            Err(refusal) => {
                websocket::refuse(&mut State::new(exchange, false), refusal, self);
                return Ok(());
            }
        };
        let Some(driver) = self.pump.get().map(|pump| pump.get().0.clone()) else {
            return Ok(());
        };
        self.enter(py, driver, scope, State::websocket(exchange))
    }

    /// Calls the application, and goes with it as far as it comes at once.
    fn enter(
        &self,
        py: Python<'_>,
        driver: Arc<Self>,
        scope: PyResult<Bound<'_, PyDict>>,
        state: State,
    ) -> PyResult<()> {
        self.tasks.fetch_add(1, Ordering::SeqCst);
        self.watchdog.call();
        let spare = self.inner().spare.take();
        let callables = match spare {
            Some(spare) => {
                spare.cycle.get().renew(state);
                spare
            }
            None => Callables::new(py, driver, state)?,
        };
        let cycle = callables.cycle.bind(py);
        self.entering.store(cycle.get().token(), Ordering::Relaxed);
        let begun = scope.and_then(|scope| {
            let (receive, send) = (callables.receive.bind(py), callables.send.bind(py));
            let made = ffi::call(self.app.bind(py), [scope.as_any(), receive, send])?;
            self.starter.start(&self.event_loop, &made)
        });
        self.entering.store(NOBODY, Ordering::Relaxed);
        let outcome = match begun {
            Ok(Task::Done(outcome)) => outcome,
            Ok(Task::Suspended(task)) => return self.suspend(cycle, &task),
            Err(error) => Err(error),
        };
        cycle.get().conclude(py, outcome);
        if callables.are_unique(py) {
            self.inner().spare = Some(callables);
        }
        self.tasks.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    fn suspend(&self, cycle: &Bound<'_, Cycle>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = cycle.py();
        cycle.get().suspend(task);
        let serial = {
            let mut inner = self.inner();
            inner.serial += 1;
            let serial = inner.serial;
            inner.suspended.insert(serial, cycle.clone().unbind());
            if cycle.get().is_drafted() {
                inner.drafts.push(cycle.clone().unbind());
            }
            if cycle.get().is_out() {
                inner
                    .out
                    .insert(cycle.get().token(), cycle.clone().unbind());
            }
            serial
        };
        let ended = Ended {
            cycle: cycle.clone().unbind(),
            serial,
        };
        task.call_method1(intern!(py, "add_done_callback"), (Bound::new(py, ended)?,))?;
        Ok(())
    }

    /// A suspended task is done.
    fn ended(
        &self,
        cycle: &Bound<'_, Cycle>,
        serial: u64,
        task: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = cycle.py();
        cycle.get().conclude(py, crate::asgi::task::outcome(task));
        let forgotten = self.inner().suspended.remove(&serial);
        drop(forgotten);
        let before = self.tasks.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.crew.is_stopping() {
            self.schedule(py)?;
        }
        Ok(())
    }

    /// The crew has stopped, and no task is left.
    fn is_over(&self) -> bool {
        let waits = self.tasks.load(Ordering::Relaxed) > 0 && !self.crew.has_failed();
        self.crew.is_stopping() && !waits
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

/// What is called when a suspended task is done.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
struct Ended {
    cycle: Py<Cycle>,
    serial: u64,
}

#[pymethods]
impl Ended {
    fn __call__(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let cycle = self.cycle.bind(task.py());
        let driver = cycle.get().driver.clone();
        driver.ended(cycle, self.serial, task)
    }
}

/// What the loop calls when the engine has something to do: `loop.add_reader(pump.fileno(), pump)`.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Pump(Arc<Driver>);

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
