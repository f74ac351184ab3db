//! What the few fields that matter to the connection say: Host, framing, persistence, expectation.
//!
//! Fields are noted one after the other while the head is read, and judged together at the end,
//! always in the same order. All other fields pass by unread: they are the application's.

use crate::bytes::is_text;
use crate::framing::Framing;
use crate::host;
use crate::line::Version;
use crate::reject::Reject;

/// Collected while the fields go by; borrows the bytes of the head.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Facts<'b> {
    pub(crate) host: Option<&'b [u8]>,
    pub(crate) length: Option<&'b [u8]>,
    /// Number of Transfer-Encoding lines.
    pub(crate) codings: u32,
    pub(crate) wishes: Wishes,
    expect: Expect,
    hosts: u32,
    lengths: u32,
}

/// What Connection lists (RFC 9110 §7.6.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Wishes {
    close: bool,
    keep_alive: bool,
    pub(crate) upgrade: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Expect {
    #[default]
    Nothing,
    Continue,
    Unknown,
}

impl<'b> Facts<'b> {
    /// Looks at one field. Length and first letter sort out nearly all that do not matter.
    #[inline]
    pub(crate) fn note(&mut self, name: &[u8], value: &'b [u8]) {
        let first = name.first().map_or(0, |byte| byte | 0x20);
        match (name.len(), first) {
            (4, b'h') if is_text(name, b"Host") => self.note_host(value),
            (6, b'e') if is_text(name, b"Expect") => self.expect.note(value),
            (10, b'c') if is_text(name, b"Connection") => self.wishes.note(value),
            (14, b'c') if is_text(name, b"Content-Length") => self.note_length(value),
            (17, b't') if is_text(name, b"Transfer-Encoding") => self.codings += 1,
            _ => {}
        }
    }

    fn note_host(&mut self, value: &'b [u8]) {
        self.host = Some(value);
        self.hosts += 1;
    }

    fn note_length(&mut self, value: &'b [u8]) {
        self.length = Some(value);
        self.lengths += 1;
    }

    /// Exactly one valid Host on HTTP/1.1, at most one on HTTP/1.0 (RFC 9112 §3.2).
    #[inline]
    pub(crate) fn judge_host(&self, version: Version) -> Result<(), Reject> {
        match (self.hosts, self.host) {
            (1, Some(value)) if host::is_valid(value) => Ok(()),
            (1, _) => Err(Reject::HostMalformed),
            (0, _) if version == Version::Http10 => Ok(()),
            (0, _) => Err(Reject::HostMissing),
            _ => Err(Reject::HostRepeated),
        }
    }

    /// The framing of a request without Transfer-Encoding; with one, only what contradicts it (RFC
    /// 9112 §6.3).
    #[inline]
    pub(crate) fn judge_length(&self, version: Version) -> Result<Framing, Reject> {
        if self.codings > 0 && self.lengths > 0 {
            return Err(Reject::LengthAndCoding);
        }
        if self.codings > 0 && version == Version::Http10 {
            return Err(Reject::CodingOnHttp10);
        }
        match (self.lengths, self.length) {
            (0, _) => Ok(Framing::Empty),
            (1, Some(value)) => Framing::from_length(value),
            _ => Err(Reject::LengthRepeated),
        }
    }

    /// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1). HTTP/1.0 cannot expect
    /// anything.
    #[inline]
    pub(crate) fn judge_expect(&self, version: Version) -> Result<bool, Reject> {
        match self.expect {
            Expect::Unknown if version == Version::Http11 => Err(Reject::Expectation),
            expect => Ok(expect == Expect::Continue && version == Version::Http11),
        }
    }
}

impl Expect {
    fn note(&mut self, value: &[u8]) {
        let known = value.eq_ignore_ascii_case(b"100-continue") && *self != Self::Unknown;
        *self = if known { Self::Continue } else { Self::Unknown };
    }
}

impl Wishes {
    #[inline]
    fn note(&mut self, value: &[u8]) {
        if is_text(value, b"keep-alive") {
            self.keep_alive = true;
        } else {
            value
                .split(|&byte| byte == b',')
                .for_each(|option| self.note_option(option.trim_ascii()));
        }
    }

    fn note_option(&mut self, option: &[u8]) {
        self.close |= option.eq_ignore_ascii_case(b"close");
        self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
    }

    /// Whether the connection may go on after this request (RFC 9112 §9.3): `close` beats
    /// `keep-alive`.
    #[inline]
    pub(crate) fn keep_alive(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted<'b>(fields: &[(&str, &'b str)]) -> Facts<'b> {
        let mut facts = Facts::default();
        for (name, value) in fields {
            facts.note(name.as_bytes(), value.as_bytes());
        }
        facts
    }

    #[test]
    fn names_are_noted_in_any_case_and_only_whole() {
        assert_eq!(noted(&[("HoSt", "a")]).host, Some(&b"a"[..]));
        assert_eq!(
            noted(&[("hose", "a"), ("hos", "b"), ("x-host", "c")]).host,
            None
        );
        assert_eq!(
            noted(&[("Transfer-encoding", "x"), ("TRANSFER-ENCODING", "y")]).codings,
            2
        );
    }

    #[test]
    fn connection_is_a_list_and_close_wins() {
        let keep = |value, version| noted(&[("Connection", value)]).wishes.keep_alive(version);
        assert!(!keep("close, TE", Version::Http11));
        assert!(!keep("keep-alive, Close", Version::Http11));
        assert!(keep("closed, x-close", Version::Http11));
        assert!(keep("TE ,\tKeep-Alive", Version::Http10));
        assert!(!keep("TE", Version::Http10));
        assert!(
            noted(&[("Connection", "keep-alive, Upgrade")])
                .wishes
                .upgrade
        );
    }

    #[test]
    fn connection_lines_add_up() {
        let facts = noted(&[("Connection", "close"), ("Connection", "keep-alive")]);
        assert!(!facts.wishes.keep_alive(Version::Http11));
    }

    #[test]
    fn an_unknown_expectation_is_not_hidden_by_a_known_one() {
        for values in [["100-continue", "x"], ["x", "100-continue"]] {
            let facts = noted(&[("Expect", values[0]), ("Expect", values[1])]);
            assert_eq!(
                facts.judge_expect(Version::Http11),
                Err(Reject::Expectation)
            );
            assert_eq!(facts.judge_expect(Version::Http10), Ok(false));
        }
    }
}
