//! The answers, each one line of JSON.
//!
//! ```text
//! {"ok":true}
//! {"ok":true,"generation":3}                     the restart was confirmed
//! {"ok":false,"error":"...","generation":2}      it was not, and 2 goes on serving
//! {"ok":true,"previous":2,"target":4}            the number of workers was changed
//! {"ok":true,"config":{"workers":2,"bind":["127.0.0.1:8000"],..}}
//! {"ok":true,"protocol":1,"version":"...","pid":7,"state":"serving","uptime":1.500,"generation":3,
//!  "target":2,
//!  "workers":[{"id":..,"slot":..,"pid":..,"generation":..,"state":"..","booted":true,
//!              "age":..,COUNTS}],
//!  "generations":[{"generation":..,"workers":2,COUNTS}],
//!  "stems":[{"generation":..,"pid":..,"state":"..","age":..}],
//!  "orphans":[{"pid":..,"state":".."}],
//!  "listeners":[{"address":"http://127.0.0.1:8000","fd":5,"type":"tcp"}],    or tcp6, unix
//!  "total":{"spawned":..,"killed":..,"restarts":..},
//!  "restart":null or {"generation":..,"mode":..,"state":"..","reason":..,"age":..,
//!                     "served_after":..,"ended_after":..},
//!  "upgrade":null or {"from":..,"to":..,"state":"..","reason":..,"age":..,"ended_after":..}}
//! ```
//! Times are in seconds. `total` counts over the life of the arbiter, `killed` those that ended while they were
//! leaving, or were forced to. COUNTS: see `counts`.
//!
//! Invariant: whatever goes in, one line of valid JSON comes out.

use std::os::fd::AsRawFd;
use std::time::Duration;

use oxicorn_board::Counts;
use oxicorn_settings::Value;

use super::counts::{CountsOf, generations, members};
use super::json::{object, or_null, text, value};
use crate::core::{
    OrphanStatus, Pid, RestartStatus, Status, StemStatus, Tally, UpgradeStatus, WorkerStatus,
};
use crate::sockets::{ListenAddr, Listener};

pub(crate) fn done() -> String {
    r#"{"ok":true}"#.to_owned()
}

