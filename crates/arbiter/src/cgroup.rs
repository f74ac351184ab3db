//! Where the kernel keeps the memory accounts of this process: the folders of its cgroup and of those
//! that it is part of, in either version. What the files in them say is for their readers (`oom.rs`,
//! `memory.rs`).

use std::fs;
use std::path::{Path, PathBuf};

/// One group that accounts for memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) version: Version,
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Group {
    /// The number in one of its files; `None` also where it says that there is none (`max`).
    pub(crate) fn number(&self, file: &str) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        text.trim().parse().ok()
    }

    /// The number on the line of this name.
    pub(crate) fn entry(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        let mut entries = text.lines().filter_map(|line| line.split_once(' '));
        let (_, number) = entries.find(|(found, _)| *found == name)?;
        number.trim().parse().ok()
    }
}

/// The groups of this process, the innermost first. Some may not exist: in a container the path that
/// `/proc/self/cgroup` names is often not visible; there the root of the mounted tree is the
/// container's own group.
pub(crate) fn own_groups() -> Vec<Group> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups_of(&groups, Path::new("/sys/fs/cgroup"))
}

pub(crate) fn groups_of(groups: &str, mount: &Path) -> Vec<Group> {
    let lines = groups.lines();
    lines
        .filter_map(|line| lineage(line, mount))
        .flatten()
        .collect()
}

/// One line is `hierarchy:controllers:path` (`cgroups(7)`); version 2 has the hierarchy 0 and no
/// controllers.
fn lineage(line: &str, mount: &Path) -> Option<Vec<Group>> {
    let mut fields = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (version, mount) = if hierarchy == "0" && controllers.is_empty() {
        (Version::Two, mount.to_owned())
    } else if controllers.split(',').any(|name| name == "memory") {
        (Version::One, mount.join("memory"))
    } else {
        return None;
    };
    // A path that leads out of the mounted tree names nothing in it.
    let inside = path.trim_start_matches('/');
    let inside = if path.contains("..") { "" } else { inside };
    let own = mount.join(inside);
    let folders = own
        .ancestors()
        .take_while(|folder| folder.starts_with(&mount));
    let group = |folder: &Path| Group {
        version,
        folder: folder.to_owned(),
    };
    Some(folders.map(group).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn both_versions_are_found_from_the_inside_out() {
        let groups = "4:cpu,memory:/a/b\n1:name=systemd:/x\n0::/user.slice\n";
        let found = groups_of(groups, Path::new("/cg"));
        let expected = [
            (Version::One, "/cg/memory/a/b"),
            (Version::One, "/cg/memory/a"),
            (Version::One, "/cg/memory"),
            (Version::Two, "/cg/user.slice"),
            (Version::Two, "/cg"),
        ];
        let found: Vec<_> = found
            .iter()
            .map(|group| (group.version, group.folder.to_str().unwrap()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn of_a_group_outside_the_mounted_tree_only_the_root_is_seen() {
        let found = groups_of("0::/../other\n", Path::new("/cg"));
        let folders: Vec<_> = found.iter().map(|group| &group.folder).collect();
        assert_eq!(folders, [Path::new("/cg/")]);
    }

    #[test]
    fn files_hold_one_number_or_one_a_line() {
        let scratch = Scratch::new("cgroup");
        let folder = scratch.folder().to_owned();
        fs::write(folder.join("memory.max"), "max\n").unwrap();
        fs::write(folder.join("memory.current"), "4096\n").unwrap();
        fs::write(folder.join("memory.stat"), "anon 1\ninactive_file 22\n").unwrap();
        let version = Version::Two;
        let group = Group { version, folder };
        assert_eq!(group.number("memory.max"), None);
        assert_eq!(group.number("memory.current"), Some(4096));
        assert_eq!(group.number("missing"), None);
        assert_eq!(group.entry("memory.stat", "inactive_file"), Some(22));
        assert_eq!(group.entry("memory.stat", "file"), None);
    }
}
