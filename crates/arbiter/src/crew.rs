//! The workers as the loop sees them: processes with a channel to each, the commands that go over
//! it, and what each shows of itself. Not for deciding what is said; that is `core`'s.
//!
//! Invariant: a worker is here from its fork until it is reaped.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::channel::{ArbiterChannel, Incoming, Report};
use crate::control::CountsOf;
use crate::core::ledger::{Damaged, Entries, Ledger, Word};
use crate::core::{Pid, WorkerId};
use crate::packet::packet_pair;
use crate::sys::board::SharedBoard;
use crate::translate::TARGET;

/// Every worker that was forked and not yet reaped.
#[derive(Debug, Default)]
pub(crate) struct Crew(BTreeMap<WorkerId, Member>);

#[derive(Debug)]
struct Member {
    pid: Pid,
    /// `None` once the worker's end was closed.
    channel: Option<ArbiterChannel>,
    board: Option<SharedBoard>,
}

impl Crew {
    pub(crate) fn add(
        &mut self,
        id: WorkerId,
        pid: Pid,
        channel: ArbiterChannel,
        board: Option<SharedBoard>,
    ) {
        let channel = Some(channel);
        let member = Member {
            pid,
            channel,
            board,
        };
        self.0.insert(id, member);
    }

    /// What the workers count.
    pub(crate) fn counts(&self) -> CountsOf {
        let counts =
            |(id, member): (&WorkerId, &Member)| Some((*id, member.board.as_ref()?.counts()));
        self.0.iter().filter_map(counts).collect()
    }

    /// Writes it down for the next version of the arbiter.
    pub(crate) fn write(&self, ledger: &mut Ledger) {
        for (id, member) in &self.0 {
            let Member {
                pid,
                channel,
                board,
            } = member;
            let channel = channel.as_ref().map(|one| one.as_fd().as_raw_fd());
            let channel = ledger.inherit_if_any(channel);
            let board = board.as_ref().map(|board| board.as_fd().as_raw_fd());
            let board = ledger.inherit_if_any(board);
            ledger.put("channel", [id.write(), pid.write(), channel, board]);
        }
    }

    /// The workers that an earlier version had.
    pub(crate) fn read(entries: &Entries<'_>) -> Result<Self, Damaged> {
        let members = entries.all("channel", |words| {
            let (id, pid) = (words.take()?, words.take()?);
            let channel = words.maybe_descriptor()?.map(ArbiterChannel::of);
            // One of another layout is not understood, and the worker serves all the same.
            let board = words.maybe_descriptor()?;
            let board = board.and_then(|fd| SharedBoard::of(fd).ok());
            let member = Member {
                pid,
                channel,
                board,
            };
            Ok((id, member))
        })?;
        Ok(Self(members.into_iter().collect()))
    }

    pub(crate) fn remove(&mut self, id: WorkerId) {
        self.0.remove(&id);
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.0.values().map(|member| member.pid)
    }

    pub(crate) fn with_pid(&self, pid: Pid) -> Option<WorkerId> {
        let found = self.0.iter().find(|(_, member)| member.pid == pid);
        found.map(|(id, _)| *id)
    }

    /// The workers that can be heard.
    pub(crate) fn open(&self) -> impl Iterator<Item = (WorkerId, &ArbiterChannel)> {
        self.0
            .iter()
            .filter_map(|(id, member)| Some((*id, member.channel.as_ref()?)))
    }

    /// What a worker has said since it was last listened to.
    pub(crate) fn listen(&mut self, id: WorkerId) -> Vec<Report> {
        let mut said = Vec::new();
        let Some(member) = self.0.get_mut(&id) else {
            return said;
        };
        while let Some(channel) = &member.channel {
            match channel.received() {
                Incoming::Report(report) => said.push(report),
                Incoming::Empty => break,
                // Its exit is reported by SIGCHLD; a worker that closed it by mistake goes on
                // serving.
                Incoming::Closed => member.channel = None,
            }
        }
        said
    }

    /// A worker that cannot be told has ended or is about to, and its exit is an event of its own.
    pub(crate) fn tell(
        &self,
        id: WorkerId,
        what: &str,
        say: impl FnOnce(&ArbiterChannel) -> io::Result<()>,
    ) {
        if let Err(error) = self.channel(id).and_then(say) {
            log::debug!(target: TARGET, "Can't tell worker {id} to {what}: {error}");
        }
    }

    /// Lets one worker give its connections to another. If that cannot be, it is parked all the
    /// same, and keeps them.
    pub(crate) fn connect(&self, from: WorkerId, to: WorkerId) {
        if let Err(error) = self.try_to_connect(from, to) {
            log::warn!(target: TARGET, "Can't connect worker {from} with worker {to}: {error}");
            self.tell(from, "park", ArbiterChannel::park);
        }
    }

    /// The taker first: if it cannot be reached, the giver need not know.
    fn try_to_connect(&self, from: WorkerId, to: WorkerId) -> io::Result<()> {
        let (giver, taker) = (self.channel(from)?, self.channel(to)?);
        let (one, other) = packet_pair()?;
        taker.take(other.as_fd())?;
        giver.give(one.as_fd())
    }

    /// Lets a worker give its connections to whoever gets the other end, which `offer` sends there.
    ///
    /// # Errors
    /// When there is nobody to give, or nobody to give to; the worker has heard nothing then.
    pub(crate) fn give_away(
        &self,
        from: WorkerId,
        offer: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let giver = self.channel(from)?;
        let (one, other) = packet_pair()?;
        offer(other.as_fd())?;
        giver.give(one.as_fd())
    }

    fn channel(&self, id: WorkerId) -> io::Result<&ArbiterChannel> {
        let member = self.0.get(&id);
        let channel = member.and_then(|member| member.channel.as_ref());
        channel.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
