//! One connection to the control socket: it asks once, may wait, is answered once, and is closed.
//!
//! Not for what the words mean. Invariant: what is kept of a client is bounded by [`MOST_BYTES`] on
//! the way in, and by one answer on the way out.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::{Errno, read};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SendFlags, send};
use rustix::process::geteuid;

use crate::core::Asker;
use crate::core::ledger::{Damaged, Ledger, Word, Words};

/// How long a request may be, with its line end.
const MOST_BYTES: usize = 256;

#[derive(Debug)]
pub(super) struct Client {
    stream: OwnedFd,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its line is not complete.
    Asking(Vec<u8>),
    /// It has asked, and will be answered.
    Waiting,
    /// What the socket has not yet taken of the answer.
    Told(Vec<u8>),
}

const ASKING: &str = "asking";
const WAITING: &str = "waiting";
const TOLD: &str = "told";

/// What a client has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not yet anything complete.
    Nothing,
    /// A line, without its end.
    Request(String),
    /// More than a request may have.
    TooMuch,
    /// It is gone, or has heard everything.
    End,
}

impl Client {
    pub(super) fn new(stream: OwnedFd) -> Self {
        let state = State::Asking(Vec::new());
        Self { stream, state }
    }

    /// Writes it down for the next version of the arbiter.
    pub(super) fn write(&self, asker: Asker, ledger: &mut Ledger) {
        let (state, bytes) = match &self.state {
            State::Asking(bytes) => (ASKING, bytes.write()),
            State::Waiting => (WAITING, Vec::new().write()),
            State::Told(bytes) => (TOLD, bytes.write()),
        };
        let number = ledger.inherit(self.stream.as_raw_fd());
        let words = [asker.write(), number, state.to_owned(), bytes];
        ledger.put("control-client", words);
    }

    /// A client of an earlier version.
    pub(super) fn read(words: &mut Words<'_>) -> Result<(Asker, Self), Damaged> {
        let (asker, stream) = (words.take()?, words.descriptor()?);
        let (state, bytes) = (words.next()?, words.take()?);
        let state = match state {
            ASKING => State::Asking(bytes),
            WAITING => State::Waiting,
            TOLD => State::Told(bytes),
            _ => return Err(words.damaged()),
        };
        Ok((asker, Self { stream, state }))
    }

    /// Whether it runs as our own user or as root.
    pub(super) fn is_ours(&self) -> bool {
        socket_peercred(&self.stream).is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid())
    }

    pub(super) fn waits(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// A client that waits is only watched for its end (`HUP`, which is always reported).
    pub(super) fn interest(&self) -> PollFlags {
        match self.state {
            State::Asking(_) => PollFlags::IN,
            State::Waiting => PollFlags::empty(),
            State::Told(_) => PollFlags::OUT,
        }
    }

    /// It has something to say, can be told more, or is gone.
    pub(super) fn attend(&mut self) -> Heard {
        match self.state {
            State::Asking(_) => self.listen(),
            State::Waiting => Heard::End,
            State::Told(_) => {
                if self.flush() {
                    Heard::End
                } else {
                    Heard::Nothing
                }
            }
        }
    }

    /// Answers. True when there is nothing more to do for this client.
    pub(super) fn tell(&mut self, mut answer: String) -> bool {
        answer.push('\n');
        self.state = State::Told(answer.into_bytes());
        self.flush()
    }

    fn listen(&mut self) -> Heard {
        let State::Asking(line) = &mut self.state else {
            return Heard::Nothing;
        };
        let mut bytes = [0; MOST_BYTES + 1];
        loop {
            match read(&self.stream, &mut bytes) {
                Ok(0) => return Heard::End,
                Ok(count) => line.extend(bytes.iter().take(count)),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Heard::Nothing,
                Err(_) => return Heard::End,
            }
            if let Some(end) = line.iter().take(MOST_BYTES).position(|byte| *byte == b'\n') {
                let text = String::from_utf8_lossy(line.get(..end).unwrap_or_default());
                let request = Heard::Request(text.trim_end_matches('\r').to_owned());
                self.state = State::Waiting;
                return request;
            }
            if line.len() >= MOST_BYTES {
                return Heard::TooMuch;
            }
        }
    }

    /// True when the answer has left, or cannot.
    fn flush(&mut self) -> bool {
        let State::Told(rest) = &mut self.state else {
            return false;
        };
        while !rest.is_empty() {
            match send(&self.stream, rest, SendFlags::NOSIGNAL) {
                Ok(count) => drop(rest.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => return true,
            }
        }
        true
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
