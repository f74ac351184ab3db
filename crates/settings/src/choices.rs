//! The settings that pick one of a few words, as enums.

use std::fmt;

use crate::stored::Stored;
use crate::value::Value;

/// How a worker runs the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkerClass {
    /// One request at a time.
    #[default]
    Sync,
    /// Several requests at a time, each on a thread.
    Gthread,
    /// An asynchronous application on its own event loop.
    Asgi,
    /// Many requests at a time, each in a greenlet.
    Gevent,
    /// An application of tornado on its loop; any other as `Sync` or `Gthread` do.
    Tornado,
}

/// What the application is called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interface {
    /// What it looks like.
    #[default]
    Auto,
    /// WSGI (PEP 3333).
    Wsgi,
    /// ASGI 3.
    Asgi,
    /// ASGI 2: called with the scope, and what that returns with receive and send.
    Asgi2,
}

impl WorkerClass {
    /// The name of the class, as logged.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Gthread => "gthread",
            Self::Asgi => "asgi",
            Self::Gevent => "gevent",
            Self::Tornado => "tornado",
        }
    }
}

/// Which messages the error log keeps: those of this level and all that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Everything, for whoever looks for a fault.
    Debug,
    /// What happens in normal operation.
    #[default]
    Info,
    /// What deserves a look.
    Warning,
    /// What failed.
    Error,
    /// What stops the service.
    Critical,
}

/// How the lines of both logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// As gunicorn does.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// `name=value` pairs.
    Logfmt,
}

/// What to do with a request field whose name has an underscore, which a CGI-style environment
/// cannot tell from the same name with a hyphen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderMap {
    /// Leave the field out.
    #[default]
    Drop,
    /// Refuse the request with 400.
    Refuse,
    /// Pass it on, in reach of whoever forges it.
    Dangerous,
}

/// Which PROXY headers are looked for in front of the first request of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyProtocol {
    /// None.
    #[default]
    Off,
    /// Those of either version.
    Auto,
    /// Version 1, a line of text.
    V1,
    /// Version 2, binary.
    V2,
}

/// What clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP.
    #[default]
    Http,
    /// uwsgi, as nginx's `uwsgi_pass`.
    Uwsgi,
}

/// How a restart goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartMode {
    /// All new workers boot beside the old ones, then take over everything at once.
    #[default]
    Hot,
    /// One worker after the other.
    Phased,
    /// The old workers stop before the new ones serve.
    Regular,
}

impl fmt::Display for RestartMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hot => "hot",
            Self::Phased => "phased",
            Self::Regular => "regular",
        })
    }
}

impl Stored for RestartMode {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_text() {
            Some("hot") => Ok(Self::Hot),
            Some("phased") => Ok(Self::Phased),
            Some("regular") => Ok(Self::Regular),
            _ => Err("expected one of hot, phased, regular".into()),
        }
    }
}

impl Stored for ProxyProtocol {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_text() {
            Some("off") => Ok(Self::Off),
            Some("auto") => Ok(Self::Auto),
            Some("v1") => Ok(Self::V1),
            Some("v2") => Ok(Self::V2),
            _ => Err("expected one of off, auto, v1, v2".into()),
        }
    }
}

impl Stored for Protocol {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_text() {
            Some("http") => Ok(Self::Http),
            Some("uwsgi") => Ok(Self::Uwsgi),
            _ => Err("expected one of http, uwsgi".into()),
        }
    }
}

impl Stored for WorkerClass {
    fn from_value(value: &Value) -> Result<Self, String> {
        let Some(name) = value.as_text() else {
            return Err(own_class(value));
        };
        match name.trim() {
            "sync" | "gunicorn.workers.sync.SyncWorker" => Ok(Self::Sync),
            "gthread" | "threads" | "gunicorn.workers.gthread.ThreadWorker" => Ok(Self::Gthread),
            "asgi" | "gunicorn.workers.gasgi.ASGIWorker" => Ok(Self::Asgi),
            // gevent's own server and parser are nothing that an application sees.
            "gevent"
            | "gevent_wsgi"
            | "gevent_pywsgi"
            | "gunicorn.workers.ggevent.GeventWorker"
            | "gunicorn.workers.ggevent.GeventPyWSGIWorker" => Ok(Self::Gevent),
            "tornado" | "gunicorn.workers.gtornado.TornadoWorker" => Ok(Self::Tornado),
            // Other loops and parsers of uvicorn are nothing that an application sees.
            name if name.starts_with("uvicorn.workers.") || name.starts_with("uvicorn_worker.") => {
                Ok(Self::Asgi)
            }
            other => Err(unavailable(other)),
        }
    }
}

