//! Bytes in pieces through the crate, as a connection would feed them.

use oxicorn_http1::{Body, Form, Head, Policy, Reject, Span, Step, Version, worth_parsing};

/// What came out: all that a server could act on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Request(Box<Request>),
    Rejected(Reject),
    /// Bytes are left that are no request yet.
    Incomplete,
}

/// One complete request, as an application would get it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) form: Form,
    pub(crate) path: Vec<u8>,
    pub(crate) query: Vec<u8>,
    pub(crate) host: Option<Vec<u8>>,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) dropped: u32,
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
    pub(crate) upgrade: bool,
    pub(crate) body: Vec<u8>,
}

/// Feeds the pieces one after the other, and stops where a server stops: at a refusal, or after a
/// request that ends the connection.
pub(crate) fn observe<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    policy: &Policy,
    trusted: bool,
) -> Vec<Seen> {
    let mut peer = Peer {
        policy,
        trusted,
        buffer: Vec::new(),
        parsed: 0,
        open: None,
        seen: vec![],
    };
    let mut head = Head::default();
    for piece in pieces {
        peer.buffer.extend_from_slice(piece);
        while peer.advance(&mut head) {}
        if peer.is_over() {
            return peer.seen;
        }
    }
    if !peer.buffer.is_empty() || peer.open.is_some() {
        peer.seen.push(Seen::Incomplete);
    }
    peer.seen
}

struct Peer<'p> {
    policy: &'p Policy,
    trusted: bool,
    buffer: Vec<u8>,
    /// Length of the buffer when a head was last looked for.
    parsed: usize,
    /// The request whose body is arriving.
    open: Option<(Box<Request>, Body)>,
    seen: Vec<Seen>,
}

impl Peer<'_> {
    fn is_over(&self) -> bool {
        match self.seen.last() {
            Some(Seen::Rejected(_)) => true,
            Some(Seen::Request(request)) => self.open.is_none() && !request.keep_alive,
            _ => false,
        }
    }

    /// One step; whether another may follow.
    fn advance(&mut self, head: &mut Head) -> bool {
        let result = match self.open.take() {
            Some((request, body)) => self.advance_body(request, body),
            None if self.is_over() || self.buffer.is_empty() => Ok(false),
            None => self.advance_head(head),
        };
        result.unwrap_or_else(|reject| {
            self.seen.push(Seen::Rejected(reject));
            false
        })
    }

    fn advance_head(&mut self, head: &mut Head) -> Result<bool, Reject> {
        // Long inputs are fed as a server feeds them; short ones at every byte, which must make no
        // difference.
        if self.buffer.len() > 2000 && !worth_parsing(&self.buffer, self.parsed) {
            return Ok(false);
        }
        self.parsed = self.buffer.len();
        if !head.parse(&self.buffer, self.policy, self.trusted)? {
            return Ok(false);
        }
        let body = Body::new(head.framing, &self.policy.limits);
        self.open = Some((Box::new(request(head, &self.buffer)), body));
        self.consume(head.len as usize);
        Ok(true)
    }

    fn advance_body(&mut self, mut request: Box<Request>, mut body: Body) -> Result<bool, Reject> {
        match body.advance(&self.buffer)? {
            Step::More { consumed } => {
                self.consume(consumed);
                self.open = Some((request, body));
                Ok(false)
            }
            Step::Data { skip, len } => {
                assert!(len > 0, "data is at least one byte");
                request
                    .body
                    .extend_from_slice(&self.buffer[skip..skip + len]);
                self.consume(skip + len);
                self.open = Some((request, body));
                Ok(true)
            }
            Step::End { consumed } => {
                assert!(body.is_done() && body.remaining_hint() == Some(0));
                self.consume(consumed);
                self.seen.push(Seen::Request(request));
                Ok(true)
            }
        }
    }

    /// Panics if more is consumed than was given.
    fn consume(&mut self, len: usize) {
        self.buffer.drain(..len);
        self.parsed = 0;
    }
}

fn request(head: &Head, bytes: &[u8]) -> Request {
    let of = |span: Span| span.of(bytes).to_vec();
    assert!(
        head.host.is_some() || head.version == Version::Http10,
        "1.1 has a host"
    );
    Request {
        method: of(head.method),
        target: of(head.target),
        version: head.version,
        form: head.form,
        path: head.path_of(bytes).to_vec(),
        query: of(head.query),
        host: head.host.map(of),
        fields: head
            .fields
            .iter()
            .map(|field| (of(field.name), of(field.value)))
            .collect(),
        dropped: head.dropped,
        keep_alive: head.keep_alive,
        expect_continue: head.expect_continue,
        upgrade: head.upgrade,
        body: Vec::new(),
    }
}
