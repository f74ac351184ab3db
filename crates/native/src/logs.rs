//! The logs, for Python: opening them, and lines from the package. Invariant: the server's log does not depend on Python's
//! logging, so an application cannot silence it.

use std::sync::{Arc, Mutex, PoisonError};

use oxicorn_logs::{AccessLog, Format, Level, Sink, Standard, critical, install};
use oxicorn_settings as settings;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::config::{Config, ConfigError};

static SINKS: Mutex<Sinks> = Mutex::new(Sinks {
    error: None,
    access: None,
});

/// The files of this process and its forked workers. Opened before the privileges are dropped.
struct Sinks {
    error: Option<Arc<Sink>>,
    access: Option<Arc<Sink>>,
}

fn sinks() -> std::sync::MutexGuard<'static, Sinks> {
    SINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(setting: &str, path: Option<&str>, dash: Standard) -> PyResult<Option<Arc<Sink>>> {
    let Some(path) = path else { return Ok(None) };
    let opened = Sink::from_setting(path, dash);
    let refused =
        |error| ConfigError::new_err(format!("{setting} = {path:?} cannot be opened: {error}"));
    opened.map(Some).map_err(refused)
}

/// Opens error log and access log, and sends the server's messages to the former.
#[pyfunction]
pub(crate) fn setup_logs(config: &Config) -> PyResult<()> {
    let config = &config.config;
    let error = open("errorlog", config.errorlog.as_deref(), Standard::Error)?;
    let access = open("accesslog", config.accesslog.as_deref(), Standard::Output)?;
    Format::parse(&config.access_log_format)
        .map_err(|error| ConfigError::new_err(format!("access_log_format: {error}")))?;
    if let Some(sink) = &error {
        let level = level_of(config.loglevel);
        install(sink.clone(), level).map_err(|error| ConfigError::new_err(error.to_string()))?;
    }
    *sinks() = Sinks { error, access };
    Ok(())
}

fn level_of(level: settings::LogLevel) -> Level {
    match level {
        settings::LogLevel::Debug => Level::Debug,
        settings::LogLevel::Info => Level::Info,
        settings::LogLevel::Warning => Level::Warning,
        settings::LogLevel::Error => Level::Error,
        settings::LogLevel::Critical => Level::Critical,
    }
}

/// Where `wsgi.errors` goes.
pub(crate) fn error_sink() -> Arc<Sink> {
    sinks()
        .error
        .clone()
        .unwrap_or_else(|| Sink::standard(Standard::Error))
}

/// The access log of this worker, if one is wanted, and the environ entries its format needs.
pub(crate) fn access_log(config: &settings::Config) -> PyResult<(Option<AccessLog>, Vec<String>)> {
    let Some(sink) = sinks().access.clone() else {
        return Ok((None, Vec::new()));
    };
    let format = Format::parse(&config.access_log_format)
        .map_err(|error| ConfigError::new_err(format!("access_log_format: {error}")))?;
    let wanted = format
        .wants()
        .environ
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok((Some(AccessLog::new(format, sink)), wanted))
}

/// Opens the log files of this process anew.
#[pyfunction]
pub(crate) fn reopen_logs() {
    oxicorn_logs::reopen_all();
}

/// Writes a line to the error log. `level`: debug, info, warning, error or critical.
#[pyfunction]
pub(crate) fn log(level: &str, message: &str) -> PyResult<()> {
    let level = match level {
        "debug" => ::log::Level::Debug,
        "info" => ::log::Level::Info,
        "warning" => ::log::Level::Warn,
        "error" => ::log::Level::Error,
        "critical" => {
            critical(format_args!("{message}"));
            return Ok(());
        }
        _ => {
            return Err(PyValueError::new_err(format!(
                "there is no log level '{level}'"
            )));
        }
    };
    ::log::log!(target: "oxicorn", level, "{message}");
    Ok(())
}