pub(crate) fn refused(error: &str) -> String {
    format!(r#"{{"ok":false,"error":{}}}"#, text(error))
}

/// How a restart ended.
pub(crate) fn ended(generation: u32, failure: Option<&str>) -> String {
    match failure {
        None => format!(r#"{{"ok":true,"generation":{generation}}}"#),
        Some(failure) => format!(
            r#"{{"ok":false,"error":{},"generation":{generation}}}"#,
            text(failure)
        ),
    }
}

/// The number of workers was changed.
pub(crate) fn resized(previous: usize, target: usize) -> String {
    format!(r#"{{"ok":true,"previous":{previous},"target":{target}}}"#)
}

/// What the server runs with.
pub(crate) fn configuration(settings: &[(&'static str, Value)]) -> String {
    let settings = settings.iter().map(|(name, it)| (*name, value(it)));
    format!(r#"{{"ok":true,"config":{}}}"#, object(settings))
}

/// Everything there is to see, of the arbiter with this process and of its workers.
#[derive(Debug)]
pub(crate) struct Picture<'a> {
    pub(crate) version: &'a str,
    pub(crate) pid: Pid,
    pub(crate) uptime: Duration,
    pub(crate) status: &'a Status,
    pub(crate) counts: &'a CountsOf,
    pub(crate) listeners: &'a [Listener],
    /// The workers speak TLS.
    pub(crate) secure: bool,
}

pub(crate) fn status(of: &Picture<'_>) -> String {
    let Picture { status, counts, .. } = of;
    let shown = status.workers.iter();
    let shown = shown.map(|one| worker(one, counts.get(&one.id)));
    let workers: Vec<String> = shown.collect();
    let stems: Vec<String> = status.stems.iter().map(stem).collect();
    let orphans: Vec<String> = status.orphans.iter().map(orphan).collect();
    let listeners = of.listeners.iter().map(|one| listener(one, of.secure));
    let listeners: Vec<String> = listeners.collect();
    let restart = status.restart.as_ref().map(restart);
    format!(
        r#"{{"ok":true,"protocol":1,"version":{},"pid":{},"state":"{}","uptime":{},"generation":{},"target":{},"workers":[{}],"generations":{},"stems":[{}],"orphans":[{}],"listeners":[{}],"total":{},"restart":{},"upgrade":{}}}"#,
        text(of.version),
        of.pid,
        if status.serving {
            "serving"
        } else {
            "stopping"
        },
        seconds(of.uptime),
        status.generation,
        status.target,
        workers.join(","),
        generations(&status.workers, counts),
        stems.join(","),
        orphans.join(","),
        listeners.join(","),
        total(status.tally),
        or_null(restart),
        or_null(status.upgrade.as_ref().map(upgrade)),
    )
}

fn listener(listener: &Listener, secure: bool) -> String {
    let kind = match listener.local {
        ListenAddr::Tcp(address) if address.is_ipv6() => "tcp6",
        ListenAddr::Tcp(_) => "tcp",
        ListenAddr::Unix(_) => "unix",
    };
    format!(
        r#"{{"address":{},"fd":{},"type":"{kind}"}}"#,
        text(&listener.local.url(secure)),
        listener.fd.as_raw_fd(),
    )
}

fn total(tally: Tally) -> String {
    let Tally {
        spawned,
        killed,
        restarts,
    } = tally;
    format!(r#"{{"spawned":{spawned},"killed":{killed},"restarts":{restarts}}}"#)
}

fn worker(worker: &WorkerStatus, counts: Option<&Counts>) -> String {
    format!(
        r#"{{"id":{},"slot":{},"pid":{},"generation":{},"state":"{}","booted":{},"age":{},{}}}"#,
        worker.id,
        worker.slot,
        or_null(worker.pid.map(|pid| pid.to_string())),
        worker.generation,
        worker.state,
        worker.booted,
        seconds(worker.age),
        members(counts),
    )
}

fn stem(stem: &StemStatus) -> String {
    format!(
        r#"{{"generation":{},"pid":{},"state":"{}","age":{}}}"#,
        stem.generation,
        or_null(stem.pid.map(|pid| pid.to_string())),
        stem.state,
        seconds(stem.age),
    )
}

fn orphan(orphan: &OrphanStatus) -> String {
    format!(r#"{{"pid":{},"state":"{}"}}"#, orphan.pid, orphan.state)
}

fn restart(restart: &RestartStatus) -> String {
    format!(
        r#"{{"generation":{},"mode":{},"state":"{}","reason":{},"age":{},"served_after":{},"ended_after":{}}}"#,
        restart.generation,
        or_null(restart.mode.map(|mode| text(&mode.to_string()))),
        restart.state,
        or_null(restart.reason.as_deref().map(text)),
        seconds(restart.age),
        or_null(restart.served_after.map(seconds)),
        or_null(restart.ended_after.map(seconds)),
    )
}

fn upgrade(upgrade: &UpgradeStatus) -> String {
    format!(
        r#"{{"from":{},"to":{},"state":"{}","reason":{},"age":{},"ended_after":{}}}"#,
        text(&upgrade.from),
        or_null(upgrade.to.as_deref().map(text)),
        upgrade.state,
        or_null(upgrade.reason.as_deref().map(text)),
        seconds(upgrade.age),
        or_null(upgrade.ended_after.map(seconds)),
    )
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_one_object_by_their_names() {
        let settings = [("reload", Value::Bool(false)), ("workers", Value::Int(2))];
        assert_eq!(
            configuration(&settings),
            r#"{"ok":true,"config":{"reload":false,"workers":2}}"#
        );
        assert_eq!(configuration(&[]), r#"{"ok":true,"config":{}}"#);
    }

    #[test]
    fn a_change_says_from_what_to_what() {
        let expected = r#"{"ok":true,"previous":1,"target":3}"#;
        assert_eq!(resized(1, 3), expected);
    }

    #[test]
    fn a_failed_restart_names_reason_and_generation() {
        let answer = ended(2, Some("it said \"no\""));
        let expected = r#"{"ok":false,"error":"it said \"no\"","generation":2}"#;
        assert_eq!(answer, expected);
    }
}
