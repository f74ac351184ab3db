//! The error log's lines.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};

use log::{Log as _, Record};
use oxicorn_logs::{
    ErrorLog, Level, LocalTime, Notation, Outlets, Relay, Sink, Statsd, StatsdPlace,
};
use support::{Folder, text};

fn say(log: &ErrorLog, level: log::Level, target: &str, message: &str) {
    log.log(
        &Record::builder()
            .level(level)
            .target(target)
            .args(format_args!("{message}"))
            .build(),
    );
}

/// Logs one message at each level of the `log` crate, from `target`, and returns the lines.
fn printed_at(level: Level, target: &str) -> Vec<String> {
    let folder = Folder::new(&format!("levels-{level:?}-{}", target.replace(':', "")));
    let path = folder.file("log");
    let log = ErrorLog::new(Sink::open(&path).unwrap(), level);
    for level in log::Level::iter() {
        say(&log, level, target, &format!("a {level} message"));
    }
    text(&path).lines().map(str::to_owned).collect()
}

/// The names between the brackets of the third kind.
fn names(lines: &[String]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line.split(['[', ']']).nth(5).unwrap())
        .collect()
}

#[test]
fn a_line_has_time_process_level_and_message() {
    let line = &printed_at(Level::Error, "oxicorn")[0];
    let (time, rest) = line.split_at("[2026-01-02 03:04:05 +0000]".len());
    assert_eq!(
        rest,
        format!(" [{}] [ERROR] a ERROR message", std::process::id())
    );
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape.replace('-', "+"), "[0000+00+00 00:00:00 +0000]");
}

#[test]
fn each_level_prints_itself_and_what_is_graver() {
    let all = ["ERROR", "WARNING", "INFO", "DEBUG"];
    assert_eq!(names(&printed_at(Level::Debug, "oxicorn::arbiter")), all);
    assert_eq!(names(&printed_at(Level::Info, "oxicorn_engine")), all[..3]);
    assert_eq!(names(&printed_at(Level::Warning, "oxicorn")), all[..2]);
    assert_eq!(names(&printed_at(Level::Error, "oxicorn")), all[..1]);
    assert!(printed_at(Level::Critical, "oxicorn").is_empty());
}

#[test]
fn other_crates_are_heard_from_info_on() {
    assert_eq!(
        names(&printed_at(Level::Debug, "mio::poll")),
        ["ERROR", "WARNING", "INFO"]
    );
}

#[test]
fn critical_errors_are_printed_at_every_level() {
    for level in [Level::Debug, Level::Critical] {
        let lines = printed_at(level, "oxicorn::critical");
        assert_eq!(names(&lines)[0], "CRITICAL", "{level:?}");
    }
}

#[test]
fn a_message_of_several_lines_is_kept_as_it_is() {
    let folder = Folder::new("several");
    let path = folder.file("log");
    let log = ErrorLog::new(Sink::open(&path).unwrap(), Level::Info);
    let traceback = "Traceback:\n  File \"app.py\", line 1\nValueError: \u{e9}";
    log.log(
        &Record::builder()
            .target("oxicorn")
            .args(format_args!("{traceback}"))
            .build(),
    );
    assert!(text(&path).ends_with(&format!("[INFO] {traceback}\n")));
}

#[test]
fn levels_are_read_as_gunicorn_spells_them() {
    let cases = [
        ("debug", Level::Debug),
        ("info", Level::Info),
        ("WARNING", Level::Warning),
        ("Error", Level::Error),
        ("critical", Level::Critical),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse(), Ok(expected));
    }
    let refusal = "loud".parse::<Level>().unwrap_err().to_string();
    assert_eq!(
        refusal,
        "no log level \"loud\": one of debug, info, warning, error, critical"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn after_a_full_disk_the_log_tells_how_many_lines_it_lost() {
    let folder = Folder::new("recovers");
    let (path, roomy) = (folder.file("log"), folder.file("roomy"));
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let sink = Sink::open(&path).unwrap();
    let log = ErrorLog::new(sink.clone(), Level::Info);
    let say = |message: &str| {
        log.log(
            &Record::builder()
                .target("oxicorn")
                .args(format_args!("{message}"))
                .build(),
        );
    };
    say("lost");
    say("lost too");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&roomy, &path).unwrap();
    sink.reopen().unwrap();
    say("back");
    say("and on");
    let written = text(&roomy);
    let messages: Vec<&str> = written
        .lines()
        .map(|line| line.splitn(3, "] [").nth(2).unwrap())
        .collect();
    let expected = [
        "INFO] back",
        "WARNING] 2 log lines were lost: No space left on device (os error 28)",
        "INFO] and on",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn the_time_zone_is_that_of_the_environment() {
    if std::env::var_os("PRINT_TIME").is_some() {
        println!("{}", LocalTime::access().at(0));
        return;
    }
    for (zone, expected) in [
        ("IST-5:30", "[01/Jan/1970:05:30:00 +0530]"),
        ("No/Such_Zone", "[01/Jan/1970:00:00:00 +0000]"),
    ] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "the_time_zone_is_that_of_the_environment",
            "--nocapture",
        ]);
        let output = child
            .env("PRINT_TIME", "1")
            .env("TZ", zone)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.contains(expected), "{zone}: {output}");
    }
}

