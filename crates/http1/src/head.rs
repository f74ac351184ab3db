//! One request head: bytes in, offsets out.
//!
//! The fast path: httparse finds the parts, one loop over the fields checks the line ends and
//! limits that httparse does not know, notes the fields that matter, and applies the policy. The
//! slow path ([`lines`]) is taken whenever that did not give a clean, complete head.
//!
//! Invariant: `parse` is a function of the bytes alone. Once it has decided on some bytes, it
//! decides the same on any longer input that begins with them.

use core::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Header, Status};

use crate::bytes::has_underscore;
use crate::facts::Facts;
use crate::framing::Framing;
use crate::line::{RequestLine, Version};
use crate::lines;
use crate::policy::{HeaderMap, Policy};
use crate::reject::Reject;
use crate::span::Span;
use crate::target::{Form, Target};

/// One field line, without those that the policy dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// The name as received.
    pub name: Span,
    /// The value without surrounding whitespace.
    pub value: Span,
}

/// One request head. Reusable: [`parse`](Self::parse) overwrites it, and allocates only when a head
/// has more fields than any before it. Meaningful only after `parse` gave `Ok(true)`; after a
/// refusal only `line` is.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The method as received.
    pub method: Span,
    /// The target as received (`RAW_URI`).
    pub target: Span,
    /// The form of the target.
    pub form: Form,
    /// The path, without query and still percent-encoded. See [`path_of`](Self::path_of).
    pub path: Span,
    /// The query without `?`.
    pub query: Span,
    /// The authority of a target in absolute or authority form; it replaces Host (RFC 9112 §3.2.2).
    pub authority: Option<Span>,
    /// The effective host: the authority, or else the Host field. `None` only on HTTP/1.0. May be
    /// empty.
    pub host: Option<Span>,
    /// The version.
    pub version: Version,
    /// The fields in their order, as received, without those that the policy dropped.
    pub fields: Vec<Field>,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the client allows another request on this connection (RFC 9112 §9.3). Never after
    /// CONNECT.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends a body. Never without a body.
    pub expect_continue: bool,
    /// Whether Connection lists `upgrade`.
    pub upgrade: bool,
    /// Bytes of the head, with its empty line and a skipped empty line before it.
    pub len: u32,
    /// The request line, for logs. After a refusal: what there is of it, at most 8190 bytes of any
    /// value.
    pub line: Span,
    /// Number of fields that the policy dropped.
    pub dropped: u32,
}

/// Fields that fit on the stack; a head with more is read on the slow path.
const SLOTS: usize = 128;

impl Head {
    /// Reads the head at the front of `bytes`. `Ok(false)`: more bytes are needed. `trusted`: the
    /// peer is a trusted proxy, so `forwarder_headers` apply.
    ///
    /// # Errors
    /// Why the request is refused. It is final, and nothing after it on the connection may be read.
    pub fn parse(&mut self, bytes: &[u8], policy: &Policy, trusted: bool) -> Result<bool, Reject> {
        let view = policy.limits.view(bytes);
        let result = self.read(view, policy, trusted);
        if result.is_err() {
            self.line = first_line(view);
        }
        result
    }

