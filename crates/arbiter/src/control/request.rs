//! A request's words, and what is asked by them.
//!
//! Invariant: what is not understood completely is refused, with what is understood instead.

use std::fmt;

use oxicorn_settings::{MOST_WORKERS, RestartMode};

use crate::core::Pid;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Status,
    Restart {
        mode: Option<RestartMode>,
        /// Answer when it has ended, not when it begins.
        wait: bool,
    },
    Upgrade {
        /// Answer when it has ended, not when it begins.
        wait: bool,
    },
    /// What the server runs with.
    Config,
    Workers(Resize),
    /// Replace the worker with this process.
    Replace(Pid),
    Stop {
        quick: bool,
    },
    ReopenLogs,
}

/// How the number of workers is to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resize {
    To(usize),
    Up(usize),
    /// But never below 1.
    Down(usize),
}

/// The protocol's name and version, the first word of each request.
const GREETING: &str = "oxicorn/1";

impl Request {
    /// Whether it is answered only when what it asks for has ended.
    pub(crate) fn waits(self) -> bool {
        matches!(
            self,
            Self::Restart { wait: true, .. } | Self::Upgrade { wait: true }
        )
    }

    /// Whether it is of no use to an arbiter that stops.
    pub(crate) fn needs_a_serving_arbiter(self) -> bool {
        matches!(
            self,
            Self::Restart { .. } | Self::Workers(_) | Self::Replace(_)
        )
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong, in words for the person who asked.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let [first, words @ ..] = words.as_slice() else {
            return Err("the request is empty".to_owned());
        };
        if *first != GREETING {
            return Err(format!(
                "a request begins with {GREETING}: client and server are of different versions"
            ));
        }
        match words {
            ["status"] => Ok(Self::Status),
            ["restart", how @ ..] => restart(how),
            ["upgrade"] => Ok(Self::Upgrade { wait: false }),
            ["upgrade", "wait"] => Ok(Self::Upgrade { wait: true }),
            ["config"] => Ok(Self::Config),
            ["workers", number] => workers(number).map(Resize::To).map(Self::Workers),
            ["worker", "add", number] => workers(number).map(Resize::Up).map(Self::Workers),
            ["worker", "remove", number] => workers(number).map(Resize::Down).map(Self::Workers),
            ["worker", "kill", pid] => process(pid).map(Self::Replace),
            ["stop"] => Ok(Self::Stop { quick: false }),
            ["stop", "quick"] => Ok(Self::Stop { quick: true }),
            ["reopen-logs"] => Ok(Self::ReopenLogs),
            _ => Err(
                "expected status, config, restart [hot|phased|regular] [wait], upgrade [wait], \
                 workers N, worker add|remove N, worker kill PID, stop [quick] or reopen-logs"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Restart { mode: None, .. } => f.write_str("restart"),
            Self::Restart {
                mode: Some(mode), ..
            } => write!(f, "restart ({mode})"),
            Self::Upgrade { .. } => f.write_str("upgrade"),
            Self::Config => f.write_str("config"),
            Self::Workers(Resize::To(number)) => write!(f, "workers {number}"),
            Self::Workers(Resize::Up(number)) => write!(f, "worker add {number}"),
            Self::Workers(Resize::Down(number)) => write!(f, "worker remove {number}"),
            Self::Replace(pid) => write!(f, "worker kill {pid}"),
            Self::Stop { quick: false } => f.write_str("stop"),
            Self::Stop { quick: true } => f.write_str("stop (quick)"),
            Self::ReopenLogs => f.write_str("reopen-logs"),
        }
    }
}

impl Resize {
    /// How many workers there should be, if there should be `target` now.
    ///
    /// # Errors
    /// There would be too many, in words for the person who asked.
    pub(crate) fn of(self, target: usize) -> Result<usize, String> {
        let wanted = match self {
            Self::To(number) => number,
            Self::Up(more) => target.saturating_add(more),
            Self::Down(less) => target.saturating_sub(less).max(target.min(1)),
        };
        if wanted > MOST_WORKERS.max(target) {
            return Err(format!(
                "there are {target} workers, and {MOST_WORKERS} at most"
            ));
        }
        Ok(wanted)
    }
}

fn restart(how: &[&str]) -> Result<Request, String> {
    let (how, wait) = match how {
        [how @ .., "wait"] => (how, true),
        _ => (how, false),
    };
    let mode = match how {
        [] => None,
        ["hot"] => Some(RestartMode::Hot),
        ["phased"] => Some(RestartMode::Phased),
        ["regular"] => Some(RestartMode::Regular),
        _ => return Err("a restart is hot, phased or regular".to_owned()),
    };
    Ok(Request::Restart { mode, wait })
}

fn workers(number: &str) -> Result<usize, String> {
    match number.parse() {
        Ok(number @ 1..=MOST_WORKERS) => Ok(number),
        _ => Err(format!("the number of workers is from 1 to {MOST_WORKERS}")),
    }
}

fn process(pid: &str) -> Result<Pid, String> {
    match pid.parse() {
        Ok(pid @ 1..) => Ok(pid),
        _ => Err("a worker is named by its pid: see `oxicornctl status`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Request, String> {
        Request::parse(&format!("oxicorn/1 {words}"))
    }

    #[test]
    fn every_request_is_understood() {
        assert_eq!(parsed("status"), Ok(Request::Status));
        assert_eq!(parsed("config"), Ok(Request::Config));
        for (words, resize) in [
            ("workers 4096", Resize::To(4096)),
            ("worker add 2", Resize::Up(2)),
            ("worker remove 1", Resize::Down(1)),
        ] {
            assert_eq!(parsed(words), Ok(Request::Workers(resize)));
        }
        assert_eq!(parsed("worker kill 4711"), Ok(Request::Replace(4711)));
        for (words, wait) in [("upgrade", false), ("upgrade wait", true)] {
            assert_eq!(parsed(words), Ok(Request::Upgrade { wait }));
        }
        assert_eq!(parsed("stop"), Ok(Request::Stop { quick: false }));
        assert_eq!(parsed("stop quick"), Ok(Request::Stop { quick: true }));
        assert_eq!(parsed("reopen-logs"), Ok(Request::ReopenLogs));
        let mode = None;
        assert_eq!(
            parsed("restart"),
            Ok(Request::Restart { mode, wait: false })
        );
        assert_eq!(
            parsed("restart wait"),
            Ok(Request::Restart { mode, wait: true })
        );
        let mode = Some(RestartMode::Phased);
        assert_eq!(
            parsed("restart phased wait"),
            Ok(Request::Restart { mode, wait: true })
        );
    }

    #[test]
    fn what_is_not_understood_completely_is_refused() {
        for words in [
            "",
            "restart cold",
            "restart wait hot",
            "restart hot phased",
            "workers",
            "workers 0",
            "workers 4097",
            "workers -1",
            "workers 2 3",
            "worker",
            "worker add",
            "worker add 0",
            "worker remove -1",
            "worker kill",
            "worker kill 0",
            "worker kill -7",
            "worker kill 99999999999",
            "worker kill all",
            "config workers",
            "stop now",
            "status ",
            "Status",
        ] {
            parsed(words).unwrap_err();
        }
    }

    #[test]
    fn a_number_of_workers_is_changed_within_its_limits() {
        assert_eq!(Resize::To(3).of(1), Ok(3));
        assert_eq!(Resize::Up(2).of(1), Ok(3));
        assert_eq!(Resize::Down(1).of(3), Ok(2));
        assert_eq!(Resize::Down(9).of(3), Ok(1));
        Resize::Up(1).of(MOST_WORKERS).unwrap_err();
        Resize::Up(usize::MAX).of(1).unwrap_err();
    }

    #[test]
    fn where_no_worker_is_wanted_none_can_be_removed() {
        assert_eq!(Resize::Down(1).of(0), Ok(0));
    }

    #[test]
    fn another_version_is_named() {
        let error = Request::parse("oxicorn/2 status").unwrap_err();
        assert!(error.contains("oxicorn/1"), "{error}");
        Request::parse("").unwrap_err();
        Request::parse("GET / HTTP/1.1").unwrap_err();
    }
}
