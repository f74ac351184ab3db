//! The four forms of a request target (RFC 9112 §3.2).
//!
//! Splits a target into authority, path and query, and refuses a form that the method does not
//! allow. The path stays percent-encoded and is not normalised: `//x`, `/../x` and `/%2e` are the
//! application's business.

use crate::host;
use crate::reject::Reject;
use crate::span::Span;

/// Which of the four forms a target has.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// `/path?query`: the usual one.
    #[default]
    Origin,
    /// `http://host/path?query`: spoken to proxies, and to be understood by every server.
    Absolute,
    /// `host:port`: only with CONNECT.
    Authority,
    /// `*`: only with OPTIONS, about the server as a whole.
    Asterisk,
}

/// A target taken apart. Spans are relative to the target.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) form: Form,
    pub(crate) path: Span,
    pub(crate) query: Span,
    pub(crate) authority: Option<Span>,
}

impl Target {
    /// `target` consists of printable ASCII and is not empty.
    #[inline]
    pub(crate) fn read(target: &[u8], method: &[u8], casefold: bool) -> Result<Self, Reject> {
        if target.first() == Some(&b'/') && !is_method(method, b"CONNECT", casefold) {
            return Self::local(target, 0);
        }
        Self::unusual(target, method, casefold)
    }

    fn unusual(target: &[u8], method: &[u8], casefold: bool) -> Result<Self, Reject> {
        if target.contains(&b'#') {
            return Err(Reject::Fragment);
        }
        if is_method(method, b"CONNECT", casefold) {
            return Self::tunnel(target);
        }
        if target == b"*" {
            return Self::asterisk(is_method(method, b"OPTIONS", casefold));
        }
        let scheme = scheme_len(target).ok_or(Reject::TargetMalformed)?;
        Self::absolute(target, scheme)
    }

    /// Path and query from `start` to the end of the target.
    #[inline]
    fn local(target: &[u8], start: usize) -> Result<Self, Reject> {
        let end = target.len();
        let rest = target.get(start..).unwrap_or_default();
        let Some(at) = memchr::memchr2(b'?', b'#', rest) else {
            let query = Span::new(end, end);
            return Ok(Self {
                path: Span::new(start, end),
                query,
                ..Self::default()
            });
        };
        if memchr::memchr(b'#', rest.get(at..).unwrap_or_default()).is_some() {
            return Err(Reject::Fragment);
        }
        let mark = start + at;
        let query = Span::new(mark + 1, end);
        Ok(Self {
            path: Span::new(start, mark),
            query,
            ..Self::default()
        })
    }

    fn absolute(target: &[u8], scheme: usize) -> Result<Self, Reject> {
        let rest = target.get(scheme..).unwrap_or_default();
        let len = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'))
            .unwrap_or(rest.len());
        let authority = Span::new(scheme, scheme + len);
        judge_authority(authority.of(target))?;
        let local = Self::local(target, scheme + len)?;
        Ok(Self {
            form: Form::Absolute,
            authority: Some(authority),
            ..local
        })
    }

    fn tunnel(target: &[u8]) -> Result<Self, Reject> {
        if target == b"*" || target.contains(&b'/') {
            return Err(Reject::TargetForm);
        }
        judge_authority(target)?;
        if !host::has_port(target) {
            return Err(Reject::Authority);
        }
        let authority = Some(Span::new(0, target.len()));
        Ok(Self {
            form: Form::Authority,
            authority,
            ..Self::default()
        })
    }

    fn asterisk(allowed: bool) -> Result<Self, Reject> {
        let target = Self {
            form: Form::Asterisk,
            path: Span::new(0, 1),
            ..Self::default()
        };
        allowed.then_some(target).ok_or(Reject::TargetForm)
    }
}

fn is_method(method: &[u8], name: &[u8], casefold: bool) -> bool {
    method == name || (casefold && method.eq_ignore_ascii_case(name))
}

/// Length of `http://` or `https://`, the only schemes this server can be the origin of.
fn scheme_len(target: &[u8]) -> Option<usize> {
    let starts = |scheme: &&[u8]| {
        target
            .get(..scheme.len())
            .is_some_and(|front| front.eq_ignore_ascii_case(scheme))
    };
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(starts)
        .map(<[u8]>::len)
}

/// An empty host is invalid in a target (RFC 9110 §4.2.1), though not in a Host field.
fn judge_authority(authority: &[u8]) -> Result<(), Reject> {
    if authority.contains(&b'@') {
        return Err(Reject::Userinfo);
    }
    let valid = !authority.is_empty() && host::is_valid(authority);
    valid.then_some(()).ok_or(Reject::Authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, target: &'static str) -> Result<(Form, [&'static str; 3]), Reject> {
        let text = |span: Span| std::str::from_utf8(span.of(target.as_bytes())).unwrap();
        let read = Target::read(target.as_bytes(), method.as_bytes(), false)?;
        let authority = read.authority.map_or("-", text);
        Ok((read.form, [authority, text(read.path), text(read.query)]))
    }

    #[test]
    fn each_form_is_taken_apart() {
        let cases = [
            ("GET", "/", Form::Origin, ["-", "/", ""]),
            ("GET", "/a?", Form::Origin, ["-", "/a", ""]),
            (
                "GET",
                "//a/../b?c?d",
                Form::Origin,
                ["-", "//a/../b", "c?d"],
            ),
            ("GET", "http://h", Form::Absolute, ["h", "", ""]),
            ("GET", "HTTPS://h:1?q", Form::Absolute, ["h:1", "", "q"]),
            (
                "GET",
                "http://[::1]:80/a?b",
                Form::Absolute,
                ["[::1]:80", "/a", "b"],
            ),
            ("OPTIONS", "*", Form::Asterisk, ["-", "*", ""]),
            ("CONNECT", "h:443", Form::Authority, ["h:443", "", ""]),
        ];
        for (method, target, form, expected) in cases {
            assert_eq!(
                parts(method, target),
                Ok((form, expected)),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn what_is_none_of_the_forms_is_refused() {
        let cases = [
            ("GET", "a", Reject::TargetMalformed),
            ("GET", "ftp://h/", Reject::TargetMalformed),
            ("GET", "h:80", Reject::TargetMalformed),
            ("GET", "*", Reject::TargetForm),
            ("CONNECT", "/", Reject::TargetForm),
            ("CONNECT", "*", Reject::TargetForm),
            ("CONNECT", "http://h:80/", Reject::TargetForm),
            ("CONNECT", "h", Reject::Authority),
            ("CONNECT", "h:", Reject::Authority),
            ("GET", "http:///a", Reject::Authority),
            ("GET", "http://:80/a", Reject::Authority),
            ("GET", "http://u:p@h/", Reject::Userinfo),
            ("GET", "/a#b", Reject::Fragment),
            ("GET", "/a?b#c", Reject::Fragment),
            ("GET", "http://h/#c", Reject::Fragment),
        ];
        for (method, target, reject) in cases {
            assert_eq!(parts(method, target), Err(reject), "{method} {target}");
        }
    }
}
