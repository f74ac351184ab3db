//! One request and the application's call for it: what `receive` and `send` are bound to. The state lies in a slot; whoever
//! works on it takes it out meanwhile, so that no lock is held over a call into Python. Invariant: a response head that was
//! sent is never replaced, and the exchange is given back exactly once.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oxicorn_engine::{Body, Ending, Exchange, Flow, Input, Now};
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBool, PyBytes, PyDict};

use crate::asgi::driver::Driver;
use crate::asgi::websocket::Socket;
use crate::ffi::{self, Arguments, Held, Lent, Native};
use crate::head::{Framing, Head};
use crate::wsgi::{described, exit_code};

/// Bytes of a stored body given in one message.
const PIECE: usize = 64 * 1024;

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing was said.
    Silent,
    /// `http.response.start` came; the head waits for the first block.
    Drafted,
    /// The head was sent.
    Begun(Framing),
    /// The body is complete, trailers follow.
    Trailers(Framing),
    /// All was sent.
    Complete,
}

/// What is left of the request body for the application.
#[derive(Debug)]
enum Rest {
    /// Nothing of it was asked for.
    Untouched,
    /// In a file: the next offset, and the length.
    Stored(File, u64, u64),
    /// Still coming.
    Open,
    /// Nothing.
    Delivered,
}

/// The request and its response in the making.
#[derive(Debug)]
pub(crate) struct State {
    /// Until the response is complete or given up.
    pub(crate) exchange: Option<Box<Exchange>>,
    pub(crate) stage: Stage,
    pub(crate) head: Head,
    /// The request's method is HEAD: no body is sent.
    pub(crate) is_head: bool,
    /// The application wants to send trailers.
    pub(crate) trailers: bool,
    /// The client is gone, and the application can be told.
    pub(crate) gone: bool,
    /// Trailers so far.
    pub(crate) tail: Vec<u8>,
    rest: Rest,
    /// The request asks for a WebSocket.
    pub(crate) socket: Option<Box<Socket>>,
    /// Futures that end when there is something new.
    waiters: Vec<Py<PyAny>>,
}

/// See the module.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Cycle {
    pub(crate) driver: &'static Driver,
    state: Held<Option<Box<State>>>,
    /// Its name among the exchanges that are out.
    token: AtomicU64,
    task: Held<Option<Py<PyAny>>>,
    /// It is known that its client has left.
    pub(super) leaves: AtomicBool,
    /// What cancels the task because of that, if nothing comes before.
    timer: Held<Option<Py<PyAny>>>,
}

impl State {
    /// A request of HTTP.
    pub(crate) fn new(exchange: Box<Exchange>, is_head: bool) -> Self {
        Self {
            exchange: Some(exchange),
            stage: Stage::Silent,
            head: Head::default(),
            is_head,
            trailers: false,
            gone: false,
            tail: Vec::new(),
            rest: Rest::Untouched,
            socket: None,
            waiters: Vec::new(),
        }
    }

    /// A request that asks for a WebSocket.
    pub(crate) fn websocket(exchange: Box<Exchange>) -> Self {
        Self {
            socket: Some(Box::new(Socket::new())),
            ..Self::new(exchange, false)
        }
    }

    fn token(&self) -> u64 {
        self.exchange.as_deref().map_or(0, Exchange::token)
    }

    /// The next message for `receive`, if there is one.
    fn message(&mut self, py: Python<'_>, driver: &Driver) -> PyResult<Option<Py<PyAny>>> {
        if self.socket.is_some() {
            return self.socket_message(py, driver);
        }
        let Some(exchange) = self.exchange.as_mut().filter(|_| !self.gone) else {
            return disconnect(py).map(Some);
        };
        if let Rest::Untouched = self.rest {
            self.rest = Rest::Delivered;
            match std::mem::take(&mut exchange.body) {
                Body::Empty => return request(py, b"", false).map(Some),
                Body::Inline(span) => {
                    return request(py, span.of(exchange.bytes()), false).map(Some);
                }
                Body::Memory(bytes) => return request(py, &bytes, false).map(Some),
                Body::File(file, len) => self.rest = Rest::Stored(file, 0, len),
                Body::Open => self.rest = Rest::Open,
            }
        }
        match &mut self.rest {
            Rest::Stored(file, at, len) => {
                let mut piece = vec![0; PIECE.min(usize::try_from(*len - *at).unwrap_or(PIECE))];
                file.read_exact_at(&mut piece, *at)?;
                *at += piece.len() as u64;
                let more = at < len;
                if !more {
                    self.rest = Rest::Delivered;
                }
                request(py, &piece, more).map(Some)
            }
            Rest::Open => self.pull(py, driver),
            Rest::Untouched | Rest::Delivered => {
                let ended = driver.crew.engine().await_end(exchange);
                ended.then(|| disconnect(py)).transpose()
            }
        }
    }

