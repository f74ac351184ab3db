//! Where log lines and numbers are sent: the grammar of `syslog_addr` and `statsd_host`, syslog's
//! facilities, and the name of the field with a request's id.
//!
//! Only text is looked at: whether a name resolves, or anybody listens, shows when the logs are opened.

use std::str::FromStr;

use crate::stored::Stored;
use crate::value::Value;

/// A place on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an IP address, in lower case and without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Where syslog listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogAddress {
    /// UDP.
    Udp(HostPort),
    /// TCP.
    Tcp(HostPort),
    /// A Unix socket.
    Unix {
        /// Its path.
        path: String,
        /// Whether it takes datagrams or a stream, if that was said.
        kind: Option<SocketKind>,
    },
}

/// What a Unix socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// Datagrams.
    Datagrams,
    /// A stream.
    Stream,
}

/// Where a `StatsD` server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsdAddress {
    /// UDP.
    Udp(HostPort),
    /// A Unix socket of datagrams, by its path.
    Unix(String),
}

const SYSLOG_PORT: u16 = 514;
const STATSD_PORT: u16 = 8125;

impl SyslogAddress {
    /// What a configuration begins with.
    pub(crate) const BLANK: Self = Self::Unix {
        path: String::new(),
        kind: None,
    };
}

impl FromStr for SyslogAddress {
    type Err = String;

    /// Reads `udp://HOST:PORT`, `tcp://HOST:PORT` or `unix://PATH`, which `#dgram` or `#stream` may
    /// follow.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("unix://") {
            return unix(rest);
        }
        let place = |rest| place(rest, SYSLOG_PORT, "localhost");
        let found = if let Some(rest) = text.strip_prefix("udp://") {
            place(rest).map(Self::Udp)
        } else {
            let rest = text.strip_prefix("tcp://");
            rest.and_then(place).map(Self::Tcp)
        };
        found.ok_or_else(|| "expected udp://HOST:PORT, tcp://HOST:PORT or unix://PATH".into())
    }
}

fn unix(rest: &str) -> Result<SyslogAddress, String> {
    let (path, kind) = match rest.split_once('#') {
        Some((path, "dgram")) => (path, Some(SocketKind::Datagrams)),
        Some((path, "stream")) => (path, Some(SocketKind::Stream)),
        Some(_) => {
            return Err("expected unix://PATH, unix://PATH#dgram or unix://PATH#stream".into());
        }
        None => (rest, None),
    };
    if path.is_empty() {
        return Err("there is no path after 'unix://'".into());
    }
    let path = path.into();
    Ok(SyslogAddress::Unix { path, kind })
}

impl FromStr for StatsdAddress {
    type Err = String;

    /// Reads `HOST:PORT`, `HOST` or `unix://PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected HOST:PORT or unix://PATH".to_owned();
        let path = text.strip_prefix("unix:");
        // A host may be called that.
        let path = path.filter(|path| !path.bytes().all(|byte| byte.is_ascii_digit()));
        match path.map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some("") => Err(expected()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => {
                let place = place(text, STATSD_PORT, "0.0.0.0");
                place.map(Self::Udp).ok_or_else(expected)
            }
        }
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn place(text: &str, port: u16, host: &str) -> Option<HostPort> {
    let (named, tail) = match text.strip_prefix('[') {
        Some(rest) => {
            let (named, tail) = rest.split_once(']')?;
            (
                named,
                tail.strip_prefix(':').or(tail.is_empty().then_some("")),
            )
        }
        None => match text.split_once(':') {
            Some((named, tail)) => (named, Some(tail)),
            None => (text, Some("")),
        },
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    let port = match tail? {
        "" => port,
        digits => digits.parse().ok().filter(|port| *port > 0)?,
    };
    (!named.contains(odd)).then(|| HostPort {
        host: if named.is_empty() { host } else { named }.to_lowercase(),
        port,
    })
}

/// Where syslog files a line, by its number (RFC 3164 §4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facility(pub u8);

/// Python's names for them.
const FACILITIES: [(&str, u8); 21] = [
    ("auth", 4),
    ("authpriv", 10),
    ("cron", 9),
    ("daemon", 3),
    ("ftp", 11),
    ("kern", 0),
    ("lpr", 6),
    ("mail", 2),
    ("news", 7),
    ("security", 4),
    ("syslog", 5),
    ("user", 1),
    ("uucp", 8),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

impl Stored for Facility {
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_text().unwrap_or_default();
        let found = FACILITIES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, number)| Self(*number)).ok_or_else(|| {
            let names: Vec<_> = FACILITIES.iter().map(|(name, _)| *name).collect();
            format!("expected one of {}", names.join(", "))
        })
    }
}

