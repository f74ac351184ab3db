//! The way back to the program that this process was before, while the present one has yet to prove
//! that it can go on: whatever ends it, or holds it up, makes it the former one again.
//!
//! Armed are a timer, the signals of a crash, and the end of the process by `exit(3)`. What cannot
//! be caught is `_exit(2)` and SIGKILL.
//!
//! Invariants: the handlers only make async-signal-safe calls; everything is prepared when they are
//! installed. A process that is forked meanwhile never takes the way back.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

use super::image::Image;

/// What can end or hold up a program that has not proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The time is over (SIGALRM).
    Late,
    /// A signal of a crash, by its number.
    Crash(i32),
    /// It called `exit`, or returned from `main`.
    Exit,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 7] = [
        Self::Late,
        Self::Crash(libc::SIGSEGV),
        Self::Crash(libc::SIGBUS),
        Self::Crash(libc::SIGILL),
        Self::Crash(libc::SIGFPE),
        Self::Crash(libc::SIGABRT),
        Self::Exit,
    ];

    /// The signal by which it makes itself known.
    const fn signal(self) -> Option<i32> {
        match self {
            Self::Late => Some(libc::SIGALRM),
            Self::Crash(number) => Some(number),
            Self::Exit => None,
        }
    }
}

/// For each of [`Cause::ALL`] the image to enter; null where there is none.
static IMAGES: AtomicPtr<Vec<Image>> = AtomicPtr::new(std::ptr::null_mut());
static OWNER: AtomicI32 = AtomicI32::new(0);
static AT_EXIT: AtomicUsize = AtomicUsize::new(0);

/// A crash may have come from a stack that is used up.
const STACK: usize = 64 * 1024;

/// Arms the way back: for each of [`Cause::ALL`], in its order, the image to enter. The timer, if
/// one was set before ([`set_timer`]), goes on.
///
/// What is prepared is never freed: a handler may be running.
///
/// # Errors
/// If a signal cannot be handled.
pub fn arm(images: Vec<Image>) -> io::Result<()> {
    OWNER.store(
        rustix::process::getpid().as_raw_nonzero().get(),
        Ordering::SeqCst,
    );
    IMAGES.store(Box::into_raw(Box::new(images)), Ordering::SeqCst);
    use_stack_of_our_own();
    if AT_EXIT.fetch_add(1, Ordering::SeqCst) == 0 {
        // SAFETY: `at_exit` is a function for the life of the process: a module of the interpreter is
        // never unloaded.
        unsafe { libc::atexit(at_exit) };
    }
    for signal in Cause::ALL.into_iter().filter_map(Cause::signal) {
        set_action(signal, handle as extern "C" fn(i32) as libc::sighandler_t)?;
    }
    Ok(())
}

/// There is no way back any more: the timer is stopped, and the signals have their default action.
///
/// # Errors
/// None that a running kernel is known to give.
pub fn disarm() -> io::Result<()> {
    IMAGES.store(std::ptr::null_mut(), Ordering::SeqCst);
    for signal in Cause::ALL.into_iter().filter_map(Cause::signal) {
        set_action(signal, libc::SIG_DFL)?;
    }
    stop_timer()
}

/// Stops the timer. A SIGALRM that is held back will not strike either.
///
/// # Errors
/// None that a running kernel is known to give.
pub fn stop_timer() -> io::Result<()> {
    set_timer(Duration::ZERO)?;
    // To ignore a signal is to discard one that waits.
    set_action(libc::SIGALRM, libc::SIG_IGN)?;
    set_action(libc::SIGALRM, libc::SIG_DFL)
}

