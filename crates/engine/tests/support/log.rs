//! Keeps log lines for the test that caused them: the engine runs on the test's own thread.

use std::cell::RefCell;
use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Keep;

impl Log for Keep {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{}: {}", record.level(), record.args());
        LINES.with_borrow_mut(|lines| lines.push(line));
    }

    fn flush(&self) {}
}

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keep).unwrap();
        log::set_max_level(LevelFilter::Debug);
    });
}

/// The last lines of this test's log.
pub(crate) fn lines() -> Vec<String> {
    LINES.with_borrow(|lines| lines.iter().rev().take(20).rev().cloned().collect())
}

/// How many lines contain `text`.
pub(crate) fn count_logged(text: &str) -> usize {
    LINES.with_borrow(|lines| lines.iter().filter(|line| line.contains(text)).count())
}

/// Whether a line contains `text`.
pub(crate) fn logged(text: &str) -> bool {
    count_logged(text) > 0
}

/// Begins an empty log.
pub(crate) fn forget_log() {
    LINES.with_borrow_mut(Vec::clear);
}
