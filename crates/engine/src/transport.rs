//! How bytes travel between a connection and its socket: as they are, or encrypted. The one place where the two are told
//! apart; whoever reads or writes asks here. Invariant: the plain way costs one match for each call and nothing else.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown,
};

use crate::exchange::Scheme;
use crate::outbox::retry;
use crate::tls::{Facts, Session};

/// Up to so many parts leave as they are; more are copied together.
const PARTS: usize = 4;

/// What a look at the socket brought.
pub(crate) enum Received {
    Bytes(usize),
    Nothing,
    End,
}

/// See the module.
#[derive(Debug)]
pub(crate) enum Transport {
    /// The socket as it is. Shared with an application thread only while that thread waits for room to write.
    Plain(Arc<OwnedFd>),
    /// Encrypted.
    Tls(Box<Session>),
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(fd) => fd.as_fd(),
            Self::Tls(session) => session.socket().as_fd(),
        }
    }
}

impl Transport {
    pub(crate) fn plain(socket: OwnedFd) -> Self {
        Self::Plain(Arc::new(socket))
    }

    /// The socket, to wait for room on it elsewhere.
    pub(crate) fn socket(&self) -> Arc<OwnedFd> {
        match self {
            Self::Plain(fd) => fd.clone(),
            Self::Tls(session) => session.socket().clone(),
        }
    }

    /// What the client used, whatever a proxy says.
    pub(crate) fn scheme(&self) -> Scheme {
        match self {
            Self::Plain(_) => Scheme::Http,
            Self::Tls(_) => Scheme::Https,
        }
    }

    /// What was agreed with the client.
    pub(crate) fn facts(&self) -> Option<Arc<Facts>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(session) => session.facts(),
        }
    }

    /// Whether bytes have left the socket that nobody has received.
    pub(crate) fn has_unread(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(session) => session.has_unread(),
        }
    }

    /// Whether another process can go on with it: keys of a session cannot be given away.
    pub(crate) fn moves(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Receives into `room`, which takes 16 KiB at least. Also whether the socket may hold more that no event will announce.
    ///
    /// A short read means that the socket is empty: the next byte is a new edge. After the client's end was announced
    /// (`ended`) there is no further edge, so the end itself must be read.
    #[inline]
    pub(crate) fn receive(&mut self, room: &mut [u8], ended: bool) -> io::Result<(Received, bool)> {
        match self {
            Self::Plain(fd) => receive_plain(fd, room, ended),
            Self::Tls(session) => session.receive(room, ended),
        }
    }

    /// The same for bytes that nobody will look at: they are not decrypted.
    pub(crate) fn discard(&self, room: &mut [u8], ended: bool) -> io::Result<(Received, bool)> {
        match self {
            Self::Plain(fd) => receive_plain(fd, room, ended),
            Self::Tls(session) => receive_plain(session.socket(), room, ended),
        }
    }

    /// Gives `parts` to the socket: one system call, if it is plain. How much it took.
    #[inline]
    pub(crate) fn send(&mut self, parts: &[&[u8]]) -> io::Result<usize> {
        match self {
            Self::Plain(fd) => send_parts(fd, parts),
            Self::Tls(session) => session.send(parts),
        }
    }

    /// Sends what is encrypted and still here. Whether everything has left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(session) => session.flush(),
        }
    }

    /// What was taken by [`Transport::send`] is with the kernel.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(session) => session.is_flushed(),
        }
    }

    /// The response is not complete, and the client shall be able to tell.
    pub(crate) fn cut(&mut self) {
        if let Self::Tls(session) = self {
            session.cut();
        }
    }

    /// Says that nothing more comes, as far as the socket takes that at once.
    pub(crate) fn say_goodbye(&mut self) {
        if let Self::Tls(session) = self {
            // Whoever does not hear it finds the connection closed.
            let _ = session.say_goodbye();
        }
    }

    /// Says that nothing more comes. Whether that has left; else call again when the socket has room.
    pub(crate) fn end(&mut self) -> bool {
        let said = match self {
            Self::Plain(_) => true,
            Self::Tls(session) => session.say_goodbye().unwrap_or(true),
        };
        if said {
            // The client may have reset the connection; then the next read says so.
            let _ = shutdown(&*self, Shutdown::Write);
        }
        said
    }
}

fn receive_plain(socket: &OwnedFd, room: &mut [u8], ended: bool) -> io::Result<(Received, bool)> {
    let space = room.len();
    Ok(
        match retry(|| recv(socket, &mut *room, RecvFlags::empty()))? {
            None => (Received::Nothing, false),
            Some((0, _)) => (Received::End, true),
            Some((n, _)) => (Received::Bytes(n), n == space || ended),
        },
    )
}

/// One system call with as much as the socket takes.
fn send_parts(socket: &OwnedFd, parts: &[&[u8]]) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); PARTS];
    let sent = if let [only] = parts {
        retry(|| send(socket, only, SendFlags::NOSIGNAL))?
    } else if let Some(slices) = slices.get_mut(..parts.len()) {
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        let mut none = SendAncillaryBuffer::default();
        retry(|| sendmsg(socket, slices, &mut none, SendFlags::NOSIGNAL))?
    } else {
        let all = parts.concat();
        retry(|| send(socket, &all, SendFlags::NOSIGNAL))?
    };
    Ok(sent.unwrap_or(0))
}
