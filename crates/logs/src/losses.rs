//! What became of lines, and how many were lost.
//!
//! For: everything that lines are written to. Not for: telling anybody; the two logs do that with
//! the [`Delivery`]. Invariant: the beginning of a loss is reported once, and so is its end.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

use rustix::io::Errno;

/// What became of a write.
#[derive(Debug)]
pub enum Delivery {
    /// All of it was taken.
    Written,
    /// All of it was taken, after earlier lines were lost. Reported once.
    Recovered {
        /// How many lines were lost.
        lost: u64,
        /// Why the last of them was lost.
        cause: io::Error,
    },
    /// Lines were lost for the first time since all was well. Reported once.
    Failed(io::Error),
    /// Lines were lost again.
    Lost,
}

/// Counts lost lines.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Lines lost since the last success.
    current: AtomicU64,
    total: AtomicU64,
    cause: AtomicI32,
}

impl Losses {
    /// Whether the last line was lost.
    pub(crate) fn go_on(&self) -> bool {
        self.current.load(Relaxed) != 0
    }

    /// How many lines were lost in all.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Everything was taken.
    pub(crate) fn succeeded(&self) -> Delivery {
        if !self.go_on() {
            return Delivery::Written;
        }
        match self.current.swap(0, Relaxed) {
            0 => Delivery::Written, // another thread has it
            lost => {
                let cause = io::Error::from_raw_os_error(self.cause.load(Relaxed));
                Delivery::Recovered { lost, cause }
            }
        }
    }

    /// So many lines were not taken.
    pub(crate) fn failed(&self, lines: u64, cause: Errno) -> Delivery {
        self.total.fetch_add(lines, Relaxed);
        self.cause.store(cause.raw_os_error(), Relaxed);
        match self.current.fetch_add(lines, Relaxed) {
            0 => Delivery::Failed(cause.into()),
            _ => Delivery::Lost,
        }
    }
}
