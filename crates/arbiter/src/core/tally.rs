//! What has happened so often in the arbiter's life, for those who look. Nothing here is read by a rule.
//!
//! Invariant: the numbers only grow, also over an upgrade.

use super::ledger::{Damaged, Entries, Ledger, Word};
use super::worker::{Force, Phase, Worker};

/// Counted since the arbiter's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Workers that were forked.
    pub spawned: u64,
    /// Workers that ended while they were leaving, or because they were forced to.
    pub killed: u64,
    /// Restarts that began, however they ended.
    pub restarts: u64,
}

/// An entry of its own: a version that does not know it passes over it, and the next one begins anew.
const ENTRY: &str = "tally";

impl Tally {
    pub(super) fn count_end(&mut self, worker: &Worker) {
        let told = worker.phase == Phase::Leaving || worker.force != Force::None;
        self.killed += u64::from(told);
    }

    pub(super) fn write(self, ledger: &mut Ledger) {
        let Self {
            spawned,
            killed,
            restarts,
        } = self;
        ledger.put(ENTRY, [spawned.write(), killed.write(), restarts.write()]);
    }

    pub(super) fn read(entries: &Entries<'_>) -> Result<Self, Damaged> {
        let found = entries.maybe(ENTRY, |words| {
            Ok(Self {
                spawned: words.take()?,
                killed: words.take()?,
                restarts: words.take()?,
            })
        })?;
        Ok(found.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Policy, State};
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_state_of_a_version_that_did_not_count_is_read_and_begins_anew() {
        let mut state = State::new(Policy::default(), Duration::ZERO);
        state.tally.spawned = 7;
        let text = state.to_text();
        assert_eq!(State::from_text(&text).unwrap().tally, state.tally);
        let lines = text.lines().filter(|line| !line.starts_with(ENTRY));
        let older: Vec<&str> = lines.collect();
        assert_eq!(
            State::from_text(&older.join("\n")).unwrap().tally,
            Tally::default()
        );
    }
}
