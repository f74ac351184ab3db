//! The time from which an arbiter counts: that of its start, also after an upgrade.
//!
//! Invariant: it is kept as a time of the system's monotonic clock, which goes on when the process
//! becomes another program, so that ages and deadlines stay what they were.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin(Duration);

impl Origin {
    pub(crate) fn now() -> Self {
        Self(monotonic())
    }

    /// The moment at this time of the clock's.
    pub(crate) const fn at(time: Duration) -> Self {
        Self(time)
    }

    pub(crate) const fn time(self) -> Duration {
        self.0
    }

    pub(crate) fn elapsed(self) -> Duration {
        monotonic().saturating_sub(self.0)
    }
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
