//! What the access log is told about a request.
//!
//! For: carrying borrowed values from whoever finished the response to the format. Not for: owning
//! or computing anything. Invariant: values are raw; making them safe is the format's work.

use std::fmt;
use std::time::Duration;

/// Finds a value by name.
///
/// Header names are asked for in lower case. Environ names are asked for as the format spells
/// them; the answer is to ignore case, as gunicorn does.
pub type Lookup<'a> = dyn Fn(&str) -> Option<&'a [u8]> + 'a;

/// One finished request and its response.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The peer's address (`REMOTE_ADDR`). Empty for a Unix socket, which prints `-`: gunicorn
    /// prints nothing there and so shifts every later field of the line.
    pub remote: &'a [u8],
    /// `METHOD RAW_URI PROTOCOL`, as received.
    pub request_line: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// `PATH_INFO`: the path, percent-decoded.
    pub path: &'a [u8],
    /// `QUERY_STRING`: what follows the `?`, or nothing.
    pub query: &'a [u8],
    /// `SERVER_PROTOCOL`, such as `HTTP/1.1`.
    pub protocol: &'a str,
    /// The response's status code.
    pub status: u16,
    /// Bytes of the response's body that were sent, without framing; `None` if there was none to
    /// count, which prints `-`.
    pub body_bytes: Option<u64>,
    /// From the complete request head to the end of the response.
    pub duration: Duration,
    /// The process that answered.
    pub pid: u32,
    /// Now, in seconds since 1970.
    pub now_unix: i64,
    /// Request headers; of several with one name, the last, or all joined by commas.
    pub header_in: &'a Lookup<'a>,
    /// Response headers, the last of several with one name.
    pub header_out: &'a Lookup<'a>,
    /// Entries of the WSGI environ, as text.
    pub environ: &'a Lookup<'a>,
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("request_line", &crate::Escaped(self.request_line))
            .field("status", &self.status)
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
}
