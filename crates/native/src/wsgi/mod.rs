//! WSGI (PEP 3333) over exchanges: the environ, the call, the response. Invariant: the application's iterable is closed
//! exactly once, whatever happened, and no exception of the application leaves [`Gateway::serve`].

mod call;
mod environ;
mod front;
mod input;
mod names;
mod observer;
mod streams;
mod transaction;

use oxicorn_engine::{Ending, Exchange, Now};
use pyo3::exceptions::{PySystemExit, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::crew::Crew;
use crate::ffi;
use crate::head::{BIG, ERROR_PAGE, Framing};
use crate::wsgi::call::{Call, EarlyHints, StartResponse, Write};
use crate::wsgi::environ::Environs;
pub(crate) use crate::wsgi::environ::SharedEnvirons;
pub(crate) use crate::wsgi::input::EmptyInput;
pub(crate) use crate::wsgi::observer::{Hooks, Nobody, Observer, Seen};
pub(crate) use crate::wsgi::streams::{ErrorStream, FileWrapper};
use crate::wsgi::transaction::Transaction;

/// What a gateway needs to know of its worker.
#[derive(Debug)]
pub(crate) struct Setup {
    /// For each listener: its environ template, and whether it is a Unix socket.
    pub(crate) templates: Vec<(Py<PyDict>, bool)>,
    /// The process-wide `SCRIPT_NAME`.
    pub(crate) script_name: String,
    /// Whether methods are turned into capitals (`casefold_http_method`).
    pub(crate) casefold: bool,
    /// Whether files may be sent by the kernel.
    pub(crate) sendfile: bool,
    /// Environ entries the access log wants.
    pub(crate) wanted: Vec<String>,
}

impl Setup {
    /// The same with templates of its own.
    fn copied(&self, py: Python<'_>) -> PyResult<Self> {
        let copy = |(template, unix): &(Py<PyDict>, bool)| {
            let template = template.bind(py).copy()?;
            Ok((template.unbind(), *unix))
        };
        Ok(Self {
            templates: self.templates.iter().map(copy).collect::<PyResult<_>>()?,
            script_name: self.script_name.clone(),
            wanted: self.wanted.clone(),
            ..*self
        })
    }
}

/// The callables of one call, used again unless the application kept one.
#[derive(Debug)]
struct Callables {
    call: Py<Call>,
    start_response: Py<PyAny>,
    write: Py<PyAny>,
    early_hints: Py<PyAny>,
}

impl Callables {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let call = Bound::new(py, Call::default())?;
        let start_response = ffi::native_function::<StartResponse>(call.as_any())?;
        let write = ffi::native_function::<Write>(call.as_any())?;
        let early_hints = ffi::native_function::<EarlyHints>(call.as_any())?;
        Ok(Self {
            call: call.unbind(),
            start_response,
            write,
            early_hints,
        })
    }

    /// Nobody but us has them. `templates` of ours hold `early_hints` as well.
    fn are_unique(&self, py: Python<'_>, templates: usize) -> bool {
        ffi::references(self.start_response.bind(py)) == 1
            && ffi::references(self.write.bind(py)) == 1
            && ffi::references(self.early_hints.bind(py)) == 1 + templates
    }
}

/// The way from exchange to application and back of one request at a time: of one application thread, or of a greenlet, of
/// which many share their `E`.
#[derive(Debug)]
pub(crate) struct Gateway<O, E = Environs> {
    app: Py<PyAny>,
    crew: &'static Crew,
    observer: O,
    environs: E,
    callables: Callables,
    casefold: bool,
    sendfile: bool,
    wanted: Vec<String>,
}

impl<O: Observer> Gateway<O> {
    pub(crate) fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        crew: &'static Crew,
        observer: O,
        setup: Setup,
    ) -> PyResult<Self> {
        let (casefold, sendfile, wanted) = (setup.casefold, setup.sendfile, setup.wanted.clone());
        let environs = Environs::new(py, setup);
        let callables = Callables::new(py)?;
        environs.set(py, "wsgi.early_hints", callables.early_hints.bind(py))?;
        Ok(Self {
            app,
            crew,
            observer,
            environs,
            callables,
            casefold,
            sendfile,
            wanted,
        })
    }

    /// Serves one exchange from beginning to end. An error is ours, never the application's.
    pub(crate) fn serve(&mut self, py: Python<'_>, mut exchange: Box<Exchange>) -> PyResult<()> {
        let environ = self.environs.build(py, &mut exchange);
        self.answer(py, exchange, environ);
        if !self.callables.are_unique(py, self.environs.count()) {
            return self.renew_callables(py);
        }
        Ok(())
    }

    /// The application kept a callable: it must not reach the next request.
    fn renew_callables(&mut self, py: Python<'_>) -> PyResult<()> {
        let callables = Callables::new(py)?;
        self.environs
            .set(py, "wsgi.early_hints", callables.early_hints.bind(py))?;
        self.callables = callables;
        Ok(())
    }
}

