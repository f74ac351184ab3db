//! The stems as the loop sees them: processes with a channel to each, and the order under way.
//!
//! Invariant: a stem is here from its fork until it is reaped; a report about a worker counts only if
//! it answers the order under way.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::channel::{Incoming, Report, StemLink};
use crate::channel::{self, ArbiterChannel};
use crate::core::ledger::{Damaged, Entries, Ledger, Word};
use crate::core::{Pid, WorkerId};
use crate::sys::board::SharedBoard;
use crate::translate::TARGET;

/// Every stem that was forked and not yet reaped, by its generation.
#[derive(Debug, Default)]
pub(crate) struct Stems(BTreeMap<u32, Stem>);

#[derive(Debug)]
struct Stem {
    pid: Pid,
    /// `None` once the stem's end was closed.
    link: Option<StemLink>,
    /// Who is being forked.
    order: Option<Unborn>,
}

/// What the arbiter has of a worker before it has its process.
#[derive(Debug)]
pub(crate) struct Unborn {
    worker: WorkerId,
    pub(crate) channel: ArbiterChannel,
    pub(crate) board: Option<SharedBoard>,
}

/// What a stem said.
#[derive(Debug)]
pub(crate) enum Said {
    Ready {
        generation: u32,
    },
    Unready {
        generation: u32,
        reason: String,
    },
    Forked {
        worker: WorkerId,
        pid: Pid,
        unborn: Unborn,
    },
    ForkFailed {
        worker: WorkerId,
        error: String,
    },
}

impl Stems {
    pub(crate) fn add(&mut self, generation: u32, pid: Pid, link: StemLink) {
        let (link, order) = (Some(link), None);
        self.0.insert(generation, Stem { pid, link, order });
    }

    /// What a newer version of the arbiter needs to go on with them.
    pub(crate) fn write(&self, ledger: &mut Ledger) {
        for (generation, Stem { pid, link, order }) in &self.0 {
            let link = link.as_ref().map(|link| link.as_fd().as_raw_fd());
            let link = ledger.inherit_if_any(link);
            ledger.put("stem-channel", [generation.write(), pid.write(), link]);
            if let Some(unborn) = order {
                let channel = ledger.inherit(unborn.channel.as_fd().as_raw_fd());
                let board = unborn.board.as_ref().map(|one| one.as_fd().as_raw_fd());
                let board = ledger.inherit_if_any(board);
                let worker = unborn.worker.write();
                ledger.put("unborn", [generation.write(), worker, channel, board]);
            }
        }
    }

    /// The stems that an earlier version had.
    pub(crate) fn read(entries: &Entries<'_>) -> Result<Self, Damaged> {
        let stems = entries.all("stem-channel", |words| {
            let (generation, pid) = (words.take()?, words.take()?);
            let link = words.maybe_descriptor()?.map(StemLink::of);
            let order = None;
            Ok((generation, Stem { pid, link, order }))
        })?;
        let mut stems = Self(stems.into_iter().collect());
        let unborn = entries.all("unborn", |words| {
            let (generation, worker) = (words.take::<u32>()?, words.take()?);
            let channel = ArbiterChannel::of(words.descriptor()?);
            let board = words.maybe_descriptor()?;
            let board = board.and_then(|fd| SharedBoard::of(fd).ok());
            let unborn = Unborn {
                worker,
                channel,
                board,
            };
            Ok((generation, unborn))
        })?;
        for (generation, unborn) in unborn {
            if let Some(stem) = stems.0.get_mut(&generation) {
                stem.order = Some(unborn);
            }
        }
        Ok(stems)
    }

    /// The process was reaped, whatever it was.
    pub(crate) fn remove(&mut self, pid: Pid) {
        self.0.retain(|_, stem| stem.pid != pid);
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.0.values().map(|stem| stem.pid)
    }

    /// The stems that can be heard.
    pub(crate) fn open(&self) -> impl Iterator<Item = &StemLink> {
        self.0.values().filter_map(|stem| stem.link.as_ref())
    }

    /// What all of them have said since they were last listened to.
    pub(crate) fn listen(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        for (generation, stem) in &mut self.0 {
            while let Some(report) = stem.next_report() {
                said.extend(stem.understand(*generation, report));
            }
        }
        said
    }

    /// Lets a stem fork a worker.
    ///
    /// # Errors
    /// When it cannot be told: it ends, or the system has no room.
    pub(crate) fn order(
        &mut self,
        generation: u32,
        worker: WorkerId,
        slot: usize,
        board: Option<SharedBoard>,
    ) -> io::Result<()> {
        let stem = self.0.get_mut(&generation);
        let (ours, theirs) = channel::pair()?;
        let stem = stem.ok_or(io::ErrorKind::NotConnected)?;
        let link = stem.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let shown = board.as_ref().map(AsFd::as_fd);
        link.order(worker, slot, theirs.as_fd(), shown)?;
        stem.order = Some(Unborn {
            worker,
            channel: ours,
            board,
        });
        Ok(())
    }

    pub(crate) fn reopen(&self, generation: u32) {
        self.tell(generation, "reopen its logs", StemLink::reopen);
    }

    pub(crate) fn dismiss(&self, generation: u32) {
        self.tell(generation, "leave", StemLink::dismiss);
    }

    /// A stem that cannot be told has ended or is about to, and its exit is an event of its own.
    fn tell(&self, generation: u32, what: &str, say: fn(&StemLink) -> io::Result<()>) {
        let link = self.0.get(&generation).and_then(|stem| stem.link.as_ref());
        let told = link.map_or(Err(io::ErrorKind::NotConnected.into()), say);
        if let Err(error) = told {
            log::debug!(target: TARGET, "Can't tell stem {generation} to {what}: {error}");
        }
    }
}

impl Stem {
    fn next_report(&mut self) -> Option<Report> {
        match self.link.as_ref()?.received() {
            Incoming::Report(report) => Some(report),
            Incoming::Empty => None,
            Incoming::Closed => {
                self.link = None;
                None
            }
        }
    }

    fn understand(&mut self, generation: u32, report: Report) -> Option<Said> {
        let mut answered = |by: WorkerId| self.order.take_if(|unborn| unborn.worker == by);
        match report {
            Report::Ready => Some(Said::Ready { generation }),
            Report::Unready(reason) => Some(Said::Unready { generation, reason }),
            Report::Forked { worker, pid } => {
                let unborn = answered(worker)?;
                Some(Said::Forked {
                    worker,
                    pid,
                    unborn,
                })
            }
            Report::ForkFailed { worker, error } => {
                answered(worker)?;
                Some(Said::ForkFailed { worker, error })
            }
        }
    }
}
