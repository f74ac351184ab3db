//! Gathers access lines and writes them to their sink.
//!
//! For: one system call for many lines. Not for: deciding when a worker is about to wait; whoever
//! does calls [`AccessLog::flush`] first, so that no line is held back while nothing happens.
//!
//! Invariants: a write ends where a line ends, so workers can share a file or pipe. Dropping the
//! log writes nothing: a forked child that ends must not repeat its parent's lines.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::format::Format;
use super::record::Record;
use crate::error_log::Level;
use crate::losses::Delivery;
use crate::sink::Sink;
use crate::statsd::Statsd;
use crate::syslog::SyslogTag;
use crate::time::LocalTime;

/// The log writes by itself once it holds this many bytes.
const FLUSH_AT: usize = 32 * 1024;

/// Where access lines go, and who counts requests.
#[derive(Clone, Debug, Default)]
pub struct AccessOutlets {
    /// A file or stream.
    pub sink: Option<Arc<Sink>>,
    /// A syslog daemon as well.
    pub syslog: Option<SyslogTag>,
    /// Who is told of every request, with or without lines.
    pub statsd: Option<Arc<Statsd>>,
}

/// The access log of one worker, shared by its threads.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    outlets: AccessOutlets,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    text: Vec<u8>,
    clock: LocalTime,
}

impl AccessLog {
    /// An empty log that writes lines of `format` to `sink`.
    #[must_use]
    pub fn new(format: Format, sink: Arc<Sink>) -> Self {
        let outlets = AccessOutlets {
            sink: Some(sink),
            ..AccessOutlets::default()
        };
        Self::to(format, outlets)
    }

    /// An empty log that writes lines of `format`.
    #[must_use]
    pub fn to(format: Format, outlets: AccessOutlets) -> Self {
        let text = Vec::with_capacity(FLUSH_AT + FLUSH_AT / 4);
        let clock = format.clock();
        Self {
            format,
            outlets,
            lines: Mutex::new(Lines { text, clock }),
        }
    }

    /// The format, for what it wants.
    pub const fn format(&self) -> &Format {
        &self.format
    }

    /// How many lines were lost because the sink did not take them.
    pub fn lost(&self) -> u64 {
        self.outlets.sink.as_ref().map_or(0, |sink| sink.lost())
    }

    /// Adds the line of a request. It is written by the next [`Self::flush`], or at once when
    /// 32 KiB have gathered; to syslog at once.
    pub fn record(&self, record: &Record<'_>) {
        if let Some(statsd) = &self.outlets.statsd {
            statsd.request(record.duration, record.status);
        }
        if self.outlets.sink.is_none() && self.outlets.syslog.is_none() {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Lines { text, clock } = &mut *lines;
        let start = text.len();
        self.format.write(record, clock, text);
        let sent = self.send(&text[start..]);
        if self.outlets.sink.is_some() {
            text.push(b'\n');
        } else {
            text.clear();
        }
        let written = if text.len() >= FLUSH_AT {
            self.deliver(text)
        } else {
            Delivery::Written
        };
        drop(lines);
        report(sent, || self.syslog_name());
        report(written, || self.sink_name());
    }

    /// Writes what has gathered. To be called before waiting and before the end.
    pub fn flush(&self) {
        if let Some(statsd) = &self.outlets.statsd {
            statsd.flush();
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let delivery = self.deliver(&mut lines.text);
        drop(lines);
        report(delivery, || self.sink_name());
    }

    /// Goes on in the file that is at the sink's path now, after a rotation. What had gathered is
    /// written to the old one.
    ///
    /// # Errors
    ///
    /// The file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        self.flush();
        self.outlets
            .sink
            .as_ref()
            .map_or(Ok(()), |sink| sink.reopen())
    }

    fn deliver(&self, text: &mut Vec<u8>) -> Delivery {
        let Some(sink) = self.outlets.sink.as_ref().filter(|_| !text.is_empty()) else {
            return Delivery::Written;
        };
        let delivery = sink.write_lines(text);
        text.clear();
        delivery
    }

    fn send(&self, line: &[u8]) -> Delivery {
        let syslog = self.outlets.syslog.as_ref();
        syslog.map_or(Delivery::Written, |tag| tag.send(Level::Info, line))
    }

    fn sink_name(&self) -> String {
        let sink = self.outlets.sink.as_ref();
        sink.map(|sink| sink.name()).unwrap_or_default()
    }

    fn syslog_name(&self) -> String {
        let tag = self.outlets.syslog.as_ref();
        tag.map(|tag| tag.syslog.name()).unwrap_or_default()
    }
}

/// What became of lines, in the error log.
fn report(delivery: Delivery, name: impl Fn() -> String) {
    match delivery {
        Delivery::Written | Delivery::Lost => {}
        Delivery::Failed(cause) => log::error!(target: "oxicorn::logs",
            "cannot write access lines to {}: {cause}; they are lost until it works again",
            name()),
        Delivery::Recovered { lost, cause } => log::warn!(target: "oxicorn::logs",
            "access lines go to {} again; {lost} were lost: {cause}", name()),
    }
}
