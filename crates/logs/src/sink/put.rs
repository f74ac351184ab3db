//! One write that does not wait, whatever the descriptor refers to and however it was opened.
//!
//! For: standard streams, whose open file is shared with other programs and so may not be made
//! non-blocking. Not for: terminals that were stopped; those keep whoever writes to them.
//!
//! Invariant: a pipe or socket that is full is an `EAGAIN`, never a wait.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::SendFlags;

/// A write of at most this many bytes to a pipe is never mixed with another process's
/// (`PIPE_BUF` on Linux; POSIX guarantees 512).
pub(super) const PIPE_WRITE: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// The position of a file that has none.
const NOWHERE: u64 = u64::MAX;

/// What a descriptor refers to, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pipe,
    Socket,
    Other,
}

impl Kind {
    /// At this moment: standard streams are redirected at times.
    pub(super) fn of(fd: BorrowedFd<'_>) -> Self {
        let found = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match found {
            Ok(FileType::Fifo) => Self::Pipe,
            Ok(FileType::Socket) => Self::Socket,
            _ => Self::Other,
        }
    }

    /// The longest write that is kept in one piece.
    pub(super) const fn atomic_write(self) -> usize {
        match self {
            Self::Pipe => PIPE_WRITE,
            Self::Socket | Self::Other => usize::MAX,
        }
    }

    /// Writes as much of `bytes` as is taken at once.
    pub(super) fn put(self, fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Pipe => put_in_pipe(fd, bytes),
            Self::Socket => rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Self::Other => rustix::io::write(fd, bytes),
        }
    }
}

fn put_in_pipe(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    match rustix::io::pwritev2(fd, &[IoSlice::new(bytes)], NOWHERE, ReadWriteFlags::NOWAIT) {
        // Before Linux 6.5.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => put_in_room(fd, bytes),
        put => put,
    }
}

/// What has room is known to take so much; only another process that is quicker can still make it wait.
fn put_in_room(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let mut interest = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    match rustix::event::poll(&mut interest, Some(&Timespec::default()))? {
        0 => Err(Errno::AGAIN),
        _ => rustix::io::write(fd, &bytes[..bytes.len().min(PIPE_WRITE)]),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn fill(put: impl Fn(&[u8]) -> Result<usize, Errno>) -> usize {
        let mut taken = 0;
        loop {
            match put(&[b'x'; 1000]) {
                Ok(more) => taken += more,
                Err(error) => {
                    assert_eq!(error, Errno::AGAIN);
                    return taken;
                }
            }
        }
    }

    #[test]
    fn a_blocking_pipe_that_is_full_is_said_to_be() {
        let (_reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let fd = writer.as_fd();
        assert_eq!(Kind::of(fd), Kind::Pipe);
        assert!(fill(|bytes| Kind::Pipe.put(fd, bytes)) >= PIPE_WRITE);
    }

    #[test]
    fn so_is_one_where_the_kernel_cannot_be_asked_not_to_wait() {
        let (_reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        assert!(fill(|bytes| put_in_room(writer.as_fd(), bytes)) >= PIPE_WRITE);
    }

    #[test]
    fn a_blocking_socket_that_is_full_is_said_to_be() {
        let (writer, _reader) = UnixStream::pair().unwrap();
        let fd = writer.as_fd();
        assert_eq!(Kind::of(fd), Kind::Socket);
        assert!(fill(|bytes| Kind::Socket.put(fd, bytes)) >= PIPE_WRITE);
    }
}
