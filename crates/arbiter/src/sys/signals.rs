//! Signals as bytes on a pipe.
//!
//! The handler only writes the signal's number to a non-blocking pipe, which is async-signal-safe;
//! the loop reads it with everything else that it waits for. Arbiter and worker both use it, each
//! with a pipe of its own.
//!
//! Invariants: a signal is never lost (one that the full pipe refuses is kept in a set of flags),
//! and a process that was forked from ours without [`reset_to_default`] (an application's own
//! child) never writes into our pipe: there the signal takes its default action.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::core::Signal;

static PIPE: AtomicI32 = AtomicI32::new(-1);
static OWNER: AtomicI32 = AtomicI32::new(0);
static OVERFLOW: AtomicU64 = AtomicU64::new(0);

/// The reading end of the pipe that the handlers write to; readable when a signal has come.
#[derive(Debug)]
pub struct SignalPipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// Installs the handlers for `signals`, with a fresh pipe, and lets these signals through if they
/// were blocked.
///
/// A later call replaces the pipe: the earlier [`SignalPipe`] falls silent.
///
/// # Errors
/// When the pipe cannot be made (`EMFILE`, `ENFILE`) or a signal cannot be handled (`KILL`).
pub fn install(signals: &[Signal]) -> io::Result<SignalPipe> {
    let pipe = install_blocked(signals)?;
    unblock_all()?;
    Ok(pipe)
}

/// As [`install`], but signals that are blocked stay so, until [`unblock_all`].
///
/// # Errors
/// As [`install`].
pub fn install_blocked(signals: &[Signal]) -> io::Result<SignalPipe> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    OVERFLOW.store(0, Ordering::SeqCst);
    OWNER.store(
        rustix::process::getpid().as_raw_nonzero().get(),
        Ordering::SeqCst,
    );
    PIPE.store(writer.as_raw_fd(), Ordering::SeqCst);
    for signal in signals {
        set_action(
            signal.number(),
            handle as extern "C" fn(i32) as libc::sighandler_t,
        )?;
    }
    Ok(SignalPipe { reader, writer })
}

/// Gives the signals of [`Signal::HANDLED`] their default action, and lets all signals through.
///
/// The first thing to do in a forked child, before its own [`install`]; `Arbiter::run` has done it
/// when it returns in a worker. SIGABRT stays as it is: it may be the embedder's, to dump stacks.
///
/// # Errors
/// None that a running kernel is known to give.
pub fn reset_to_default() -> io::Result<()> {
    PIPE.store(-1, Ordering::SeqCst);
    for signal in Signal::HANDLED {
        set_action(signal.number(), libc::SIG_DFL)?;
    }
    unblock_all()
}

/// Lets the signals of [`Signal::HANDLED`] do nothing in this process, but what they always do in those
/// that it forks or executes. SIGCHLD keeps its default action.
///
/// # Errors
/// None that a running kernel is known to give.
pub fn deafen() -> io::Result<()> {
    PIPE.store(-1, Ordering::SeqCst);
    OWNER.store(
        rustix::process::getpid().as_raw_nonzero().get(),
        Ordering::SeqCst,
    );
    for signal in Signal::HANDLED {
        let action = match signal {
            Signal::Chld => libc::SIG_DFL,
            _ => handle as extern "C" fn(i32) as libc::sighandler_t,
        };
        set_action(signal.number(), action)?;
    }
    unblock_all()
}

