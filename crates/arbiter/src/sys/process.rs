//! Forking, and leaving the foreground (`daemon`).

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{getpid, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdout};

use crate::bond;
use crate::host::Fork;

/// Goes into the background as gunicorn's `daemonize` does: fork, a session of its own, fork again
/// (so that no terminal can become its controlling one), umask 022, `/dev/null` for the standard
/// streams.
///
/// With `keep_streams` (`enable_stdio_inheritance`) standard output and error stay where they are,
/// unless they are a terminal. Returns in the last child only; the callers' process and the one
/// between leave with code 0.
///
/// To be called before any thread or pidfile exists: threads do not survive a fork, and the pid
/// changes.
///
/// # Errors
/// When a fork fails or `/dev/null` cannot be opened; the process is then still usable.
pub fn daemonize(keep_streams: bool) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    continue_in_child()?;
    setsid()?;
    continue_in_child()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    dup2_stdin(&null)?;
    if !keep_streams || is_terminal(stdout()) {
        dup2_stdout(&null)?;
    }
    if !keep_streams || is_terminal(stderr()) {
        dup2_stderr(&null)?;
    }
    if null.as_raw_fd() <= libc::STDERR_FILENO {
        // A stream was closed at the start and this took its number: it stays open as that stream.
        let _ = null.into_raw_fd();
    }
    Ok(())
}

fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    fd.as_fd().is_terminal()
}

/// The plain `fork(2)`, for a process without an interpreter and without other threads: in one
/// with threads the child could find a lock taken that nobody will ever release.
///
/// # Errors
/// `EAGAIN` or `ENOMEM` when the system has no room for a process.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: fork takes nothing; the child of a process with one thread may go on as its parent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends the process with nothing of what an end usually brings: no destructor, no flushed buffer, no
/// `atexit` function. They are another process' to run.
pub(crate) fn leave_at_once(code: u8) -> ! {
    // SAFETY: _exit takes a number and runs nothing.
    unsafe { libc::_exit(code.into()) }
}

/// Lets the process that `command` starts end when this one does, from its first moment on.
pub(crate) fn spawns_bound(command: &mut Command) -> &mut Command {
    let own = getpid().as_raw_nonzero().get();
    // SAFETY: between fork and exec there are two system calls, which take no lock and no memory.
    unsafe { command.pre_exec(move || bond::bind_to(own)) }
}

fn continue_in_child() -> io::Result<()> {
    match fork()? {
        Fork::Child => Ok(()),
        Fork::Parent(_) => leave_at_once(0),
    }
}