impl<O: Observer> Gateway<O, &'static SharedEnvirons> {
    /// One of many for the same application.
    pub(crate) fn one_of_many(
        py: Python<'_>,
        app: Py<PyAny>,
        crew: &'static Crew,
        observer: O,
        environs: &'static SharedEnvirons,
    ) -> PyResult<Self> {
        let Setup {
            casefold,
            sendfile,
            wanted,
            ..
        } = environs.setup();
        Ok(Self {
            app,
            crew,
            observer,
            callables: Callables::new(py)?,
            casefold: *casefold,
            sendfile: *sendfile,
            wanted: wanted.clone(),
            environs,
        })
    }

    /// As [`serve`](Gateway::serve).
    pub(crate) fn serve_one(
        &mut self,
        py: Python<'_>,
        mut exchange: Box<Exchange>,
    ) -> PyResult<()> {
        let environ = self.environs.build(py, &mut exchange);
        let environ = environ.and_then(|environ| {
            environ.set_item(
                intern!(py, "wsgi.early_hints"),
                self.callables.early_hints.bind(py),
            )?;
            Ok(environ)
        });
        self.answer(py, exchange, environ);
        if !self.callables.are_unique(py, 0) {
            self.callables = Callables::new(py)?;
        }
        Ok(())
    }
}