impl SignalPipe {
    /// The signals that have come since the last call, in order; never blocks.
    pub fn received(&self) -> Vec<Signal> {
        let mut numbers = Vec::new();
        let mut buffer = [0_u8; 64];
        loop {
            match rustix::io::read(&self.reader, &mut buffer) {
                Ok(0) => break,
                Ok(length) => numbers.extend_from_slice(&buffer[..length]),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let missed = OVERFLOW.swap(0, Ordering::SeqCst);
        let missed = (1..64_u8).filter(|number| missed & (1 << number) != 0);
        numbers.extend(missed);
        numbers
            .into_iter()
            .filter_map(|number| Signal::from_number(i32::from(number)))
            .collect()
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        // Only if no later pipe has taken its place: the number may be used for another file next.
        let number = self.writer.as_raw_fd();
        let _ = PIPE.compare_exchange(number, -1, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// Runs in signal context: only async-signal-safe calls (`signal-safety(7)`), `errno` as it was
/// found.
extern "C" fn handle(number: i32) {
    // SAFETY: getpid is async-signal-safe and takes nothing.
    if unsafe { libc::getpid() } != OWNER.load(Ordering::SeqCst) {
        return take_default_action(number);
    }
    // SAFETY: the location of errno is valid for the life of the thread.
    let errno = unsafe { *libc::__errno_location() };
    let byte = u8::try_from(number).unwrap_or_default();
    let pipe = PIPE.load(Ordering::SeqCst);
    // SAFETY: write is async-signal-safe; the pointer names one readable byte; a closed number
    // gives EBADF.
    let written = unsafe { libc::write(pipe, (&raw const byte).cast(), 1) };
    if written != 1 && byte < 64 {
        OVERFLOW.fetch_or(1 << byte, Ordering::SeqCst);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// The signal is blocked while its handler runs, so it strikes when the handler has returned.
fn take_default_action(number: i32) {
    // SAFETY: signal is async-signal-safe, and SIG_DFL needs no function of ours.
    unsafe { libc::signal(number, libc::SIG_DFL) };
    // SAFETY: raise is async-signal-safe.
    unsafe { libc::raise(number) };
}

fn set_action(number: i32, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: sigaction is plain data, for which all zeroes is a valid value (an empty mask, no
    // flags).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // Without this mask the handlers of signals that are pending together run in reverse order: the
    // exit of a worker would be heard before the Ctrl-C that stopped it and the arbiter alike.
    // SAFETY: the mask is valid for writing.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // SAFETY: `action` is valid for reading, the old action is not asked for, and `handle` is
    // signal-safe.
    match unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets all signals through.
///
/// # Errors
/// None that a running kernel is known to give.
pub fn unblock_all() -> io::Result<()> {
    set_mask(false, &[])
}

/// Lets no signal through but those of a crash, and `but`; also over an `execve`.
///
/// # Errors
/// As [`unblock_all`].
pub fn block_all_but(but: &[i32]) -> io::Result<()> {
    const CRASHES: [i32; 5] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGABRT,
    ];
    let but: Vec<i32> = CRASHES.iter().chain(but).copied().collect();
    set_mask(true, &but)
}

/// Blocks every signal or none, but for those in `but`.
fn set_mask(blocked: bool, but: &[i32]) -> io::Result<()> {
    // SAFETY: sigset_t is plain data; it is given its value below.
    let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
    if blocked {
        // SAFETY: `mask` is valid for writing.
        unsafe { libc::sigfillset(&raw mut mask) };
    } else {
        // SAFETY: as above.
        unsafe { libc::sigemptyset(&raw mut mask) };
    }
    for number in but {
        // SAFETY: as above; a bad number gives EINVAL and changes nothing.
        unsafe { libc::sigdelset(&raw mut mask, *number) };
    }
    // SAFETY: `mask` is valid for reading and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut()) }
    {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Fork;
    use crate::sys::process::fork;
    use rustix::process::{Pid, WaitOptions, waitpid};

    fn raise(signal: Signal) {
        // SAFETY: raise takes a number; its handler is the one under test.
        assert_eq!(unsafe { libc::raise(signal.number()) }, 0);
    }

    fn with_signals_blocked(raise_some: impl Fn()) {
        let mut all = empty_set();
        // SAFETY: the set is valid for writing.
        unsafe { libc::sigfillset(&raw mut all) };
        // SAFETY: the set is valid for reading, and the old one is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
        raise_some();
        unblock_all().unwrap();
    }

    fn empty_set() -> libc::sigset_t {
        // SAFETY: sigset_t is plain data, for which all zeroes is a valid value.
        unsafe { std::mem::zeroed() }
    }

    /// The signal that ended a forked child which raised `signal`.
    fn fate_of_a_child_that_raises(signal: Signal) -> Option<i32> {
        match fork().unwrap() {
            Fork::Child => {
                raise(signal);
                // SAFETY: _exit takes a number and does not return.
                unsafe { libc::_exit(0) }
            }
            Fork::Parent(pid) => {
                let ended = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap();
                ended.unwrap().1.terminating_signal()
            }
        }
    }

    // One test, because the handlers belong to the whole process and tests may share it.
    #[test]
    fn signals_arrive_in_order_none_is_lost_and_none_is_a_childs() {
        let pipe = install(&[Signal::Usr1, Signal::Ttin, Signal::Winch]).unwrap();
        raise(Signal::Ttin);
        raise(Signal::Usr1);
        raise(Signal::Ttin);
        assert_eq!(pipe.received(), [Signal::Ttin, Signal::Usr1, Signal::Ttin]);
        assert_eq!(pipe.received(), []);

        while rustix::io::write(&pipe.writer, &[0; 4096]).is_ok() {}
        while rustix::io::write(&pipe.writer, &[0]).is_ok() {}
        raise(Signal::Winch);
        assert_eq!(pipe.received(), [Signal::Winch]);

        with_signals_blocked(|| {
            raise(Signal::Winch);
            raise(Signal::Usr1);
            raise(Signal::Ttin);
        });
        assert_eq!(pipe.received(), [Signal::Usr1, Signal::Ttin, Signal::Winch]);

        assert_eq!(
            fate_of_a_child_that_raises(Signal::Usr1),
            Some(libc::SIGUSR1)
        );
        assert_eq!(pipe.received(), []);

        drop(pipe);
        raise(Signal::Usr1);
        reset_to_default().unwrap();
        assert_eq!(
            fate_of_a_child_that_raises(Signal::Usr1),
            Some(libc::SIGUSR1)
        );
    }
}
