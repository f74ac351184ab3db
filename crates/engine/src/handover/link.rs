//! One end of the socket between two engines: whole packets with descriptors, without blocking. It knows no message.
//! Invariant: a packet is sent with all its descriptors or not at all, and one that arrives without some of them says so.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::cmsg_space;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most descriptors the kernel passes in one packet (`SCM_MAX_FD`).
const DESCRIPTORS: usize = 253;

/// The largest packet. Four of them fit the smallest usual socket buffer (208 KiB) with room to spare.
pub(crate) const PACKET: usize = 32 << 10;

/// Why a packet was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Something is missing for the moment: room in the socket, memory, descriptors.
    Later,
    /// Nobody will read it any more.
    Gone,
    /// It cannot be sent at all.
    Never(Errno),
}

impl From<Errno> for Unsent {
    fn from(error: Errno) -> Self {
        match error {
            // ETOOMANYREFS: this user has as many descriptors on their way as one process may have open.
            Errno::AGAIN
            | Errno::INTR
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::MFILE
            | Errno::NFILE
            | Errno::TOOMANYREFS => Self::Later,
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::CONNREFUSED => Self::Gone,
            other => Self::Never(other),
        }
    }
}

/// What a receive brought.
#[derive(Debug)]
pub(crate) enum Received {
    Packet(Packet),
    Nothing,
    /// The other end is closed, and everything it sent was read.
    End,
}

/// A packet as it arrived.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// The kernel had to close descriptors: there was no room for them.
    pub(crate) short: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
    /// There may be packets that no event will announce again.
    pub(crate) readable: bool,
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Link {
    /// Takes over one end of a connected pair of sequenced-packet sockets.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            readable: true,
        })
    }

    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Unsent> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Unsent::Never(Errno::INVAL));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next packet, if there is one.
    pub(crate) fn receive(&mut self) -> io::Result<Received> {
        let mut bytes = vec![0; PACKET];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let arrived = loop {
            let parts = &mut [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.socket, parts, &mut control, flags) {
                Ok(arrived) => break arrived,
                // The other end was closed before it read all of ours. Said once; what it sent can still be read.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return Ok(Received::Nothing);
                }
                Err(error) => return Err(error.into()),
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if arrived.bytes == 0 {
            return Ok(Received::End);
        }
        bytes.truncate(arrived.bytes);
        if arrived.flags.contains(ReturnFlags::TRUNC) {
            // Longer than any packet we know: nobody shall understand the half of it.
            bytes.clear();
        }
        let short = arrived.flags.contains(ReturnFlags::CTRUNC);
        Ok(Received::Packet(Packet {
            bytes,
            descriptors,
            short,
        }))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
