//! The error log: what the server itself has to say, through the `log` crate.
//!
//! For: one line a message in gunicorn's shape,
//! `[2026-01-02 03:04:05 +0000] [PID] [INFO] message`, one write each.
//! Not for: requests (the access log) or for making client bytes harmless (`Escaped` does that).
//!
//! Invariants: a message is written as it is, also when it has several lines; the process id is
//! asked for at every line, so it is right in a forked child; no lock is held during a write.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};

use crate::sink::{Delivery, Sink};
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
    const fn name(self) -> &'static str {
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

/// Writes the records of the `log` crate to a sink.
#[derive(Debug)]
pub struct ErrorLog {
    sink: RwLock<Arc<Sink>>,
    threshold: AtomicU8,
    clock: Mutex<LocalTime>,
}

impl ErrorLog {
    /// A log that prints records of at least `level`.
    #[must_use]
    pub fn new(sink: Arc<Sink>, level: Level) -> Self {
        Self {
            sink: RwLock::new(sink),
            threshold: AtomicU8::new(level as u8),
            clock: Mutex::new(LocalTime::error()),
        }
    }

    fn sink(&self) -> Arc<Sink> {
        self.sink
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn print(&self, level: Level, message: fmt::Arguments<'_>) -> Delivery {
        let line = format!(
            "{} [{}] [{}] {message}\n",
            self.now(),
            std::process::id(),
            level.name()
        );
        self.sink().write_all(line.as_bytes())
    }

    /// The time, without ever waiting for the clock: the thread that has it locked may not exist
    /// any more in a forked child.
    fn now(&self) -> String {
        match self.clock.try_lock() {
            Ok(mut clock) => clock.at(unix_now()).to_owned(),
            Err(_) => LocalTime::error().at(unix_now()).to_owned(),
        }
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
        if let Delivery::Recovered { lost, cause } = self.print(level, *record.args()) {
            // If this line is lost in its turn, the sink counts it and tells later.
            let _ = self.print(
                Level::Warning,
                format_args!("{lost} log lines were lost: {cause}"),
            );
        }
    }

    fn flush(&self) {}
}

/// Makes `sink` the error log of the process. A second call replaces sink and level of the first.
///
/// # Errors
///
/// Another logger than ours was set before.
pub fn install(sink: Arc<Sink>, level: Level) -> Result<(), SetLoggerError> {
    if let Some(logger) = GLOBAL.get() {
        *logger.sink.write().unwrap_or_else(PoisonError::into_inner) = sink;
    } else {
        let logger = Box::leak(Box::new(ErrorLog::new(sink, level)));
        log::set_logger(logger)?;
        GLOBAL.get_or_init(|| logger);
    }
    set_level(level);
    Ok(())
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
