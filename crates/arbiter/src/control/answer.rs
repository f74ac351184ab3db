//! The answers, each one line of JSON.
//!
//! ```text
//! {"ok":true}
//! {"ok":true,"generation":3}                     the restart was confirmed
//! {"ok":false,"error":"...","generation":2}      it was not, and 2 goes on serving
//! {"ok":true,"protocol":1,"version":"...","pid":7,"state":"serving","uptime":1.500,"generation":3,
//!  "target":2,
//!  "workers":[{"id":..,"slot":..,"pid":..,"generation":..,"state":"..","age":..,COUNTS}],
//!  "generations":[{"generation":..,"workers":2,COUNTS}],
//!  "stems":[{"generation":..,"pid":..,"state":"..","age":..}],
//!  "orphans":[{"pid":..,"state":".."}],
//!  "restart":null or {"generation":..,"mode":..,"state":"..","reason":..,"age":..,
//!                     "served_after":..,"ended_after":..},
//!  "upgrade":null or {"from":..,"to":..,"state":"..","reason":..,"age":..,"ended_after":..}}
//! ```
//! Times are in seconds. COUNTS: see `counts`.
//!
//! Invariant: whatever text goes in, one line of valid JSON comes out.

use std::fmt::Write;
use std::time::Duration;

use oxicorn_board::Counts;

use super::counts::{CountsOf, generations, members};
use crate::core::{
    OrphanStatus, Pid, RestartStatus, Status, StemStatus, UpgradeStatus, WorkerStatus,
};

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

/// Everything there is to see, of the arbiter with this process and of its workers.
pub(crate) fn status(
    version: &str,
    pid: Pid,
    uptime: Duration,
    status: &Status,
    counts: &CountsOf,
) -> String {
    let shown = status.workers.iter();
    let shown = shown.map(|one| worker(one, counts.get(&one.id)));
    let workers: Vec<String> = shown.collect();
    let stems: Vec<String> = status.stems.iter().map(stem).collect();
    let orphans: Vec<String> = status.orphans.iter().map(orphan).collect();
    let restart = status.restart.as_ref().map(restart);
    format!(
        r#"{{"ok":true,"protocol":1,"version":{},"pid":{pid},"state":"{}","uptime":{},"generation":{},"target":{},"workers":[{}],"generations":{},"stems":[{}],"orphans":[{}],"restart":{},"upgrade":{}}}"#,
        text(version),
        if status.serving {
            "serving"
        } else {
            "stopping"
        },
        seconds(uptime),
        status.generation,
        status.target,
        workers.join(","),
        generations(&status.workers, counts),
        stems.join(","),
        orphans.join(","),
        or_null(restart),
        or_null(status.upgrade.as_ref().map(upgrade)),
    )
}

fn worker(worker: &WorkerStatus, counts: Option<&Counts>) -> String {
    format!(
        r#"{{"id":{},"slot":{},"pid":{},"generation":{},"state":"{}","age":{},{}}}"#,
        worker.id,
        worker.slot,
        or_null(worker.pid.map(|pid| pid.to_string())),
        worker.generation,
        worker.state,
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

fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

fn text(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            // Only those below U+0020 must be escaped, and they fit into four digits.
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_stays_on_one_line_and_in_its_quotes() {
        assert_eq!(text("a\"b\\c\nd\t\u{7f}é"), r#""a\"b\\c\nd\u0009\u007fé""#);
    }

    #[test]
    fn a_failed_restart_names_reason_and_generation() {
        let answer = ended(2, Some("it said \"no\""));
        let expected = r#"{"ok":false,"error":"it said \"no\"","generation":2}"#;
        assert_eq!(answer, expected);
    }
}
