//! The logs, for Python: opening them, and lines from the package. Invariant: the server's log does not depend on Python's
//! logging, so an application cannot silence it, unless the operator wants it there; then it is the `relay` that brings it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use oxicorn_logs::{
    AccessLog, AccessOutlets, Format, FormatError, Level, Metric, Notation, Outlets, Sink,
    Standard, Statsd, StatsdPlace, Syslog, SyslogKind, SyslogPlace, SyslogTag, critical, install,
};
use oxicorn_settings as settings;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::config::{Config, ConfigError};
use crate::relay;

static WAYS: Mutex<Ways> = Mutex::new(Ways {
    error: None,
    access: None,
    syslog: None,
    statsd: None,
});

/// What this process and its forked workers log to. Opened before the privileges are dropped.
#[derive(Clone)]
struct Ways {
    error: Option<Arc<Sink>>,
    access: Option<Arc<Sink>>,
    syslog: Option<Arc<Syslog>>,
    statsd: Option<Arc<Statsd>>,
}

fn ways() -> std::sync::MutexGuard<'static, Ways> {
    WAYS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(setting: &str, path: Option<&str>, dash: Standard) -> PyResult<Option<Arc<Sink>>> {
    let Some(path) = path else { return Ok(None) };
    let opened = Sink::from_setting(path, dash);
    let refused =
        |error| ConfigError::new_err(format!("{setting} = {path:?} cannot be opened: {error}"));
    opened.map(Some).map_err(refused)
}

