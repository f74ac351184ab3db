//! How much memory there is, and how much the workers use: what the core wants to know before a
//! restart. Read then and never otherwise, for it takes the kernel some milliseconds for each GB that
//! the workers use; nothing here decides.
//!
//! Free is what the kernel would give without swapping (`MemAvailable`), and no more than the limits
//! of our cgroups leave. Cached files that were not used lately count as free in both.

use std::fs;

use crate::cgroup::{Group, Version, own_groups};
use crate::core::{Pid, Room};

/// What there is at this moment; `None` where the kernel does not say.
///
/// What the stems use is the workers', who share it with them.
pub(crate) fn room(
    workers: impl Iterator<Item = Pid>,
    stems: impl Iterator<Item = Pid>,
) -> Option<Room> {
    let used: Vec<u64> = workers.filter_map(used_by).collect();
    let shared: u64 = stems.filter_map(used_by).sum();
    let left = own_groups().iter().filter_map(left_in).min();
    let available = system_memory().into_iter().chain(left).min()?;
    Some(Room {
        available,
        used: used.iter().sum::<u64>() + shared,
        workers: used.len(),
    })
}

fn system_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    kibibytes(&text, "MemAvailable:")
}

/// A process' own part of the memory that it shares (PSS, so that the sum over all workers counts
/// each page once); where that is not to be read, its resident memory.
fn used_by(pid: Pid) -> Option<u64> {
    let shares = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let resident = || {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        kibibytes(&text, "VmRSS:")
    };
    shares
        .and_then(|text| kibibytes(&text, "Pss:"))
        .or_else(resident)
}

/// The bytes on a line such as `Pss:     250 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(number.saturating_mul(1024))
}

/// What the limits of a group leave; `None` if it has none.
fn left_in(group: &Group) -> Option<u64> {
    let (limits, used, free) = match group.version {
        Version::One => (
            &["memory.limit_in_bytes"][..],
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
        Version::Two => (
            &["memory.max", "memory.high"][..],
            "memory.current",
            "inactive_file",
        ),
    };
    let limit = limits.iter().filter_map(|file| group.number(file)).min()?;
    let used = group.number(used)?;
    let free = group.entry("memory.stat", free).unwrap_or_default();
    Some(limit.saturating_sub(used.saturating_sub(free)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn group(version: Version, files: &[(&str, &str)]) -> (Scratch, Group) {
        let scratch = Scratch::new(&format!("memory-{version:?}-{}", files.len()));
        let folder = scratch.folder().to_owned();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        (scratch, Group { version, folder })
    }

    #[test]
    fn unused_cache_is_free_in_a_limited_group() {
        let files = [
            ("memory.max", "1000\n"),
            ("memory.high", "max\n"),
            ("memory.current", "900\n"),
            ("memory.stat", "anon 500\ninactive_file 300\n"),
        ];
        let (_scratch, group) = group(Version::Two, &files);
        assert_eq!(left_in(&group), Some(400));
    }

    #[test]
    fn the_first_version_says_the_same_in_other_files() {
        let files = [
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "900\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 300\n"),
        ];
        let (_scratch, group) = group(Version::One, &files);
        assert_eq!(left_in(&group), Some(400));
    }

    #[test]
    fn a_group_without_a_limit_leaves_everything() {
        let files = [("memory.max", "max\n"), ("memory.current", "900\n")];
        let (_scratch, group) = group(Version::Two, &files);
        assert_eq!(left_in(&group), None);
    }

    #[test]
    fn a_group_over_its_limit_leaves_nothing() {
        let files = [
            ("memory.max", "1000\n"),
            ("memory.high", "800\n"),
            ("memory.current", "900\n"),
        ];
        let (_scratch, group) = group(Version::Two, &files);
        assert_eq!(left_in(&group), Some(0));
    }

    #[test]
    fn this_process_uses_memory_and_there_is_some_left() {
        let own = Pid::try_from(std::process::id()).unwrap();
        let none = std::iter::empty();
        let room = room([own, Pid::MAX].into_iter(), none).unwrap();
        assert_eq!(room.workers, 1);
        assert!(room.used > 1 << 16, "{room:?}");
        assert!(room.available > 0, "{room:?}");
    }

    #[test]
    fn a_stem_is_no_worker_but_what_it_uses_counts() {
        let own = Pid::try_from(std::process::id()).unwrap();
        let room = room([Pid::MAX].into_iter(), std::iter::once(own)).unwrap();
        assert_eq!(room.workers, 0);
        assert!(room.used > 1 << 16, "{room:?}");
    }
}