impl<O: Observer, E> Gateway<O, E> {
    /// Calls the application, and sends what comes of it.
    fn answer(
        &self,
        py: Python<'_>,
        exchange: Box<Exchange>,
        environ: PyResult<Bound<'_, PyDict>>,
    ) {
        let begun = environ.and_then(|environ| {
            let request = self.observer.begin(&environ, &exchange)?;
            Ok((environ, request))
        });
        let transaction = self.transaction(py, exchange);
        let (environ, request) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                // Out of memory: the application is not called.
                self.finish(py, transaction, Err(error));
                return;
            }
        };
        let call = self.callables.call.get();
        call.put(py, transaction);
        let start_response = self.callables.start_response.bind(py);
        let returned = O::call(&request, self.app.bind(py), &environ, start_response);
        let (served, only) = match returned {
            Ok(iterable) => match only_block(&iterable) {
                Some(block) => (Ok(()), Some(block)),
                None => (self.send_response(&iterable), None),
            },
            Err(error) => (Err(error), None),
        };
        if self.crew.is_forked() {
            // A child that the application forked came back here: the connection is its parent's.
            if let Some(hub) = self.crew.hub() {
                hub.stop_bystander(py);
            }
            ffi::exit_now(exit_code(py, served));
        }
        let mut transaction = call.reclaim(py, self.crew);
        self.note_environ(&environ, &mut transaction);
        // No application code runs any more, so a response of one block needs no slot.
        let seen = match only {
            Some(block) => self.send_only(py, transaction, &block),
            None => self.finish(py, transaction, served),
        };
        O::end(py, request, seen);
    }

    fn transaction(&self, py: Python<'_>, exchange: Box<Exchange>) -> Transaction {
        let method = exchange.head.method.of(exchange.bytes());
        let is_head = method == b"HEAD" || (self.casefold && method.eq_ignore_ascii_case(b"HEAD"));
        Transaction::new(
            self.crew,
            exchange,
            self.callables.write.clone_ref(py),
            is_head,
        )
    }

    fn finish(&self, py: Python<'_>, mut transaction: Transaction, served: PyResult<()>) -> Seen {
        // Before an error page takes its place.
        let (sent, begun) = (
            transaction.exchange.response.body_bytes,
            transaction.begun(),
        );
        let ending = conclude(py, &mut transaction, served);
        let Transaction {
            exchange,
            write,
            now,
            ..
        } = transaction;
        drop(write);
        let seen = Seen {
            sent,
            begun,
            keep_alive: goes_on(&exchange, ending),
        };
        self.crew
            .with_engine(|engine| engine.finish(exchange, ending, now));
        seen
    }

    /// A list of one block is a whole response. Lists and tuples have no `close`.
    fn send_only(
        &self,
        py: Python<'_>,
        mut transaction: Transaction,
        block: &Bound<'_, PyAny>,
    ) -> Seen {
        let bytes = must_be_drafted(&transaction).and_then(|()| bytes_of(block));
        let served = match bytes {
            Ok(bytes) if transaction.begun() => {
                transaction.send_block(bytes);
                transaction.end(py);
                Ok(())
            }
            Ok(bytes) if bytes.as_bytes().len() <= BIG => {
                return self.respond(py, transaction, bytes.as_bytes());
            }
            Ok(bytes) => {
                transaction.send_whole(bytes);
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.finish(py, transaction, served)
    }

    /// Sends a complete response and gives the exchange back, in one visit to the engine.
    fn respond(&self, py: Python<'_>, mut transaction: Transaction, body: &[u8]) -> Seen {
        let (head, rest) = transaction.begin_whole(body);
        let ending = conclude(py, &mut transaction, Ok(()));
        let Transaction {
            mut exchange, now, ..
        } = transaction;
        let seen = Seen {
            sent: exchange.response.body_bytes,
            begun: true,
            keep_alive: goes_on(&exchange, ending),
        };
        self.crew.with_engine(|engine| {
            let parts = [&exchange.response.head[..], rest];
            let parts = if rest.is_empty() { &parts[..1] } else { &parts };
            engine.send(&exchange, parts, now);
            exchange.response.head.truncate(head);
            engine.finish(exchange, ending, now);
        });
        seen
    }

    /// Sends what the application returned block by block, and closes it.
    fn send_response(&self, iterable: &Bound<'_, PyAny>) -> PyResult<()> {
        let served = match iterable.cast_exact::<FileWrapper>() {
            Ok(wrapper) if self.sendfile => self.send_file(wrapper),
            _ => Ok(false),
        };
        let served = served.and_then(|sent| {
            if sent {
                Ok(())
            } else {
                self.send_blocks(iterable)
            }
        });
        close(iterable);
        // All that may have taken its time.
        self.with(iterable.py(), |transaction| {
            transaction.now = Now::read();
            served
        })
    }

    /// Sends block by block: each is on its way while the next is made (PEP 3333, "Buffering and Streaming"), at once or by
    /// the steward.
    fn send_blocks(&self, iterable: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = iterable.py();
        for block in iterable.try_iter()? {
            let block = block?;
            let bytes = bytes_of(&block)?;
            let more = self.with(py, |transaction| {
                must_be_drafted(transaction)?;
                if !bytes.as_bytes().is_empty() {
                    transaction.send_block(bytes);
                }
                Ok(!transaction.gone && !is_full(transaction))
            })?;
            if !more {
                break;
            }
        }
        self.with(py, |transaction| {
            must_be_drafted(transaction)?;
            transaction.end(py);
            Ok(())
        })
    }

    /// Lets the kernel send the file. `false`: it cannot, go block by block.
    fn send_file(&self, wrapper: &Bound<'_, FileWrapper>) -> PyResult<bool> {
        let py = wrapper.py();
        let Some(part) = wrapper.get().part(py) else {
            return Ok(false);
        };
        self.with(py, |transaction| {
            must_be_drafted(transaction)?;
            if transaction.begun() {
                return Ok(false);
            }
            if transaction.send_head(py, part.len) != Framing::None {
                transaction.send_file(py, part);
            }
            Ok(true)
        })
    }

    /// Works on the transaction. It is in its slot whenever application code may run.
    fn with<T>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Transaction) -> PyResult<T>,
    ) -> PyResult<T> {
        let call = self.callables.call.get();
        let Some(mut transaction) = call.take(py) else {
            return Err(PyTypeError::new_err(
                "the response is being written by another thread",
            ));
        };
        let result = work(&mut transaction);
        let result = transaction.take_interruption().and(result);
        call.put(py, transaction);
        result
    }

    fn note_environ(&self, environ: &Bound<'_, PyDict>, transaction: &mut Transaction) {
        for name in &self.wanted {
            // Environ keys are in capitals, but for `wsgi.*` and the like.
            let spelled = environ.get_item(name).ok().flatten();
            let found =
                spelled.or_else(|| environ.get_item(name.to_ascii_uppercase()).ok().flatten());
            let value = found.and_then(|value| value.str().ok());
            if let Some(value) = value {
                let bytes = ffi::latin1_view(&value).map_or_else(
                    || value.to_string_lossy().into_owned().into_bytes(),
                    <[u8]>::to_vec,
                );
                transaction.exchange.environ.push((name.clone(), bytes));
            }
        }
    }
}

fn goes_on(exchange: &Exchange, ending: Ending) -> bool {
    exchange.keep_alive && matches!(ending, Ending::Complete)
}

