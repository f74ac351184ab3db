//! The error log: what the server itself has to say, through the `log` crate.
//!
//! For: one line a message in gunicorn's shape,
//! `[2026-01-02 03:04:05 +0000] [PID] [INFO] message`, or one of named fields, one write each; the
//! same to syslog; or the message to somebody who writes it instead.
//! Not for: requests (the access log) or for making client bytes harmless (`Escaped` does that).
//!
//! Invariants: a message is written as it is, also when it has several lines; the process id is
//! asked for at every line, so it is right in a forked child; no lock is held during a write.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};

use crate::fields::{Line, Notation};
use crate::losses::Delivery;
use crate::sink::{Sink, Standard};
use crate::statsd::{Metric, Statsd};
use crate::syslog::SyslogTag;
use crate::time::{LocalTime, unix_now};

/// The target that lifts an error to CRITICAL, a level which the `log` crate does not have.
const CRITICAL: &str = "oxicorn::critical";

/// The process's log; it lives as long as the process, as `log::set_logger` asks.
static GLOBAL: OnceLock<&ErrorLog> = OnceLock::new();

/// How much the error log says, and how grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything, for whoever works on the server. Other crates' messages begin at info.
    Debug,
    /// What happens in the normal course.
    Info,
    /// What somebody should look at some day.
    Warning,
    /// What went wrong for one request, connection or worker.
    Error,
    /// What stops the server.
    Critical,
}

impl Level {
    /// Its name in capitals.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// What the `log` crate lets through at this level.
    const fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::Debug,
            Self::Info => LevelFilter::Info,
            Self::Warning => LevelFilter::Warn,
            Self::Error | Self::Critical => LevelFilter::Error,
        }
    }

    /// How grave a record is; `None` for what is never printed.
    fn of(metadata: &Metadata<'_>) -> Option<Self> {
        match metadata.level() {
            log::Level::Error if metadata.target() == CRITICAL => Some(Self::Critical),
            log::Level::Error => Some(Self::Error),
            log::Level::Warn => Some(Self::Warning),
            log::Level::Info => Some(Self::Info),
            log::Level::Debug if metadata.target().starts_with("oxicorn") => Some(Self::Debug),
            log::Level::Debug | log::Level::Trace => None,
        }
    }
}

/// A text that names no [`Level`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLevel(String);

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "no log level {text:?}: one of debug, info, warning, error, critical"
        )
    }
}

impl std::error::Error for UnknownLevel {}

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Reads gunicorn's `loglevel`, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let levels = [
            Self::Debug,
            Self::Info,
            Self::Warning,
            Self::Error,
            Self::Critical,
        ];
        let named = |level: &Self| level.name().eq_ignore_ascii_case(text);
        levels
            .into_iter()
            .find(named)
            .ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// Somebody who writes messages instead of the log.
pub trait Relay: fmt::Debug + Send + Sync {
    /// Takes a message. `false`: it was not taken, and the log has to write it.
    fn take(&self, level: Level, message: fmt::Arguments<'_>) -> bool;
}

/// Where messages go.
#[derive(Clone, Debug, Default)]
pub struct Outlets {
    /// A file or stream.
    pub sink: Option<Arc<Sink>>,
    /// How lines are written; `None`: as gunicorn does.
    pub notation: Option<Notation>,
    /// A syslog daemon as well.
    pub syslog: Option<SyslogTag>,
    /// Who counts messages from warnings on.
    pub statsd: Option<Arc<Statsd>>,
    /// Who writes them instead.
    pub relay: Option<Arc<dyn Relay>>,
}

impl From<Arc<Sink>> for Outlets {
    fn from(sink: Arc<Sink>) -> Self {
        Self {
            sink: Some(sink),
            ..Self::default()
        }
    }
}

/// Writes the records of the `log` crate.
#[derive(Debug)]
pub struct ErrorLog {
    outlets: RwLock<Arc<Outlets>>,
    threshold: AtomicU8,
    clock: Mutex<LocalTime>,
}

impl ErrorLog {
    /// A log that prints records of at least `level`.
    #[must_use]
    pub fn new(outlets: impl Into<Outlets>, level: Level) -> Self {
        let outlets = outlets.into();
        Self {
            clock: Mutex::new(outlets.clock()),
            outlets: RwLock::new(Arc::new(outlets)),
            threshold: AtomicU8::new(level as u8),
        }
    }

