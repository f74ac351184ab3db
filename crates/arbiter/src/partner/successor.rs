//! Starting a second arbiter: the command of the start once more, in the environment of the start,
//! with the listening sockets and one end of a link.
//!
//! Invariant: nothing else is inherited, and nothing is left inheritable here: what goes along is a
//! duplicate, closed when the process exists.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;

use rustix::io::dup;

use super::inheritance::{ELDER, Inheritance, LINK, LISTENERS};
use super::link::Link;
use crate::channel::handover_pair;
use crate::core::Pid;
use crate::sockets::Listener;
use crate::start_command::StartCommand;

/// What socket activation has set for this process, and only for it.
const ACTIVATION: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// For whom the service manager's watchdog is; without it, for whoever it takes for the service.
const WATCHDOG: &str = "WATCHDOG_PID";

/// The new process, and this end of the link to it. It is a child of this one, to be reaped.
pub(super) fn start(
    start: &StartCommand,
    listeners: &[Listener],
    own: Pid,
) -> io::Result<(Pid, Link)> {
    let (ours, theirs) = handover_pair()?;
    let link = inheritable(theirs)?;
    let sockets: Vec<OwnedFd> = listeners
        .iter()
        .map(inheritable)
        .collect::<io::Result<_>>()?;
    let numbers: Vec<String> = sockets.iter().map(number).collect();
    let mut command = with_clean_environment(start, own);
    command
        .env(ELDER, own.to_string())
        .env(LISTENERS, numbers.join(","))
        .env(LINK, number(&link));
    let child = command.spawn()?;
    let pid = Pid::try_from(child.id()).map_err(io::Error::other)?;
    Ok((pid, Link::new(ours)))
}

/// Without what an elder, or socket activation, has told this process.
fn with_clean_environment(start: &StartCommand, own: Pid) -> Command {
    let mut command = start.command();
    for name in Inheritance::VARIABLES.into_iter().chain(ACTIVATION) {
        command.env_remove(name);
    }
    let own = own.to_string();
    let watched = |(name, value): &(_, _)| *name == *WATCHDOG && *value == *own;
    if start.environment.iter().any(watched) {
        command.env_remove(WATCHDOG);
    }
    command
}

/// A duplicate that survives `exec`.
fn inheritable(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(dup(fd)?)
}

fn number(fd: &OwnedFd) -> String {
    fd.as_raw_fd().to_string()
}
