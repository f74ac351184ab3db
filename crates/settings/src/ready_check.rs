//! The request that a worker must answer before it is ready: the grammar of `ready_check`.
//!
//! Only text is looked at: whether the application has such a path shows when it is asked.

use std::fmt;
use std::str::FromStr;

/// What to ask for, and under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyCheck {
    /// The request target: a path, and perhaps a query.
    pub target: String,
    /// The `Host` field.
    pub host: String,
    /// Whether the application shall take the request for one that came over https.
    pub https: bool,
}

/// The host of a check that names none.
const LOCAL: &str = "localhost";

impl FromStr for ReadyCheck {
    type Err = String;

    /// Reads `/PATH`, `http://HOST/PATH` or `https://HOST/PATH`; a path may have a query.
    fn from_str(text: &str) -> Result<Self, String> {
        let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return check(text, LOCAL, false),
        };
        let (host, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        check(if target.is_empty() { "/" } else { target }, host, https)
    }
}

impl fmt::Display for ReadyCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.target)
    }
}

fn check(target: &str, host: &str, https: bool) -> Result<ReadyCheck, String> {
    let sendable = |c: char| c.is_ascii_graphic() && c != '#';
    if !target.starts_with('/') || !target.chars().all(sendable) {
        return Err(expected(&format!("'{target}' is not a path")));
    }
    let of_a_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if host.is_empty() || !host.chars().all(of_a_host) {
        return Err(expected(&format!("'{host}' is not a host")));
    }
    Ok(ReadyCheck {
        target: target.into(),
        host: host.into(),
        https,
    })
}

fn expected(problem: &str) -> String {
    format!(
        "{problem}; expected a path such as /healthz, or a URL such as http://example.org/healthz"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, String, bool), String> {
        let check: ReadyCheck = text.parse()?;
        Ok((check.target, check.host, check.https))
    }

    #[test]
    fn a_path_is_asked_for_on_localhost_and_a_url_says_host_and_scheme() {
        for (text, target, host, https) in [
            ("/", "/", "localhost", false),
            ("/healthz?deep=1", "/healthz?deep=1", "localhost", false),
            ("http://example.org", "/", "example.org", false),
            ("http://example.org:81/a/b", "/a/b", "example.org:81", false),
            ("https://[::1]/", "/", "[::1]", true),
        ] {
            let expected = (target.to_owned(), host.to_owned(), https);
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for wrong in [
            "healthz",
            "ftp://a/b",
            "http:///healthz",
            "http://user@host/",
            "http://host?a",
            "/a b",
            "/a\r\nX: y",
            "/é",
            "/a#b",
            "http://ho st/",
        ] {
            let problem = read(wrong).unwrap_err();
            assert!(problem.contains("expected a path"), "{wrong}: {problem}");
        }
    }
}
