//! The request line: method, target, version (RFC 9112 §3).
//!
//! Shape and version are read here only off the fast path, where httparse has not done it; the
//! method's rule and the target are judged here for every request.

use crate::bytes;
use crate::policy::Policy;
use crate::reject::Reject;
use crate::target::Target;

/// The version a request is treated as.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// HTTP/1.0: no Host needed, no chunked, the connection closes unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// The parts of a request line.
#[derive(Clone, Copy)]
pub(crate) struct RequestLine<'b> {
    pub(crate) method: &'b [u8],
    pub(crate) target: &'b [u8],
    pub(crate) version: Version,
}

impl<'b> RequestLine<'b> {
    /// Reads and judges a complete line without its CRLF.
    pub(crate) fn read(text: &'b [u8], policy: &Policy) -> Result<Self, Reject> {
        if text == b"PRI * HTTP/2.0" {
            return Err(Reject::Http2Preface);
        }
        let line = Self::split(text, policy)?;
        line.judge(policy)?;
        Ok(line)
    }

    fn split(text: &'b [u8], policy: &Policy) -> Result<Self, Reject> {
        let mut parts = text.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Reject::LineMalformed);
        };
        if !bytes::all(method, bytes::TOKEN) || target.is_empty() {
            return Err(Reject::LineMalformed);
        }
        Ok(Self {
            method,
            target,
            version: version_of(version, policy)?,
        })
    }

    /// What the shape does not show: the rule for methods, and the target's form.
    #[inline]
    pub(crate) fn judge(&self, policy: &Policy) -> Result<Target, Reject> {
        if !is_conventional(self.method, policy) {
            return Err(Reject::Method);
        }
        Target::read(self.target, self.method, policy.casefold_method)
    }
}

fn version_of(text: &[u8], policy: &Policy) -> Result<Version, Reject> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            let version = if text < b"HTTP/1.1" {
                Version::Http10
            } else {
                Version::Http11
            };
            policy
                .permit_unconventional_version
                .then_some(version)
                .ok_or(Reject::Version)
        }
        _ => Err(Reject::LineMalformed),
    }
}

/// Registered methods are 3 to 20 upper case letters; anything else is more likely garbage than a
/// request.
#[inline]
fn is_conventional(method: &[u8], policy: &Policy) -> bool {
    let usual = |&byte: &u8| byte != b'#' && (policy.casefold_method || !byte.is_ascii_lowercase());
    policy.permit_unconventional_method
        || ((3..=20).contains(&method.len()) && method.iter().all(usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], policy: &Policy) -> Result<Version, Reject> {
        RequestLine::read(text, policy).map(|line| line.version)
    }

    #[test]
    fn a_line_has_three_parts_with_one_space_between_them() {
        let policy = Policy::default();
        assert_eq!(read(b"GET / HTTP/1.1", &policy), Ok(Version::Http11));
        for text in [
            "",
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
        ] {
            assert_eq!(
                read(text.as_bytes(), &policy),
                Err(Reject::LineMalformed),
                "{text:?}"
            );
        }
    }

    #[test]
    fn other_versions_are_refused_unless_permitted() {
        let strict = Policy::default();
        let lax = Policy {
            permit_unconventional_version: true,
            ..Policy::default()
        };
        let cases = [
            ("0.9", Version::Http10),
            ("1.2", Version::Http11),
            ("3.0", Version::Http11),
        ];
        for (number, treated_as) in cases {
            let text = format!("GET / HTTP/{number}");
            assert_eq!(read(text.as_bytes(), &strict), Err(Reject::Version));
            assert_eq!(read(text.as_bytes(), &lax), Ok(treated_as));
        }
        assert_eq!(read(b"GET / HTTP/1.10", &lax), Err(Reject::LineMalformed));
        assert_eq!(read(b"GET / http/1.1", &lax), Err(Reject::LineMalformed));
    }

    #[test]
    fn a_method_in_lower_case_needs_one_of_two_permissions() {
        let strict = Policy::default();
        let casefold = Policy {
            casefold_method: true,
            ..Policy::default()
        };
        let permit = Policy {
            permit_unconventional_method: true,
            ..Policy::default()
        };
        for (policy, expected) in [
            (strict, Err(Reject::Method)),
            (casefold, Ok(Version::Http11)),
            (permit, Ok(Version::Http11)),
        ] {
            assert_eq!(read(b"get / HTTP/1.1", &policy), expected);
        }
    }
}
