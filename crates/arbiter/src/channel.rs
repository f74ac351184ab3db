//! The channel between the arbiter and one worker: short messages both ways over a `SOCK_SEQPACKET`
//! pair.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0 | version of the format, [`VERSION`] |
//! | 1 | kind of message |
//! | 2… | of some reports only: see below |
//!
//! `Give` and `Take` carry one descriptor beside the bytes (`SCM_RIGHTS`): an end of a fresh pair over
//! which connections move. A worker that reported ready accepts nothing until it is told to serve.
//!
//! A stuck report goes on with the age in ms (u64), the length of the request line in bytes (u16),
//! both little endian, the request line, and the client's address up to the end. A saturated report
//! goes on with the number of connections that wait (u32, little endian), an outgrown report with the
//! bytes used and the bytes allowed (u64 each, little endian), an unready report with the reason.
//!
//! A datagram arrives whole or not at all, so there is no framing. What cannot be understood is
//! logged and ignored, and its descriptors are closed: an arbiter may one day have workers of another
//! version. No call here ever
//! blocks, and end-of-file tells each side that the other is gone. Not for bulk data: a channel
//! carries a handful of messages in a worker's life.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::core::StuckRequest;
use crate::packet::{
    cut, log_garbage, packet_pair, receive, receive_with, transmit, transmit_with,
};

/// The version of the messages' format.
pub const VERSION: u8 = 2;

/// The longest request line and client address that a stuck report carries, in bytes; the rest is
/// cut.
const LONGEST_LINE: usize = 1024;
const LONGEST_CLIENT: usize = 128;
const LONGEST_MESSAGE: usize = 2 + 8 + 2 + LONGEST_LINE + LONGEST_CLIENT;

const READY: u8 = 1;
const STUCK: u8 = 2;
const RETIRING: u8 = 3;
const DRAINING: u8 = 4;
const GIVEN: u8 = 5;
const SATURATED: u8 = 6;
const RELIEVED: u8 = 7;
const UNREADY: u8 = 8;
const OUTGROWN: u8 = 9;
const STRANDED: u8 = 10;
const DRAIN: u8 = 65;
const SERVE: u8 = 66;
const PARK: u8 = 67;
const GIVE: u8 = 68;
const TAKE: u8 = 69;

/// What a worker tells the arbiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The application is loaded, the signal handlers are installed, it waits for the word to serve.
    Ready,
    /// It will not become ready, for this reason.
    Unready(String),
    /// It uses more memory than it may, and serves on until it is told to drain.
    Outgrown {
        /// Resident bytes.
        used: u64,
        /// `max_worker_memory`.
        limit: u64,
    },
    /// The application has had a request for longer than `timeout`.
    Stuck(StuckRequest),
    /// It wants a successor (`max_requests`), and serves on until it is told to drain.
    Retiring,
    /// Every connection that could move was given away; those inside the application follow.
    Given,
    /// Whoever took its connections has gone, or is going: it keeps those that are left.
    Stranded,
    /// No thread has come out of the application for a while, and so many other connections wait.
    Saturated(u32),
    /// After `Saturated`: a thread is free again.
    Relieved,
    /// It has stopped accepting and will end.
    Draining,
}

/// What the arbiter tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Accept connections; also after any of the others but `Drain`.
    Serve,
    /// Accept no more connections; serve those that are there, and stay.
    Park,
    /// As `Park`, and give the connections to whoever holds the other end, until told otherwise.
    Give(OwnedFd),
    /// Take the connections that whoever holds the other end gives.
    Take(OwnedFd),
    /// Stop accepting, finish what was begun, end with code 0.
    Drain,
    /// The arbiter is gone: nobody will replace or stop this worker any more.
    Orphaned,
}

/// The worker's end. Every method takes `&self` and may be called from any thread.
#[derive(Debug)]
pub struct WorkerChannel {
    socket: OwnedFd,
}

/// The arbiter's end.
#[derive(Debug)]
pub(crate) struct ArbiterChannel {
    socket: OwnedFd,
}

/// What the arbiter found on a channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Report(Report),
    /// Nothing more for now.
    Empty,
    /// The worker's end is closed.
    Closed,
}

