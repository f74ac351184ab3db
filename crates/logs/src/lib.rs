//! The two logs of the server: what happened (error log) and what was answered (access log).
//!
//! For: formatting lines, writing them where the operator asked, reopening after rotation.
//! Not for: deciding what to say, counting requests, or any network or Python work.
//!
//! Invariant: logging never stops the server. A sink that takes no bytes (full disk, closed pipe)
//! costs the lines, which are counted and reported, and nothing else.

#![forbid(unsafe_code)]

mod access;
mod error_log;
mod escape;
mod fields;
mod losses;
mod sink;
mod statsd;
mod syslog;
mod time;

pub use access::{
    AccessLog, AccessOutlets, DEFAULT_FORMAT, Format, FormatError, Lookup, Record, Wants,
};
pub use error_log::{
    ErrorLog, Level, Outlets, Relay, UnknownLevel, critical, install, print, relay, set_level,
};
pub use escape::Escaped;
pub use fields::Notation;
pub use losses::Delivery;
pub use sink::{Sink, Standard, reopen_all};
pub use statsd::{Metric, Statsd, StatsdPlace};
pub use syslog::{Syslog, SyslogKind, SyslogPlace, SyslogTag};
pub use time::{LocalTime, http_date};
