//! The error log of the process. One test, since there is one such log.

#![cfg(target_os = "linux")] // which has the device that is always full
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use oxicorn_logs::{
    AccessLog, Format, Level, Record, Sink, critical, install, reopen_all, set_level,
};
use support::{Folder, text};

#[test]
fn the_installed_log_is_replaced_silenced_reopened_and_told_of_lost_access_lines() {
    let folder = Folder::new("installed");
    let (first, second) = (folder.file("first"), folder.file("second"));
    install(Sink::open(&first).unwrap(), Level::Info).unwrap();
    log::info!(target: "oxicorn", "to the first");
    log::debug!(target: "oxicorn", "to nobody");

    install(Sink::open(&second).unwrap(), Level::Debug).unwrap();
    log::debug!(target: "oxicorn", "to the second");
    set_level(Level::Critical);
    log::error!(target: "oxicorn", "to nobody");
    critical(format_args!("cannot bind {}", "[::1]:80"));
    assert!(text(&first).ends_with("[INFO] to the first\n") && text(&first).lines().count() == 1);
    assert!(text(&second).ends_with("[CRITICAL] cannot bind [::1]:80\n"));
    assert_eq!(text(&second).lines().count(), 2);

    set_level(Level::Info);
    rotation_reaches_every_file(&folder);
    lost_access_lines_are_told_once(&folder);
}

/// One of two sinks cannot be reopened; the other one is, and the error log says which is not.
fn rotation_reaches_every_file(folder: &Folder) {
    let (second, blocked) = (folder.file("second"), folder.file("blocked"));
    let sink = Sink::open(&blocked).unwrap();
    fs::rename(&second, folder.file("second.1")).unwrap();
    fs::rename(&blocked, folder.file("blocked.1")).unwrap();
    fs::create_dir(&blocked).unwrap();
    reopen_all();
    let report = format!(
        "[ERROR] cannot reopen the log file {}: Is a directory (os error 21); \
         the old one stays in use\n",
        blocked.display()
    );
    assert!(text(&second).ends_with(&report), "{}", text(&second));
    sink.write_all(b"kept\n");
    assert_eq!(text(&folder.file("blocked.1")), "kept\n");
}

/// The access log's disk is full for three lines, then has room again.
fn lost_access_lines_are_told_once(folder: &Folder) {
    let (access, roomy) = (folder.file("access"), folder.file("roomy"));
    symlink("/dev/full", &access).unwrap();
    let log = AccessLog::new(Format::parse("line").unwrap(), Sink::open(&access).unwrap());
    let before = text(&folder.file("second")).lines().count();
    (0..3).for_each(|_| flush_one_line(&log));
    fs::remove_file(&access).unwrap();
    symlink(&roomy, &access).unwrap();
    log.reopen().unwrap();
    (0..2).for_each(|_| flush_one_line(&log));
    assert_eq!(text(&roomy), "line\nline\n");

    let told = text(&folder.file("second"));
    let told: Vec<&str> = told
        .lines()
        .skip(before)
        .map(|line| line.splitn(3, "] [").nth(2).unwrap())
        .collect();
    let (path, cause) = (access.display(), "No space left on device (os error 28)");
    let expected = [
        format!(
            "ERROR] cannot write access lines to {path}: {cause}; \
             they are lost until it works again"
        ),
        format!("WARNING] access lines go to {path} again; 3 were lost: {cause}"),
    ];
    assert_eq!(told, expected);
}

fn flush_one_line(log: &AccessLog) {
    log.record(&Record {
        remote: b"",
        request_line: b"",
        method: b"",
        path: b"",
        query: b"",
        protocol: "",
        status: 200,
        body_bytes: None,
        duration: Duration::ZERO,
        pid: 1,
        now_unix: 0,
        header_in: &|_| None,
        header_out: &|_| None,
        environ: &|_| None,
    });
    log.flush();
}
