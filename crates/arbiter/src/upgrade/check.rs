//! The process in which the new version checks whether it can go on from the state of this one.
//!
//! It is started as the server was, with the state on standard input, reads its configuration, and
//! ends with code 0 and a line `oxicorn-upgrade/1 VERSION` if it can. Everything else is a refusal,
//! and what it printed is the reason.
//!
//! Invariant: nothing here waits for it; what it prints is read when there is something.

use std::fs::File;
use std::io::{self, PipeReader, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read};
use rustix::process::{Pid as SystemPid, Signal as SystemSignal, kill_process_group};

use super::order::Order;
use crate::core::{Event, Exit, Pid, signal_name};
use crate::start_command::StartCommand;
use crate::sys::process::spawns_bound;

/// What begins the answer of a new version that can take over; the rest is its version.
pub(super) const ANSWER: &str = "oxicorn-upgrade/1 ";
/// So much of what it prints is kept: the end.
const MOST_BYTES: usize = 8192;
/// So much of it is a reason.
const LONGEST_REASON: usize = 2000;

/// A check that runs.
#[derive(Debug)]
pub(crate) struct Check {
    pid: Pid,
    /// `None` once its end was closed.
    output: Option<PipeReader>,
    said: Vec<u8>,
}

impl Check {
    /// Starts it, in a process group of its own.
    pub(crate) fn start(command: &StartCommand, state: OwnedFd, own: Pid) -> io::Result<Self> {
        let (output, writer) = pipe()?;
        fcntl_setfl(&output, fcntl_getfl(&output)? | OFlags::NONBLOCK)?;
        let mut command = command.command();
        // Without its parent it would take itself for a server that is started.
        let child = spawns_bound(&mut command)
            .env(Order::VARIABLE, Order::Check.value(own))
            .stdin(File::from(state))
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .spawn()?;
        // It is reaped with all other children.
        let pid = Pid::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Self {
            pid,
            output: Some(output),
            said: Vec::new(),
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// What is readable when it has printed something; `None` when it can print no more.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// Takes in what it has printed.
    pub(crate) fn listen(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(output) = &self.output {
            match read(output, &mut bytes) {
                Ok(count @ 1..) => self.said.extend(bytes.iter().take(count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => self.output = None,
            }
            let surplus = self.said.len().saturating_sub(MOST_BYTES);
            self.said.drain(..surplus);
        }
    }

    /// What it comes to, now that it has ended.
    pub(crate) fn ended(mut self, exit: Exit) -> Event {
        self.listen();
        let said = String::from_utf8_lossy(&self.said);
        let answer = said
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(ANSWER));
        match (exit, answer) {
            (Exit::Code(0), Some(version)) => Event::UpgradeChecked {
                version: version.trim().to_owned(),
            },
            _ => Event::UpgradeFailed {
                reason: reason(exit, said.trim()),
            },
        }
    }

    /// Ends it by force, with whatever it has started.
    pub(crate) fn kill(self) {
        if let Some(group) = SystemPid::from_raw(self.pid) {
            // One that is gone cannot be killed, and need not be.
            let _ = kill_process_group(group, SystemSignal::KILL);
        }
    }
}

fn reason(exit: Exit, said: &str) -> String {
    let how = match exit {
        Exit::Code(code) => format!("the new version ended its check with code {code}"),
        Exit::Signal { number, .. } => {
            let name = signal_name(number);
            format!("the new version was ended by {name} in its check")
        }
    };
    if said.is_empty() {
        return format!("{how}.");
    }
    let cut = said.len().saturating_sub(LONGEST_REASON);
    let start = (cut..=said.len()).find(|at| said.is_char_boundary(*at));
    let end = said.get(start.unwrap_or_default()..).unwrap_or_default();
    format!("{how}: {end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn check_that_said(text: &str) -> Check {
        Check {
            pid: 1,
            output: None,
            said: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn only_code_0_and_the_answer_together_are_a_yes() {
        let yes = "a warning\noxicorn-upgrade/1 2.0\nbye\n";
        let checked = check_that_said(yes).ended(Exit::Code(0));
        let version = "2.0".to_owned();
        assert_eq!(checked, Event::UpgradeChecked { version });
        for (text, exit) in [
            (yes, Exit::Code(1)),
            ("oxicorn-upgrade/2 2.0", Exit::Code(0)),
            ("", Exit::Code(0)),
        ] {
            let ended = check_that_said(text).ended(exit);
            assert!(matches!(ended, Event::UpgradeFailed { .. }), "{text}");
        }
    }

    #[test]
    fn an_output_that_was_closed_is_not_watched_any_more() {
        let (output, mut writer) = pipe().unwrap();
        fcntl_setfl(&output, OFlags::NONBLOCK).unwrap();
        let output = Some(output);
        let (pid, said) = (1, Vec::new());
        let mut check = Check { pid, output, said };
        writer.write_all(b"words").unwrap();
        check.listen();
        assert!(check.output().is_some());
        drop(writer);
        check.listen();
        assert!(check.output().is_none());
        assert_eq!(check.said, b"words");
    }

    #[test]
    fn a_refusal_tells_the_end_of_what_was_printed() {
        let long = format!("first {}last", "é".repeat(5000));
        let exit = Exit::Signal {
            number: libc::SIGSEGV,
            core: false,
        };
        let Event::UpgradeFailed { reason } = check_that_said(&long).ended(exit) else {
            panic!("it was a refusal");
        };
        assert!(
            reason.starts_with("the new version was ended by SIGSEGV"),
            "{reason}"
        );
        assert!(reason.ends_with("élast") && !reason.contains("first"));
    }
}
