//! Watches on real files.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use oxicorn_watch::Watch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A folder of one test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("watch-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a new file in the place of an old one.
    fn put(&self, name: &str, text: &str) {
        fs::write(self.file("new"), text).unwrap();
        fs::rename(self.file("new"), self.file(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_readable(watch: &Watch, millis: i64) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
    let limit = Timespec {
        tv_sec: millis / 1000,
        tv_nsec: millis % 1000 * 1_000_000,
    };
    poll(&mut fds, Some(&limit)).unwrap() > 0
}

/// Whether the files are due to be looked at, within the patience of a test.
fn becomes_due(watch: &mut Watch) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if is_readable(watch, 1_000) && watch.is_due() {
            return true;
        }
    }
    false
}

fn watch(file: &Path) -> Watch {
    let mut watch = Watch::new(Duration::from_millis(100)).unwrap();
    assert!(watch.follow(file));
    watch
}

#[test]
fn a_watch_calls_after_every_way_of_renewing_and_for_nothing_else() {
    let folder = Folder::new();
    fs::write(folder.file("cert.pem"), "first").unwrap();
    let mut in_place = watch(&folder.file("cert.pem"));
    fs::write(folder.file("unrelated"), "").unwrap();
    while is_readable(&in_place, 50) {
        assert!(!in_place.is_due(), "another file");
    }
    fs::write(folder.file("cert.pem"), "in place").unwrap();
    assert!(becomes_due(&mut in_place));
    let mut replaced = watch(&folder.file("cert.pem"));
    folder.put("cert.pem", "another file of the name");
    assert!(becomes_due(&mut replaced));
}

#[test]
fn links_that_are_turned_are_seen_wherever_they_are_in_the_path() {
    let folder = Folder::new();
    for release in ["1", "2"] {
        fs::create_dir(folder.file(release)).unwrap();
        fs::write(folder.file(release).join("cert.pem"), release).unwrap();
    }
    symlink("1", folder.file("current")).unwrap();
    fs::create_dir(folder.file("live")).unwrap();
    let live = folder.file("live").join("cert.pem");
    symlink("../current/cert.pem", &live).unwrap();
    let mut watch = watch(&live);
    symlink("2", folder.file("next")).unwrap();
    fs::rename(folder.file("next"), folder.file("current")).unwrap();
    assert!(becomes_due(&mut watch));
    assert_eq!(fs::read_to_string(live).unwrap(), "2");
}

#[test]
fn a_directory_is_followed_with_all_that_comes_into_it() {
    let folder = Folder::new();
    let mut watch = Watch::new(Duration::from_millis(100)).unwrap();
    assert!(watch.follow_all_in(&folder.0));
    assert!(!is_readable(&watch, 0));
    fs::write(folder.file("anything"), "new").unwrap();
    assert!(becomes_due(&mut watch));
    assert!(!is_readable(&watch, 0));
}

/// Waits until the watch has taken notice of what was done.
fn settle(watch: &mut Watch) {
    while is_readable(watch, 300) {
        watch.is_due();
    }
}

#[test]
fn a_directory_that_is_removed_and_made_again_is_followed_again() {
    let folder = Folder::new();
    fs::create_dir_all(folder.file("pkg/deep")).unwrap();
    let file = folder.file("pkg/deep/file");
    fs::write(&file, "first").unwrap();
    let mut watch = watch(&file);
    fs::remove_dir_all(folder.file("pkg")).unwrap();
    settle(&mut watch);
    fs::create_dir(folder.file("pkg")).unwrap();
    settle(&mut watch);
    fs::create_dir(folder.file("pkg/deep")).unwrap();
    settle(&mut watch);
    fs::write(&file, "second").unwrap();
    assert!(becomes_due(&mut watch));
    settle(&mut watch);
    fs::write(&file, "third").unwrap();
    assert!(becomes_due(&mut watch));
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_followed() {
    let folder = Folder::new();
    for name in ["live", "next"] {
        fs::create_dir(folder.file(name)).unwrap();
        fs::write(folder.file(name).join("file"), name).unwrap();
    }
    let mut watch = watch(&folder.file("live/file"));
    fs::rename(folder.file("live"), folder.file("old")).unwrap();
    fs::rename(folder.file("next"), folder.file("live")).unwrap();
    assert!(becomes_due(&mut watch));
    settle(&mut watch);
    folder.put("live/file", "newer");
    assert!(becomes_due(&mut watch));
}

#[test]
fn what_is_followed_late_can_be_looked_at_once_more() {
    let folder = Folder::new();
    let mut watch = watch(&folder.file("later"));
    watch.arm();
    assert!(becomes_due(&mut watch));
}

#[test]
fn a_directory_that_is_not_there_cannot_be_followed() {
    let folder = Folder::new();
    let mut watch = Watch::new(Duration::from_millis(100)).unwrap();
    assert!(!watch.follow(&folder.file("no/file")));
    assert!(!watch.follow_all_in(&folder.file("no")));
}

#[test]
fn a_writer_that_never_stops_does_not_keep_others_from_being_looked_at() {
    let folder = Folder::new();
    let mut watch = Watch::new(Duration::from_millis(100)).unwrap();
    assert!(watch.follow_all_in(&folder.0));
    let until = Instant::now() + Duration::from_secs(20);
    let mut due = false;
    while !due {
        assert!(Instant::now() < until, "never due");
        fs::write(folder.file("journal"), "again").unwrap();
        due = watch.is_due();
    }
}
