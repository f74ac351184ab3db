//! A worker process, for Python: made after the fork, started when the application is loaded, led by application threads.
//! Invariant: the engine is made after the fork and never crosses another one.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use oxicorn_arbiter::sys::board::SharedBoard;
use oxicorn_arbiter::sys::signals;
use oxicorn_arbiter::{ListenAddr, Signal, WorkerSeed};
use oxicorn_edge::proxy::Versions;
use oxicorn_engine::{Edge, Options, TrustPolicy, question};
use oxicorn_http1::{HeaderMap, Limits, Policy};
use oxicorn_settings::{self as settings, WorkerClass};
use oxicorn_websocket::deflate::Policy as Deflate;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyTuple};

use crate::arbiter::Seed;
use crate::asgi;
use crate::config::Config;
use crate::crew::{self, Bell, Crew, ReadyCheck};
use crate::ffi;
use crate::gevent;
use crate::head::Always;
use crate::limits;
use crate::logs;
use crate::relay;
use crate::tls;
use crate::wsgi::{self, EmptyInput, ErrorStream, FileWrapper, Gateway, Hooks, Nobody};

/// What `SERVER_SOFTWARE` says.
const SOFTWARE: &str = concat!("oxicorn/", env!("CARGO_PKG_VERSION"));

/// The `User-Agent` of the ready check.
const AGENT: &str = "oxicorn-ready-check";

/// What a worker that does not get ready keeps of `boot_timeout` for its end, at the most.
const FAREWELL: Duration = Duration::from_secs(1);

/// A worker process's engine and its threads.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Worker {
    config: Arc<settings::Config>,
    tls: tls::Stock,
    seed: Mutex<Option<WorkerSeed>>,
    /// When this process began.
    since: Instant,
    serving: OnceLock<Serving>,
    /// What is called when the worker ends without waiting for its threads.
    farewell: Mutex<Option<Py<PyAny>>>,
    /// `stop` was called before `start`.
    stopped_early: Mutex<bool>,
}

/// What there is once the application is loaded.
#[derive(Debug)]
struct Serving {
    crew: &'static Crew,
    app: Py<PyAny>,
    /// Calls the hooks of each request, if there are any.
    observer: Option<Py<PyAny>>,
    listeners: Vec<ListenAddr>,
    wanted: Vec<String>,
}

#[pymethods]
impl Worker {
    #[new]
    fn new(py: Python<'_>, config: &Config, seed: &Seed) -> PyResult<Self> {
        // Needed at the start, when this process may no longer be allowed to read the interpreter's files.
        py.import("signal")?;
        let Some(seed) = seed.take() else {
            return Err(PyRuntimeError::new_err("a seed makes one worker only"));
        };
        // Until the application is loaded a signal simply ends the worker.
        signals::reset_to_default().map_err(PyErr::from)?;
        log::info!(target: "oxicorn", "Booting worker with pid: {}", std::process::id());
        let (config, tls) = (config.config.clone(), config.tls.clone());
        let (serving, stopped_early) = (OnceLock::new(), Mutex::new(false));
        Ok(Self {
            config,
            tls,
            seed: Mutex::new(Some(seed)),
            since: Instant::now(),
            farewell: Mutex::new(None),
            serving,
            stopped_early,
        })
    }

    /// To be called before the application is imported, when the process has given up what it does not need: who imports
    /// does not hear that the arbiter is gone.
    fn begin(&self) -> PyResult<()> {
        let begun = lock(&self.seed).as_ref().map_or(Ok(()), WorkerSeed::begin);
        if begun
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
        {
            log::warn!(target: "oxicorn", "Parent changed, shutting down: the arbiter is gone");
            ffi::exit_now(0);
        }
        Ok(begun?)
    }

    /// Calls `hooks` when the worker ends without waiting for its threads; before `start`.
    fn call_before_parting(&self, hooks: Py<PyAny>) {
        *lock(&self.farewell) = Some(hooks);
    }

