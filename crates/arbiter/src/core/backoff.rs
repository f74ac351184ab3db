//! How long a slot waits before its next worker is forked.
//!
//! Each slot counts for itself, so that one worker that dies of a bad request delays no other. A
//! worker that settled ([`Policy::SETTLED`]) before it died is replaced at once and clears the
//! count.

use std::time::Duration;

#[cfg(doc)]
use super::Policy;

/// The early deaths of the workers of one slot.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Workers in a row that died before they settled.
    pub(super) early_deaths: u32,
    pub(super) fork_failures: u32,
    /// Workers in a row that were too large soon after their boot.
    pub(super) early_growths: u32,
    /// No fork before this time.
    pub(super) resume_at: Duration,
}

impl Slot {
    /// A worker died early: the next one starts after the returned wait. One that `had_served` shows that the next will
    /// serve as well, so the wait stays short: a request that crashes workers must not keep the others waiting.
    pub(super) fn died_early(&mut self, now: Duration, had_served: bool) -> Duration {
        self.early_deaths = self.early_deaths.saturating_add(1);
        let longest = if had_served { SHORT } else { Duration::MAX };
        let wait = wait_after(self.early_deaths).min(longest);
        self.resume_at = now.saturating_add(wait);
        wait
    }

    /// A worker that had settled died: nothing is held against the slot.
    pub(super) fn died_settled(&mut self) {
        self.early_deaths = 0;
    }

    /// The system refused to fork: the next try is after the returned wait, which is never zero.
    pub(super) fn fork_failed(&mut self, now: Duration) -> Duration {
        self.fork_failures = self.fork_failures.saturating_add(1);
        let wait = wait_after(self.fork_failures.saturating_add(1));
        self.resume_at = now.saturating_add(wait);
        wait
    }

    /// A worker is too large, `early` in its life or not: it is to be replaced after the returned wait.
    pub(super) fn outgrown_early(&mut self, early: bool) -> Duration {
        let growths = if early { self.early_growths + 1 } else { 0 };
        self.early_growths = growths.min(MANY);
        wait_for_memory(growths)
    }

    pub(super) fn forked(&mut self) {
        self.fork_failures = 0;
    }
}

/// The longest wait after workers that had served.
const SHORT: Duration = Duration::from_secs(1);

/// 0, 0.5, 1, 2, 4, 8, 16 and then always 30 seconds.
fn wait_after(failures: u32) -> Duration {
    const LONGEST: Duration = Duration::from_secs(30);
    match failures {
        0 | 1 => Duration::ZERO,
        2..=7 => Duration::from_millis(500 << (failures - 2)),
        _ => LONGEST,
    }
}

/// More is not told apart.
const MANY: u32 = 100;

/// 0, 1, 2, 4, 8 and then always 10 minutes.
fn wait_for_memory(growths: u32) -> Duration {
    const LONGEST: Duration = Duration::from_secs(600);
    match growths {
        0 | 1 => Duration::ZERO,
        2..=5 => Duration::from_secs(60 << (growths - 2)),
        _ => LONGEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_half_a_second_to_thirty() {
        let seconds: Vec<f64> = (1..=10).map(|n| wait_after(n).as_secs_f64()).collect();
        assert_eq!(
            seconds,
            [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
        );
    }

    #[test]
    fn a_failed_fork_is_never_repeated_at_once() {
        let mut slot = Slot::default();
        assert_eq!(slot.fork_failed(Duration::ZERO), Duration::from_millis(500));
        assert_eq!(slot.resume_at, Duration::from_millis(500));
    }
}
