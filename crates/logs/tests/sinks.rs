//! Sinks that are files: opening, rotation, a full disk.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use oxicorn_logs::{Delivery, Sink, Standard};
use rustix::fs::Mode;
use support::{Folder, text};

#[test]
fn a_file_is_made_for_its_owner_and_then_appended_to() {
    let folder = Folder::new("made");
    let path = folder.file("log");
    let umask = rustix::process::umask(Mode::RWXO);
    assert!(matches!(
        Sink::open(&path).unwrap().write_all(b"one\n"),
        Delivery::Written
    ));
    assert!(matches!(
        Sink::open(&path).unwrap().write_all(b"two\n"),
        Delivery::Written
    ));
    assert_eq!(text(&path), "one\ntwo\n");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    rustix::process::umask(umask);
    assert_eq!(mode & 0o777, 0o640, "{mode:o}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_is_closed_in_programs_that_the_server_starts() {
    let folder = Folder::new("cloexec");
    let path = folder.file("log");
    let _sink = Sink::open(&path).unwrap();
    let links = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap());
    let mut ours =
        links.filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path));
    let fd = ours.next().unwrap().file_name();
    let info = text(&std::path::Path::new("/proc/self/fdinfo").join(fd));
    let flags = info
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .unwrap();
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    assert_eq!(
        flags & 0o2_002_001,
        0o2_002_001,
        "close-on-exec, append, write-only"
    );
}

#[test]
fn a_folder_is_no_log_file() {
    let folder = Folder::new("folder");
    let error = Sink::open(folder.file("").as_path()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
}

#[test]
fn after_a_rename_reopening_goes_on_in_a_new_file() {
    let folder = Folder::new("rename");
    let (path, rotated) = (folder.file("log"), folder.file("log.1"));
    let sink = Sink::open(&path).unwrap();
    sink.write_all(b"before\n");
    fs::rename(&path, &rotated).unwrap();
    sink.write_all(b"between\n");
    sink.reopen().unwrap();
    sink.write_all(b"after\n");
    assert_eq!(text(&rotated), "before\nbetween\n");
    assert_eq!(text(&path), "after\n");
}

#[test]
fn when_reopening_fails_the_old_file_stays_in_use() {
    let folder = Folder::new("keeps");
    let (path, rotated) = (folder.file("log"), folder.file("log.1"));
    let sink = Sink::open(&path).unwrap();
    fs::rename(&path, &rotated).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(
        sink.reopen().unwrap_err().kind(),
        std::io::ErrorKind::IsADirectory
    );
    assert!(matches!(sink.write_all(b"still here\n"), Delivery::Written));
    assert_eq!(text(&rotated), "still here\n");
}

#[cfg(target_os = "linux")]
#[test]
fn lines_lost_on_a_full_disk_are_counted_and_reported_once() {
    let folder = Folder::new("full");
    let (path, roomy) = (folder.file("log"), folder.file("roomy"));
    symlink("/dev/full", &path).unwrap();
    let sink = Sink::open(&path).unwrap();
    let Delivery::Failed(cause) = sink.write_all(b"one\ntwo\n") else {
        panic!("not refused")
    };
    assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull);
    assert!(matches!(sink.write_lines(b"three\n"), Delivery::Lost));

    fs::remove_file(&path).unwrap();
    symlink(&roomy, &path).unwrap();
    sink.reopen().unwrap();
    let Delivery::Recovered { lost, cause } = sink.write_all(b"four\n") else {
        panic!("not back")
    };
    assert_eq!((lost, cause.kind()), (3, std::io::ErrorKind::StorageFull));
    assert!(matches!(sink.write_all(b"five\n"), Delivery::Written));
    assert_eq!(sink.lost(), 3);
    assert_eq!(text(&roomy), "four\nfive\n");
}

#[test]
fn settings_name_streams_and_files() {
    let folder = Folder::new("settings");
    let path = folder.file("log").display().to_string();
    let name = |text: &str, dash| Sink::from_setting(text, dash).unwrap().name();
    assert_eq!(name("-", Standard::Output), "standard output");
    assert_eq!(name("-", Standard::Error), "standard error");
    assert_eq!(name("/dev/stdout", Standard::Error), "standard output");
    assert_eq!(name("/dev/stderr", Standard::Output), "standard error");
    assert_eq!(name(&path, Standard::Output), path);
    assert!(Sink::from_setting("", Standard::Output).is_err());
}

#[test]
fn a_file_can_be_given_to_the_user_that_workers_run_as() {
    let folder = Folder::new("give");
    let path = folder.file("log");
    let sink = Sink::open(&path).unwrap();
    let owner = fs::metadata(&path).unwrap();
    // Only a process with CAP_CHOWN may give to others (root in a container may lack it); anybody
    // may give to himself.
    let probe = folder.file("probe");
    fs::write(&probe, "").unwrap();
    let (user, group) = match std::os::unix::fs::chown(&probe, Some(12_345), Some(12_346)) {
        Ok(()) => (12_345, 12_346),
        Err(_) => (owner.uid(), owner.gid()),
    };
    sink.give_to(user, group).unwrap();
    let owner = fs::metadata(&path).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (user, group));
    Sink::standard(Standard::Error)
        .give_to(user, group)
        .unwrap();
}

#[test]
fn threads_share_a_sink_and_no_line_is_mixed_while_it_is_reopened() {
    let folder = Folder::new("threads");
    let path = folder.file("log");
    let sink = Sink::open(&path).unwrap();
    let line = |thread: char| format!("{}\n", thread.to_string().repeat(200)).into_bytes();
    std::thread::scope(|scope| {
        for thread in ['a', 'b', 'c'] {
            let (sink, line) = (&sink, line(thread));
            scope.spawn(move || {
                for _ in 0..500 {
                    assert!(matches!(sink.write_all(&line), Delivery::Written));
                }
            });
        }
        scope.spawn(|| (0..200).for_each(|_| sink.reopen().unwrap()));
    });
    let written = text(&path);
    assert_eq!(written.lines().count(), 1500);
    let whole =
        |text: &str| text.len() == 200 && text.bytes().all(|byte| byte == text.as_bytes()[0]);
    assert!(written.lines().all(whole));
}

#[test]
fn standard_streams_are_written_to_as_they_are_at_the_time() {
    if std::env::var_os("WRITE_TO_STREAMS").is_some() {
        Sink::standard(Standard::Output).write_all(b"to the output\n");
        Sink::standard(Standard::Error).write_all(b"to the error\n");
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "standard_streams_are_written_to_as_they_are_at_the_time",
        "--nocapture",
    ]);
    let output = child.env("WRITE_TO_STREAMS", "1").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("to the output\n"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "to the error\n");
}