    /// Is ready to accept connections for `app`, and tells the arbiter so, who says when to begin; under `ready_check`
    /// only when `app` has answered it.
    /// `asynchronous`: it is an ASGI application, and a loop will lead (`pump`). `observer` is called for each WSGI
    /// request: see [`Hooks`].
    #[pyo3(signature = (app, asynchronous=false, observer=None))]
    fn start(
        &self,
        py: Python<'_>,
        app: Py<PyAny>,
        asynchronous: bool,
        observer: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let Some(seed) = lock(&self.seed).take() else {
            return Err(PyRuntimeError::new_err("a worker starts once only"));
        };
        seed.listens()?;
        let has_hub = self.config.worker_class == WorkerClass::Gevent;
        let looped = asynchronous || has_hub;
        let listeners = seed
            .listeners
            .iter()
            .map(|listener| listener.local.clone())
            .collect();
        let (access, wanted) = logs::access_log(&self.config)?;
        let setup = crew::Setup {
            options: Options {
                tls: tls::acceptor(&self.tls)?,
                streams: asynchronous,
                app_timeout: millis(self.request_timeout(asynchronous)),
                ..options(&self.config)
            },
            access,
            listeners: seed.listeners,
            channel: seed.channel,
            signals: signals::install(&signals_for(py)?)?,
            // asyncio and uvloop have their own.
            bell: if asynchronous { None } else { Bell::hung(py)? },
            board: seed
                .board
                .map_or_else(|| Box::leak(Box::default()), SharedBoard::keep),
            siblings: self.config.workers > 1,
            floor: seed.floor.filter(|_| !looped).map(|floor| (floor, seed.id)),
            threads: if looped { 1 } else { self.config.threads },
            capacity: if looped {
                usize::MAX
            } else {
                self.config.threads
            },
            grace: self.config.graceful_timeout,
            memory: self.config.max_worker_memory,
            meeting_place: seed.meeting_place,
            orphan_timeout: self.config.orphan_timeout,
            boot_timeout: self.config.boot_timeout,
            always: always(&self.config),
        };
        // One for the life of the process: native threads have it as well.
        let crew: &'static Crew = Box::leak(Box::new(py.detach(|| Crew::new(setup))?));
        if let Some(farewell) = lock(&self.farewell).take() {
            crew.call_before_parting(farewell);
        }
        relay::queue()?;
        crew.stand_by();
        if !looped {
            crew::start_steward(crew)?;
        }
        match self.ready_check() {
            Some(check) => crew::start_ready_check(crew, check)?,
            None => crew.report_ready()?,
        }
        let serving = Serving {
            crew,
            app,
            observer,
            listeners,
            wanted,
        };
        let started = self.serving.set(serving);
        started.map_err(|_| PyRuntimeError::new_err("a worker starts once only"))?;
        if *lock(&self.stopped_early) {
            self.serving()?.crew.drain();
        }
        Ok(())
    }

    /// The body of one application thread; returns at shutdown.
    fn lead(&self, py: Python<'_>) -> PyResult<()> {
        let serving = self.serving()?;
        let setup = self.gateway_setup(py, serving)?;
        let (app, crew) = (serving.app.clone_ref(py), serving.crew);
        match &serving.observer {
            None => serving
                .crew
                .lead(py, &mut Gateway::new(py, app, crew, Nobody, setup)?),
            Some(observer) => {
                let hooks = Hooks(observer.clone_ref(py));
                serving
                    .crew
                    .lead(py, &mut Gateway::new(py, app, crew, hooks, setup)?)
            }
        }
    }

    /// What `event_loop` has to watch and to call to serve an ASGI application. `state`: what the lifespan left for the
    /// requests.
    fn pump(
        &self,
        py: Python<'_>,
        event_loop: &Bound<'_, PyAny>,
        state: Py<PyDict>,
    ) -> PyResult<Option<Py<asgi::Pump>>> {
        let serving = self.serving()?;
        let server = |listener: &ListenAddr| match listener {
            ListenAddr::Tcp(address) => (address.ip().to_string(), Some(address.port())),
            ListenAddr::Unix(path) => (path.to_string_lossy().into_owned(), None),
        };
        let setup = asgi::Setup {
            listeners: serving.listeners.iter().map(server).collect(),
            root_path: self.config.root_path.clone(),
            trust: self.config.proxy_headers.then(|| trust(&self.config)),
            state,
            casefold: self.config.casefold_http_method,
            deflate: deflate(&self.config),
            websockets: self.config.ws != "none",
            timeout: self.config.timeout,
            grace: self.config.asgi_disconnect_grace_period,
        };
        let (app, crew) = (serving.app.clone_ref(py), serving.crew);
        asgi::pump(py, app, event_loop, crew, setup)
    }

