//! Whether the kernel's out-of-memory killer was at work: the `oom_kill` counter of our cgroup.
//!
//! A worker that gets SIGKILL may have been killed by an operator or by the kernel; the counter
//! tells. It counts for the whole cgroup, children included, so it says "the killer struck here",
//! not whom. Not a monitor: it is read when a worker has died of SIGKILL, never otherwise. Each
//! kill that it counted accounts for one such death, so that two workers killed together are both
//! explained.

use crate::cgroup::{Group, Version, own_groups};

use crate::core::ledger::{Damaged, Entries, Ledger, Word, Words};

/// The counter, and how far deaths have been put down to it.
#[derive(Debug)]
pub struct OomCounter {
    group: Option<Group>,
    accounted: u64,
}

impl OomCounter {
    /// The counter of this process' cgroup: `memory.events` (version 2), else `memory.oom_control`
    /// (version 1).
    pub fn of_this_process() -> Self {
        let groups = own_groups();
        Self::of(groups.into_iter().find(|group| count_in(group).is_some()))
    }

    /// Writes it down for the next version of the arbiter.
    pub(crate) fn write(&self, ledger: &mut Ledger) {
        ledger.put("oom-kills", [self.accounted.write()]);
    }

    /// The counter as an earlier version left it, so that a death meanwhile is put down to it.
    pub(crate) fn read(entries: &Entries<'_>) -> Result<Self, Damaged> {
        let accounted = entries.one("oom-kills", Words::take)?;
        let counter = Self::of_this_process();
        Ok(Self {
            accounted,
            ..counter
        })
    }

    fn of(group: Option<Group>) -> Self {
        let accounted = group.as_ref().and_then(count_in).unwrap_or_default();
        Self { group, accounted }
    }

    /// Whether the killer explains one more death by SIGKILL; `None` where there is no counter to
    /// read.
    pub fn accounts_for_a_kill(&mut self) -> Option<bool> {
        let explained = count_in(self.group.as_ref()?)? > self.accounted;
        self.accounted += u64::from(explained);
        Some(explained)
    }
}

/// The value on the line `oom_kill N`, the same in both versions' files.
fn count_in(group: &Group) -> Option<u64> {
    let file = match group.version {
        Version::One => "memory.oom_control",
        Version::Two => "memory.events",
    };
    group.entry(file, "oom_kill")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn each_counted_kill_accounts_for_one_death() {
        let scratch = Scratch::new("oom");
        let file = scratch.folder().join("memory.events");
        fs::write(&file, "low 0\noom 1\noom_kill 2\noom_group_kill 0\n").unwrap();
        let (version, folder) = (Version::Two, scratch.folder().to_owned());
        let mut counter = OomCounter::of(Some(Group { version, folder }));
        assert_eq!(counter.accounts_for_a_kill(), Some(false));
        fs::write(&file, "low 0\noom 1\noom_kill 4\n").unwrap();
        assert_eq!(counter.accounts_for_a_kill(), Some(true));
        assert_eq!(counter.accounts_for_a_kill(), Some(true));
        assert_eq!(counter.accounts_for_a_kill(), Some(false));
    }

    #[test]
    fn without_a_counter_nothing_is_claimed() {
        assert_eq!(OomCounter::of(None).accounts_for_a_kill(), None);
    }
}
