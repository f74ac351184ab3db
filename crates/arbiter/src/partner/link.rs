//! The link between two arbiters: short messages both ways over a `SOCK_SEQPACKET` pair, one end of
//! which the second arbiter inherits.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0 | version of the format, [`VERSION`] |
//! | 1 | kind of message: away, able, leaving, offer |
//!
//! An offer carries one descriptor (`SCM_RIGHTS`): the end of a fresh pair over which a worker of the
//! sender's gives its connections.
//!
//! Invariant: no call blocks. What cannot be understood is logged and ignored, and its descriptors
//! are closed: the other arbiter is usually of another version.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::core::Standing;
use crate::packet::{log_garbage, receive_with, transmit, transmit_with};

/// The version of the messages' format.
const VERSION: u8 = 1;

const AWAY: u8 = 1;
const ABLE: u8 = 2;
const LEAVING: u8 = 3;
const OFFER: u8 = 4;
/// Longer ones are of a version to come.
const LONGEST_MESSAGE: usize = 64;

/// One end.
#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
}

/// What was found on the link.
#[derive(Debug)]
pub(super) enum Heard {
    Standing(Standing),
    /// Connections come over this.
    Offer(OwnedFd),
    /// Nothing more for now.
    Nothing,
    /// The other end is closed.
    End,
}

impl Link {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    pub(super) fn say(&self, standing: Standing) -> io::Result<()> {
        let kind = match standing {
            Standing::Away => AWAY,
            Standing::Able => ABLE,
            Standing::Leaving => LEAVING,
        };
        transmit(&self.socket, &[VERSION, kind])
    }

    /// The caller's end may be closed as soon as this returns.
    pub(super) fn offer(&self, end: BorrowedFd<'_>) -> io::Result<()> {
        transmit_with(&self.socket, &[VERSION, OFFER], &[end])
    }

    pub(super) fn heard(&self) -> Heard {
        let mut buffer = [0; LONGEST_MESSAGE];
        loop {
            let mut descriptors = Vec::new();
            match receive_with(&self.socket, &mut buffer, &mut descriptors) {
                Ok(Some(message)) => match decoded(message, descriptors) {
                    Some(heard) => return heard,
                    None => log_garbage("the other arbiter", message),
                },
                Err(Errno::AGAIN) => return Heard::Nothing,
                // Also a connection reset, which the kernel reports when unread messages are left.
                Ok(None) | Err(_) => return Heard::End,
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn decoded(message: &[u8], mut descriptors: Vec<OwnedFd>) -> Option<Heard> {
    let end = descriptors.pop().filter(|_| descriptors.is_empty());
    match (message, end) {
        ([VERSION, AWAY], None) => Some(Heard::Standing(Standing::Away)),
        ([VERSION, ABLE], None) => Some(Heard::Standing(Standing::Able)),
        ([VERSION, LEAVING], None) => Some(Heard::Standing(Standing::Leaving)),
        ([VERSION, OFFER], Some(end)) => Some(Heard::Offer(end)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::packet_pair;

    #[test]
    fn what_another_version_says_is_passed_over_and_its_descriptors_are_closed() {
        let (one, other) = packet_pair().unwrap();
        let (one, other) = (Link::new(one), Link::new(other));
        for message in [
            &[VERSION + 1, OFFER][..],
            &[VERSION, 99],
            &[VERSION, ABLE],
            &[7; 200],
        ] {
            let (kept, sent) = packet_pair().unwrap();
            transmit_with(&one.socket, message, &[sent.as_fd()]).unwrap();
            drop(sent);
            assert!(matches!(other.heard(), Heard::Nothing), "{message:?}");
            let mut buffer = [0; 8];
            let end = receive_with(&kept, &mut buffer, &mut Vec::new());
            assert_eq!(end, Ok(None), "{message:?} leaks");
        }
        transmit(&one.socket, &[VERSION, OFFER]).unwrap();
        one.say(Standing::Able).unwrap();
        assert!(matches!(other.heard(), Heard::Standing(Standing::Able)));
    }

    #[test]
    fn an_offer_arrives_close_on_exec() {
        let (one, other) = packet_pair().unwrap();
        let (one, other) = (Link::new(one), Link::new(other));
        one.offer(packet_pair().unwrap().0.as_fd()).unwrap();
        let Heard::Offer(end) = other.heard() else {
            panic!("no offer");
        };
        let flags = rustix::io::fcntl_getfd(&end).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}