/// The line of an error with a traceback.
fn line_in(notation: Notation) -> String {
    let folder = Folder::new(&format!("fields-{notation:?}"));
    let path = folder.file("log");
    let outlets = Outlets {
        notation: Some(notation),
        ..Outlets::from(Sink::open(&path).unwrap())
    };
    let log = ErrorLog::new(outlets, Level::Info);
    let message = "cannot \"go\" on\nTraceback (most recent call last):\n  File \"a.py\"";
    log.log(
        &Record::builder()
            .level(log::Level::Error)
            .target("oxicorn")
            .args(format_args!("{message}"))
            .build(),
    );
    text(&path)
}

#[test]
fn a_message_with_a_traceback_is_one_line_of_json() {
    let line = line_in(Notation::Json);
    let (time, rest) = line.split_at(r#"{"time":"2026-01-02T03:04:05+00:00","#.len());
    assert!(
        time.starts_with(r#"{"time":"2"#) && time.ends_with(r#"","#),
        "{time}"
    );
    let pid = std::process::id();
    let expected =
        format!(r#""level":"error","log":"error","pid":{pid},"message":"cannot \"go\" on","#)
            + r#""traceback":"Traceback (most recent call last):\n  File \"a.py\""}"#
            + "\n";
    assert_eq!(rest, expected);
}

#[test]
fn a_message_with_a_traceback_is_one_line_of_logfmt() {
    let line = line_in(Notation::Logfmt);
    assert_eq!(line.lines().count(), 1);
    assert!(line.contains(" level=error log=error pid="), "{line}");
    assert!(
        line.ends_with("message=\"cannot \\\"go\\\" on\" traceback=\"Traceback (most recent call last):\\n  File \\\"a.py\\\"\"\n"),
        "{line}"
    );
}

/// Takes messages that are not debugging, and keeps them.
#[derive(Debug, Default)]
struct Taker(Mutex<Vec<String>>);

impl Relay for Taker {
    fn take(&self, level: Level, message: std::fmt::Arguments<'_>) -> bool {
        if level == Level::Debug {
            return false;
        }
        self.0.lock().unwrap().push(message.to_string());
        true
    }
}

#[test]
fn what_is_relayed_is_not_written_and_what_is_not_taken_is() {
    let folder = Folder::new("relayed");
    let path = folder.file("log");
    let taker = Arc::new(Taker::default());
    let outlets = Outlets {
        relay: Some(taker.clone()),
        ..Outlets::from(Sink::open(&path).unwrap())
    };
    let log = ErrorLog::new(outlets, Level::Debug);
    for level in [log::Level::Info, log::Level::Debug] {
        log.log(
            &Record::builder()
                .level(level)
                .target("oxicorn")
                .args(format_args!("at {level}"))
                .build(),
        );
    }
    assert_eq!(*taker.0.lock().unwrap(), ["at INFO"]);
    assert!(text(&path).ends_with("[DEBUG] at DEBUG\n") && text(&path).lines().count() == 1);
}

#[test]
fn messages_are_counted_by_gunicorns_names() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = StatsdPlace::Udp(server.local_addr().unwrap());
    let statsd = Arc::new(Statsd::new(place, "", "").unwrap());
    let outlets = Outlets {
        statsd: Some(statsd),
        ..Outlets::default()
    };
    let log = ErrorLog::new(outlets, Level::Info);
    let say = |level, target, message| say(&log, level, target, message);
    say(log::Level::Info, "oxicorn", "not counted");
    say(log::Level::Warn, "oxicorn", "a warning");
    say(log::Level::Error, "oxicorn", "an error");
    say(
        log::Level::Error,
        "oxicorn",
        "one\nTraceback (most recent call last):\n",
    );
    say(log::Level::Error, "oxicorn::critical", "the end");
    for name in ["warning", "error", "exception", "critical"] {
        let mut buffer = [0; 100];
        let length = server.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]);
        assert_eq!(text, format!("gunicorn.log.{name}:1|c|@1.0"));
    }
}