    /// What gevent's hub has to watch and to call to serve a WSGI application in greenlets. `board`: the hub's side of it.
    fn hub_pump(&self, py: Python<'_>, board: &Bound<'_, PyAny>) -> PyResult<Py<gevent::HubPump>> {
        let serving = self.serving()?;
        let site = gevent::Site {
            app: serving.app.clone_ref(py),
            observer: serving.observer.as_ref().map(|hooks| hooks.clone_ref(py)),
            crew: serving.crew,
            setup: self.gateway_setup(py, serving)?,
            timeout: self.config.timeout,
        };
        gevent::pump(board, site)
    }

    /// For the main thread when others lead: runs signal handlers; returns at shutdown.
    fn watch(&self, py: Python<'_>) -> PyResult<()> {
        self.serving()?.crew.watch(py)
    }

    /// Ends the worker: after what it has begun, or at once.
    #[pyo3(signature = (graceful=true))]
    fn stop(&self, py: Python<'_>, graceful: bool) {
        let Some(serving) = self.serving.get() else {
            *lock(&self.stopped_early) = true;
            return;
        };
        py.detach(|| {
            if graceful {
                serving.crew.leave();
            } else {
                serving.crew.stop();
            }
        });
    }

    /// Says why this worker will not start, in a few words; before it ends.
    fn unready(&self, reason: &str) -> PyResult<()> {
        match &*lock(&self.seed) {
            Some(seed) => Ok(seed.channel.unready(reason)?),
            None => Ok(()),
        }
    }

    /// What the process should exit with: 0 after an orderly end, 3 if it did not get ready, 255 if an application thread
    /// died of an error of ours.
    #[getter]
    fn exit_code(&self) -> i32 {
        match self.serving.get() {
            Some(serving) if serving.crew.has_failed() => 255,
            Some(serving) if serving.crew.is_unfit() => 3,
            Some(_) | None => 0,
        }
    }

    /// Whether INT or QUIT ended the worker.
    #[getter]
    fn interrupted(&self) -> bool {
        let serving = self.serving.get();
        serving.is_some_and(|serving| serving.crew.was_interrupted())
    }

    /// Whether it has begun to leave.
    #[getter]
    fn leaving(&self) -> bool {
        let serving = self.serving.get();
        serving.is_some_and(|one| one.crew.is_draining() || one.crew.is_stopping())
    }

    /// How many requests were handed to the application.
    #[getter]
    fn requests(&self) -> u64 {
        let serving = self.serving.get();
        serving.map_or(0, |serving| serving.crew.requests())
    }