/// Has SIGALRM come after this time, also to the program that is executed meanwhile; never if it is
/// zero.
///
/// # Errors
/// None that a running kernel is known to give.
pub fn set_timer(after: Duration) -> io::Result<()> {
    let value = libc::timeval {
        tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: libc::suseconds_t::from(after.subsec_micros()),
    };
    let none = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let timer = libc::itimerval {
        it_interval: none,
        it_value: value,
    };
    // SAFETY: the timer is valid for reading, and the old one is not asked for.
    match unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn go(cause: Cause) {
    // SAFETY: getpid is async-signal-safe and takes nothing.
    if unsafe { libc::getpid() } != OWNER.load(Ordering::SeqCst) {
        return;
    }
    let images = IMAGES.load(Ordering::SeqCst);
    // SAFETY: null, or a vector that was leaked by `arm` and is never written to or freed.
    let Some(images) = (unsafe { images.as_ref() }) else {
        return;
    };
    let at = Cause::ALL.iter().position(|known| *known == cause);
    if let Some(image) = at.and_then(|at| images.get(at)) {
        // The timer must not strike before the former program has stopped it. (It is a plain system
        // call, as are all that follow.)
        let _ = set_timer(Duration::ZERO);
        let _ = image.enter();
    }
}

/// If there is no way back, or none for a process that was forked, the signal does what it always
/// does when the handler has returned.
extern "C" fn handle(number: i32) {
    if number == libc::SIGALRM {
        go(Cause::Late);
    } else {
        go(Cause::Crash(number));
    }
    // SAFETY: signal is async-signal-safe, and SIG_DFL needs no function of ours.
    unsafe { libc::signal(number, libc::SIG_DFL) };
    // SAFETY: raise is async-signal-safe.
    unsafe { libc::raise(number) };
}

extern "C" fn at_exit() {
    go(Cause::Exit);
}

/// The memory is the process' for good. Without it a crash by a full stack finds no way back, and
/// all others do.
fn use_stack_of_our_own() {
    let memory = Box::leak(vec![0_u8; STACK].into_boxed_slice());
    let stack = libc::stack_t {
        ss_sp: memory.as_mut_ptr().cast::<c_void>(),
        ss_flags: 0,
        ss_size: STACK,
    };
    // SAFETY: the memory is writable and lives as long as the process.
    unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
}

fn set_action(number: i32, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: sigaction is plain data, for which all zeroes is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: `action` is valid for reading, the old action is not asked for, and `handle` is
    // signal-safe.
    match unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Fork;
    use crate::sys::process::fork;
    use rustix::process::{Pid, WaitOptions, waitpid};
    use std::ffi::OsStr;
    use std::path::Path;

    /// How a process ends that has armed the way back, each cause leading to a code of its own, and
    /// then does `what`.
    fn end_of(what: fn()) -> rustix::process::WaitStatus {
        match fork().unwrap() {
            Fork::Child => {
                let images = (0..Cause::ALL.len()).map(|code| {
                    let script = format!("exit {}", code + 10);
                    let words = ["sh", "-c", script.as_str()];
                    let (shell, root) = (OsStr::new("/bin/sh"), Path::new("/"));
                    Image::new(shell, words, [""; 0], root, Vec::new()).unwrap()
                });
                arm(images.collect()).unwrap();
                what();
                // SAFETY: _exit takes a number and does not return.
                unsafe { libc::_exit(1) }
            }
            Fork::Parent(pid) => {
                let ended = waitpid(Pid::from_raw(pid), WaitOptions::empty());
                ended.unwrap().unwrap().1
            }
        }
    }

    fn raise(number: i32) {
        // SAFETY: raise takes a number; its handler is the one under test.
        unsafe { libc::raise(number) };
    }

    #[test]
    fn every_cause_leads_to_its_own_image() {
        let causes: [fn(); 7] = [
            || {
                set_timer(Duration::from_millis(1)).unwrap();
                // SAFETY: pause takes nothing and returns after a handler, of which there is none.
                unsafe { libc::pause() };
            },
            || raise(libc::SIGSEGV),
            || raise(libc::SIGBUS),
            || raise(libc::SIGILL),
            || raise(libc::SIGFPE),
            || raise(libc::SIGABRT),
            // SAFETY: exit takes a number; what runs at the exit is under test.
            || unsafe { libc::exit(0) },
        ];
        for (code, cause) in (10..).zip(causes) {
            assert_eq!(end_of(cause).exit_status(), Some(code));
        }
    }

    #[test]
    fn a_stack_that_is_used_up_leads_back_as_well() {
        #[expect(unconditional_recursion, reason = "it is to use up the stack")]
        fn deep(of: &[u8; 4096]) -> u8 {
            let more = std::hint::black_box([of[0]; 4096]);
            deep(&more) + more[1]
        }
        let ended = end_of(|| {
            std::hint::black_box(deep(&[0; 4096]));
        });
        assert_eq!(ended.exit_status(), Some(11));
    }

    #[test]
    fn a_child_and_one_that_has_disarmed_end_as_ever() {
        let ended = end_of(|| {
            if let Fork::Parent(pid) = fork().unwrap() {
                let child = waitpid(Pid::from_raw(pid), WaitOptions::empty());
                let signal = child.unwrap().unwrap().1.terminating_signal();
                assert_eq!(signal, Some(libc::SIGSEGV));
                disarm().unwrap();
            }
            raise(libc::SIGSEGV);
        });
        assert_eq!(ended.terminating_signal(), Some(libc::SIGSEGV));
    }

    #[test]
    fn an_alarm_that_waits_is_forgotten_when_the_timer_is_stopped() {
        let ended = end_of(|| {
            crate::sys::signals::block_all_but(&[]).unwrap();
            raise(libc::SIGALRM);
            stop_timer().unwrap();
            crate::sys::signals::unblock_all().unwrap();
        });
        assert_eq!(ended.exit_status(), Some(1));
    }
}
