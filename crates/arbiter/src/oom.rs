//! Whether the kernel's out-of-memory killer was at work: the `oom_kill` counter of our cgroup.
//!
//! A worker that gets SIGKILL may have been killed by an operator or by the kernel; the counter
//! tells. It counts for the whole cgroup, children included, so it says "the killer struck here",
//! not whom. Not a monitor: it is read when a worker has died of SIGKILL, never otherwise. Each
//! kill that it counted accounts for one such death, so that two workers killed together are both
//! explained.

use std::fs;
use std::path::{Path, PathBuf};

use crate::core::ledger::{Damaged, Entries, Ledger, Word, Words};

/// The counter, and how far deaths have been put down to it.
#[derive(Debug)]
pub struct OomCounter {
    file: Option<PathBuf>,
    accounted: u64,
}

impl OomCounter {
    /// The counter of this process' cgroup: `memory.events` (version 2), else `memory.oom_control`
    /// (version 1).
    pub fn of_this_process() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let candidates = candidates(&groups, Path::new("/sys/fs/cgroup"));
        Self::reading(candidates.into_iter().find(|file| count_in(file).is_some()))
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

    fn reading(file: Option<PathBuf>) -> Self {
        let accounted = file.as_deref().and_then(count_in).unwrap_or_default();
        Self { file, accounted }
    }

    /// Whether the killer explains one more death by SIGKILL; `None` where there is no counter to
    /// read.
    pub fn accounts_for_a_kill(&mut self) -> Option<bool> {
        let explained = count_in(self.file.as_deref()?)? > self.accounted;
        self.accounted += u64::from(explained);
        Some(explained)
    }
}

/// Where the counter may be, most specific first. In a container the path that `/proc/self/cgroup`
/// names is often not visible; there the root of the mounted tree is the container's own group.
fn candidates(groups: &str, mount: &Path) -> Vec<PathBuf> {
    groups
        .lines()
        .filter_map(|line| candidates_of(line, mount))
        .flatten()
        .collect()
}

/// One line is `hierarchy:controllers:path` (`cgroups(7)`); version 2 has the hierarchy 0 and no
/// controllers.
fn candidates_of(line: &str, mount: &Path) -> Option<[PathBuf; 2]> {
    let mut fields = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let path = path.trim_start_matches('/');
    if hierarchy == "0" && controllers.is_empty() {
        let file = "memory.events";
        return Some([mount.join(path).join(file), mount.join(file)]);
    }
    if controllers.split(',').any(|name| name == "memory") {
        let (mount, file) = (mount.join("memory"), "memory.oom_control");
        return Some([mount.join(path).join(file), mount.join(file)]);
    }
    None
}

/// The value on the line `oom_kill N`, the same in both versions' files.
fn count_in(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn each_counted_kill_accounts_for_one_death() {
        let scratch = Scratch::new("oom");
        let file = scratch.folder().join("memory.events");
        fs::write(&file, "low 0\noom 1\noom_kill 2\noom_group_kill 0\n").unwrap();
        let mut counter = OomCounter::reading(Some(file.clone()));
        assert_eq!(counter.accounts_for_a_kill(), Some(false));
        fs::write(&file, "low 0\noom 1\noom_kill 4\n").unwrap();
        assert_eq!(counter.accounts_for_a_kill(), Some(true));
        assert_eq!(counter.accounts_for_a_kill(), Some(true));
        assert_eq!(counter.accounts_for_a_kill(), Some(false));
    }

    #[test]
    fn without_a_counter_nothing_is_claimed() {
        assert_eq!(OomCounter::reading(None).accounts_for_a_kill(), None);
    }

    #[test]
    fn both_cgroup_versions_are_found() {
        let groups = "4:cpu,memory:/a/b\n1:name=systemd:/x\n0::/user.slice\n";
        let found = candidates(groups, Path::new("/cg"));
        let expected = [
            "/cg/memory/a/b/memory.oom_control",
            "/cg/memory/memory.oom_control",
            "/cg/user.slice/memory.events",
            "/cg/memory.events",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