/// Makes both ends, non-blocking and close-on-exec.
pub(crate) fn pair() -> io::Result<(ArbiterChannel, WorkerChannel)> {
    let (ours, theirs) = packet_pair()?;
    Ok((
        ArbiterChannel { socket: ours },
        WorkerChannel { socket: theirs },
    ))
}

impl WorkerChannel {
    /// The end that somebody else has made.
    pub(crate) fn over(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Reports that the worker can serve. To be sent after the signal handlers are installed, and
    /// once.
    ///
    /// # Errors
    /// `EPIPE` if the arbiter is gone; `EAGAIN` if it has not read for so long that the channel is
    /// full: the message was dropped and may be sent again later. So for every report.
    pub fn ready(&self) -> io::Result<()> {
        self.send(&Report::Ready)
    }

    /// Reports why the worker will not become ready, in a few words; before it ends.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn unready(&self, reason: &str) -> io::Result<()> {
        self.send(&Report::Unready(reason.to_owned()))
    }

    /// Asks for a successor because the worker uses more memory, in bytes, than it may; go on serving
    /// until [`Command::Drain`] comes.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn outgrown(&self, used: u64, limit: u64) -> io::Result<()> {
        self.send(&Report::Outgrown { used, limit })
    }

    /// Reports that the application does not come back; the arbiter will abort this process.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn stuck(&self, request_line: &str, client: &str, age: Duration) -> io::Result<()> {
        let (line, client) = (request_line.to_owned(), client.to_owned());
        self.send(&Report::Stuck(StuckRequest { line, client, age }))
    }

    /// Asks for a successor; go on serving until [`Command::Drain`] comes.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn retiring(&self) -> io::Result<()> {
        self.send(&Report::Retiring)
    }

    /// Reports that every connection that could move was given away.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn given(&self) -> io::Result<()> {
        self.send(&Report::Given)
    }

    /// Reports that nobody takes the worker's connections any more, because the other process has gone
    /// or is going.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn stranded(&self) -> io::Result<()> {
        self.send(&Report::Stranded)
    }

    /// Reports that no thread has come out of the application for a while, and that so many other
    /// connections wait. Until [`relieved`](Self::relieved) they may be given to another worker.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn saturated(&self, waiting: u32) -> io::Result<()> {
        self.send(&Report::Saturated(waiting))
    }

    /// Reports that a thread is free again.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn relieved(&self) -> io::Result<()> {
        self.send(&Report::Relieved)
    }

    /// Reports that the worker leaves on its own account, so that it is replaced without delay.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn draining(&self) -> io::Result<()> {
        self.send(&Report::Draining)
    }

    /// The next command; `None` if there is none at the moment. [`Command::Orphaned`] repeats for
    /// ever.
    pub fn received(&self) -> Option<Command> {
        let mut buffer = [0; LONGEST_MESSAGE];
        loop {
            let mut descriptors = Vec::new();
            match receive_with(&self.socket, &mut buffer, &mut descriptors) {
                Ok(Some(message)) => match decode_command(message, descriptors) {
                    Some(command) => return Some(command),
                    None => log_garbage("the arbiter", message),
                },
                Ok(None) => return Some(Command::Orphaned),
                Err(Errno::AGAIN) => return None,
                Err(error) => {
                    log::debug!(target: "oxicorn", "The channel to the arbiter failed: {error}");
                    return Some(Command::Orphaned);
                }
            }
        }
    }

    fn send(&self, report: &Report) -> io::Result<()> {
        transmit(&self.socket, &encode_report(report))
    }
}

impl AsFd for WorkerChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ArbiterChannel {
    /// An end that an earlier version of the arbiter made.
    pub(crate) const fn of(socket: OwnedFd) -> Self {
        Self { socket }
    }

    pub(crate) fn drain(&self) -> io::Result<()> {
        transmit(&self.socket, &[VERSION, DRAIN])
    }

    pub(crate) fn serve(&self) -> io::Result<()> {
        transmit(&self.socket, &[VERSION, SERVE])
    }

