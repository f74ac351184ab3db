//! Measures what a line of the default access log format costs.
//!
//! Run with `cargo run --release --package oxicorn-logs --example access_cost`. It prints
//! nanoseconds a line, the least of several rounds, for formatting alone and with the sink
//! (`/dev/null`), for a browser's headers and for headers that must be escaped.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use oxicorn_logs::{AccessLog, Format, LocalTime, Record, Sink};

const LINES: u32 = 200_000;
const ROUNDS: u32 = 7;
const BROWSER: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const HOSTILE: &[u8] = b"Mozilla/5.0 \"quoted\" \\ \r\n\x1b[31m and 40 more ordinary bytes to copy";

fn main() -> io::Result<()> {
    for (name, agent) in [("browser", BROWSER), ("hostile", HOSTILE)] {
        let header = |header: &str| match header {
            "user-agent" => Some(agent),
            "referer" => Some(&b"https://example.com/articles/2026/01/"[..]),
            _ => None,
        };
        let record = record(&header);
        let format = least(|| format_only(&record));
        let log = AccessLog::new(Format::default(), Sink::open(Path::new("/dev/null"))?);
        let sink = least(|| with_sink(&log, &record));
        writeln!(
            io::stdout(),
            "{name}: {format} ns formatted, {sink} ns to the sink"
        )?;
    }
    Ok(())
}

fn record<'a>(header_in: &'a oxicorn_logs::Lookup<'a>) -> Record<'a> {
    Record {
        remote: b"203.0.113.195",
        request_line: b"GET /articles/2026/01/02/a-title?page=2 HTTP/1.1",
        method: b"GET",
        path: b"/articles/2026/01/02/a-title",
        query: b"page=2",
        protocol: "HTTP/1.1",
        status: 200,
        body_bytes: Some(5_120),
        duration: Duration::from_micros(1_234),
        pid: std::process::id(),
        now_unix: 0,
        header_in,
        header_out: &|_| None,
        environ: &|_| None,
    }
}

/// A second of the log's clock passes every thousand lines.
fn at(record: &Record<'_>, line: u32) -> i64 {
    record.now_unix + i64::from(line / 1000)
}

fn format_only(record: &Record<'_>) {
    let (format, mut clock) = (Format::default(), LocalTime::access());
    let mut out = Vec::with_capacity(1024);
    for line in 0..LINES {
        out.clear();
        format.write(
            &Record {
                now_unix: at(record, line),
                ..*record
            },
            &mut clock,
            &mut out,
        );
        std::hint::black_box(&out);
    }
}

fn with_sink(log: &AccessLog, record: &Record<'_>) {
    for line in 0..LINES {
        log.record(&Record {
            now_unix: at(record, line),
            ..*record
        });
    }
    log.flush();
}

fn least(work: impl Fn()) -> u128 {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    rounds.min().unwrap_or_default().as_nanos() / u128::from(LINES)
}
