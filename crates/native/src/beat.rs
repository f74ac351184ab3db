//! The arbiter's one tick, once a second, for what can only be measured by looking (`enable_backlog_metric`). Invariant: without
//! that setting there is none, and an idle arbiter sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// Seconds.
const PERIOD: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Becomes readable once a second.
#[derive(Debug)]
pub(crate) struct Beat(OwnedFd);

impl Beat {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let spec = Itimerspec {
            it_interval: PERIOD,
            it_value: PERIOD,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(Self(timer))
    }

    /// Whether it is time; it is not readable any more.
    pub(crate) fn is_due(&self) -> bool {
        let mut count = [0; 8];
        rustix::io::read(&self.0, &mut count).is_ok_and(|read| read > 0)
    }
}

impl AsFd for Beat {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
