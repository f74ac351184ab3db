//! Requests that are not served: why, what the log says, and the page that the client gets. Invariant: a connection whose
//! request was refused ends, and nothing behind that request is looked at.

use std::io;

use oxicorn_board::Count;
use oxicorn_http1::{Reject, response};
use oxicorn_logs::http_date;

use crate::clock::Now;
use crate::connection::Phase;
use crate::edge::Fault;
use crate::engine::Engine;
use crate::slab::Id;

/// The `Server` field of error pages.
const SERVER: &[u8] = b"oxicorn";

/// Why a request is not served.
#[derive(Debug)]
pub(crate) enum Refusal {
    Parse(Reject),
    Edge(Fault),
    BodyTooLarge,
    Scheme,
    /// Over plain TCP where TLS is spoken.
    PlainHttp,
    SlowHead,
    SlowBody,
    SlowApplication,
    Spool(io::Error),
}

impl Refusal {
    fn status(&self) -> u16 {
        match self {
            Self::Parse(reject) => reject.status(),
            Self::Edge(fault) => fault.status(),
            Self::BodyTooLarge => 413,
            Self::Scheme | Self::PlainHttp => 400,
            Self::SlowHead | Self::SlowBody => 408,
            Self::SlowApplication => 504,
            Self::Spool(_) => 500,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parse(reject) => reject.fmt(f),
            Self::Edge(fault) => fault.fmt(f),
            Self::BodyTooLarge => f.write_str("the body is larger than limit_request_body"),
            Self::Scheme => f.write_str("the proxy's scheme fields contradict each other"),
            Self::PlainHttp => f.write_str("The plain HTTP request was sent to HTTPS port"),
            Self::SlowHead => f.write_str("the request head did not arrive within head_timeout"),
            Self::SlowBody => f.write_str(
                "the request body came slower than body_timeout and body_min_rate allow",
            ),
            Self::SlowApplication => f.write_str("the application did not answer within timeout"),
            Self::Spool(_) => f.write_str("the body could not be stored"),
        }
    }
}

impl Engine {
    /// Answers with an error page and ends the connection. What the client sends from here on is dropped unread.
    pub(crate) fn refuse(&mut self, id: Id, refusal: &Refusal, now: Now) {
        self.note_refusal(id, refusal);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.inbuf = Vec::new();
        connection.phase = Phase::Flush { close: true };
        connection.show(self.board, Some(Count::Sending));
        self.set_deadline(id, self.write_deadline(now));
        self.queue_page(id, refusal, now);
    }

    /// Logs and counts a refusal.
    pub(crate) fn note_refusal(&mut self, id: Id, refusal: &Refusal) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let (status, peer) = (refusal.status(), connection.peer);
        match refusal {
            Refusal::Spool(error) => log::error!(
                target: "oxicorn",
                "A request from ip={peer} failed: {refusal} in tmp_upload_dir: {error} ({status})"
            ),
            Refusal::SlowApplication => {}
            _ => {
                log::warn!(target: "oxicorn", "Invalid request from ip={peer}: {refusal} ({status})");
            }
        }
        if !matches!(refusal, Refusal::SlowApplication) {
            self.board.add(Count::Refused, 1);
        }
        if matches!(refusal, Refusal::SlowHead | Refusal::SlowBody) {
            self.board.add(Count::TimedOut, 1);
        }
    }

    /// Sends the page for a refusal.
    pub(crate) fn queue_page(&mut self, id: Id, refusal: &Refusal, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let (status, text, date) = (refusal.status(), refusal.to_string(), http_date(now.unix));
        let page = response::error_page(status, &text, &date, SERVER);
        connection.outbox.get_or_insert_default().push_memory(&page);
        self.flush(id, now);
    }
}