    fn pull(&mut self, py: Python<'_>, driver: &Driver) -> PyResult<Option<Py<PyAny>>> {
        let Some(exchange) = &self.exchange else {
            return disconnect(py).map(Some);
        };
        let mut data = driver.take_buffer(py);
        let input = driver.crew.engine().pull(exchange, &mut data, Now::read());
        let message = match input {
            Input::Data { more } => {
                if !more {
                    self.rest = Rest::Delivered;
                }
                request(py, &data, more).map(Some)
            }
            Input::Pending => Ok(None),
            Input::Gone => {
                self.gone = true;
                disconnect(py).map(Some)
            }
        };
        driver.keep_buffer(py, data);
        message
    }

    /// Whether the application may go on after a `send`. If not, somebody is told when it may.
    fn has_room(&mut self, driver: &Driver) -> bool {
        let Some(exchange) = &self.exchange else {
            return true;
        };
        let mut engine = driver.crew.engine();
        match engine.flow(exchange) {
            Flow::Clear => true,
            Flow::Gone => {
                self.gone = true;
                true
            }
            Flow::Full => {
                engine.await_room(exchange, Now::read());
                false
            }
        }
    }

    /// Whether part of the request body may still have to come.
    pub(crate) fn is_open(&self) -> bool {
        match self.rest {
            Rest::Open => true,
            Rest::Untouched => {
                let exchange = self.exchange.as_deref();
                exchange.is_some_and(|exchange| matches!(exchange.body, Body::Open))
            }
            Rest::Stored(..) | Rest::Delivered => false,
        }
    }

    /// Gives the exchange back. Whoever waits for the request is to be woken.
    pub(crate) fn finish(&mut self, driver: &Driver, ending: Ending, now: Now) {
        if let Some(exchange) = self.exchange.take() {
            driver.crew.engine().finish(exchange, ending, now);
        }
    }
}

impl Cycle {
    pub(crate) fn new(driver: &'static Driver, state: State) -> Self {
        Self {
            driver,
            token: AtomicU64::new(state.token()),
            state: Held::new(Some(Box::new(state))),
            task: Held::new(None),
            leaves: AtomicBool::new(false),
            timer: Held::new(None),
        }
    }

    /// It is for another request from now on.
    pub(crate) fn renew(&self, py: Python<'_>, state: State) {
        self.token.store(state.token(), Ordering::Relaxed);
        self.leaves.store(false, Ordering::Relaxed);
        let before = match self.slot(py).as_deref_mut() {
            Some(slot) => std::mem::replace(slot, state),
            None => return drop(self.slot(py).replace(Box::new(state))),
        };
        drop(before);
    }

    pub(crate) fn token(&self) -> u64 {
        self.token.load(Ordering::Relaxed)
    }

    /// Whether its head waits for the first block of its body.
    pub(crate) fn is_drafted(&self, py: Python<'_>) -> bool {
        let slot = self.slot(py);
        slot.as_ref()
            .is_some_and(|state| state.stage == Stage::Drafted)
    }

    fn slot<'a>(&'a self, py: Python<'a>) -> Lent<'a, Option<Box<State>>> {
        self.state.lock(py)
    }

    /// What `look` says of the state; no if somebody works on it.
    pub(super) fn peek(&self, py: Python<'_>, look: impl FnOnce(&mut State) -> bool) -> bool {
        let mut slot = self.slot(py);
        slot.as_deref_mut().is_some_and(look)
    }

    /// Remembers what is to cancel the task, or nothing; returns what was.
    pub(super) fn set_timer(&self, py: Python<'_>, timer: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        std::mem::replace(&mut *self.timer.lock(py), timer)
    }

