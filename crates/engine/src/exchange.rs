//! One request and its response, whatever the protocol: the seam between engine and application. An exchange owns its
//! bytes, so a driver may take it to any thread. Exchanges are pooled: a busy worker reuses the same few.
//! Invariant: while an exchange is out, its connection is in the phase `App`; the engine does not close it, and reads from it only what
//! the exchange's holder pulls.

use std::borrow::Cow;
use std::fs::File;
use std::sync::Arc;

use oxicorn_http1::{Head, Span, Version};

use crate::access::percent_decoded;
use crate::edge::Origin;
use crate::peer::Peer;
use crate::slab::Id;
use crate::tls::Facts;

/// The size of an exchange's read buffer in bytes. One `recv` takes this much at the most.
pub(crate) const READ: usize = 32 * 1024;

/// Room behind it that an exchange keeps for what is added to requests.
const ADDED: usize = 256;

/// The request's scheme as the application shall see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// TLS, here or at a trusted proxy.
    Https,
}

/// A request body, complete unless it is said to be open.
#[derive(Debug, Default)]
pub enum Body {
    /// None was sent.
    #[default]
    Empty,
    /// It came together with the head: a span of [`Exchange::bytes`].
    Inline(Span),
    /// In memory.
    Memory(Vec<u8>),
    /// In an unlinked file of this length; its offset is anywhere.
    File(File, u64),
    /// Still coming, with [`crate::Options::streams`]: [`crate::Engine::pull`] has it.
    Open,
}

/// What the engine keeps of the response for the access log.
#[derive(Debug, Default)]
pub struct Response {
    /// Status code; 0 as long as nothing was sent.
    pub status: u16,
    /// The response head, as sent; filled by the driver.
    pub head: Vec<u8>,
    /// Body bytes handed over, without framing.
    pub body_bytes: u64,
}

/// One request with its response in the making.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) id: Option<Id>,
    pub(crate) bytes: Vec<u8>,
    /// The parsed request head; its spans point into [`Exchange::bytes`].
    pub head: Head,
    /// The request body.
    pub body: Body,
    /// The client.
    pub peer: Peer,
    /// Whether the request's forwarding fields are believed.
    pub trusted: bool,
    /// What a PROXY header said of the connection.
    pub origin: Option<Origin>,
    /// The request came as a uwsgi packet, which is where the spans of [`Exchange::head`] point into.
    pub is_packet: bool,
    /// Index of the listener in the order given to the engine.
    pub listener: usize,
    /// What the connection is, or what a trusted proxy said.
    pub scheme: Scheme,
    /// What was agreed with the client, if the connection is encrypted.
    pub tls: Option<Arc<Facts>>,
    /// Whether the connection may go on after this response. The driver may clear it, never set it.
    pub keep_alive: bool,
    /// The response, for the access log.
    pub response: Response,
    /// Entries of the application's environ that the access log asked for; filled by the driver.
    pub environ: Vec<(String, Vec<u8>)>,
    /// When the engine handed it out, precise, if an access log is kept.
    pub(crate) started: Option<std::time::Instant>,
}

impl Exchange {
    pub(crate) fn new() -> Self {
        Self {
            id: None,
            bytes: vec![0; READ],
            head: Head::default(),
            body: Body::Empty,
            peer: Peer::Unix,
            trusted: false,
            origin: None,
            is_packet: false,
            listener: 0,
            scheme: Scheme::Http,
            tls: None,
            keep_alive: false,
            response: Response::default(),
            environ: Vec::new(),
            started: None,
        }
    }

    /// Names the exchange among those that are out, in [`crate::Notice`]s.
    pub fn token(&self) -> u64 {
        self.id.map_or(0, Id::token)
    }

    /// The bytes the spans of [`Exchange::head`] point into.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The packet that the request came in, without the body; only if [`Exchange::is_packet`].
    pub fn packet(&self) -> &[u8] {
        let len = self.head.len as usize;
        self.bytes.get(..len).unwrap_or_default()
    }

    /// The request line, for logs.
    pub fn line(&self) -> Cow<'_, [u8]> {
        let (head, bytes) = (&self.head, self.bytes());
        if !self.is_packet {
            return Cow::Borrowed(head.line.of(bytes));
        }
        let version: &[u8] = match head.version {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        };
        let parts = [head.method.of(bytes), head.target.of(bytes), version];
        Cow::Owned(parts.join(&b' '))
    }

    /// The path that the application is asked for, decoded. In a packet it already is.
    pub fn path(&self) -> Cow<'_, [u8]> {
        if self.is_packet {
            return Cow::Borrowed(self.head.path.of(self.bytes()));
        }
        percent_decoded(self.head.path_of(self.bytes()))
    }

    /// The path as the client sent it, percent-encoded, as far as that is known.
    pub fn raw_path(&self) -> &[u8] {
        let (head, bytes) = (&self.head, self.bytes());
        if !self.is_packet {
            return head.path_of(bytes);
        }
        let target = head.target.of(bytes);
        let end = target.iter().position(|&byte| byte == b'?');
        target
            .get(..end.unwrap_or(target.len()))
            .unwrap_or_default()
    }

    /// Whether the response may be chunked, and other responses may come before it: what HTTP/1.1 has and neither HTTP/1.0
    /// nor uwsgi.
    pub fn is_http11(&self) -> bool {
        !self.is_packet && self.head.version == Version::Http11
    }

    /// Keeps no more memory than what is in it takes: it is about to be out for long.
    pub(crate) fn shrink(&mut self) {
        // A copy: a large block that is shrunk in place leaves a hole that the next one does not fit.
        let end = self.head.len;
        let mut kept = self.bytes.get(..end as usize).unwrap_or_default().to_vec();
        for field in &mut self.head.fields {
            // What was added to the request lies behind it.
            for span in [&mut field.name, &mut field.value] {
                if span.start >= end {
                    *span = append(&mut kept, span.of(&self.bytes));
                }
            }
        }
        self.bytes = kept;
        self.head.fields.shrink_to_fit();
        self.response.head.shrink_to_fit();
    }

    /// Forgets the last request; keeps the buffers.
    pub(crate) fn recycle(&mut self) {
        self.id = None;
        self.body = Body::Empty;
        self.tls = None;
        self.started = None;
        self.environ.clear();
        self.response.status = 0;
        self.response.head.clear();
        self.response.body_bytes = 0;
        if self.bytes.len() > READ {
            self.bytes.truncate(READ);
            self.bytes.shrink_to(READ + ADDED);
        }
    }
}

/// Appends behind whatever was read.
pub(crate) fn append(bytes: &mut Vec<u8>, text: &[u8]) -> Span {
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let start = offset(bytes.len());
    bytes.reserve_exact(text.len());
    bytes.extend_from_slice(text);
    let end = offset(bytes.len());
    Span { start, end }
}
