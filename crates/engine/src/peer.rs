//! Who is at the other end of a connection, in a few bytes: 10,000 idle connections each hold one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The address of the client's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IP client. An IPv4 client of an IPv6 listener is given as IPv4.
    Ip(SocketAddr),
    /// A client of a Unix socket: no address.
    Unix,
}

impl Peer {
    /// The IP address, if the client has one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl From<Option<SocketAddr>> for Peer {
    fn from(address: Option<SocketAddr>) -> Self {
        match address {
            Some(mut address) => {
                address.set_ip(address.ip().to_canonical());
                Self::Ip(address)
            }
            None => Self::Unix,
        }
    }
}

/// `127.0.0.1`, `::1`, or nothing for a Unix client: what `REMOTE_ADDR` and the access log show.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.ip().fmt(f),
            Self::Unix => Ok(()),
        }
    }
}