impl Stored for Interface {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_text() {
            Some("auto") => Ok(Self::Auto),
            Some("wsgi") => Ok(Self::Wsgi),
            Some("asgi" | "asgi3") => Ok(Self::Asgi),
            Some("asgi2") => Ok(Self::Asgi2),
            _ => Err("expected one of auto, wsgi, asgi, asgi2, asgi3".into()),
        }
    }
}

impl Stored for LogLevel {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_text() {
            Some("debug") => Ok(Self::Debug),
            Some("info") => Ok(Self::Info),
            Some("warning") => Ok(Self::Warning),
            Some("error") => Ok(Self::Error),
            Some("critical") => Ok(Self::Critical),
            _ => Err("expected one of debug, info, warning, error, critical".into()),
        }
    }
}

impl Stored for LogFormat {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_text() {
            Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            Some("logfmt") => Ok(Self::Logfmt),
            _ => Err("expected one of text, json, logfmt".into()),
        }
    }
}

impl Stored for HeaderMap {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_text() {
            Some("drop") => Ok(Self::Drop),
            Some("refuse") => Ok(Self::Refuse),
            Some("dangerous") => Ok(Self::Dangerous),
            _ => Err("expected one of drop, refuse, dangerous".into()),
        }
    }
}

/// The families of worker classes that exist elsewhere, told by a part of their names.
const ELSEWHERE: [(&str, &str); 3] = [
    (
        "geventwebsocket",
        "WebSockets in greenlets are not served; use gevent, where clients of Socket.IO poll, or serve an ASGI application",
    ),
    (
        "eventlet",
        "eventlet is no longer maintained; use gthread with more threads",
    ),
    (
        "aiohttp",
        "aiohttp's applications are no ASGI applications; its own runner serves them",
    ),
];

fn unavailable(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    ELSEWHERE
        .iter()
        .find(|(part, _)| lower.contains(part))
        .map_or_else(
            || "expected sync, gthread, gevent, tornado or asgi".into(),
            |(_, advice)| (*advice).into(),
        )
}

fn own_class(value: &Value) -> String {
    format!(
        "{value} cannot run here, since workers are not Python classes; expected sync, gthread, gevent, tornado or asgi"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str) -> Result<WorkerClass, String> {
        WorkerClass::from_value(&Value::text(name))
    }

    #[test]
    fn worker_classes_are_known_by_alias_and_by_path() {
        assert_eq!(class("gthread"), Ok(WorkerClass::Gthread));
        assert_eq!(
            class("gunicorn.workers.sync.SyncWorker"),
            Ok(WorkerClass::Sync)
        );
    }

    #[test]
    fn uvicorns_workers_are_the_asgi_worker() {
        for name in [
            "asgi",
            "uvicorn.workers.UvicornWorker",
            "uvicorn.workers.UvicornH11Worker",
            "uvicorn_worker.UvicornWorker",
        ] {
            assert_eq!(class(name), Ok(WorkerClass::Asgi));
        }
    }

    #[test]
    fn both_gevent_workers_of_gunicorn_are_ours() {
        for name in [
            "gevent",
            "gevent_wsgi",
            "gevent_pywsgi",
            "gunicorn.workers.ggevent.GeventWorker",
            "gunicorn.workers.ggevent.GeventPyWSGIWorker",
        ] {
            assert_eq!(class(name), Ok(WorkerClass::Gevent));
        }
    }

    #[test]
    fn tornado_is_known_by_alias_and_by_path() {
        for name in ["tornado", "gunicorn.workers.gtornado.TornadoWorker"] {
            assert_eq!(class(name), Ok(WorkerClass::Tornado));
        }
    }

    #[test]
    fn worker_classes_of_others_get_advice() {
        assert!(
            class("aiohttp.GunicornWebWorker")
                .unwrap_err()
                .contains("its own runner")
        );
        assert!(
            class("geventwebsocket.gunicorn.workers.GeventWebSocketWorker")
                .unwrap_err()
                .contains("ASGI application")
        );
        assert!(
            class("eventlet")
                .unwrap_err()
                .contains("no longer maintained")
        );
        assert_eq!(
            class("synk"),
            Err("expected sync, gthread, gevent, tornado or asgi".into())
        );
        let own = WorkerClass::from_value(&Value::Opaque("class MyWorker".into()));
        assert!(
            own.unwrap_err()
                .starts_with("<class MyWorker> cannot run here")
        );
    }

    #[test]
    fn log_levels_are_ordered_by_severity() {
        assert!(LogLevel::Debug < LogLevel::Info && LogLevel::Error < LogLevel::Critical);
    }
}
