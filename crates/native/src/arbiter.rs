//! The arbiter, for Python, and what a worker inherits from it. Invariant: the arbiter waits without the interpreter lock.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oxicorn_arbiter::sys::process;
use oxicorn_arbiter::{
    ControlPlace, ControlSocket, Inheritance, ListenFds, NotifyOptions, Outcome, Policy,
    Predecessor, Setup, SocketOptions, StartCommand, WorkerSeed,
};
use oxicorn_settings as settings;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::beat::Beat;
use crate::config::Config;
use crate::interpreter::{Configurations, Interpreter};
use crate::stem::Stem;
use crate::tls;
use crate::upgrade;

pyo3::create_exception!(
    oxicorn._native,
    BindError,
    PyException,
    "The server could not take its place: a socket or the pidfile; the message says which and why."
);

/// Program, arguments, environment, directory.
type Command = (
    PathBuf,
    Vec<OsString>,
    BTreeMap<OsString, OsString>,
    PathBuf,
);

/// The process manager. `fork` is `os.fork`, called with the interpreter lock held. `observer` is told what happens, calls the
/// hooks, and reads the configuration again, for a restart (`oxicorn.observer`). `command`: how the server was started:
/// program, arguments, environment, directory. `owner`: the user and group that Unix sockets are given to.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Arbiter {
    config: Config,
    owner: Option<(u32, u32)>,
    command: StartCommand,
    fork: Py<PyAny>,
    observer: Py<PyAny>,
    configurations: Configurations,
    bound: Mutex<Option<oxicorn_arbiter::Arbiter<Interpreter>>>,
}

#[pymethods]
impl Arbiter {
    #[new]
    #[pyo3(signature = (config, fork, observer, command, owner=None))]
    fn new(
        config: &Config,
        fork: Py<PyAny>,
        observer: Py<PyAny>,
        command: Command,
        owner: Option<(u32, u32)>,
    ) -> Self {
        Self {
            config: config.clone(),
            owner,
            command: start_command(command),
            fork,
            observer,
            configurations: Arc::new(Mutex::new(BTreeMap::from([(1, config.clone())]))),
            bound: Mutex::new(None),
        }
    }

    /// Takes the pidfile and the listening sockets, or, after an upgrade, those of the version before.
    fn bind(&self, py: Python<'_>) -> PyResult<()> {
        let listen_fds = take_listen_fds(py)?;
        let predecessor = upgrade::take_predecessor(py)?;
        let heirloom = predecessor.as_ref().and_then(Predecessor::heirloom);
        if let Some(text) = &heirloom {
            tls::inherit(text);
        }
        let setup = Setup {
            notify: take_notify_options(py)?,
            inheritance: take_inheritance(py, &listen_fds)?,
            kept: upgrade::keep(py, predecessor.as_ref(), &self.config),
            version: upgrade::version(py)?,
            command: self.command.clone(),
            ..setup(&self.config.config, self.owner, listen_fds)
        };
        let mut host = Interpreter {
            fork: self.fork.clone_ref(py),
            observer: self.observer.clone_ref(py),
            configurations: self.configurations.clone(),
            renewal: tls::Renewal::default(),
            beat: beat(&self.config.config)?,
        };
        host.follow_certificates();
        let bound = py
            .detach(|| match predecessor {
                Some(predecessor) => oxicorn_arbiter::Arbiter::resume(setup, host, predecessor),
                None => oxicorn_arbiter::Arbiter::start(setup, host),
            })
            .map_err(|fatal| BindError::new_err(fatal.to_string()))?;
        *self.slot() = Some(bound);
        Ok(())
    }

    /// The URLs of the listening sockets.
    #[getter]
    fn listeners(&self) -> Vec<String> {
        let slot = self.slot();
        slot.as_ref()
            .map_or_else(Vec::new, oxicorn_arbiter::Arbiter::urls)
    }

    /// The listening sockets: the descriptor of each, and its URL.
    #[getter]
    fn sockets(&self) -> Vec<(i32, String)> {
        let slot = self.slot();
        let listeners = slot.iter().flat_map(oxicorn_arbiter::Arbiter::listeners);
        listeners
            .map(|one| (one.as_fd().as_raw_fd(), one.local.to_string()))
            .collect()
    }

    /// Runs until the server is stopped: the exit code. Returns in every forked worker as well, with its seed, and in every
    /// stem.
    fn run<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(bound) = self.slot().take() else {
            return Err(PyRuntimeError::new_err("bind() comes before run()"));
        };
        match py.detach(|| bound.run()) {
            Outcome::Exit(code) => Ok(code.into_pyobject(py)?.into_any()),
            Outcome::Worker(seed) => {
                let config = self.configuration_of(seed.generation);
                Ok(Bound::new(py, Seed::new(seed, config))?.into_any())
            }
            Outcome::Stem(seed) => {
                let config = self.configuration_of(seed.generation);
                let stem = Stem::new(seed, config, self.fork.clone_ref(py));
                Ok(Bound::new(py, stem)?.into_any())
            }
        }
    }
}

impl Arbiter {
    /// There is always one: it is read before its generation is forked.
    fn configuration_of(&self, generation: u32) -> Config {
        let config = lock(&self.configurations).get(&generation).cloned();
        config.unwrap_or_else(|| self.config.clone())
    }

