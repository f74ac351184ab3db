//! The channel between the arbiter and a stem: short messages both ways over a `SOCK_SEQPACKET` pair,
//! as between the arbiter and a worker ([`crate::channel`]).
//!
//! | bytes | meaning |
//! |---|---|
//! | 0 | version of the format, [`VERSION`] |
//! | 1 | kind of message |
//! | 2… | fork: the worker's number (u64), its slot (u32). Forked: number, process (i32). Failed: number, text. Unready: text |
//!
//! Numbers are little endian. An order to fork carries the worker's end of its channel beside the
//! bytes (`SCM_RIGHTS`), and the descriptor of its board if it has one. The arbiter closes its direction to let the stem go.
//!
//! Invariant: only [`StemChannel::wait`] blocks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::channel::WorkerChannel;
use crate::core::{Pid, WorkerId};
use crate::packet::{
    cut, log_garbage, packet_pair, receive, receive_with, transmit, transmit_with,
};

/// The version of the messages' format.
pub(crate) const VERSION: u8 = 1;
/// The longest error text, in bytes; the rest is cut.
const LONGEST_TEXT: usize = 512;
const LONGEST_MESSAGE: usize = 2 + 8 + LONGEST_TEXT;

const READY: u8 = 1;
const FORKED: u8 = 2;
const FORK_FAILED: u8 = 3;
const UNREADY: u8 = 4;
const FORK: u8 = 65;
const REOPEN: u8 = 66;

/// The stem's end.
#[derive(Debug)]
pub struct StemChannel {
    socket: OwnedFd,
}

/// The arbiter's end.
#[derive(Debug)]
pub(crate) struct StemLink {
    socket: OwnedFd,
}

/// What a stem tells the arbiter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The application is loaded.
    Ready,
    /// The order is carried out.
    Forked { worker: WorkerId, pid: Pid },
    /// It will not become ready, for this reason.
    Unready(String),
    /// It is not: there is no process.
    ForkFailed { worker: WorkerId, error: String },
}

/// What the arbiter found on a channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Report(Report),
    /// Nothing more for now.
    Empty,
    /// The stem's end is closed.
    Closed,
}

/// What the arbiter tells a stem.
#[derive(Debug)]
pub(super) enum Command {
    Fork(Order),
    /// Open the log files anew.
    Reopen,
    /// No more orders come.
    Leave,
}

/// A worker to be forked.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) worker: WorkerId,
    pub(super) slot: usize,
    /// The worker's end of its channel; `None` if this process had no room for it.
    pub(super) channel: Option<WorkerChannel>,
    /// Where the worker shows what it counts.
    pub(super) board: Option<OwnedFd>,
}

/// Makes both ends, non-blocking and close-on-exec.
pub(crate) fn pair() -> io::Result<(StemLink, StemChannel)> {
    let (ours, theirs) = packet_pair()?;
    Ok((StemLink { socket: ours }, StemChannel { socket: theirs }))
}

impl StemChannel {
    pub(super) fn ready(&self) -> io::Result<()> {
        transmit(&self.socket, &[VERSION, READY])
    }

    pub(super) fn unready(&self, reason: &str) -> io::Result<()> {
        let mut message = vec![VERSION, UNREADY];
        message.extend(cut(reason, LONGEST_TEXT).as_bytes());
        transmit(&self.socket, &message)
    }

    pub(super) fn forked(&self, worker: WorkerId, pid: Pid) -> io::Result<()> {
        let mut message = about(FORKED, worker);
        message.extend(pid.to_le_bytes());
        transmit(&self.socket, &message)
    }

    pub(super) fn fork_failed(&self, worker: WorkerId, error: &str) -> io::Result<()> {
        let mut message = about(FORK_FAILED, worker);
        message.extend(cut(error, LONGEST_TEXT).as_bytes());
        transmit(&self.socket, &message)
    }