    /// The value of the first field with this name, in any case.
    pub fn field<'b>(&self, bytes: &'b [u8], name: &str) -> Option<&'b [u8]> {
        self.fields_named(bytes, name).next()
    }

    /// The values of all fields with this name, in their order.
    pub fn fields_named<'b>(&self, bytes: &'b [u8], name: &str) -> impl Iterator<Item = &'b [u8]> {
        let named =
            move |field: &&Field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes());
        self.fields
            .iter()
            .filter(named)
            .map(|field| field.value.of(bytes))
    }

    /// The path, where an absolute form without one means `/` (RFC 9110 §4.2.3). Empty for the
    /// authority form.
    pub fn path_of<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        match self.form {
            Form::Absolute if self.path.is_empty() => b"/",
            _ => self.path.of(bytes),
        }
    }

    #[inline]
    fn read(&mut self, view: &[u8], policy: &Policy, trusted: bool) -> Result<bool, Reject> {
        let mut slots = [const { MaybeUninit::<Header<'_>>::uninit() }; SLOTS];
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(view, &mut slots);
        if let (Ok(Status::Complete(len)), Some(method), Some(target), Some(minor)) =
            (status, request.method, request.path, request.version)
        {
            let version = if minor == 0 {
                Version::Http10
            } else {
                Version::Http11
            };
            let line = RequestLine {
                method: method.as_bytes(),
                target: target.as_bytes(),
                version,
            };
            let raw = Raw {
                view,
                line,
                headers: request.headers,
                len,
            };
            if raw.line_is_clean(policy)
                && let Some(facts) = self.collect(&raw, policy, trusted)
            {
                return self.judge(&raw, &facts, policy).map(|()| true);
            }
        }
        self.read_slowly(view, policy, trusted)
    }

    /// Where the fast path did not get through: names the refusal, or reads what only the policy
    /// allows (a version, many fields).
    #[cold]
    fn read_slowly(&mut self, view: &[u8], policy: &Policy, trusted: bool) -> Result<bool, Reject> {
        let Some(skeleton) = lines::walk(view, policy)? else {
            return Ok(false);
        };
        let mut headers = vec![EMPTY_HEADER; skeleton.fields];
        let fields = lines::after(view, skeleton.fields_at);
        let Ok(Status::Complete((len, headers))) = httparse::parse_headers(fields, &mut headers)
        else {
            return Err(Reject::FieldName);
        };
        let raw = Raw {
            view,
            line: skeleton.line,
            headers,
            len: skeleton.fields_at + len,
        };
        let facts = self
            .collect(&raw, policy, trusted)
            .ok_or(Reject::FieldName)?;
        self.judge(&raw, &facts, policy).map(|()| true)
    }

    /// Stores the fields and notes those that matter. `None`: a line is too long or does not end in
    /// CRLF.
    #[inline]
    fn collect<'b>(
        &mut self,
        raw: &Raw<'_, 'b>,
        policy: &Policy,
        trusted: bool,
    ) -> Option<Facts<'b>> {
        let limit = policy.limits.field_max();
        let mut facts = Facts::default();
        let mut clean = raw.headers.len() <= policy.limits.fields_max();
        let mut previous = usize::MAX;
        self.fields.clear();
        self.dropped = 0;
        for header in raw.headers {
            let bytes = header.name.as_bytes();
            let name = Span::locate(raw.view, bytes);
            let start = name.start as usize;
            clean &= raw.ends_line(start) && start.saturating_sub(previous) <= limit;
            previous = start;
            if has_underscore(bytes) && !admits(bytes, policy, trusted) {
                self.dropped += 1;
                continue;
            }
            facts.note(bytes, header.value);
            self.fields.push(Field {
                name,
                value: Span::locate(raw.view, header.value),
            });
        }
        let end = raw.len.saturating_sub(2);
        clean &=
            raw.ends_line(end) && raw.ends_line(raw.len) && end.saturating_sub(previous) <= limit;
        clean.then_some(facts)
    }

    /// Judges a head whose lines are well formed, and stores what it means.
    #[inline]
    fn judge(
        &mut self,
        raw: &Raw<'_, '_>,
        facts: &Facts<'_>,
        policy: &Policy,
    ) -> Result<(), Reject> {
        let version = raw.line.version;
        let target = raw.line.judge(policy)?;
        if self.dropped > 0 && policy.header_map == HeaderMap::Refuse {
            return Err(Reject::Underscore);
        }
        facts.judge_host(version)?;
        self.framing = self.judge_framing(raw, facts)?;
        self.expect_continue = facts.judge_expect(version)? && has_body(self.framing);
        self.keep_alive = facts.wishes.keep_alive(version) && target.form != Form::Authority;
        self.upgrade = facts.wishes.upgrade;
        self.store_line(raw, target);
        self.host = self
            .authority
            .or_else(|| facts.host.map(|host| Span::locate(raw.view, host)));
        Ok(())
    }

    #[inline]
    fn judge_framing(&self, raw: &Raw<'_, '_>, facts: &Facts<'_>) -> Result<Framing, Reject> {
        let framing = facts.judge_length(raw.line.version)?;
        if facts.codings == 0 {
            return Ok(framing);
        }
        Framing::from_codings(self.fields_named(raw.view, "transfer-encoding"))
    }

    #[inline]
    fn store_line(&mut self, raw: &Raw<'_, '_>, target: Target) {
        self.method = Span::locate(raw.view, raw.line.method);
        self.target = Span::locate(raw.view, raw.line.target);
        let base = self.target.start;
        self.form = target.form;
        self.path = target.path.shifted(base);
        self.query = target.query.shifted(base);
        self.authority = target.authority.map(|span| span.shifted(base));
        self.version = raw.line.version;
        self.line = Span::new(self.method.start as usize, raw.line_end());
        self.len = Span::new(0, raw.len).end;
    }
}