    fn slot(&self) -> MutexGuard<'_, Option<oxicorn_arbiter::Arbiter<Interpreter>>> {
        lock(&self.bound)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// systemd's socket activation (`sd_listen_fds(3)`); the variables are used up.
fn take_listen_fds(py: Python<'_>) -> PyResult<ListenFds> {
    let environ = py.import("os")?.getattr("environ")?;
    let variable = |name: &str| {
        environ
            .call_method1("get", (name,))?
            .extract::<Option<String>>()
    };
    let (pid, fds) = (variable("LISTEN_PID")?, variable("LISTEN_FDS")?);
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let names = variable("LISTEN_FDNAMES")?;
    let listen_fds =
        ListenFds::from_environment(pid.as_deref(), fds.as_deref(), own).named(names.as_deref());
    if listen_fds.are_ours() {
        environ.call_method1("pop", ("LISTEN_PID", py.None()))?;
        environ.call_method1("pop", ("LISTEN_FDS", py.None()))?;
        environ.call_method1("pop", ("LISTEN_FDNAMES", py.None()))?;
    }
    Ok(listen_fds)
}

/// How a service manager is told (`sd_notify(3)`); the variables are the arbiter's alone.
fn take_notify_options(py: Python<'_>) -> PyResult<NotifyOptions> {
    let found = take_variables(py, NotifyOptions::VARIABLES)?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let read = |name: &str| found.get(name).cloned();
    Ok(NotifyOptions::from_environment(read, own))
}

/// What another arbiter left that started this process (USR2); the variables are used up.
fn take_inheritance(py: Python<'_>, listen_fds: &ListenFds) -> PyResult<Option<Inheritance>> {
    let found = take_variables(py, Inheritance::VARIABLES)?;
    let read = |name: &str| found.get(name).cloned();
    Ok(Inheritance::from_environment(read, listen_fds.are_ours()))
}

/// Removes variables from the environment; those that there were.
fn take_variables<const N: usize>(
    py: Python<'_>,
    names: [&'static str; N],
) -> PyResult<BTreeMap<&'static str, String>> {
    let environ = py.import("os")?.getattr("environ")?;
    let mut found = BTreeMap::new();
    for name in names {
        let value = environ.call_method1("pop", (name, py.None()))?;
        if let Some(value) = value.extract::<Option<String>>()? {
            found.insert(name, value);
        }
    }
    Ok(found)
}

pub(crate) fn policy(config: &settings::Config) -> Policy {
    Policy {
        workers: config.workers,
        graceful_timeout: config.graceful_timeout,
        shutdown_delay: config.shutdown_delay,
        boot_timeout: (!config.boot_timeout.is_zero()).then_some(config.boot_timeout),
        daemon: config.daemon,
        restart_mode: config.restart_mode,
        observe_timeout: config.observe_timeout,
        // Under `reload` every worker has to import what was saved.
        preload: config.preload_app && !config.reload,
    }
}

/// What the arbiter has to wake up for.
fn beat(config: &settings::Config) -> std::io::Result<Option<Beat>> {
    config.enable_backlog_metric.then(Beat::new).transpose()
}

fn setup(config: &settings::Config, owner: Option<(u32, u32)>, listen_fds: ListenFds) -> Setup {
    let sockets = SocketOptions {
        backlog: i32::try_from(config.backlog).unwrap_or(i32::MAX),
        umask: config.umask,
        owner,
        reuse_port: config.reuse_port,
    };
    let pidfile = config.pidfile.as_ref().map(PathBuf::from);
    Setup {
        policy: policy(config),
        binds: config.bind.clone(),
        listen_fds,
        sockets,
        pidfile,
        notify: NotifyOptions::default(),
        control: control_socket(config),
        secure: config.certfile.is_some(),
        ..Setup::default()
    }
}

fn start_command((program, arguments, environment, directory): Command) -> StartCommand {
    StartCommand {
        program,
        arguments,
        environment: environment.into_iter().collect(),
        directory,
    }
}

fn control_socket(config: &settings::Config) -> ControlSocket {
    let place = match &config.control_socket {
        _ if config.control_socket_disable => ControlPlace::Nowhere,
        Some(path) => ControlPlace::Path(PathBuf::from(path)),
        None => ControlPlace::RuntimeDirectory,
    };
    let mode = config.control_socket_mode;
    ControlSocket { place, mode }
}

/// What a worker inherits from the arbiter or from its stem through the fork.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct Seed {
    id: u64,
    generation: u32,
    config: Config,
    worker: Mutex<Option<WorkerSeed>>,
}

impl Seed {
    pub(crate) fn new(seed: WorkerSeed, config: Config) -> Self {
        Self {
            id: seed.id,
            generation: seed.generation,
            config,
            worker: Mutex::new(Some(seed)),
        }
    }

    pub(crate) fn take(&self) -> Option<WorkerSeed> {
        lock(&self.worker).take()
    }
}

#[pymethods]
impl Seed {
    /// The worker's age: counts from 1 over the whole life of the arbiter.
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    /// Which loading of the application it belongs to: counts from 1, and on with each restart.
    #[getter]
    fn generation(&self) -> u32 {
        self.generation
    }

    /// The configuration of its generation.
    #[getter]
    fn config(&self) -> Config {
        self.config.clone()
    }
}

/// Detaches from the terminal. Before any thread is started.
#[pyfunction]
pub(crate) fn daemonize(inherit_stdio: bool) -> PyResult<()> {
    process::daemonize(inherit_stdio).map_err(PyErr::from)
}
