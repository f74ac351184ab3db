//! Version 2: twelve bytes that are in no other protocol, version and command, family and transport,
//! the length of the rest, the addresses, then type-length-value triples. Numbers are big-endian.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::{Addresses, Header, Malformed, Protocol};

/// How it begins.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
const FIXED: usize = 16;

/// Bytes of the addresses of two Unix sockets.
const UNIX: usize = 216;

/// The type of the value that holds a checksum of the whole header, and the bytes of it.
const CHECKSUM: u8 = 0x03;
const CHECKSUM_LEN: usize = 4;

/// Reads a header. `None`: more bytes are needed.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(&[version_and_command, family, high, low]) = bytes
        .get(SIGNATURE.len()..FIXED)
        .and_then(<[u8]>::first_chunk)
    else {
        return Ok(None);
    };
    if version_and_command >> 4 != 2 {
        return Err(Malformed::Version);
    }
    let is_local = match version_and_command & 0xf {
        0 => true,
        1 => false,
        _ => return Err(Malformed::Command),
    };
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    let Some(header) = bytes.get(..len) else {
        return Ok(None);
    };
    let (protocol, addresses) = if is_local {
        // Family, addresses and values are to be discarded.
        (Protocol::Local, None)
    } else {
        proxied(header, family)?
    };
    Ok(Some(Header {
        protocol,
        addresses,
        len,
    }))
}

fn proxied(header: &[u8], family: u8) -> Result<(Protocol, Option<Addresses>), Malformed> {
    let (family, transport) = (family >> 4, family & 0xf);
    if family == 0 && transport <= 2 {
        // How long its addresses are is not said, so neither is where the values begin.
        return Ok((Protocol::Unspecified, None));
    }
    if family > 3 || transport > 2 {
        return Err(Malformed::Family);
    }
    if transport != 1 {
        return Err(Malformed::Transport);
    }
    let (protocol, addresses, values) = match family {
        1 => {
            let (ends, values) = ends(header, |octets: [u8; 4]| Ipv4Addr::from(octets))?;
            (Protocol::Tcp4, Some(ends), values)
        }
        2 => {
            let (ends, values) = ends(header, |octets: [u8; 16]| Ipv6Addr::from(octets))?;
            (Protocol::Tcp6, Some(ends), values)
        }
        _ => (Protocol::Unix, None, FIXED + UNIX),
    };
    check_values(header, values)?;
    Ok((protocol, addresses))
}

/// Both addresses, both ports; and where the values begin.
fn ends<const N: usize, A: Into<std::net::IpAddr>>(
    header: &[u8],
    address: impl Fn([u8; N]) -> A,
) -> Result<(Addresses, usize), Malformed> {
    let read = || {
        let rest = header.get(FIXED..)?;
        let (source, rest) = rest.split_first_chunk::<N>()?;
        let (destination, rest) = rest.split_first_chunk::<N>()?;
        let (from, rest) = rest.split_first_chunk()?;
        let (to, values) = rest.split_first_chunk()?;
        let end = |octets: &[u8; N], port: &[u8; 2]| {
            SocketAddr::new(address(*octets).into(), u16::from_be_bytes(*port))
        };
        let addresses = Addresses {
            source: end(source, from),
            destination: end(destination, to),
        };
        Some((addresses, header.len() - values.len()))
    };
    read().ok_or(Malformed::Addresses)
}

/// Walks the values that begin at `at`, and checks the checksum if there is one.
fn check_values(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    if at > header.len() {
        return Err(Malformed::Addresses);
    }
    while let Some(rest) = header.get(at..).filter(|rest| !rest.is_empty()) {
        let ([kind, high, low], rest) = rest.split_first_chunk().ok_or(Malformed::Tlv)?;
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let value = rest.get(..len).ok_or(Malformed::Tlv)?;
        if *kind == CHECKSUM {
            let expected = value.try_into().map_err(|_| Malformed::Checksum)?;
            check_sum(header, at + 3, u32::from_be_bytes(expected))?;
        }
        at += 3 + len;
    }
    Ok(())
}

/// The sum is that of the header with zeros in the place of the sum, which begins at `at`.
fn check_sum(header: &[u8], at: usize, expected: u32) -> Result<(), Malformed> {
    let before = header.get(..at).unwrap_or_default();
    let after = header.get(at + CHECKSUM_LEN..).unwrap_or_default();
    let sum = crc32c([before, &[0; CHECKSUM_LEN], after]);
    (sum == expected).then_some(()).ok_or(Malformed::Checksum)
}