    /// Waits for the next command. [`Command::Leave`] repeats for ever.
    pub(super) fn wait(&self) -> Command {
        let mut buffer = [0; LONGEST_MESSAGE];
        loop {
            let mut descriptors = Vec::new();
            match receive_with(&self.socket, &mut buffer, &mut descriptors) {
                Ok(Some(message)) => match decode_command(message, descriptors) {
                    Some(command) => return command,
                    None => log_garbage("the arbiter", message),
                },
                Err(Errno::AGAIN) => self.sleep(),
                Ok(None) | Err(_) => return Command::Leave,
            }
        }
    }

    /// Whatever the end of the sleep means, the next look tells.
    fn sleep(&self) {
        let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], None);
    }
}

impl StemLink {
    /// The one that an earlier version of the arbiter had.
    pub(super) fn of(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// The caller's copies of `channel` and `board` may be closed as soon as this returns.
    pub(super) fn order(
        &self,
        worker: WorkerId,
        slot: usize,
        channel: BorrowedFd<'_>,
        board: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let slot = u32::try_from(slot).map_err(io::Error::other)?;
        let mut message = about(FORK, worker);
        message.extend(slot.to_le_bytes());
        let descriptors: Vec<_> = std::iter::once(channel).chain(board).collect();
        transmit_with(&self.socket, &message, &descriptors)
    }

    pub(super) fn reopen(&self) -> io::Result<()> {
        transmit(&self.socket, &[VERSION, REOPEN])
    }

    /// The stem finds the end behind what was sent before; what it says is still heard.
    pub(super) fn dismiss(&self) -> io::Result<()> {
        Ok(shutdown(&self.socket, Shutdown::Write)?)
    }

    pub(super) fn received(&self) -> Incoming {
        let mut buffer = [0; LONGEST_MESSAGE];
        loop {
            match receive(&self.socket, &mut buffer) {
                Ok(Some(message)) => match decode_report(message) {
                    Some(report) => return Incoming::Report(report),
                    None => log_garbage("a stem", message),
                },
                Err(Errno::AGAIN) => return Incoming::Empty,
                // Also a connection reset, which the kernel reports when unread commands are left.
                Err(Errno::CONNRESET) => {}
                Ok(None) | Err(_) => return Incoming::Closed,
            }
        }
    }
}

impl AsFd for StemLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn about(kind: u8, worker: WorkerId) -> Vec<u8> {
    let mut message = vec![VERSION, kind];
    message.extend(worker.to_le_bytes());
    message
}

fn decode_report(message: &[u8]) -> Option<Report> {
    match message {
        [VERSION, READY] => Some(Report::Ready),
        [VERSION, UNREADY, reason @ ..] => {
            let reason = String::from_utf8_lossy(reason).into_owned();
            Some(Report::Unready(reason))
        }
        [VERSION, FORKED, rest @ ..] => {
            let (worker, rest) = rest.split_first_chunk()?;
            let (worker, pid) = (u64::from_le_bytes(*worker), rest.try_into().ok()?);
            let pid = i32::from_le_bytes(pid);
            (pid > 0).then_some(Report::Forked { worker, pid })
        }
        [VERSION, FORK_FAILED, rest @ ..] => {
            let (worker, text) = rest.split_first_chunk()?;
            let worker = u64::from_le_bytes(*worker);
            let error = String::from_utf8_lossy(text).into_owned();
            Some(Report::ForkFailed { worker, error })
        }
        _ => None,
    }
}

fn decode_command(message: &[u8], descriptors: Vec<OwnedFd>) -> Option<Command> {
    let mut descriptors = descriptors.into_iter();
    match message {
        [VERSION, REOPEN] => Some(Command::Reopen),
        [VERSION, FORK, rest @ ..] => {
            let (worker, slot) = rest.split_first_chunk()?;
            let slot = u32::from_le_bytes(slot.try_into().ok()?);
            Some(Command::Fork(Order {
                worker: u64::from_le_bytes(*worker),
                slot: usize::try_from(slot).ok()?,
                channel: descriptors.next().map(WorkerChannel::over),
                board: descriptors.next(),
            }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel;

    #[test]
    fn reports_arrive_as_they_were_sent() {
        let (link, stem) = pair().unwrap();
        stem.ready().unwrap();
        stem.unready("no database").unwrap();
        stem.forked(7, 4242).unwrap();
        stem.fork_failed(8, "no room").unwrap();
        assert_eq!(link.received(), Incoming::Report(Report::Ready));
        let unready = Report::Unready("no database".to_owned());
        assert_eq!(link.received(), Incoming::Report(unready));
        let (worker, pid) = (7, 4242);
        assert_eq!(
            link.received(),
            Incoming::Report(Report::Forked { worker, pid })
        );
        let (worker, error) = (8, "no room".to_owned());
        assert_eq!(
            link.received(),
            Incoming::Report(Report::ForkFailed { worker, error })
        );
        assert_eq!(link.received(), Incoming::Empty);
    }

    #[test]
    fn an_order_brings_the_workers_end_of_a_channel() {
        let (link, stem) = pair().unwrap();
        let (arbiter, worker) = channel::pair().unwrap();
        let (board, kept) = rustix::pipe::pipe().unwrap();
        link.order(3, 1, worker.as_fd(), Some(board.as_fd()))
            .unwrap();
        drop(worker);
        let Command::Fork(order) = stem.wait() else {
            panic!("no order");
        };
        assert_eq!((order.worker, order.slot), (3, 1));
        rustix::io::write(&kept, b"counts").unwrap();
        assert_eq!(rustix::io::read(order.board.unwrap(), &mut [0; 8]), Ok(6));
        order.channel.unwrap().ready().unwrap();
        let ready = channel::Incoming::Report(channel::Report::Ready);
        assert_eq!(arbiter.received(), ready);
    }

    #[test]
    fn a_stem_that_is_let_go_reads_what_came_before_and_is_still_heard() {
        let (link, stem) = pair().unwrap();
        link.reopen().unwrap();
        link.dismiss().unwrap();
        assert!(matches!(stem.wait(), Command::Reopen));
        assert!(matches!(stem.wait(), Command::Leave));
        stem.forked(1, 2).unwrap();
        let (worker, pid) = (1, 2);
        assert_eq!(
            link.received(),
            Incoming::Report(Report::Forked { worker, pid })
        );
    }

    #[test]
    fn last_words_are_heard_even_if_the_stem_left_orders_unread() {
        let (link, stem) = pair().unwrap();
        stem.forked(1, 2).unwrap();
        link.reopen().unwrap();
        drop(stem);
        let (worker, pid) = (1, 2);
        assert_eq!(
            link.received(),
            Incoming::Report(Report::Forked { worker, pid })
        );
        assert_eq!(link.received(), Incoming::Closed);
    }

    #[test]
    fn a_stem_whose_arbiter_is_gone_leaves() {
        let (link, stem) = pair().unwrap();
        drop(link);
        assert!(matches!(stem.wait(), Command::Leave));
        assert!(stem.ready().is_err());
    }

    #[test]
    fn damaged_messages_are_skipped_and_an_order_without_its_descriptor_is_not() {
        let (link, stem) = pair().unwrap();
        for message in [&[VERSION, FORK, 1][..], &[9, REOPEN], &[VERSION, 255]] {
            transmit(&link.socket, message).unwrap();
            transmit(&stem.socket, message).unwrap();
        }
        transmit(&stem.socket, &[VERSION, FORKED, 1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut order = about(FORK, 5);
        order.extend(0_u32.to_le_bytes());
        transmit(&link.socket, &order).unwrap();
        let Command::Fork(order) = stem.wait() else {
            panic!("no order");
        };
        assert!(order.channel.is_none());
        assert_eq!(link.received(), Incoming::Empty);
    }
}
