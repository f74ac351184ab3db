//! The PROXY protocol: a header before the first byte of a connection that says whose connection it
//! is. Version 1 is a line of text, version 2 is binary; both are told by how they begin.
//!
//! A header is at most 107 bytes (version 1) or 16 bytes and 64 KiB (version 2). What it says of TLS
//! or of its sender's own networks (the TLVs of version 2) is skipped, except the checksum.
//! Invariant: [`find`] decides the same on any longer input that begins with the same bytes.

mod crc32c;
mod v1;
mod v2;

use std::fmt;
use std::net::SocketAddr;

/// Which versions are looked for. Another one is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Version 1 or 2.
    Both,
    /// Version 1, text.
    One,
    /// Version 2, binary.
    Two,
}

/// What a header says the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// A Unix socket of the sender's machine.
    Unix,
    /// The sender's own, such as a health check.
    Local,
    /// Version 1's word for what it cannot name.
    Unknown,
    /// Version 2's word for it.
    Unspecified,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Tcp4,
        Self::Tcp6,
        Self::Unix,
        Self::Local,
        Self::Unknown,
        Self::Unspecified,
    ];

    /// The name, as version 1 and gunicorn write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp4 => "TCP4",
            Self::Tcp6 => "TCP6",
            Self::Unix => "UNIX",
            Self::Local => "LOCAL",
            Self::Unknown => "UNKNOWN",
            Self::Unspecified => "UNSPEC",
        }
    }
}

/// Both ends of the connection that the header is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client's.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the connection is.
    pub protocol: Protocol,
    /// Its ends. `None`: those of the connection that the header came on are to be used.
    pub addresses: Option<Addresses>,
    /// Bytes of the header; what follows belongs to the connection itself.
    pub len: usize,
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A header.
    Header(Header),
    /// Something else.
    Nothing,
    /// The beginning of a header.
    Begun,
    /// Too few bytes to tell.
    Undecided,
}

/// Why a header cannot be read. The sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A line of version 1 that does not end within 107 bytes.
    LineTooLong,
    /// A line of version 1 that is none of the specification's.
    Line,
    /// An address of version 1 that is not of its family.
    Address,
    /// A port of version 1 that is not a decimal number of 16 bits.
    Port,
    /// A binary header of another version than 2.
    Version,
    /// A command of version 2 other than LOCAL and PROXY.
    Command,
    /// An address family of version 2 that does not exist.
    Family,
    /// A transport of version 2 other than a stream.
    Transport,
    /// Addresses of version 2 that do not fit into the header.
    Addresses,
    /// An additional value of version 2 that does not fit into the header.
    Tlv,
    /// A checksum of version 2 that is not the header's.
    Checksum,
}

impl Malformed {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::LineTooLong,
        Self::Line,
        Self::Address,
        Self::Port,
        Self::Version,
        Self::Command,
        Self::Family,
        Self::Transport,
        Self::Addresses,
        Self::Tlv,
        Self::Checksum,
    ];
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LineTooLong => "a PROXY line of more than 107 bytes",
            Self::Line => "a malformed PROXY line",
            Self::Address => "a malformed address in a PROXY line",
            Self::Port => "a malformed port in a PROXY line",
            Self::Version => "a PROXY header of an unknown version",
            Self::Command => "an unknown command in a PROXY header",
            Self::Family => "an unknown address family in a PROXY header",
            Self::Transport => "a PROXY header of what is no stream",
            Self::Addresses => "a PROXY header too short for its addresses",
            Self::Tlv => "a PROXY header too short for its values",
            Self::Checksum => "a PROXY header with a wrong checksum",
        })
    }
}

impl std::error::Error for Malformed {}

/// Looks for a header at the front of `bytes`, the first ones of a connection.
///
/// # Errors
/// There is one, and it cannot be read: nothing of the connection can be believed.
pub fn find(bytes: &[u8], versions: Versions) -> Result<Found, Malformed> {
    let first = opening(bytes, v1::SIGNATURE, versions != Versions::Two);
    let second = opening(bytes, v2::SIGNATURE, versions != Versions::One);
    let read = match (first, second) {
        (Opening::Whole, _) => v1::read(bytes)?,
        (_, Opening::Whole) => v2::read(bytes)?,
        (Opening::Part, _) | (_, Opening::Part) => return Ok(Found::Undecided),
        (Opening::Other, Opening::Other) => return Ok(Found::Nothing),
    };
    Ok(read.map_or(Found::Begun, Found::Header))
}

/// How bytes compare with a signature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    Whole,
    Part,
    Other,
}

fn opening(bytes: &[u8], signature: &[u8], wanted: bool) -> Opening {
    if !wanted {
        Opening::Other
    } else if bytes.starts_with(signature) {
        Opening::Whole
    } else if signature.starts_with(bytes) {
        Opening::Part
    } else {
        Opening::Other
    }
}
