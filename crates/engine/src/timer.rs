//! Deadlines of connections on one timer descriptor. Each connection keeps its own deadline; the queue holds at most a few
//! stale entries per connection, which are looked at when they come up and put back. So moving a deadline later, which
//! happens at every request, costs a store. Invariant: an entry at or before every live deadline is always queued, and the
//! descriptor is armed at or before the first entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::slab::Id;

/// The queue's granularity: deadlines are met up to this many milliseconds late, so that neighbours share a wake-up.
const GRAIN: u64 = 50;

/// How much later than its entry the descriptor fires: the coarse clock lags by up to a tick and would call the entry not
/// due yet, again and again.
const TICK: u64 = 10;

#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
    queue: BinaryHeap<Reverse<(u64, Id)>>,
    armed: Option<u64>,
}

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        Ok(Self {
            fd,
            queue: BinaryHeap::new(),
            armed: None,
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Queues a look at `id` at `deadline` (monotonic milliseconds); returns the entry's own, rounded time.
    pub(crate) fn queue(&mut self, deadline: u64, id: Id) -> u64 {
        let at = deadline.div_ceil(GRAIN) * GRAIN;
        self.queue.push(Reverse((at, id)));
        at
    }

    /// The next entry that is due, with its time.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, Id)> {
        let &Reverse(entry) = self.queue.peek()?;
        if entry.0 > now {
            return None;
        }
        self.queue.pop();
        Some(entry)
    }

    /// Whether an entry is queued that is due before the descriptor fires.
    pub(crate) fn is_late(&self) -> bool {
        let first = self.first();
        first.is_some_and(|first| self.armed.is_none_or(|armed| first < armed))
    }

    fn first(&self) -> Option<u64> {
        self.queue.peek().map(|&Reverse((deadline, _))| deadline)
    }

    /// Arms the descriptor for the first entry, or for `other` (monotonic milliseconds) if that is earlier; disarms it when
    /// there is neither.
    pub(crate) fn arm(&mut self, other: Option<u64>) -> io::Result<()> {
        let first = self.first().into_iter().chain(other).min();
        if first == self.armed {
            return Ok(());
        }
        self.armed = first;
        let value = first
            .map(|millis| millis + TICK)
            .map_or(ZERO, |millis| Timespec {
                tv_sec: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(millis % 1000 * 1_000_000).unwrap_or(0),
            });
        let spec = Itimerspec {
            it_interval: ZERO,
            it_value: value,
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }

    /// Called when the descriptor fired: it is no longer armed, and must be read to fall silent.
    pub(crate) fn fired(&mut self) {
        self.armed = None;
        let mut expirations = [0u8; 8];
        // An error means that another reading was first: nothing to do.
        let _ = rustix::io::read(&self.fd, &mut expirations);
    }
}

const ZERO: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> Id {
        Id::from_token(1 << 32 | n).unwrap()
    }

    #[test]
    fn entries_come_up_in_order_and_not_early() {
        let mut timer = Timer::new().unwrap();
        timer.queue(900, id(2));
        timer.queue(400, id(1));
        assert_eq!(timer.pop_due(399), None);
        assert_eq!(timer.pop_due(400), Some((400, id(1))));
        assert_eq!(timer.pop_due(400), None);
        assert_eq!(timer.pop_due(1000), Some((900, id(2))));
    }

    #[test]
    fn ten_thousand_entries_come_up_in_order_each_once() {
        let mut timer = Timer::new().unwrap();
        // Times in no order, all different: 7919 has no factor in common with 10,000.
        for n in 0..10_000 {
            timer.queue((n * 7919 % 10_000) * GRAIN, id(n));
        }
        timer.arm(None).unwrap();
        for at in 0..10_000 {
            let due = at * GRAIN;
            if at > 0 {
                assert_eq!(timer.pop_due(due - 1), None);
            }
            let (entry, who) = timer.pop_due(due + GRAIN - 1).unwrap();
            assert_eq!((entry, id(at * 7_679 % 10_000)), (due, who));
        }
        assert_eq!(timer.pop_due(u64::MAX), None);
    }

    #[test]
    fn an_empty_queue_disarms_the_descriptor() {
        let mut timer = Timer::new().unwrap();
        timer.queue(50, id(1));
        timer.arm(None).unwrap();
        assert!(timer.pop_due(u64::MAX).is_some());
        timer.arm(None).unwrap();
        let left = rustix::time::timerfd_gettime(&timer.fd).unwrap();
        assert_eq!((left.it_value.tv_sec, left.it_value.tv_nsec), (0, 0));
    }
}
