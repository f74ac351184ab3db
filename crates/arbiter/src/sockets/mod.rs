//! The listening sockets: bound by the arbiter, kept for its whole life, inherited by every worker.
//!
//! They come from addresses (`tcp.rs`, `unix.rs`) or from the process that started us
//! (`inherited.rs`: `fd://N`, socket activation), or from an earlier life of ours (`store.rs`,
//! `crate::orphans`). As in gunicorn, inherited ones replace the addresses. Not here: accepting, TLS.
//!
//! Invariants: every listener is non-blocking and close-on-exec; a Unix socket that answers is
//! never displaced, and its path is removed only while it is still the one that we made.

mod address;
mod inherited;
mod retry;
mod store;
mod tcp;
mod unix;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use address::ListenAddr;
use address::shown;
pub use inherited::ListenFds;
pub(crate) use retry::{Patience, bind_all};
pub(crate) use store::Allotment;

use crate::core::ledger::{Damaged, Ledger, Words};
use crate::fatal::Fatal;
use oxicorn_settings::Address;
use unix::Claim;
pub(crate) use unix::bind as bind_path;

/// How the sockets are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// How many connections the kernel queues before they are accepted (`backlog`).
    pub backlog: i32,
    /// The file mode creation mask for Unix sockets (`umask`); 0 makes them world-writable.
    pub umask: u32,
    /// The user and group that Unix sockets are given to, where they are not our own.
    pub owner: Option<(u32, u32)>,
    /// Lets other processes of the same user bind the same port (`reuse_port`).
    pub reuse_port: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            backlog: 2048,
            umask: 0,
            owner: None,
            reuse_port: false,
        }
    }
}

/// A socket that connections are accepted from.
#[derive(Debug)]
pub struct Listener {
    /// Non-blocking, close-on-exec, listening.
    pub fd: OwnedFd,
    /// Where it listens, with the real port.
    pub local: ListenAddr,
    claim: Option<Claim>,
}

impl Listener {
    fn new(fd: OwnedFd, claim: Option<Claim>) -> io::Result<Self> {
        let local = ListenAddr::of(&fd)?;
        Ok(Self { fd, local, claim })
    }

    /// The listener of a socket that another process has left. It does not own a Unix socket's path.
    ///
    /// # Errors
    /// If it is no listening socket, or cannot be reached any more.
    pub(crate) fn left_behind(socket: OwnedFd) -> io::Result<Self> {
        let listener = Self::new(inherited::usable(socket)?, None)?;
        if let ListenAddr::Unix(path) = &listener.local {
            unix::reach(path)?;
        }
        Ok(listener)
    }

    /// A second handle to the same socket. It does not own a Unix socket's path.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            local: self.local.clone(),
            claim: None,
        })
    }

    /// Writes it down for the next version of the arbiter, as an entry of this name.
    pub(crate) fn write(&self, name: &str, ledger: &mut Ledger) {
        let number = ledger.inherit(self.fd.as_raw_fd());
        let words = self.claim.as_ref().map(Claim::words);
        let [path, device, inode] = words.unwrap_or_else(|| [(); 3].map(|()| "-".to_owned()));
        ledger.put(name, [number, path, device, inode]);
    }

    /// The listener of an entry that [`write`](Self::write) wrote.
    pub(crate) fn read(words: &mut Words<'_>) -> Result<Self, Damaged> {
        let fd = words.descriptor()?;
        let claim = Claim::read(words)?;
        Self::new(fd, claim).map_err(|_| words.damaged())
    }

    /// Leaves a Unix socket's path to another process that listens on it.
    pub(crate) fn bequeath(&mut self) {
        self.claim = None;
    }

    /// Whether it is a Unix socket whose path this process made.
    pub(crate) fn owns_path(&self) -> bool {
        self.claim.is_some()
    }

    /// Whether it is a Unix socket whose path is one of the addresses.
    pub(crate) fn is_named(&self, binds: &[Address]) -> bool {
        let ListenAddr::Unix(local) = &self.local else {
            return false;
        };
        let named =
            |bind: &Address| matches!(bind, Address::Unix { path } if Path::new(path) == local);
        binds.iter().any(named)
    }

    /// Makes a Unix socket's path this process' to remove: whoever made it has gone.
    pub(crate) fn claim(&mut self) {
        if let ListenAddr::Unix(local) = &self.local {
            // Gone already, or an abstract name: nothing to remove.
            self.claim = Claim::on(local).ok();
        }
    }

    /// Gives a Unix socket that this process made another path; what had it is replaced.
    ///
    /// # Errors
    /// What the system says; the path stays as it is then.
    pub(crate) fn rename(&mut self, path: PathBuf) -> io::Result<()> {
        if let Some(claim) = &mut self.claim {
            claim.rename(&path)?;
            self.local = ListenAddr::Unix(path);
        }
        Ok(())
    }

    /// Closes the socket; with it goes a Unix socket's path if this process made it and it is still
    /// that one.
    pub(crate) fn retire(self) {
        if let Some(claim) = self.claim {
            claim.release();
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes the listener for one address. Tries once.
fn bind_one(address: &Address, options: &SocketOptions) -> Result<Listener, Fatal> {
    match address {
        Address::Tcp { host, port } => {
            tcp::bind(host, *port, options).map_err(|source| Fatal::Bind {
                address: shown(address),
                source,
            })
        }
        Address::Unix { path } => unix::bind(Path::new(path), options),
        Address::Fd(number) => inherited::listener(*number),
    }
}
