//! Packets over a `SOCK_SEQPACKET` socket: bytes, and descriptors beside them (`SCM_RIGHTS`).
//!
//! A packet arrives whole or not at all, so there is no framing. What the bytes mean is said by
//! `channel.rs` (arbiter and worker), `stem/channel.rs` (arbiter and stem), `partner/link.rs` (two
//! arbiters) and `orphans/link.rs` (arbiter and orphan).
//!
//! Invariant: no call blocks, and every descriptor that arrives is close-on-exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socketpair,
};

/// The most descriptors beside a message.
const MOST_DESCRIPTORS: usize = 2;

/// Makes a pair, non-blocking and close-on-exec. Over such a one a worker also gives its connections to
/// another.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

pub(crate) fn transmit(socket: &OwnedFd, message: &[u8]) -> io::Result<()> {
    loop {
        match send(socket, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// At most [`MOST_DESCRIPTORS`] descriptors.
pub(crate) fn transmit_with(
    socket: &OwnedFd,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        match sendmsg(socket, &[IoSlice::new(message)], &mut control, flags) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// As [`receive`], with the descriptors that came along. The kernel closes what it cannot deliver, and
/// the message then has too few.
pub(crate) fn receive_with<'a>(
    socket: &OwnedFd,
    buffer: &'a mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Option<&'a [u8]>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let length = loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Ok(received) => {
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        descriptors.extend(rights);
                    }
                }
                break received.bytes;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    };
    Ok(buffer.get(..length).filter(|message| !message.is_empty()))
}

/// `None` at end-of-file. No message of ours is empty, so an empty one cannot be mistaken for it by
/// our fault.
pub(crate) fn receive<'a>(
    socket: &OwnedFd,
    buffer: &'a mut [u8],
) -> Result<Option<&'a [u8]>, Errno> {
    let length = loop {
        match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) => break length,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    };
    Ok(buffer.get(..length).filter(|message| !message.is_empty()))
}

pub(crate) fn log_garbage(sender: &str, message: &[u8]) {
    let start = message.get(..8).unwrap_or(message);
    let length = message.len();
    log::warn!(target: "oxicorn", "Ignored a message from {sender}: {length} bytes, {start:02x?}");
}

/// The longest start of `text` within `limit` bytes that ends between two characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}