    fn outlets(&self) -> Arc<Outlets> {
        self.outlets
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replace(&self, outlets: Outlets) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = outlets.clock();
        let mut known = self.outlets.write().unwrap_or_else(PoisonError::into_inner);
        *known = Arc::new(outlets);
    }

    fn print(&self, outlets: &Outlets, level: Level, message: fmt::Arguments<'_>) {
        if let Some(tag) = &outlets.syslog {
            self.print_to_syslog(outlets, tag, level, message);
        }
        let Some(sink) = &outlets.sink else {
            return;
        };
        let line = self.line(outlets, level, message);
        if let Delivery::Recovered { lost, cause } = sink.write_all(&line) {
            let told = format_args!("{lost} log lines were lost: {cause}");
            // If this line is lost in its turn, the sink counts it and tells later.
            sink.write_all(&self.line(outlets, Level::Warning, told));
        }
    }

    fn print_to_syslog(
        &self,
        outlets: &Outlets,
        tag: &SyslogTag,
        level: Level,
        message: fmt::Arguments<'_>,
    ) {
        let text = match outlets.notation {
            Some(notation) => fields(notation, &self.now(outlets), level, message),
            None => message.to_string().into_bytes(),
        };
        let name = tag.syslog.name();
        match tag.send(level, &text) {
            Delivery::Written | Delivery::Lost => {}
            Delivery::Failed(cause) => self.tell(
                outlets,
                format_args!("cannot log to {name}: {cause}; lines are lost until it works again"),
            ),
            Delivery::Recovered { lost, cause } => self.tell(
                outlets,
                format_args!("logging to {name} again; {lost} lines were lost: {cause}"),
            ),
        }
    }

    /// What is to be said about syslog, elsewhere.
    fn tell(&self, outlets: &Outlets, message: fmt::Arguments<'_>) {
        if let Some(sink) = &outlets.sink {
            sink.write_all(&self.line(outlets, Level::Warning, message));
        }
    }

    fn line(&self, outlets: &Outlets, level: Level, message: fmt::Arguments<'_>) -> Vec<u8> {
        let Some(notation) = outlets.notation else {
            let (now, pid, level) = (self.now(outlets), std::process::id(), level.name());
            return format!("{now} [{pid}] [{level}] {message}\n").into_bytes();
        };
        let mut line = fields(notation, &self.now(outlets), level, message);
        line.push(b'\n');
        line
    }

    /// The time, without ever waiting for the clock: the thread that has it locked may not exist
    /// any more in a forked child.
    fn now(&self, outlets: &Outlets) -> String {
        match self.clock.try_lock() {
            Ok(mut clock) => clock.at(unix_now()).to_owned(),
            Err(_) => outlets.clock().at(unix_now()).to_owned(),
        }
    }
}

/// Says what is wrong with a sink; on standard error as well if it is the error log's own, whose file may be one that nobody
/// finds any more.
pub(crate) fn complain_about(sink: &Arc<Sink>, message: fmt::Arguments<'_>) {
    log::error!(target: "oxicorn::logs", "{message}");
    let Some(log) = GLOBAL.get() else {
        return;
    };
    let outlets = log.outlets();
    let own = outlets.sink.as_ref();
    if own.is_some_and(|own| Arc::ptr_eq(own, sink)) {
        let line = log.line(&outlets, Level::Error, message);
        Sink::standard(Standard::Error).write_all(&line);
    }
}

/// How the traceback begins that follows a message.
const TRACEBACK: &str = "\nTraceback (most recent call last):";

/// A line of named fields, without its end.
fn fields(notation: Notation, now: &str, level: Level, message: fmt::Arguments<'_>) -> Vec<u8> {
    let message = message.to_string();
    let (said, traceback) = match message.split_once(TRACEBACK) {
        Some((said, _)) => (said, message.get(said.len() + 1..)),
        None => (&*message, None),
    };
    let mut out = Vec::with_capacity(message.len() + 128);
    let mut line = Line::begin(notation, &mut out);
    line.text("time", now.as_bytes());
    line.text("level", level.name().to_ascii_lowercase().as_bytes());
    line.text("log", b"error");
    line.number("pid", std::process::id().to_string().as_bytes());
    line.text("message", said.as_bytes());
    if let Some(traceback) = traceback {
        line.text("traceback", traceback.as_bytes());
    }
    line.end();
    out
}

impl Outlets {
    fn clock(&self) -> LocalTime {
        match self.notation {
            Some(_) => LocalTime::rfc3339(),
            None => LocalTime::error(),
        }
    }