/// Opens error log and access log, and sends the server's messages to the former. What Python writes is not opened here.
#[pyfunction]
pub(crate) fn setup_logs(py: Python<'_>, config: &Config) -> PyResult<()> {
    let config = &config.config;
    format(config)?;
    let natively = !config.logs_through_python();
    let access = config.accesslog.as_deref().filter(|_| natively);
    let opened = Ways {
        error: open("errorlog", config.errorlog.as_deref(), Standard::Error)?,
        access: open("accesslog", access, Standard::Output)?,
        // Names are looked up.
        syslog: if natively && config.syslog {
            Some(py.detach(|| syslog(config))?)
        } else {
            None
        },
        statsd: None,
    };
    let statsd = py.detach(|| statsd(config));
    let outlets = Outlets {
        sink: opened.error.clone(),
        notation: notation(config),
        syslog: tag(opened.syslog.as_ref(), config, "error"),
        statsd: statsd.as_ref().ok().cloned().flatten(),
        relay: None,
    };
    if outlets.sink.is_some() || outlets.syslog.is_some() || !natively {
        let level = level_of(config.loglevel);
        install(outlets, level).map_err(|error| ConfigError::new_err(error.to_string()))?;
    }
    if let Err(problem) = &statsd {
        ::log::warn!(target: "oxicorn", "No metrics are sent: {problem}");
    }
    *ways() = Ways {
        statsd: statsd.unwrap_or_default(),
        ..opened
    };
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

fn notation(config: &settings::Config) -> Option<Notation> {
    match config.log_format {
        settings::LogFormat::Text => None,
        settings::LogFormat::Json => Some(Notation::Json),
        settings::LogFormat::Logfmt => Some(Notation::Logfmt),
    }
}

/// What an access line is made of.
fn format(config: &settings::Config) -> PyResult<Format> {
    let text = &config.access_log_format;
    let format = match notation(config) {
        None => Format::parse(text),
        Some(notation) => {
            let own = config.source("access_log_format") != Some("default");
            let request_id = config.request_id_header.as_ref();
            let request_id = request_id.map(|name| name.0.as_str());
            Format::fields(notation, own.then_some(text), request_id)
        }
    };
    let refused = |error: FormatError| ConfigError::new_err(format!("access_log_format: {error}"));
    format.map_err(refused)
}

fn syslog(config: &settings::Config) -> PyResult<Arc<Syslog>> {
    let place = match &config.syslog_addr {
        settings::SyslogAddress::Udp(place) => resolve(place).map(SyslogPlace::Udp),
        settings::SyslogAddress::Tcp(place) => resolve(place).map(SyslogPlace::Tcp),
        settings::SyslogAddress::Unix { path, kind } => {
            let kind = kind.map(|kind| match kind {
                settings::SocketKind::Datagrams => SyslogKind::Datagrams,
                settings::SocketKind::Stream => SyslogKind::Stream,
            });
            Ok(SyslogPlace::Unix(path.into(), kind))
        }
    };
    let place = place.map_err(|problem| ConfigError::new_err(format!("syslog_addr: {problem}")))?;
    Ok(Syslog::new(place, config.syslog_facility.0))
}

/// What lines for syslog begin with, as gunicorn's do. `log`: error or access.
fn tag(syslog: Option<&Arc<Syslog>>, config: &settings::Config, log: &str) -> Option<SyslogTag> {
    let named = config.syslog_prefix.as_deref();
    let named = named.filter(|prefix| !prefix.is_empty());
    let program = named.map_or_else(
        || config.process_name().replace(':', "."),
        ToOwned::to_owned,
    );
    Some(SyslogTag {
        syslog: syslog?.clone(),
        tag: format!("gunicorn.{program}.{log}"),
    })
}

fn statsd(config: &settings::Config) -> Result<Option<Arc<Statsd>>, String> {
    let place = match &config.statsd_host {
        None => return Ok(None),
        Some(settings::StatsdAddress::Unix(path)) => StatsdPlace::Unix(path.into()),
        Some(settings::StatsdAddress::Udp(place)) => {
            let found = resolve(place);
            StatsdPlace::Udp(found.map_err(|problem| format!("statsd_host: {problem}"))?)
        }
    };
    let statsd = Statsd::new(place, &config.statsd_prefix, &config.dogstatsd_tags);
    match statsd {
        Ok(statsd) => Ok(Some(Arc::new(statsd))),
        Err(error) => Err(format!("statsd_host: {error}")),
    }
}

fn resolve(place: &settings::HostPort) -> Result<SocketAddr, String> {
    let (host, port) = (place.host.as_str(), place.port);
    let found = (host, port).to_socket_addrs();
    let mut found = found.map_err(|error| format!("'{host}' cannot be looked up: {error}"))?;
    found
        .next()
        .ok_or_else(|| format!("'{host}' has no address"))
}

/// Where `wsgi.errors` goes.
pub(crate) fn error_sink() -> Arc<Sink> {
    ways()
        .error
        .clone()
        .unwrap_or_else(|| Sink::standard(Standard::Error))
}

/// What this worker's engine tells of each request, if anything, and the environ entries that lines need.
pub(crate) fn access_log(config: &settings::Config) -> PyResult<(Option<AccessLog>, Vec<String>)> {
    let ways = ways().clone();
    let syslog = ways.syslog.as_ref();
    let outlets = AccessOutlets {
        sink: ways.access,
        syslog: tag(syslog, config, "access").filter(|_| !config.disable_redirect_access_to_syslog),
        statsd: ways.statsd.filter(|_| !relay::python_counts()),
    };
    let has_lines = outlets.sink.is_some() || outlets.syslog.is_some();
    if !has_lines && outlets.statsd.is_none() {
        return Ok((None, Vec::new()));
    }
    let format = if has_lines {
        format(config)?
    } else {
        Format::default()
    };
    let wanted = format.wants().environ.clone();
    Ok((Some(AccessLog::to(format, outlets)), wanted))
}

/// Opens the log files of this process anew.
#[pyfunction]
pub(crate) fn reopen_logs() {
    oxicorn_logs::reopen_all();
}

/// Writes a line to the error log. `level`: debug, info, warning, error or critical.
#[pyfunction]
pub(crate) fn log(py: Python<'_>, level: &str, message: &str) -> PyResult<()> {
    let level = level
        .parse()
        .map_err(|_| PyValueError::new_err(format!("there is no log level '{level}'")))?;
    if !relay::deliver(py, level, message) {
        say(level, message);
    }
    Ok(())
}

fn say(level: Level, message: &str) {
    let level = match level {
        Level::Debug => ::log::Level::Debug,
        Level::Info => ::log::Level::Info,
        Level::Warning => ::log::Level::Warn,
        Level::Error => ::log::Level::Error,
        Level::Critical => return critical(format_args!("{message}")),
    };
    ::log::log!(target: "oxicorn", level, "{message}");
}

/// Sends a number to the `StatsD` server, if there is one. `kind`: counter, gauge, histogram or timer; anything else is
/// sent nowhere, as gunicorn has it.
#[pyfunction]
pub(crate) fn send_metric(name: &str, value: &str, kind: &str) {
    let statsd = ways().statsd.clone();
    if let (Some(statsd), Some(metric)) = (statsd, Metric::named(kind)) {
        statsd.send(name, value, metric);
    }
}