    pub(crate) fn park(&self) -> io::Result<()> {
        transmit(&self.socket, &[VERSION, PARK])
    }

    /// The caller's end may be closed as soon as this returns.
    pub(crate) fn give(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        transmit_with(&self.socket, &[VERSION, GIVE], &[to])
    }

    /// As [`give`](Self::give).
    pub(crate) fn take(&self, from: BorrowedFd<'_>) -> io::Result<()> {
        transmit_with(&self.socket, &[VERSION, TAKE], &[from])
    }

    pub(crate) fn received(&self) -> Incoming {
        let mut buffer = [0; LONGEST_MESSAGE];
        loop {
            match receive(&self.socket, &mut buffer) {
                Ok(Some(message)) => match decode_report(message) {
                    Some(report) => return Incoming::Report(report),
                    None => log_garbage("a worker", message),
                },
                Err(Errno::AGAIN) => return Incoming::Empty,
                // Also a connection reset, which the kernel reports when unread commands are left.
                Ok(None) | Err(_) => return Incoming::Closed,
            }
        }
    }
}

impl AsFd for ArbiterChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn encode_report(report: &Report) -> Vec<u8> {
    match report {
        Report::Ready => vec![VERSION, READY],
        Report::Retiring => vec![VERSION, RETIRING],
        Report::Draining => vec![VERSION, DRAINING],
        Report::Given => vec![VERSION, GIVEN],
        Report::Stranded => vec![VERSION, STRANDED],
        Report::Saturated(waiting) => {
            let mut message = vec![VERSION, SATURATED];
            message.extend(waiting.to_le_bytes());
            message
        }
        Report::Relieved => vec![VERSION, RELIEVED],
        Report::Unready(reason) => {
            let mut message = vec![VERSION, UNREADY];
            message.extend(cut(reason, LONGEST_LINE).as_bytes());
            message
        }
        Report::Outgrown { used, limit } => {
            let mut message = vec![VERSION, OUTGROWN];
            message.extend(used.to_le_bytes());
            message.extend(limit.to_le_bytes());
            message
        }
        Report::Stuck(request) => encode_stuck(request),
    }
}

fn encode_stuck(request: &StuckRequest) -> Vec<u8> {
    let line = cut(&request.line, LONGEST_LINE);
    let client = cut(&request.client, LONGEST_CLIENT);
    let age = u64::try_from(request.age.as_millis()).unwrap_or(u64::MAX);
    let length = u16::try_from(line.len()).unwrap_or(u16::MAX);
    let mut message = vec![VERSION, STUCK];
    message.extend(age.to_le_bytes());
    message.extend(length.to_le_bytes());
    message.extend(line.as_bytes());
    message.extend(client.as_bytes());
    message
}

fn decode_report(message: &[u8]) -> Option<Report> {
    match message {
        [VERSION, READY] => Some(Report::Ready),
        [VERSION, RETIRING] => Some(Report::Retiring),
        [VERSION, DRAINING] => Some(Report::Draining),
        [VERSION, GIVEN] => Some(Report::Given),
        [VERSION, STRANDED] => Some(Report::Stranded),
        [VERSION, SATURATED, waiting @ ..] => {
            let waiting = waiting.try_into().ok()?;
            Some(Report::Saturated(u32::from_le_bytes(waiting)))
        }
        [VERSION, RELIEVED] => Some(Report::Relieved),
        [VERSION, UNREADY, reason @ ..] => Some(Report::Unready(
            String::from_utf8_lossy(reason).into_owned(),
        )),
        [VERSION, OUTGROWN, figures @ ..] => {
            let (used, limit) = figures.split_first_chunk::<8>()?;
            Some(Report::Outgrown {
                used: u64::from_le_bytes(*used),
                limit: u64::from_le_bytes(limit.try_into().ok()?),
            })
        }
        [VERSION, STUCK, rest @ ..] => decode_stuck(rest).map(Report::Stuck),
        _ => None,
    }
}

