//! Where orphans and a new arbiter find each other: the *meeting place*, a listening `SOCK_SEQPACKET`
//! socket with an abstract name (`unix(7)`), made of the effective user and the first address that the
//! server listens on. Such a name has the scope of that address, the network namespace; it needs no
//! directory, and leaves nothing behind.
//!
//! The arbiter makes it, every process of the server inherits it, and only orphans accept from it.
//!
//! Invariants: without a meeting place the server runs as well; nobody listens to a process of another
//! user, whichever side it is on; of several arbiters that find the same orphans one takes over
//! ([`MeetingPlace::hold`]).

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    getsockname, listen, socket_with,
};
use rustix::process::geteuid;

use super::link::{Call, OrphanLink};
use crate::sockets::ListenAddr;
use crate::translate::TARGET;

/// Each arbiter waits there with one connection; those of arbiters that are gone are dropped by who
/// accepts them.
const BACKLOG: i32 = 64;

/// The name of a meeting place.
#[derive(Debug, Clone)]
pub(super) struct Name(SocketAddrUnix);

impl Name {
    /// Of the server whose first address this is. A Unix socket is named after its file, so that the
    /// same path in another mount namespace is another server's.
    ///
    /// # Errors
    /// When the file of a Unix socket is not there, or the address makes no name.
    pub(super) fn of(first: &ListenAddr) -> io::Result<Self> {
        let prefix = format!("oxicorn-{}-", geteuid().as_raw());
        let mut name = prefix.into_bytes();
        match first {
            ListenAddr::Tcp(address) => name.extend(address.to_string().into_bytes()),
            ListenAddr::Unix(path) => name.extend(unix(path)?),
        }
        Ok(Self(SocketAddrUnix::new_abstract_name(&name)?))
    }

    /// Goes there, and says who calls; `None` if there is no such place. `seeks`: the sockets of its
    /// server are wanted.
    ///
    /// # Errors
    /// `EAGAIN` if too many wait there, `EPIPE` if the call was ended at once, `EPERM` if another user has
    /// made the place; what else the system says.
    pub(super) fn call(&self, seeks: bool) -> io::Result<Option<Call>> {
        let socket = packet_socket()?;
        match connect(&socket, &self.0) {
            Ok(()) => {}
            Err(Errno::CONNREFUSED) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if socket_peercred(&socket)?.uid != geteuid() {
            return Err(Errno::PERM.into());
        }
        let call = Call::over(socket);
        call.ring(seeks)?;
        Ok(Some(call))
    }
}

fn unix(path: &Path) -> io::Result<Vec<u8>> {
    if let Some((0, name)) = path.as_os_str().as_bytes().split_first() {
        return Ok([b"@", name].concat());
    }
    let file = fs::symlink_metadata(path)?;
    Ok(format!("{:x}-{:x}", file.dev(), file.ino()).into_bytes())
}

/// The socket. Belongs to every process of the server.
#[derive(Debug)]
pub struct MeetingPlace {
    socket: OwnedFd,
}

impl MeetingPlace {
    /// Makes it.
    ///
    /// # Errors
    /// `EADDRINUSE` if the name is taken.
    pub(super) fn open(name: &Name) -> io::Result<Self> {
        let socket = packet_socket()?;
        bind(&socket, &name.0)?;
        listen(&socket, BACKLOG)?;
        Ok(Self { socket })
    }

    /// One that another process has made.
    pub(super) const fn of(socket: OwnedFd) -> Self {
        Self { socket }
    }

    pub(super) fn name(&self) -> io::Result<Name> {
        let name = SocketAddrUnix::try_from(getsockname(&self.socket)?)?;
        Ok(Name(name))
    }

    /// Whether this process may take orphans over, being the first one that asks and lives. It may
    /// as long as it closes no other descriptor of the socket (`fcntl_locking(2)`: the lock is of the
    /// process, goes with it, and is not inherited).
    pub(super) fn hold(&self) -> bool {
        let locked = fcntl_lock(&self.socket, FlockOperation::NonBlockingLockExclusive);
        // Where there are no locks, nobody is kept from it.
        !matches!(locked, Err(Errno::AGAIN | Errno::ACCESS))
    }

    /// For an orphan: the next arbiter that waits there, if any. Whoever is of another user than the
    /// one who made the place, and not root, is turned away.
    pub fn accept(&self) -> Option<OrphanLink> {
        loop {
            match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) if self.trusts(&socket) => return Some(OrphanLink::over(socket)),
                // A stranger who comes again and again fills no log.
                Ok(_) => {
                    log::debug!(target: TARGET, "Turned a process of another user away that called itself an arbiter");
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return None,
                Err(error) => {
                    log::error!(target: TARGET, "No new arbiter can be heard: {error}");
                    return None;
                }
            }
        }
    }

    fn trusts(&self, socket: &OwnedFd) -> bool {
        let ours = socket_peercred(&self.socket).map(|maker| maker.uid);
        socket_peercred(socket).is_ok_and(|peer| peer.uid.is_root() || Ok(peer.uid) == ours)
    }
}

impl AsFd for MeetingPlace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn packet_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}
