//! What a new arbiter and an orphan say to each other, over one `SOCK_SEQPACKET` connection each.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0 | version of the format, [`VERSION`] |
//! | 1 | kind of message |
//! | 2… | of hello: the orphan's process id (i32, little endian) |
//!
//! ```text
//! arbiter                        orphan
//!   │ seek, or call ──────────────▶ │   with seek it is asked for the sockets as well:
//!   │ ◀──── socket … socket, place  │   a listening one each, and the meeting place (SCM_RIGHTS)
//!   │ ◀────────────────────── hello │   it serves on, and waits for the arbiter's workers
//!   │ give ───────────────────────▶ │
//!   │ ◀────────────────────── offer │   one end of a fresh pair, over which its connections come
//!   │ ◀──────────── end, when it has given everything; hello, when nobody took it
//!   │ leave ──────────────────────▶ │   instead of give: the server stops
//! ```
//!
//! Invariant: no call blocks; who says what cannot be understood has ended the conversation.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::getpid;

use super::place::MeetingPlace;
use crate::core::Pid;
use crate::packet::{log_garbage, packet_pair, receive_with, transmit, transmit_with};
use crate::translate::TARGET;

/// The version of the messages' format.
const VERSION: u8 = 1;

const SEEK: u8 = 1;
const CALL: u8 = 2;
const GIVE: u8 = 3;
const LEAVE: u8 = 4;
const SOCKET: u8 = 65;
const PLACE: u8 = 66;
const HELLO: u8 = 67;
const OFFER: u8 = 68;
/// Longer ones are of a version to come.
const LONGEST_MESSAGE: usize = 64;

/// The arbiter's end: a call until hello was said, then the link to that orphan.
#[derive(Debug)]
pub(super) struct Call {
    socket: OwnedFd,
}

/// What an orphan says.
#[derive(Debug)]
pub(super) enum Answer {
    /// A listening socket of its server.
    Socket(OwnedFd),
    Place(MeetingPlace),
    Hello(Pid),
    /// Connections come over this.
    Offer(OwnedFd),
    /// Nothing more for now.
    Nothing,
    /// It is gone, or nobody that can be talked to.
    End,
}

impl Call {
    pub(super) fn over(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Says who calls. `seeks`: the sockets are wanted.
    pub(super) fn ring(&self, seeks: bool) -> io::Result<()> {
        self.say(if seeks { SEEK } else { CALL })
    }

    pub(super) fn give(&self) -> io::Result<()> {
        self.say(GIVE)
    }

    pub(super) fn leave(&self) -> io::Result<()> {
        self.say(LEAVE)
    }

    fn say(&self, kind: u8) -> io::Result<()> {
        transmit(&self.socket, &[VERSION, kind])
    }

    pub(super) fn heard(&self) -> Answer {
        let mut buffer = [0; LONGEST_MESSAGE];
        match received(&self.socket, &mut buffer) {
            Received::Message(message, descriptor) => {
                answer(message, descriptor).unwrap_or_else(|| {
                    log_garbage("a worker of another arbiter", message);
                    Answer::End
                })
            }
            Received::Nothing => Answer::Nothing,
            Received::End => Answer::End,
        }
    }
}

impl AsFd for Call {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn answer(message: &[u8], descriptor: Option<OwnedFd>) -> Option<Answer> {
    match (message, descriptor) {
        ([VERSION, SOCKET], Some(socket)) => Some(Answer::Socket(socket)),
        ([VERSION, PLACE], Some(place)) => Some(Answer::Place(MeetingPlace::of(place))),
        ([VERSION, HELLO, pid @ ..], None) => {
            let pid = pid.try_into().ok()?;
            Some(Answer::Hello(Pid::from_le_bytes(pid)))
        }
        ([VERSION, OFFER], Some(end)) => Some(Answer::Offer(end)),
        _ => None,
    }
}

/// The orphan's end.
#[derive(Debug)]
pub struct OrphanLink {
    socket: OwnedFd,
}

/// What a new arbiter tells an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Say who you are; with the sockets that you listen on, if they are wanted.
    Call {
        /// They are.
        seeks: bool,
    },
    /// Offer your connections, and leave when they have moved.
    Give,
    /// Finish your requests, and leave.
    Leave,
    /// Nothing more for now.
    Nothing,
    /// It is gone, or nobody that can be talked to.
    End,
}

impl OrphanLink {
    pub(super) fn over(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// What the arbiter says next. [`Word::End`] repeats for ever.
    pub fn heard(&self) -> Word {
        let mut buffer = [0; LONGEST_MESSAGE];
        match received(&self.socket, &mut buffer) {
            Received::Message([VERSION, SEEK], None) => Word::Call { seeks: true },
            Received::Message([VERSION, CALL], None) => Word::Call { seeks: false },
            Received::Message([VERSION, GIVE], None) => Word::Give,
            Received::Message([VERSION, LEAVE], None) => Word::Leave,
            Received::Message(message, _) => {
                log_garbage("an arbiter", message);
                Word::End
            }
            Received::Nothing => Word::Nothing,
            Received::End => Word::End,
        }
    }

    /// Sends what the arbiter needs to listen where this server listens.
    ///
    /// # Errors
    /// What the system says; then it is best to end the conversation.
    pub fn send_sockets(
        &self,
        listeners: &[BorrowedFd<'_>],
        place: &MeetingPlace,
    ) -> io::Result<()> {
        for listener in listeners {
            transmit_with(&self.socket, &[VERSION, SOCKET], &[*listener])?;
        }
        transmit_with(&self.socket, &[VERSION, PLACE], &[place.as_fd()])
    }

    /// Says that this process serves on, and waits to be told to give.
    ///
    /// # Errors
    /// As [`send_sockets`](Self::send_sockets).
    pub fn hello(&self) -> io::Result<()> {
        let mut message = vec![VERSION, HELLO];
        message.extend(getpid().as_raw_nonzero().get().to_le_bytes());
        transmit(&self.socket, &message)
    }

    /// Offers this process' connections: the end over which to give them. Who does not take them
    /// closes the other one.
    ///
    /// # Errors
    /// As [`send_sockets`](Self::send_sockets).
    pub fn offer(&self) -> io::Result<OwnedFd> {
        let (ours, theirs) = packet_pair()?;
        transmit_with(&self.socket, &[VERSION, OFFER], &[theirs.as_fd()])?;
        Ok(ours)
    }
}

impl AsFd for OrphanLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

enum Received<'a> {
    /// With the descriptor beside it. One that should have come may have been lost for want of room.
    Message(&'a [u8], Option<OwnedFd>),
    Nothing,
    End,
}

fn received<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Received<'a> {
    let mut descriptors = Vec::new();
    match receive_with(socket, buffer, &mut descriptors) {
        Ok(Some(message)) => Received::Message(message, descriptors.pop()),
        Err(Errno::AGAIN) => Received::Nothing,
        Ok(None) => Received::End,
        Err(error) => {
            // Also a connection reset, which the kernel reports when unread messages are left.
            log::debug!(target: TARGET, "A link to or from an orphan failed: {error}");
            Received::End
        }
    }
}
