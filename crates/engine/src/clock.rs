//! The one place that reads the clock. Everything else in the engine takes a [`Now`] as an argument, so that timeouts can
//! be tested in virtual time. Invariant: `mono` never goes back.

use rustix::time::{ClockId, clock_gettime};

/// One reading of the clocks, precise to a few milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of the monotonic clock.
    pub mono: u64,
    /// Seconds since the Unix epoch, for the `Date` field and logs.
    pub unix: i64,
}

impl Now {
    /// Reads the coarse clocks (no system call: the kernel maps them into the process).
    pub fn read() -> Self {
        let mono = clock_gettime(ClockId::MonotonicCoarse);
        let unix = clock_gettime(ClockId::RealtimeCoarse);
        let millis = mono.tv_sec.unsigned_abs() * 1000 + mono.tv_nsec.unsigned_abs() / 1_000_000;
        Self {
            mono: millis,
            unix: unix.tv_sec,
        }
    }
}
