//! The access log: gathering, writing whole lines, losing some.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::io::Read as _;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use oxicorn_logs::{
    AccessLog, AccessOutlets, Format, Record, Sink, Statsd, StatsdPlace, Syslog, SyslogPlace,
    SyslogTag,
};
use support::{Folder, text};

/// A request for `path`.
fn request(path: &[u8]) -> Record<'_> {
    Record {
        remote: b"127.0.0.1",
        request_line: b"GET / HTTP/1.1",
        method: b"GET",
        path,
        query: b"",
        protocol: "HTTP/1.1",
        status: 200,
        body_bytes: Some(5),
        duration: Duration::from_micros(1500),
        pid: 1,
        now_unix: 0,
        header_in: &|_| None,
        header_out: &|_| None,
        environ: &|_| None,
    }
}

fn format(text: &str) -> Format {
    Format::parse(text).unwrap()
}

#[test]
fn lines_are_gathered_until_they_are_flushed() {
    let folder = Folder::new("gathered");
    let path = folder.file("access");
    let log = AccessLog::new(format("%(U)s %(s)s"), Sink::open(&path).unwrap());
    log.record(&request(b"/a"));
    log.record(&request(b"/b"));
    assert_eq!(text(&path), "");
    log.flush();
    assert_eq!(text(&path), "/a 200\n/b 200\n");
    log.flush();
    assert_eq!(text(&path), "/a 200\n/b 200\n");
}

#[test]
fn the_default_format_writes_the_combined_log() {
    let folder = Folder::new("combined");
    let path = folder.file("access");
    let log = AccessLog::new(Format::default(), Sink::open(&path).unwrap());
    log.record(&request(b"/"));
    log.flush();
    let line = text(&path);
    assert!(
        line.starts_with("127.0.0.1 - - [")
            && line.ends_with("] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"\n"),
        "{line}"
    );
}

#[test]
fn many_lines_are_written_by_themselves_and_whole() {
    let folder = Folder::new("many");
    let path = folder.file("access");
    let log = AccessLog::new(format("%(U)s"), Sink::open(&path).unwrap());
    let long = [b'x'; 99];
    (0..400).for_each(|_| log.record(&request(&long)));
    let written = fs::metadata(&path).unwrap().len();
    assert!(
        written >= 32 * 1024 && written.is_multiple_of(100),
        "{written}"
    );
    log.flush();
    assert_eq!(fs::metadata(&path).unwrap().len(), 40_000);
}

#[test]
fn two_logs_share_a_file_without_mixing_lines() {
    let folder = Folder::new("shared");
    let path = folder.file("access");
    std::thread::scope(|scope| {
        for letter in [b'a', b'b'] {
            let log = AccessLog::new(format("%(U)s"), Sink::open(&path).unwrap());
            scope.spawn(move || {
                let line = [letter; 150];
                (0..2000).for_each(|_| log.record(&request(&line)));
                log.flush();
            });
        }
    });
    let written = text(&path);
    assert_eq!(written.lines().count(), 4000);
    let whole = |line: &str| {
        line.len() == 150
            && (line.trim_matches('a').is_empty() || line.trim_matches('b').is_empty())
    };
    assert!(written.lines().all(whole));
}

#[test]
fn rotation_writes_what_was_gathered_to_the_old_file() {
    let folder = Folder::new("rotated");
    let (path, rotated) = (folder.file("access"), folder.file("access.1"));
    let log = AccessLog::new(format("%(U)s"), Sink::open(&path).unwrap());
    log.record(&request(b"/before"));
    fs::rename(&path, &rotated).unwrap();
    log.reopen().unwrap();
    log.record(&request(b"/after"));
    log.flush();
    assert_eq!(
        (text(&rotated), text(&path)),
        ("/before\n".to_owned(), "/after\n".to_owned())
    );
}

#[test]
fn a_reader_that_went_away_costs_lines_and_nothing_else() {
    let (reader, writer) = std::io::pipe().unwrap();
    let log = AccessLog::new(format("%(U)s"), Sink::from_fd(writer.into(), "a pipe"));
    drop(reader);
    log.record(&request(b"/a"));
    log.record(&request(b"/b"));
    log.flush();
    log.record(&request(b"/c"));
    log.flush();
    assert_eq!(log.lost(), 3);
}

#[test]
fn dropping_the_log_repeats_nothing() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let log = AccessLog::new(format("%(U)s"), Sink::from_fd(writer.into(), "a pipe"));
    log.record(&request(b"/gathered"));
    drop(log);
    let mut written = String::new();
    reader.read_to_string(&mut written).unwrap();
    assert_eq!(written, "");
}

#[test]
fn a_format_that_wants_headers_gets_them() {
    let folder = Folder::new("headers");
    let path = folder.file("access");
    let log = AccessLog::new(
        format("%({X-Id}i)s %({Server}o)s %({A.b}e)s"),
        Sink::open(&path).unwrap(),
    );
    assert!(log.format().needs_environ() && log.format().needs_response_headers());
    let value = String::from("owned by the exchange");
    let header_in = |name: &str| (name == "x-id").then_some(value.as_bytes());
    let environ = |name: &str| name.eq_ignore_ascii_case("a.B").then_some(value.as_bytes());
    log.record(&Record {
        header_in: &header_in,
        environ: &environ,
        ..request(b"/")
    });
    log.flush();
    assert_eq!(
        text(&path),
        "owned by the exchange - owned by the exchange\n"
    );
}

#[test]
fn a_line_goes_to_syslog_at_once_and_a_number_with_the_next_flush() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap();
    let received = || {
        let mut buffer = [0; 1000];
        let length = daemon.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let outlets = AccessOutlets {
        sink: None,
        syslog: Some(SyslogTag {
            syslog: Syslog::new(SyslogPlace::Udp(address), 1),
            tag: "gunicorn.shop.access".to_owned(),
        }),
        statsd: Some(Arc::new(
            Statsd::new(StatsdPlace::Udp(address), "", "").unwrap(),
        )),
    };
    let log = AccessLog::to(format("%(U)s %(s)s"), outlets);
    log.record(&request(b"/a"));
    let pid = std::process::id();
    assert_eq!(
        received(),
        format!("<14>gunicorn.shop.access: [{pid}] /a 200\0")
    );
    log.flush();
    assert!(received().starts_with("gunicorn.request.duration:1.5|ms\n"));
}
