//! Sockets that another process made for us: `fd://N` and systemd's socket activation
//! (`sd_listen_fds(3)`).

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{SocketType, sockopt};

use super::Listener;
use crate::core::Pid;
use crate::fatal::Fatal;
use crate::sys::descriptors::adopt;

/// The descriptors that the service manager passed.
///
/// The variables that announce them are the caller's to remove from the environment
/// ([`are_ours`](Self::are_ours)), so that no child takes the descriptors for its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenFds {
    count: RawFd,
    names: Vec<String>,
    ours: bool,
}

impl ListenFds {
    /// The number of the first one, by convention.
    const FIRST: RawFd = 3;

    /// Reads `LISTEN_PID` and `LISTEN_FDS` as the environment holds them; for another process they
    /// are none.
    pub fn from_environment(listen_pid: Option<&str>, listen_fds: Option<&str>, own: Pid) -> Self {
        let ours = listen_pid.and_then(|pid| pid.parse().ok()) == Some(own);
        let count = listen_fds
            .and_then(|count| count.parse().ok())
            .filter(|count| *count > 0);
        Self {
            count: count.filter(|_| ours).unwrap_or(0),
            names: Vec::new(),
            ours,
        }
    }

    /// Whether the variables spoke of this process and are now used up: unset them.
    pub const fn are_ours(&self) -> bool {
        self.ours
    }

    /// With the descriptors' names, as `LISTEN_FDNAMES` holds them.
    #[must_use]
    pub fn named(mut self, names: Option<&str>) -> Self {
        let names = names.into_iter().flat_map(|names| names.split(':'));
        self.names = names.map(str::to_owned).collect();
        self
    }

    fn numbers(&self) -> impl Iterator<Item = RawFd> {
        Self::FIRST..Self::FIRST.saturating_add(self.count)
    }

    /// Each descriptor with its name, which may be empty.
    pub(super) fn entries(&self) -> impl Iterator<Item = (RawFd, String)> {
        let names = self.names.iter().cloned();
        self.numbers()
            .zip(names.chain(std::iter::repeat(String::new())))
    }
}

/// Makes a listener of an inherited descriptor.
pub(super) fn listener(number: RawFd) -> Result<Listener, Fatal> {
    adopt(number)
        .and_then(usable)
        .and_then(|fd| Listener::new(fd, None))
        .map_err(|source| Fatal::Descriptor { number, source })
}

pub(super) fn usable(fd: OwnedFd) -> io::Result<OwnedFd> {
    if sockopt::socket_type(&fd)? != SocketType::STREAM || !sockopt::socket_acceptconn(&fd)? {
        let reason = "it is not a listening stream socket";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::{AsFd, IntoRawFd};

    use rustix::io::fcntl_dupfd_cloexec;

    /// A number from `lowest` on, where no other test opens files: one is adopted once only.
    fn renumbered(socket: impl AsFd, lowest: RawFd) -> RawFd {
        fcntl_dupfd_cloexec(socket, lowest).unwrap().into_raw_fd()
    }

    #[test]
    fn activation_counts_only_for_the_named_process() {
        let read = |pid, fds| ListenFds::from_environment(pid, fds, 42);
        assert_eq!(
            read(Some("42"), Some("2")).numbers().collect::<Vec<_>>(),
            [3, 4]
        );
        assert!(read(Some("42"), Some("2")).are_ours());
        for other in [
            read(Some("41"), Some("2")),
            read(None, Some("2")),
            read(Some("x"), Some("2")),
        ] {
            assert_eq!(other.numbers().count(), 0);
            assert!(!other.are_ours());
        }
        assert_eq!(read(Some("42"), Some("-1")).numbers().count(), 0);
        assert_eq!(read(Some("42"), None).numbers().count(), 0);
    }

    #[test]
    fn a_listening_socket_is_taken_over_and_made_non_blocking() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = listener(renumbered(socket, 300)).unwrap();
        assert_eq!(listener.local.to_string(), format!("http://{address}"));
        assert!(
            fcntl_getfl(&listener.fd)
                .unwrap()
                .contains(OFlags::NONBLOCK)
        );
    }

    #[test]
    fn what_does_not_listen_is_refused_with_its_number() {
        let number = renumbered(UdpSocket::bind("127.0.0.1:0").unwrap(), 400);
        let text = listener(number).unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("Can't use fd://{number}: it is not")),
            "{text}"
        );
    }
}
