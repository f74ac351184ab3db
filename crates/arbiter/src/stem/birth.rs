//! The birth of a worker: two forks, so that it is the arbiter's child.
//!
//! ```text
//! stem ──fork──→ midwife ──fork──→ worker: waits for the word
//!   │               └─ reports the worker's process to the arbiter, ends
//!   └─ waits for the midwife's end; from then on the worker is the arbiter's child. Gives the word.
//! ```
//! The arbiter adopts the worker since it is a child subreaper. It can reap a worker only after the
//! midwife has ended, so after the report. If the stem dies before it has given the word, or the
//! midwife before its report, the worker sees the other end close, and ends without a trace.
//!
//! A midwife that hangs in what the embedder does at a fork ends with its stem, if it was told to
//! ([`die_with`]).
//!
//! Invariant: whatever dies, a worker that lives on was reported.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Pid as SystemPid, WaitOptions, WaitStatus, waitpid};

use super::StemChannel;
use crate::bond;
use crate::core::{Pid, WorkerId};
use crate::host::Fork;
use crate::sys::process::leave_at_once;

/// Which process one comes back in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Stem,
    Worker,
}

/// The midwife's exit codes: the worker was reported; it could not be forked, which was reported. Not
/// such as hooks of the application would end it with.
const REPORTED: u8 = 117;
const REFUSED: u8 = 118;
/// Nobody gave the word.
const STILLBORN: u8 = 1;

/// Lets this process end when its parent does, if that is the stem: for the embedder to call as early as
/// it can in every process that a stem forks.
pub fn die_with(stem: Pid) {
    let parted = |error: io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if bond::is_child_of(stem) && bond::bind_to(stem).is_err_and(parted) {
        leave_at_once(u8::MAX);
    }
}

/// Forks the worker. The report is the midwife's; an error here is still to be reported.
pub(super) fn bear(
    channel: &StemChannel,
    worker: WorkerId,
    fork: &mut dyn FnMut() -> io::Result<Fork>,
) -> io::Result<Side> {
    let (speaker, listener) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    match fork()? {
        Fork::Parent(midwife) => {
            drop(listener);
            let reported = is_reported(midwife)?;
            if reported {
                // A worker that does not hear it has been killed, and is reaped by the arbiter.
                let _ = send(&speaker, b"!", SendFlags::NOSIGNAL);
            }
            Ok(Side::Stem)
        }
        Fork::Child => match fork() {
            Ok(Fork::Parent(pid)) => leave_at_once(report(channel.forked(worker, pid))),
            Ok(Fork::Child) => {
                drop(speaker);
                wait_for_the_word(&listener);
                Ok(Side::Worker)
            }
            Err(error) => {
                let refused = channel.fork_failed(worker, &error.to_string());
                leave_at_once(refused.map_or(u8::MAX, |()| REFUSED));
            }
        },
    }
}

fn report(sent: io::Result<()>) -> u8 {
    sent.map_or(u8::MAX, |()| REPORTED)
}

/// Waits for the midwife's end: whether there is a worker. Nobody has reported anything if it is an
/// error.
fn is_reported(midwife: Pid) -> io::Result<bool> {
    let status = ended(midwife)?;
    match status
        .exit_status()
        .and_then(|code| u8::try_from(code).ok())
    {
        Some(REPORTED) => Ok(true),
        Some(REFUSED) => Ok(false),
        _ => {
            let how = status.as_raw();
            Err(io::Error::other(format!(
                "the process between stem and worker ended with status {how:#x}"
            )))
        }
    }
}

fn ended(pid: Pid) -> io::Result<WaitStatus> {
    loop {
        match waitpid(SystemPid::from_raw(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn wait_for_the_word(listener: &OwnedFd) {
    loop {
        match recv(listener, &mut [0; 1], RecvFlags::empty()) {
            Ok((1.., _)) => return,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => leave_at_once(STILLBORN),
        }
    }
}
