//! Starting a second arbiter: the command of the start once more, in the environment of the start,
//! with the listening sockets, the meeting place, and one end of a link.
//!
//! Invariant: nothing else is inherited, and nothing is left inheritable here: what goes along is a
//! duplicate, closed when the process exists.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;

use rustix::io::dup;

use super::inheritance::{ELDER, LINK, LISTENERS, MEETING_PLACE, PATHS};
use super::link::Link;
use crate::core::Pid;
use crate::orphans::MeetingPlace;
use crate::packet::packet_pair;
use crate::sockets::Listener;
use crate::start_command::StartCommand;

/// What socket activation has set for this process, and only for it.
const ACTIVATION: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// For whom the service manager's watchdog is; without it, for whoever it takes for the service.
const WATCHDOG: &str = "WATCHDOG_PID";

/// What a second arbiter is started with.
#[derive(Debug)]
pub(crate) struct Legacy<'a> {
    /// The command of the start.
    pub(crate) command: &'a StartCommand,
    pub(crate) listeners: &'a [Listener],
    pub(crate) place: Option<&'a MeetingPlace>,
    /// This process.
    pub(crate) own: Pid,
}

/// The new process, and this end of the link to it. It is a child of this one, to be reaped.
pub(super) fn start(
    legacy: &Legacy<'_>,
    execute: &mut dyn FnMut(Command) -> io::Result<Pid>,
) -> io::Result<(Pid, Link)> {
    let Legacy {
        command,
        listeners,
        place,
        own,
    } = *legacy;
    let (ours, theirs) = packet_pair()?;
    let link = inheritable(theirs)?;
    let sockets: Vec<OwnedFd> = listeners
        .iter()
        .map(inheritable)
        .collect::<io::Result<_>>()?;
    let numbers: Vec<String> = sockets.iter().map(number).collect();
    let made = listeners.iter().map(Listener::owns_path);
    let paths: Vec<&str> = numbers
        .iter()
        .zip(made)
        .filter_map(|(number, made)| made.then_some(number.as_str()))
        .collect();
    let mut command = with_clean_environment(command, own);
    command
        .env(ELDER, own.to_string())
        .env(LISTENERS, numbers.join(","))
        .env(PATHS, paths.join(","))
        .env(LINK, number(&link));
    let place = place.map(inheritable).transpose()?;
    if let Some(place) = &place {
        command.env(MEETING_PLACE, number(place));
    }
    Ok((execute(command)?, Link::new(ours)))
}

/// Without what was said to this process alone.
fn with_clean_environment(start: &StartCommand, own: Pid) -> Command {
    let mut command = start.command();
    for name in ACTIVATION {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(environment: &[(&str, &str)]) -> Vec<String> {
        let environment = environment.iter();
        let start = StartCommand {
            environment: environment.map(|(n, v)| (n.into(), v.into())).collect(),
            ..StartCommand::default()
        };
        let command = with_clean_environment(&start, 42);
        let set = command.get_envs().filter(|(_, value)| value.is_some());
        let names = set.map(|(name, _)| name.to_string_lossy().into_owned());
        names.collect()
    }

    #[test]
    fn what_was_said_to_this_process_alone_is_not_said_again() {
        let environment = [
            ("COLOUR", "green"),
            ("LISTEN_FDS", "1"),
            ("LISTEN_PID", "42"),
            ("NOTIFY_SOCKET", "/run/notify"),
            ("WATCHDOG_PID", "42"),
            ("WATCHDOG_USEC", "1000"),
        ];
        assert_eq!(
            told(&environment),
            ["COLOUR", "NOTIFY_SOCKET", "WATCHDOG_USEC"]
        );
    }

    #[test]
    fn the_watchdog_of_somebody_else_stays_his() {
        assert_eq!(told(&[("WATCHDOG_PID", "41")]), ["WATCHDOG_PID"]);
    }
}
