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
use crate::sink::{Delivery, Sink};
use crate::time::LocalTime;

/// The log writes by itself once it holds this many bytes.
const FLUSH_AT: usize = 32 * 1024;

/// The access log of one worker, shared by its threads.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    sink: Arc<Sink>,
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
        let text = Vec::with_capacity(FLUSH_AT + FLUSH_AT / 4);
        let lines = Mutex::new(Lines {
            text,
            clock: LocalTime::access(),
        });
        Self {
            format,
            sink,
            lines,
        }
    }

    /// The format, for what it wants.
    pub const fn format(&self) -> &Format {
        &self.format
    }

    /// How many lines were lost because the sink did not take them.
    pub fn lost(&self) -> u64 {
        self.sink.lost()
    }

    /// Adds the line of a request. It is written by the next [`Self::flush`], or at once when
    /// 32 KiB have gathered.
    pub fn record(&self, record: &Record<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Lines { text, clock } = &mut *lines;
        self.format.write(record, clock, text);
        text.push(b'\n');
        if text.len() >= FLUSH_AT {
            let delivery = self.deliver(text);
            drop(lines);
            self.report(delivery);
        }
    }

    /// Writes what has gathered. To be called before waiting and before the end.
    pub fn flush(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let delivery = self.deliver(&mut lines.text);
        drop(lines);
        self.report(delivery);
    }

    /// Goes on in the file that is at the sink's path now, after a rotation. What had gathered is
    /// written to the old one.
    ///
    /// # Errors
    ///
    /// The file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        self.flush();
        self.sink.reopen()
    }

    fn deliver(&self, text: &mut Vec<u8>) -> Delivery {
        if text.is_empty() {
            return Delivery::Written;
        }
        let delivery = self.sink.write_lines(text);
        text.clear();
        delivery
    }

    fn report(&self, delivery: Delivery) {
        match delivery {
            Delivery::Written | Delivery::Lost => {}
            Delivery::Failed(cause) => log::error!(target: "oxicorn::logs",
                "cannot write access lines to {}: {cause}; they are lost until it works again",
                self.sink.name()),
            Delivery::Recovered { lost, cause } => log::warn!(target: "oxicorn::logs",
                "access lines go to {} again; {lost} were lost: {cause}", self.sink.name()),
        }
    }
}
