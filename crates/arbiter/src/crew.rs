//! The workers as the loop sees them: processes with a channel to each, the commands that go over
//! it, and what each shows of itself. Not for deciding what is said; that is `core`'s.
//!
//! Invariant: a worker is here from its fork until it is reaped.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use oxicorn_board::Floor;

use crate::channel::{ArbiterChannel, Incoming, Report};
use crate::control::CountsOf;
use crate::core::ledger::{Damaged, Entries, Ledger, Word, Words};
use crate::core::{Pid, WorkerId};
use crate::packet::packet_pair;
use crate::sys::board::SharedBoard;
use crate::sys::floor::SharedFloor;
use crate::translate::TARGET;

/// Every worker that was forked and not yet reaped.
#[derive(Debug)]
pub(crate) struct Crew {
    members: BTreeMap<WorkerId, Member>,
    /// Where the workers see each other; each has it from its fork on.
    floor: Option<SharedFloor>,
}

#[derive(Debug)]
struct Member {
    pid: Pid,
    /// `None` once the worker's end was closed.
    channel: Option<ArbiterChannel>,
    board: Option<SharedBoard>,
}

impl Crew {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            floor: new_floor(),
        }
    }

    pub(crate) fn floor(&self) -> Option<&'static Floor> {
        self.floor.as_ref().map(SharedFloor::floor)
    }

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
        self.members.insert(id, member);
    }

    /// Every worker with its process.
    pub(crate) fn processes(&self) -> Vec<(WorkerId, Pid)> {
        self.members
            .iter()
            .map(|(id, one)| (*id, one.pid))
            .collect()
    }

    /// What the workers count.
    pub(crate) fn counts(&self) -> CountsOf {
        let counts =
            |(id, member): (&WorkerId, &Member)| Some((*id, member.board.as_ref()?.counts()));
        self.members.iter().filter_map(counts).collect()
    }

    /// Writes it down for the next version of the arbiter.
    pub(crate) fn write(&self, ledger: &mut Ledger) {
        if let Some(floor) = &self.floor {
            let floor = ledger.inherit(floor.as_fd().as_raw_fd());
            ledger.put("floor", [floor]);
        }
        for (id, member) in &self.members {
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
        let floor = entries.maybe("floor", Words::descriptor)?;
        let floor = floor.and_then(|fd| SharedFloor::of(fd).ok());
        Ok(Self {
            members: members.into_iter().collect(),
            floor: floor.or_else(new_floor),
        })
    }

    /// It was reaped.
    pub(crate) fn remove(&mut self, id: WorkerId) {
        self.members.remove(&id);
        if let Some(floor) = self.floor() {
            floor.leave(id);
        }
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.members.values().map(|member| member.pid)
    }

    pub(crate) fn with_pid(&self, pid: Pid) -> Option<WorkerId> {
        let found = self.members.iter().find(|(_, member)| member.pid == pid);
        found.map(|(id, _)| *id)
    }

    /// The workers that can be heard.
    pub(crate) fn open(&self) -> impl Iterator<Item = (WorkerId, &ArbiterChannel)> {
        self.members
            .iter()
            .filter_map(|(id, member)| Some((*id, member.channel.as_ref()?)))
    }

    /// What a worker has said since it was last listened to.
    pub(crate) fn listen(&mut self, id: WorkerId) -> Vec<Report> {
        let mut said = Vec::new();
        let Some(member) = self.members.get_mut(&id) else {
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
        if let Err(error) = self.join(from, to, ArbiterChannel::give) {
            log::warn!(target: TARGET, "Can't connect worker {from} with worker {to}: {error}");
            self.tell(from, "park", ArbiterChannel::park);
        }
    }

    /// Lets one worker give so many of the requests that wait in it to another. If that cannot be,
    /// they stay.
    pub(crate) fn share(&self, from: WorkerId, to: WorkerId, most: u32) {
        let give = |giver: &ArbiterChannel, end: BorrowedFd<'_>| giver.share(end, most);
        if let Err(error) = self.join(from, to, give) {
            log::warn!(target: TARGET, "Worker {from} can't share with worker {to}: {error}");
        }
    }

    /// The taker first: if it cannot be reached, the giver need not know.
    fn join(
        &self,
        from: WorkerId,
        to: WorkerId,
        give: impl FnOnce(&ArbiterChannel, BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (giver, taker) = (self.channel(from)?, self.channel(to)?);
        let (one, other) = packet_pair()?;
        taker.take(other.as_fd())?;
        give(giver, one.as_fd())
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
        let member = self.members.get(&id);
        let channel = member.and_then(|member| member.channel.as_ref());
        channel.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Without a floor the workers do not see each other, and serve all the same.
fn new_floor() -> Option<SharedFloor> {
    let refused = |error: &io::Error| {
        log::warn!(target: TARGET, "The workers cannot see each other: {error}");
    };
    SharedFloor::new().inspect_err(refused).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_has_the_floor_on_which_the_workers_are() {
        let crew = Crew::new();
        let worker = crew.floor().unwrap().enter(7).unwrap();
        let mut ledger = Ledger::default();
        crew.write(&mut ledger);
        let (text, _inherited) = ledger.finish();
        let mut next = Crew::read(&Entries::of(&text)).unwrap();
        worker.show_waiting(3);
        let seen: Vec<_> = next.floor().unwrap().look().collect();
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].worker, seen[0].waiting), (7, 3));
        next.remove(7);
        assert_eq!(crew.floor().unwrap().look().count(), 0);
    }

    #[test]
    fn where_there_was_no_floor_there_is_room_for_a_new_one() {
        let crew = Crew::read(&Entries::of("")).unwrap();
        assert_eq!(crew.floor().unwrap().look().count(), 0);
    }
}