/// What is left to do when the application is through.
fn conclude(py: Python<'_>, transaction: &mut Transaction, served: PyResult<()>) -> Ending {
    if let Err(error) = served {
        if !transaction.is_cut_by(py, &error) {
            report(py, transaction, &error);
        }
        if transaction.begun() {
            return Ending::Cut;
        }
        send_error(py, transaction);
        return Ending::Complete;
    }
    match transaction.framing {
        Some(Framing::Length(left @ 1..)) if !transaction.gone => {
            log::error!(
                target: "oxicorn",
                "The application gave {left} bytes less than its Content-Length for {}; the connection was ended",
                line(transaction)
            );
            Ending::Cut
        }
        _ => Ending::Complete,
    }
}

/// The promised length is used up: whatever else the application has will not be sent.
fn is_full(transaction: &Transaction) -> bool {
    transaction.framing == Some(Framing::None)
}

fn line(transaction: &Transaction) -> String {
    let exchange = &transaction.exchange;
    String::from_utf8_lossy(&exchange.line()).into_owned()
}

fn must_be_drafted(transaction: &Transaction) -> PyResult<()> {
    if transaction.drafted {
        return Ok(());
    }
    Err(PyTypeError::new_err(
        "the application did not call start_response before its first block",
    ))
}

/// The block of a list or tuple that has just one: then the whole length is known.
fn only_block<'py>(iterable: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    if let Ok(list) = iterable.cast_exact::<PyList>() {
        return if list.len() == 1 {
            list.get_item(0).ok()
        } else {
            None
        };
    }
    let tuple = iterable.cast_exact::<PyTuple>().ok()?;
    if tuple.len() == 1 {
        tuple.get_item(0).ok()
    } else {
        None
    }
}

fn bytes_of<'a, 'py>(block: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    match streams::as_bytes(block) {
        Some(bytes) => Ok(bytes),
        None => Err(PyTypeError::new_err(format!(
            "a block of the response must be bytes, not {}",
            block.get_type().name()?
        ))),
    }
}

/// What a forked child of the application ends with: the code of its `sys.exit`, as if it had never been in a server.
pub(crate) fn exit_code(py: Python<'_>, served: PyResult<()>) -> i32 {
    let Err(error) = served else { return 0 };
    if error.is_instance_of::<PySystemExit>(py) {
        let code = error.value(py).getattr("code");
        return code.map_or(1, |code| {
            if code.is_none() {
                0
            } else {
                code.extract().unwrap_or(1)
            }
        });
    }
    1
}

/// Calls `close()` if there is one. An error there changes nothing: the response is what it is.
fn close(iterable: &Bound<'_, PyAny>) {
    if iterable.is_exact_instance_of::<PyList>() || iterable.is_exact_instance_of::<PyTuple>() {
        return;
    }
    let py = iterable.py();
    let closed = match iterable.getattr_opt(pyo3::intern!(py, "close")) {
        Ok(Some(close)) => close.call0().map(drop),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = closed {
        log::error!(target: "oxicorn", "Error in close() of a response\n{}", described(py, &error));
    }
}

fn report(py: Python<'_>, transaction: &Transaction, error: &PyErr) {
    log::error!(
        target: "oxicorn",
        "Error handling request {}\n{}",
        request(transaction),
        described(py, error)
    );
}

/// `GET /path`, as gunicorn names a request in its errors.
fn request(transaction: &Transaction) -> String {
    let (head, bytes) = (&transaction.exchange.head, transaction.exchange.bytes());
    let text = |part| String::from_utf8_lossy(part).into_owned();
    format!(
        "{} {}",
        text(head.method.of(bytes)),
        text(head.target.of(bytes))
    )
}

/// The traceback, as Python prints it.
pub(crate) fn described(py: Python<'_>, error: &PyErr) -> String {
    let formatted = py.import("traceback").and_then(|traceback| {
        let parts = traceback.call_method1(
            "format_exception",
            (error.get_type(py), error.value(py), error.traceback(py)),
        )?;
        PyString::new(py, "")
            .call_method1("join", (parts,))?
            .extract::<String>()
    });
    formatted.map_or_else(|_| error.to_string(), |text| text.trim_end().to_owned())
}

/// The page for a request that the application failed to answer. The request was read whole, so the connection may go on.
fn send_error(py: Python<'_>, transaction: &mut Transaction) {
    let encoded = &mut transaction.exchange.response.head;
    if let Err(error) = transaction.head.draft_error(encoded) {
        log::error!(target: "oxicorn", "The error page is broken: {error}");
    }
    transaction.send_whole(&PyBytes::new(py, ERROR_PAGE));
}