/// A head taken apart, not judged yet.
struct Raw<'h, 'b> {
    view: &'b [u8],
    line: RequestLine<'b>,
    headers: &'h [Header<'b>],
    /// Bytes of the head.
    len: usize,
}

impl Raw<'_, '_> {
    /// Whether the line before `at` ends in CRLF. httparse also takes a bare LF; it never leaves a
    /// CR anywhere else.
    #[inline]
    fn ends_line(&self, at: usize) -> bool {
        self.view.get(at.wrapping_sub(2)) == Some(&b'\r')
    }

    /// Offset of the CRLF after the request line.
    #[inline]
    fn line_end(&self) -> usize {
        let next = self
            .headers
            .first()
            .map_or(self.len.saturating_sub(2), |header| {
                Span::locate(self.view, header.name.as_bytes()).start as usize
            });
        next.saturating_sub(2)
    }

    /// Whether at most one empty line, ended by CRLF, comes first, the target is ASCII and the line
    /// within its limit.
    #[inline]
    fn line_is_clean(&self, policy: &Policy) -> bool {
        let start = Span::locate(self.view, self.line.method).start as usize;
        (start == 0 || (start == 2 && self.ends_line(2)))
            && self.line.target.is_ascii()
            && self.line_end().saturating_sub(start) <= policy.limits.line_max()
    }
}

/// Whether a field whose name has an underscore may stay.
#[cold]
fn admits(name: &[u8], policy: &Policy, trusted: bool) -> bool {
    policy.header_map == HeaderMap::Dangerous || (trusted && policy.forwards(name))
}

fn has_body(framing: Framing) -> bool {
    !matches!(framing, Framing::Empty | Framing::Length(0))
}

/// What there is of the request line.
#[cold]
fn first_line(view: &[u8]) -> Span {
    let start = if view.starts_with(b"\r\n") { 2 } else { 0 };
    let in_line = |byte: &&u8| !matches!(byte, b'\r' | b'\n');
    let len = lines::after(view, start)
        .iter()
        .take(8190)
        .take_while(in_line)
        .count();
    Span::new(start, start + len)
}

/// Whether parsing again can decide anything, when a shorter input of `seen` bytes could not: a
/// line ended, or enough came that a limit may be passed. Skipping a call for which this is false
/// only delays a refusal a little; it keeps a peer that sends a head byte by byte from making us
/// read it over and over.
#[inline]
pub fn worth_parsing(bytes: &[u8], seen: usize) -> bool {
    const STRIDE: usize = 512;
    seen == 0
        || bytes.len() / STRIDE != seen / STRIDE
        || memchr::memchr(b'\n', lines::after(bytes, seen)).is_some()
}

#[cfg(test)]
mod tests;
