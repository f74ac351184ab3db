//! Version 1: `PROXY TCP4 192.0.2.7 198.51.100.1 56324 443`, ended by CRLF. Not lenient: one space
//! between words, canonical numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Header, Malformed, Protocol};

/// How it begins.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Bytes of the longest line, with its CRLF (section 2.1).
const LONGEST: usize = 107;

/// Reads a line. `None`: more bytes are needed.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let window = bytes.get(..LONGEST).unwrap_or(bytes);
    match memchr::memmem::find(window, b"\r\n") {
        Some(end) => {
            let line = window.get(SIGNATURE.len()..end).unwrap_or_default();
            header(line, end + 2).map(Some)
        }
        None if window.len() == LONGEST => Err(Malformed::LineTooLong),
        None => Ok(None),
    }
}

fn header(line: &[u8], len: usize) -> Result<Header, Malformed> {
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let mut words = line.split(' ');
    let (protocol, addresses) = match words.next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => (Protocol::Unknown, None),
        Some("TCP4") => (Protocol::Tcp4, Some(ends::<Ipv4Addr>(words)?)),
        Some("TCP6") => (Protocol::Tcp6, Some(ends::<Ipv6Addr>(words)?)),
        _ => return Err(Malformed::Line),
    };
    Ok(Header {
        protocol,
        addresses,
        len,
    })
}

fn ends<'w, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'w str>,
) -> Result<Addresses, Malformed> {
    let mut word = || words.next().ok_or(Malformed::Line);
    let [source, destination] = [word()?, word()?];
    let [from, to] = [word()?, word()?];
    if words.next().is_some() {
        return Err(Malformed::Line);
    }
    Ok(Addresses {
        source: SocketAddr::new(address::<A>(source)?, port(from)?),
        destination: SocketAddr::new(address::<A>(destination)?, port(to)?),
    })
}

fn address<A: FromStr + Into<IpAddr>>(word: &str) -> Result<IpAddr, Malformed> {
    word.parse::<A>()
        .map(Into::into)
        .map_err(|_| Malformed::Address)
}

/// Digits only, without leading zeros.
fn port(word: &str) -> Result<u16, Malformed> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = word == "0" || !word.starts_with('0');
    let number = word.parse().ok().filter(|_| plain && canonical);
    number.ok_or(Malformed::Port)
}
