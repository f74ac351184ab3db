//! Addresses: what the operator asked for, as the log shows it, and where a socket really listens.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use oxicorn_settings::Address;
use rustix::net::{AddressFamily, SocketAddrUnix, getsockname};

use super::tcp;
use crate::sys::descriptors::duplicate;

/// The address as the operator wrote it, for the log.
pub(super) fn shown(address: &Address) -> String {
    match address {
        Address::Unix { path } => format!("unix:{}", readable(OsStr::new(path))),
        Address::Tcp { .. } | Address::Fd(_) => address.to_string(),
    }
}

/// Where a socket listens. Displays as the URL that reaches it: `http://127.0.0.1:8000`,
/// `unix:/run/web.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// An IPv4 or IPv6 address and the real port.
    Tcp(SocketAddr),
    /// A path; with a leading NUL byte a name in the abstract namespace.
    Unix(PathBuf),
}

impl ListenAddr {
    /// Where a socket will listen that is bound to this address, if that can be told.
    pub(crate) fn expected(address: &Address) -> Option<Self> {
        match address {
            Address::Tcp { port: 0, .. } => None,
            Address::Tcp { host, port } => tcp::resolve(host, *port).ok().map(Self::Tcp),
            Address::Unix { path } => Some(Self::Unix(path.into())),
            Address::Fd(number) => Self::of(duplicate(*number).ok()?).ok(),
        }
    }

    /// Where `socket` is bound.
    ///
    /// # Errors
    /// `EAFNOSUPPORT` for a socket that is neither of the internet nor of Unix, or has no name.
    pub(crate) fn of(socket: impl AsFd) -> io::Result<Self> {
        let name = getsockname(socket)?;
        if name.address_family() == AddressFamily::UNIX {
            return Self::of_unix(&SocketAddrUnix::try_from(name)?);
        }
        Ok(Self::Tcp(SocketAddr::try_from(name)?))
    }

    fn of_unix(name: &SocketAddrUnix) -> io::Result<Self> {
        if let Some(name) = name.abstract_name() {
            let with_nul = [b"\0", name].concat();
            return Ok(Self::Unix(PathBuf::from(OsStr::from_bytes(&with_nul))));
        }
        let path = name.path().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self::Unix(PathBuf::from(OsStr::from_bytes(
            path.to_bytes(),
        ))))
    }
}

impl ListenAddr {
    /// The URL that reaches it, whether by TLS or not.
    pub fn url(&self, secure: bool) -> String {
        match self {
            Self::Tcp(address) if secure => format!("https://{address}"),
            Self::Tcp(address) => format!("http://{address}"),
            Self::Unix(path) => format!("unix:{}", readable(path.as_os_str())),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url(false))
    }
}

/// The leading NUL of an abstract name shows as `@`, as `ss` and `/proc/net/unix` show it.
pub(super) fn readable(path: &OsStr) -> String {
    let text = path.to_string_lossy();
    match text.strip_prefix('\0') {
        Some(name) => format!("@{name}"),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abstract_name_is_shown_without_its_nul() {
        let shown_unix = |path: &str| {
            shown(&Address::Unix {
                path: path.to_owned(),
            })
        };
        assert_eq!(shown_unix("/run/a.sock"), "unix:/run/a.sock");
        assert_eq!(shown_unix("\0web"), "unix:@web");
        assert_eq!(shown(&Address::Fd(3)), "fd://3");
    }

    #[test]
    fn a_listening_address_is_a_url() {
        let tcp = |address: &str| ListenAddr::Tcp(address.parse().unwrap()).to_string();
        assert_eq!(tcp("127.0.0.1:8000"), "http://127.0.0.1:8000");
        assert_eq!(tcp("[::1]:8000"), "http://[::1]:8000");
        let secure = ListenAddr::Tcp("[::1]:8443".parse().unwrap()).url(true);
        assert_eq!(secure, "https://[::1]:8443");
    }
}
