//! The access log: one line for every answered request.
//!
//! For: gunicorn's `access_log_format` with all its atoms, compiled once; lines gathered and
//! written whole; lines of named fields as well. Not for: deciding which requests are logged, or for measuring them.
//!
//! Invariant: what a client sent is escaped on its way into a line (see the module `escape`).

mod directive;
mod format;
mod log;
mod named;
mod parse;
mod record;
mod user;

pub use self::format::{DEFAULT_FORMAT, Format, Wants};
pub use self::log::{AccessLog, AccessOutlets};
pub use self::parse::FormatError;
pub use self::record::{Lookup, Record};