    /// For `os.register_at_fork(after_in_child=...)`: a process that the application forks must not serve.
    fn forked(&self) {
        relay::forked();
        if let Some(serving) = self.serving.get() {
            serving.crew.forked();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    fn serving(&self) -> PyResult<&Serving> {
        self.serving
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("start() comes first"))
    }

    /// Under `reload` the page that shows an error is worth serving.
    fn ready_check(&self) -> Option<ReadyCheck> {
        let check = self.config.ready_check.as_ref();
        let check = check.filter(|_| !self.config.reload)?;
        // To the application it is what its clients' requests are.
        let said: &[_] = if check.https || self.config.certfile.is_some() {
            &self.config.secure_scheme_headers
        } else {
            &[]
        };
        if check.https && said.is_empty() {
            log::warn!(target: "oxicorn", "ready_check: no field of secure_scheme_headers says https");
        }
        let limit = self.config.boot_timeout;
        let until = limit.saturating_sub(FAREWELL.min(limit / 10));
        Some(ReadyCheck {
            target: check.target.clone(),
            question: question(&check.target, &check.host, AGENT, said),
            until: (!limit.is_zero()).then(|| self.since + until),
        })
    }

    fn gateway_setup(&self, py: Python<'_>, serving: &Serving) -> PyResult<wsgi::Setup> {
        let template = |listener| self.template(py, listener);
        Ok(wsgi::Setup {
            templates: serving
                .listeners
                .iter()
                .map(template)
                .collect::<PyResult<_>>()?,
            script_name: environment(py, "SCRIPT_NAME")?.unwrap_or_default(),
            casefold: self.config.casefold_http_method,
            sendfile: self.config.sendfile,
            wanted: serving.wanted.clone(),
        })
    }

    /// How long a request may take. gevent's and tornado's may take as long as they like, while the loop goes on.
    fn request_timeout(&self, asynchronous: bool) -> Duration {
        match self.config.worker_class {
            WorkerClass::Gevent => Duration::ZERO,
            WorkerClass::Tornado if asynchronous => Duration::ZERO,
            _ => self.config.timeout,
        }
    }

    /// Whether requests share the process's memory with others (`wsgi.multithread`), as gunicorn says it.
    fn runs_several_requests(&self) -> bool {
        self.config.threads > 1 || self.config.worker_class == WorkerClass::Gevent
    }

    /// The environ entries that are the same for every request of a listener. Those that every request sets are here as
    /// well, so that a copy has room for them.
    fn template(&self, py: Python<'_>, listener: &ListenAddr) -> PyResult<(Py<PyDict>, bool)> {
        let template = PyDict::new(py);
        for (key, value) in [
            ("wsgi.url_scheme", "http"),
            ("SERVER_SOFTWARE", SOFTWARE),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SCRIPT_NAME", ""),
            ("PATH_INFO", ""),
            ("RAW_URI", ""),
            ("QUERY_STRING", ""),
            ("REQUEST_METHOD", ""),
            ("REMOTE_ADDR", ""),
        ] {
            template.set_item(
                pyo3::types::PyString::intern(py, key),
                pyo3::types::PyString::intern(py, value),
            )?;
        }
        for (key, value) in [
            ("wsgi.multithread", self.runs_several_requests()),
            ("wsgi.multiprocess", self.config.workers > 1),
            ("wsgi.run_once", false),
            ("wsgi.input_terminated", true),
        ] {
            template.set_item(key, value)?;
        }
        template.set_item("wsgi.version", PyTuple::new(py, [1, 0])?)?;
        template.set_item(
            "wsgi.errors",
            Bound::new(py, ErrorStream::new(logs::error_sink()))?,
        )?;
        template.set_item("wsgi.input", Bound::new(py, EmptyInput)?)?;
        template.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        let unix = match listener {
            ListenAddr::Tcp(address) => {
                template.set_item("SERVER_NAME", address.ip().to_string())?;
                template.set_item("SERVER_PORT", address.port().to_string())?;
                template.set_item("REMOTE_PORT", "")?;
                false
            }
            ListenAddr::Unix(_) => true,
        };
        make_room(&template)?;
        Ok((template.unbind(), unix))
    }
}

/// Makes the dict's table larger than its entries need: a copy has the same table, and so takes a request's fields without
/// growing. (A dict grows when it is full and does not shrink when a key goes.)
fn make_room(template: &Bound<'_, PyDict>) -> PyResult<()> {
    let spare: Vec<String> = (template.len()..24)
        .map(|number| format!("spare {number}"))
        .collect();
    spare
        .iter()
        .try_for_each(|key| template.set_item(key, ()))?;
    spare.iter().try_for_each(|key| template.del_item(key))
}

/// What the worker handles. HUP is the arbiter's; it reaches workers only when a whole process group gets it, and must not
/// end them, unless the application has a use for it.
fn signals_for(py: Python<'_>) -> PyResult<Vec<Signal>> {
    let mut signals = vec![Signal::Term, Signal::Int, Signal::Quit, Signal::Usr1];
    let module = py.import("signal")?;
    let current = module.call_method1("getsignal", (module.getattr("SIGHUP")?,))?;
    if current.eq(module.getattr("SIG_DFL")?)? {
        signals.push(Signal::Hup);
    }
    Ok(signals)
}

fn environment(py: Python<'_>, name: &str) -> PyResult<Option<String>> {
    py.import("os")?
        .getattr("environ")?
        .call_method1("get", (name,))?
        .extract()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The engine's part of the configuration.
fn options(config: &settings::Config) -> Options {
    Options {
        http: policy(config),
        trust: trust(config),
        edge: edge(config),
        head_timeout: millis(config.head_timeout),
        handshake_timeout: millis(config.tls_handshake_timeout),
        body_timeout: millis(config.body_timeout),
        body_min_rate: config.body_min_rate,
        keep_alive: millis(config.keepalive),
        write_timeout: millis(config.write_timeout),
        linger_timeout: millis(config.linger_timeout),
        body_memory: size(config.body_memory_limit),
        body_limit: config.limit_request_body,
        response_memory: size(config.response_memory_limit),
        response_spool: config.response_spool_limit,
        response_kept: size(config.response_kept_limit),
        spool_dir: config
            .tmp_upload_dir
            .as_ref()
            .map_or_else(std::env::temp_dir, Into::into),
        connections: config
            .worker_connections
            .min(limits::descriptors_for_connections()),
        accept_burst: if config.workers > 1 { 1 } else { 64 },
        max_requests: limits::max_requests(config),
        request_id: request_id(config),
        message_limit: config.websocket_max_message_size,
        ping_interval: millis(config.ws_ping_interval),
        ping_timeout: millis(config.ws_ping_timeout),
        ..Options::default()
    }
}

/// What is agreed to about compressing WebSocket messages.
fn deflate(config: &settings::Config) -> Option<Deflate> {
    config.ws_per_message_deflate.then(|| Deflate {
        server_takeover: config.ws_deflate_takeover,
        client_takeover: config.ws_deflate_takeover,
        threshold: config.ws_deflate_min_size,
        ..Deflate::default()
    })
}

/// The field that every request has an id in.
fn request_id(config: &settings::Config) -> Option<String> {
    let header = config.request_id_header.as_ref();
    header.map(|name| name.0.clone())
}

/// The fields that every response has.
fn always(config: &settings::Config) -> Always {
    let always = Always::new(config.server_header, config.date_header, &config.header);
    always.with_request_id(request_id(config))
}

/// Whose forwarding fields count. The peers of a Unix socket are trusted always, so that without `proxy_headers` there must
/// be no field to believe.
fn trust(config: &settings::Config) -> TrustPolicy {
    if !config.proxy_headers {
        return TrustPolicy {
            proxies: settings::Networks::NONE,
            secure_fields: Vec::new(),
            standard: false,
        };
    }
    TrustPolicy {
        proxies: config.forwarded_allow_ips.clone(),
        secure_fields: config.secure_scheme_headers.clone(),
        standard: true,
    }
}

/// Who may say what below HTTP.
fn edge(config: &settings::Config) -> Edge {
    let is_uwsgi = config.protocol == settings::Protocol::Uwsgi;
    Edge {
        proxy: match config.proxy_protocol {
            settings::ProxyProtocol::Off => None,
            settings::ProxyProtocol::Auto => Some(Versions::Both),
            settings::ProxyProtocol::V1 => Some(Versions::One),
            settings::ProxyProtocol::V2 => Some(Versions::Two),
        },
        proxy_required: config.proxy_protocol_required,
        proxy_senders: config.proxy_allow_ips.clone(),
        uwsgi: is_uwsgi.then(|| config.uwsgi_allow_ips.clone()),
    }
}

fn policy(config: &settings::Config) -> Policy {
    Policy {
        limits: Limits::new(
            config.limit_request_line,
            config.limit_request_fields,
            config.limit_request_field_size,
        ),
        header_map: match config.header_map {
            settings::HeaderMap::Drop => HeaderMap::Drop,
            settings::HeaderMap::Refuse => HeaderMap::Refuse,
            settings::HeaderMap::Dangerous => HeaderMap::Dangerous,
        },
        forwarder_headers: if config.proxy_headers {
            config.forwarder_headers.clone()
        } else {
            Vec::new()
        },
        permit_unconventional_method: config.permit_unconventional_http_method,
        permit_unconventional_version: config.permit_unconventional_http_version,
        casefold_method: config.casefold_http_method,
    }
}
