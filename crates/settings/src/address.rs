//! Where to listen: the grammar of `bind`.
//!
//! Only text is looked at: whether a name resolves, a path is free or a descriptor is a socket shows
//! when the process layer opens it.

use std::fmt;
use std::str::FromStr;

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// A name or an IP address, in lower case and without brackets.
        host: String,
        /// The port; 0 lets the system choose one.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// Its path; one that starts with a NUL byte names an abstract socket.
        path: String,
    },
    /// A listening socket that was inherited.
    Fd(i32),
}

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 8000;
/// The host of an address that names none: every interface.
const EVERY_INTERFACE: &str = "0.0.0.0";

impl FromStr for Address {
    type Err = String;

    /// Reads `HOST`, `HOST:PORT`, `:PORT`, `PORT`, `[IPV6]:PORT`, `tcp://..`, `unix:PATH`,
    /// `unix://PATH` or `fd://N`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path.strip_prefix("//").unwrap_or(path));
        }
        if let Some(number) = text.strip_prefix("fd://") {
            return descriptor(number);
        }
        tcp(text.strip_prefix("tcp://").unwrap_or(text))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => write!(f, "unix:{path}"),
            Self::Fd(number) => write!(f, "fd://{number}"),
        }
    }
}

fn unix(path: &str) -> Result<Address, String> {
    if path.trim_matches('\0').is_empty() {
        return Err(expected("there is no path after 'unix:'"));
    }
    Ok(Address::Unix { path: path.into() })
}

fn descriptor(number: &str) -> Result<Address, String> {
    match number.parse() {
        Ok(number) if number >= 0 => Ok(Address::Fd(number)),
        _ => Err(expected(&format!("'{number}' is not a file descriptor"))),
    }
}

fn tcp(text: &str) -> Result<Address, String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        bracketed(rest)?
    } else if is_number(text) {
        ("", Some(text))
    } else {
        plain(text)?
    };
    if host.contains(|c: char| c.is_whitespace() || c == '/' || c.is_control()) {
        return Err(expected(&format!("'{host}' is not a host")));
    }
    let host = if host.is_empty() {
        EVERY_INTERFACE
    } else {
        host
    };
    let port = port.map_or(Ok(DEFAULT_PORT), port_number)?;
    Ok(Address::Tcp {
        host: host.to_lowercase(),
        port,
    })
}

fn bracketed(rest: &str) -> Result<(&str, Option<&str>), String> {
    let (host, tail) = rest
        .split_once(']')
        .ok_or_else(|| expected("the closing bracket ']' is missing"))?;
    // A zone (`fe80::1%eth0`) follows the address and is the resolver's business.
    let literal = host.split('%').next().unwrap_or(host);
    if literal.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(expected(&format!("'{host}' is not an IPv6 address")));
    }
    match tail.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if tail.is_empty() => Ok((host, None)),
        None => Err(expected(&format!("'{tail}' follows the closing bracket"))),
    }
}

fn plain(text: &str) -> Result<(&str, Option<&str>), String> {
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(expected(&format!(
            "an IPv6 address needs brackets: '[{text}]:{DEFAULT_PORT}'"
        ))),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn port_number(text: &str) -> Result<u16, String> {
    Some(text)
        .filter(|text| is_number(text))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| expected(&format!("'{text}' is not a port (0 to 65535)")))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn expected(problem: &str) -> String {
    format!("{problem}; expected HOST:PORT, HOST, PORT, [IPV6]:PORT, unix:PATH or fd://N")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn every_form_of_address_is_understood() {
        let unix = |path: &str| Address::Unix { path: path.into() };
        for (text, address) in [
            ("127.0.0.1:8000", tcp("127.0.0.1", 8000)),
            ("LocalHost", tcp("localhost", 8000)),
            (":9000", tcp("0.0.0.0", 9000)),
            ("", tcp("0.0.0.0", 8000)),
            ("8080", tcp("0.0.0.0", 8080)),
            ("localhost:0", tcp("localhost", 0)),
            ("[::1]:8000", tcp("::1", 8000)),
            ("[::]", tcp("::", 8000)),
            ("[fe80::1%eth0]:80", tcp("fe80::1%eth0", 80)),
            ("tcp://example.org:80", tcp("example.org", 80)),
            ("unix:/run/app.sock", unix("/run/app.sock")),
            ("unix:///run/app.sock", unix("/run/app.sock")),
            ("unix:app.sock", unix("app.sock")),
            ("unix:\0app", unix("\0app")),
            ("fd://3", Address::Fd(3)),
        ] {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong() {
        for (text, problem) in [
            ("localhost:http", "'http' is not a port"),
            ("localhost:", "'' is not a port"),
            ("localhost:65536", "'65536' is not a port"),
            ("localhost:+80", "'+80' is not a port"),
            ("99999", "'99999' is not a port"),
            ("::1", "an IPv6 address needs brackets"),
            ("[::1", "closing bracket"),
            ("[::1]8000", "'8000' follows the closing bracket"),
            ("[host]:80", "'host' is not an IPv6 address"),
            ("unix:", "no path"),
            ("fd://x", "'x' is not a file descriptor"),
            ("fd://-1", "'-1' is not a file descriptor"),
            ("http://localhost:80", "brackets"),
            ("a b:80", "'a b' is not a host"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn an_address_prints_in_a_form_that_reads_back() {
        for text in ["127.0.0.1:8000", "[::1]:80", "unix:/run/a.sock", "fd://4"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }
}