fn decode_stuck(bytes: &[u8]) -> Option<StuckRequest> {
    let (age, bytes) = bytes.split_first_chunk::<8>()?;
    let (length, bytes) = bytes.split_first_chunk::<2>()?;
    let (line, client) = bytes.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some(StuckRequest {
        line: String::from_utf8_lossy(line).into_owned(),
        client: String::from_utf8_lossy(client).into_owned(),
        age: Duration::from_millis(u64::from_le_bytes(*age)),
    })
}

fn decode_command(message: &[u8], mut descriptors: Vec<OwnedFd>) -> Option<Command> {
    match (message, descriptors.pop()) {
        ([VERSION, DRAIN], None) => Some(Command::Drain),
        ([VERSION, SERVE], None) => Some(Command::Serve),
        ([VERSION, PARK], None) => Some(Command::Park),
        ([VERSION, GIVE], Some(to)) if descriptors.is_empty() => Some(Command::Give(to)),
        ([VERSION, TAKE], Some(from)) if descriptors.is_empty() => Some(Command::Take(from)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::mem::MaybeUninit;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    #[test]
    fn every_report_arrives_as_it_was_sent() {
        let (arbiter, worker) = pair().unwrap();
        worker.ready().unwrap();
        worker
            .stuck(
                "GET /slow HTTP/1.1",
                "10.0.0.7:5000",
                Duration::from_millis(31_500),
            )
            .unwrap();
        worker.retiring().unwrap();
        worker.given().unwrap();
        worker.stranded().unwrap();
        worker.saturated(70_000).unwrap();
        worker.relieved().unwrap();
        worker.unready("GET / was answered 503").unwrap();
        worker.outgrown(u64::MAX, 1).unwrap();
        worker.draining().unwrap();
        let stuck = StuckRequest {
            line: "GET /slow HTTP/1.1".to_owned(),
            client: "10.0.0.7:5000".to_owned(),
            age: Duration::from_millis(31_500),
        };
        for expected in [
            Report::Ready,
            Report::Stuck(stuck),
            Report::Retiring,
            Report::Given,
            Report::Stranded,
            Report::Saturated(70_000),
            Report::Relieved,
            Report::Unready("GET / was answered 503".to_owned()),
            Report::Outgrown {
                used: u64::MAX,
                limit: 1,
            },
            Report::Draining,
        ] {
            assert_eq!(arbiter.received(), Incoming::Report(expected));
        }
        assert_eq!(arbiter.received(), Incoming::Empty);
    }

    #[test]
    fn every_command_arrives_in_order() {
        let (arbiter, worker) = pair().unwrap();
        assert!(worker.received().is_none());
        arbiter.serve().unwrap();
        arbiter.park().unwrap();
        arbiter.drain().unwrap();
        assert!(matches!(worker.received(), Some(Command::Serve)));
        assert!(matches!(worker.received(), Some(Command::Park)));
        assert!(matches!(worker.received(), Some(Command::Drain)));
        assert!(worker.received().is_none());
    }

    #[test]
    fn two_workers_are_connected_by_descriptors_that_do_not_survive_exec() {
        let (giver, old) = pair().unwrap();
        let (taker, new) = pair().unwrap();
        let (one, other) = packet_pair().unwrap();
        giver.give(one.as_fd()).unwrap();
        taker.take(other.as_fd()).unwrap();
        drop((one, other));
        let (Some(Command::Give(to)), Some(Command::Take(from))) = (old.received(), new.received())
        else {
            panic!("no descriptors");
        };
        transmit(&to, b"a connection").unwrap();
        let mut buffer = [0; 64];
        assert_eq!(receive(&from, &mut buffer), Ok(Some(&b"a connection"[..])));
        for end in [&to, &from] {
            let flags = rustix::io::fcntl_getfd(end).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        drop(to);
        assert_eq!(receive(&from, &mut buffer), Ok(None));
    }

    #[test]
    fn what_comes_with_a_message_that_cannot_be_understood_is_closed() {
        let (arbiter, worker) = pair().unwrap();
        let unknown: [&[u8]; 4] = [
            &[VERSION, 99],
            &[VERSION, SERVE],
            &[VERSION + 1, GIVE],
            &[VERSION, GIVE, 0],
        ];
        for message in unknown {
            let (kept, sent) = packet_pair().unwrap();
            transmit_with(&arbiter.socket, message, &[sent.as_fd()]).unwrap();
            drop(sent);
            assert!(worker.received().is_none());
            let mut buffer = [0; 8];
            assert_eq!(receive(&kept, &mut buffer), Ok(None), "{message:?} leaks");
        }
    }

    #[test]
    fn a_descriptor_too_many_spoils_the_message_and_is_closed() {
        let (arbiter, worker) = pair().unwrap();
        let (kept, sent) = packet_pair().unwrap();
        let two = [sent.as_fd(), sent.as_fd(), sent.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&two)));
        let message = [VERSION, GIVE];
        sendmsg(
            &arbiter.socket,
            &[IoSlice::new(&message)],
            &mut control,
            SendFlags::DONTWAIT,
        )
        .unwrap();
        drop(sent);
        drop(worker.received());
        assert_eq!(receive(&kept, &mut [0; 8]), Ok(None));
    }

    #[test]
    fn a_command_to_connect_without_its_descriptor_is_ignored() {
        let (arbiter, worker) = pair().unwrap();
        transmit(&arbiter.socket, &[VERSION, GIVE]).unwrap();
        transmit(&arbiter.socket, &[VERSION, TAKE]).unwrap();
        assert!(worker.received().is_none());
    }

    #[test]
    fn each_side_sees_that_the_other_is_gone_after_reading_what_it_left() {
        let (arbiter, worker) = pair().unwrap();
        worker.ready().unwrap();
        drop(worker);
        assert_eq!(arbiter.received(), Incoming::Report(Report::Ready));
        assert_eq!(arbiter.received(), Incoming::Closed);

        let (arbiter, worker) = pair().unwrap();
        drop(arbiter);
        assert!(matches!(worker.received(), Some(Command::Orphaned)));
        assert_eq!(
            worker.ready().unwrap_err().raw_os_error(),
            Some(libc::EPIPE)
        );
    }

    #[test]
    fn a_worker_that_dies_with_unread_commands_counts_as_gone() {
        let (arbiter, worker) = pair().unwrap();
        arbiter.drain().unwrap();
        drop(worker);
        assert_eq!(arbiter.received(), Incoming::Closed);
    }

    #[test]
    fn garbage_and_other_versions_are_skipped() {
        let (arbiter, worker) = pair().unwrap();
        let garbage: [&[u8]; 5] = [
            b"\0",
            b"\x01\x01",
            b"\x02\xff",
            b"\x02\x02short",
            &[7; 4000],
        ];
        for message in garbage {
            transmit(&worker.socket, message).unwrap();
            transmit(&arbiter.socket, message).unwrap();
        }
        worker.retiring().unwrap();
        arbiter.drain().unwrap();
        assert_eq!(arbiter.received(), Incoming::Report(Report::Retiring));
        assert!(matches!(worker.received(), Some(Command::Drain)));
    }

    #[test]
    fn a_stuck_report_with_a_lying_length_is_refused() {
        let mut message = encode_stuck(&StuckRequest {
            line: "GET /".to_owned(),
            client: String::new(),
            age: Duration::ZERO,
        });
        assert!(decode_report(&message).is_some());
        message.truncate(message.len() - 1);
        assert_eq!(decode_report(&message), None);
    }

    #[test]
    fn a_full_channel_refuses_instead_of_blocking() {
        let (_arbiter, worker) = pair().unwrap();
        let refusal = (0..100_000).find_map(|_| worker.ready().err()).unwrap();
        assert_eq!(refusal.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_endless_request_line_is_cut_between_characters() {
        let (arbiter, worker) = pair().unwrap();
        worker
            .stuck(
                &format!("G{}", "é".repeat(5000)),
                &"c".repeat(500),
                Duration::MAX,
            )
            .unwrap();
        let Incoming::Report(Report::Stuck(request)) = arbiter.received() else {
            panic!("no stuck report");
        };
        assert_eq!(request.line.len(), LONGEST_LINE - 1);
        assert!(request.line.ends_with('é'));
        assert_eq!(request.client.len(), LONGEST_CLIENT);
    }
}