impl Stored for SyslogAddress {
    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_text().unwrap_or_default().parse()
    }
}

impl Stored for Option<StatsdAddress> {
    /// An empty text is none.
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_text().filter(|text| !text.is_empty());
        text.map(str::parse).transpose()
    }
}

/// Fields by which peers know where messages end, whom they are for and what is in them: another value in one of them is
/// another message.
const TAKEN: [&str; 14] = [
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Date",
    "Expect",
    "Host",
    "Keep-Alive",
    "Server",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// The name of a field of a request or a response (RFC 9110 §5.1) that may have any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldName(pub String);

impl Stored for Option<FieldName> {
    /// An empty text is none.
    fn from_value(value: &Value) -> Result<Self, String> {
        let Some(name) = value.as_text().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.len() > 64 || !name.bytes().all(fits) {
            return Err("expected the name of a field: letters, digits and hyphens".into());
        }
        if TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(name)) {
            return Err(format!(
                "{name} has a meaning of its own in HTTP; expected a name such as X-Request-ID"
            ));
        }
        Ok(Some(FieldName(name.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> HostPort {
        let host = host.to_owned();
        HostPort { host, port }
    }

    #[test]
    fn syslog_is_reached_by_udp_tcp_or_a_unix_socket() {
        let unix = |path: &str, kind| SyslogAddress::Unix {
            path: path.to_owned(),
            kind,
        };
        for (text, expected) in [
            ("udp://Logs:515", SyslogAddress::Udp(at("logs", 515))),
            ("udp://", SyslogAddress::Udp(at("localhost", 514))),
            ("tcp://[::1]:10514", SyslogAddress::Tcp(at("::1", 10514))),
            ("tcp://[::1]", SyslogAddress::Tcp(at("::1", 514))),
            ("unix:///dev/log", unix("/dev/log", None)),
            (
                "unix:///dev/log#dgram",
                unix("/dev/log", Some(SocketKind::Datagrams)),
            ),
            (
                "unix:///dev/log#stream",
                unix("/dev/log", Some(SocketKind::Stream)),
            ),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in [
            "logs:514",
            "udp://logs:many",
            "udp://logs:0",
            "tcp://a b",
            "unix://",
            "unix:///dev/log#raw",
            "http://logs",
            "",
        ] {
            assert!(wrong.parse::<SyslogAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn statsd_is_reached_by_udp_or_a_unix_socket() {
        let udp = |host, port| StatsdAddress::Udp(at(host, port));
        for (text, expected) in [
            ("localhost:8126", udp("localhost", 8126)),
            ("localhost", udp("localhost", 8125)),
            ("[::1]:9", udp("::1", 9)),
            ("unix:9125", udp("unix", 9125)),
            ("unix:///run/dd", StatsdAddress::Unix("/run/dd".into())),
            ("unix:/run/dd", StatsdAddress::Unix("/run/dd".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in ["a:b", "http://a", "unix://", "[::1", "[::1]8"] {
            assert!(wrong.parse::<StatsdAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn facilities_have_pythons_names_in_any_case() {
        let named = |name: &str| Facility::from_value(&Value::text(name));
        assert_eq!(named("LOCAL0"), Ok(Facility(16)));
        assert_eq!(named("user"), Ok(Facility(1)));
        assert!(named("local8").is_err_and(|problem| problem.contains("local7")));
    }

    #[test]
    fn a_field_is_named_by_letters_digits_and_hyphens() {
        let named = |name: &str| Option::<FieldName>::from_value(&Value::text(name));
        assert_eq!(named(""), Ok(None));
        assert_eq!(
            named("X-Request-ID"),
            Ok(Some(FieldName("X-Request-ID".into())))
        );
        for wrong in ["X_Request_ID", "X Request", "X:", &"x".repeat(65)] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_field_that_frames_or_directs_messages_is_not_to_be_had() {
        for name in ["Content-Length", "transfer-encoding", "HOST", "Connection"] {
            let problem = Option::<FieldName>::from_value(&Value::text(name)).unwrap_err();
            assert!(
                problem.starts_with(name) && problem.contains("X-Request-ID"),
                "{problem}"
            );
        }
    }
}