    /// Whether its task has made its first step, and is not done.
    pub(super) fn is_suspended(&self, py: Python<'_>) -> bool {
        self.task.lock(py).is_some()
    }

    /// Works on the state, and does what is to be done afterwards: wakes those who wait if the exchange is over, and sees to
    /// it that the engine is turned if that is needed.
    pub(crate) fn with<T>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut State) -> PyResult<T>,
    ) -> PyResult<T> {
        let Some(mut state) = self.slot(py).take() else {
            return Err(PyRuntimeError::new_err(
                "the request is being worked on by somebody else",
            ));
        };
        if self.driver.crew.is_forked() {
            // A child that the application forked: the connection is its parent's.
            state.exchange = None;
            state.gone = true;
        }
        let was_out = state.exchange.is_some();
        let result = work(&mut state);
        let over = was_out && state.exchange.is_none();
        *self.slot(py) = Some(state);
        if over {
            self.driver.forget_token(py, self.token());
            self.wake(py)?;
        }
        self.driver.turn_if_needed(py)?;
        result
    }

    /// The next message, if it is there.
    pub(crate) fn message(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.with(py, |state| state.message(py, self.driver))
    }

    /// Whether the application may go on after a `send`.
    pub(crate) fn has_room(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |state| Ok(state.has_room(self.driver)))
    }

    /// A future that ends when there is something new.
    pub(crate) fn future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = self.driver.futures.awaited(py)?;
        let mut waiters = {
            let mut slot = self.slot(py);
            let state = slot.as_mut();
            state.map_or_else(Vec::new, |state| std::mem::take(&mut state.waiters))
        };
        // Those who gave up: an application may look in vain for as long as it likes.
        waiters.retain(|waiter| !self.driver.futures.is_done(waiter.bind(py)));
        waiters.push(future.clone().unbind());
        if let Some(state) = self.slot(py).as_mut() {
            state.waiters = waiters;
        }
        Ok(future)
    }

    /// The one that waits longest. It is to be woken.
    fn next_waiter<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let mut slot = self.slot(py);
        let waiters = &mut slot.as_mut()?.waiters;
        let next = (!waiters.is_empty()).then(|| waiters.remove(0));
        next.map(|waiter| waiter.into_bound(py))
    }

    /// The engine has news: those who wait look again.
    pub(crate) fn progress(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_websocket(py) {
            self.with(py, |state| state.look_for_end(py, self.driver))?;
        }
        self.wake(py)
    }

    /// Wakes those who wait now, each once: they may wait again at once.
    fn wake(&self, py: Python<'_>) -> PyResult<()> {
        let waiting = {
            let slot = self.slot(py);
            slot.as_ref().map_or(0, |state| state.waiters.len())
        };
        for _ in 0..waiting {
            match self.next_waiter(py) {
                Some(future) if !self.driver.futures.is_done(&future) => {
                    self.driver.wake(&future)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it is one, and nobody works on it.
    fn is_websocket(&self, py: Python<'_>) -> bool {
        let slot = self.slot(py);
        slot.as_ref().is_some_and(|state| state.socket.is_some())
    }

    /// The task is suspended: from now on it is found by whatever concerns it.
    pub(crate) fn suspend(&self, task: &Bound<'_, PyAny>) {
        let before = self.task.lock(task.py()).replace(task.clone().unbind());
        drop(before);
    }

    /// Whether the exchange is still out.
    pub(crate) fn is_out(&self, py: Python<'_>) -> bool {
        let slot = self.slot(py);
        slot.as_ref().is_some_and(|state| state.exchange.is_some())
    }

    /// Says that the application took too long.
    pub(crate) fn report_overdue(&self, py: Python<'_>) {
        let slot = self.slot(py);
        let exchange = slot.as_ref().and_then(|state| state.exchange.as_ref());
        if let Some(exchange) = exchange {
            log::error!(
                target: "oxicorn",
                "Request timeout (pid: {}): {} from {} was cancelled and answered 504 (timeout)",
                std::process::id(), request_of(exchange), exchange.peer
            );
        }
    }

    /// Cancels the task.
    pub(crate) fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let task = self.task.lock(py).as_ref().map(|task| task.clone_ref(py));
        match task {
            Some(task) => task.call_method0(py, intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }

    /// The application has returned `outcome`: what it left undone is done now.
    pub(crate) fn conclude(&self, py: Python<'_>, outcome: PyResult<Bound<'_, PyAny>>) {
        let task = self.task.lock(py).take();
        drop(task);
        self.stay_of_grace(py);
        if self.driver.crew.is_forked() {
            ffi::exit_now(exit_code(py, outcome.map(drop)));
        }
        let concluded = self.with(py, |state| {
            conclude(py, state, self.driver, outcome);
            Ok(())
        });
        if let Err(error) = concluded {
            log::error!(target: "oxicorn", "A request could not be ended: {error}");
        }
    }
}

fn conclude(
    py: Python<'_>,
    state: &mut State,
    driver: &Driver,
    outcome: PyResult<Bound<'_, PyAny>>,
) {
    if state.socket.is_some() {
        return state.conclude_socket(py, driver, &outcome);
    }
    let Some(exchange) = &state.exchange else {
        match outcome {
            Err(error) if !is_cancelled(py, &error) => log::error!(
                target: "oxicorn",
                "Error in background work of a request\n{}", described(py, &error)
            ),
            _ => {}
        }
        return;
    };
    let refused = driver.crew.engine().flow(exchange) == Flow::Gone;
    let begun = matches!(state.stage, Stage::Begun(_) | Stage::Trailers(_));
    let left_out = if state.stage == Stage::Silent {
        "starting"
    } else {
        "completing"
    };
    let request = request_of(exchange);
    match outcome {
        Err(error) if driver.crew.cuts_requests() && is_cancelled(py, &error) => {}
        Err(error) if (refused || state.gone) && is_farewell(py, &error) => {
            log::debug!(target: "oxicorn", "The client of {request} left: {error}");
        }
        Err(error) => log::error!(
            target: "oxicorn",
            "Error handling request {request}\n{}", described(py, &error)
        ),
        Ok(_) if refused || state.gone => {}
        Ok(_) => log::error!(
            target: "oxicorn",
            "ASGI callable returned without {left_out} response. ({request})"
        ),
    }
    if begun || refused {
        state.finish(driver, Ending::Cut, Now::read());
    } else {
        crate::asgi::send::send_error(state, driver);
    }
}

/// What follows from a client that left, and is nobody's fault: the error of `send`, whatever was made of it, or the
/// cancellation.
pub(crate) fn is_farewell(py: Python<'_>, error: &PyErr) -> bool {
    let is_ours = |error: &PyErr| {
        let value = error.value(py);
        value.is_instance_of::<PyOSError>() || is_cancelled(py, error)
    };
    let context = error.value(py).getattr("__context__").ok();
    let context = context.filter(|context| !context.is_none());
    is_ours(error) || context.is_some_and(|context| is_ours(&PyErr::from_value(context)))
}

pub(crate) fn is_cancelled(py: Python<'_>, error: &PyErr) -> bool {
    let asyncio = py.import(intern!(py, "asyncio"));
    let class = asyncio.and_then(|asyncio| asyncio.getattr(intern!(py, "CancelledError")));
    class.is_ok_and(|class| error.is_instance(py, &class))
}

/// `GET /path`, as gunicorn names a request in its errors.
pub(crate) fn request_of(exchange: &Exchange) -> String {
    let (head, bytes) = (&exchange.head, exchange.bytes());
    let text = |part| String::from_utf8_lossy(part).into_owned();
    format!(
        "{} {}",
        text(head.method.of(bytes)),
        text(head.target.of(bytes))
    )
}

fn request(py: Python<'_>, body: &[u8], more: bool) -> PyResult<Py<PyAny>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
    message.set_item(intern!(py, "body"), PyBytes::new(py, body))?;
    message.set_item(intern!(py, "more_body"), PyBool::new(py, more))?;
    Ok(message.into_any().unbind())
}

fn disconnect(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "http.disconnect"))?;
    Ok(message.into_any().unbind())
}

/// `receive()`.
#[derive(Debug)]
pub(crate) struct Receive;

impl Native for Receive {
    const NAME: &'static std::ffi::CStr = c"receive";
    const DOC: &'static std::ffi::CStr = c"The next event of the request (ASGI HTTP spec).";

    fn call<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(arguments.this.to_owned())
    }
}