    /// As gunicorn counts: an error with a traceback is an exception.
    fn count(&self, level: Level, message: fmt::Arguments<'_>) {
        let Some(statsd) = &self.statsd else {
            return;
        };
        let name = match level {
            Level::Debug | Level::Info => return,
            Level::Warning => "gunicorn.log.warning",
            Level::Error if message.to_string().contains(TRACEBACK) => "gunicorn.log.exception",
            Level::Error => "gunicorn.log.error",
            Level::Critical => "gunicorn.log.critical",
        };
        statsd.send(name, 1, Metric::Counter);
    }
}

impl Log for ErrorLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Level::of(metadata).is_some_and(|level| level as u8 >= self.threshold.load(Relaxed))
    }

    fn log(&self, record: &Record<'_>) {
        let Some(level) = Level::of(record.metadata()) else {
            return;
        };
        if !self.enabled(record.metadata()) {
            return;
        }
        let (outlets, message) = (self.outlets(), *record.args());
        outlets.count(level, message);
        let relayed = |relay: &Arc<dyn Relay>| relay.take(level, message);
        if !outlets.relay.as_ref().is_some_and(relayed) {
            self.print(&outlets, level, message);
        }
    }

    fn flush(&self) {}
}

/// Makes `outlets` the error log of the process. A second call replaces outlets and level of the
/// first.
///
/// # Errors
///
/// Another logger than ours was set before.
pub fn install(outlets: impl Into<Outlets>, level: Level) -> Result<(), SetLoggerError> {
    if let Some(logger) = GLOBAL.get() {
        logger.replace(outlets.into());
    } else {
        let logger = Box::leak(Box::new(ErrorLog::new(outlets, level)));
        log::set_logger(logger)?;
        GLOBAL.get_or_init(|| logger);
    }
    set_level(level);
    Ok(())
}

/// Hands the messages of the installed error log to `relay` from now on, uncounted; without a log,
/// nothing.
pub fn relay(relay: Arc<dyn Relay>) {
    if let Some(logger) = GLOBAL.get() {
        let outlets = Outlets::clone(&logger.outlets());
        logger.replace(Outlets {
            relay: Some(relay),
            statsd: None,
            ..outlets
        });
    }
}

/// Writes a message as the installed error log would without anybody who writes it instead.
pub fn print(level: Level, message: fmt::Arguments<'_>) {
    if let Some(logger) = GLOBAL.get() {
        logger.print(&logger.outlets(), level, message);
    }
}

/// Changes how much the installed error log says; without one, nothing.
pub fn set_level(level: Level) {
    if let Some(logger) = GLOBAL.get() {
        logger.threshold.store(level as u8, Relaxed);
        log::set_max_level(level.filter());
    }
}

/// Logs that the server cannot go on: `critical(format_args!("cannot bind {address}"))`.
pub fn critical(message: fmt::Arguments<'_>) {
    log::error!(target: CRITICAL, "{message}");
}
