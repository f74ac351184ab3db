//! The loop's dealings with stems: forking them, ordering workers, hearing what came of it.
//!
//! Invariant: that a worker was forked is told to the core before anything else that was waiting, so
//! that its exit never comes first.

use std::io;

use rustix::process::{getpid, set_child_subreaper};

use super::{Arbiter, Flow, board_for, own_pid};
use crate::core::{Event, WorkerId};
use crate::host::{Fork, Host, Notice, Outcome};
use crate::stem::{self, Said, StemSeed};
use crate::sys::signals;
use crate::translate::TARGET;

impl<H: Host> Arbiter<H> {
    pub(super) fn fork_stem(&mut self, generation: u32) -> Flow {
        match self.try_fork_stem(generation) {
            Ok(None) => {}
            Ok(Some(seed)) => return Flow::Leave(Outcome::Stem(seed)),
            Err(error) => self.events.push_front(Event::StemForkFailed {
                generation,
                error: error.to_string(),
            }),
        }
        Flow::Continue
    }

    /// The seed in the child, nothing in the parent; the listeners travel as in `try_fork`.
    fn try_fork_stem(&mut self, generation: u32) -> io::Result<Option<StemSeed>> {
        // The workers' parents end, and the workers are to be ours.
        set_child_subreaper(Some(getpid()))?;
        let (ours, channel) = stem::pair()?;
        let seed = StemSeed {
            generation,
            channel,
            listeners: std::mem::take(&mut self.listeners),
            meeting_place: self.orphans.place.take(),
            floor: self.crew.floor(),
            arbiter: own_pid(),
        };
        let fork = self.host.fork_stem(&seed);
        if matches!(fork, Ok(Fork::Child)) {
            if let Err(error) = signals::deafen() {
                log::warn!(target: TARGET, "Can't set the signals aside: {error}");
            }
            return Ok(Some(seed));
        }
        self.listeners = seed.listeners;
        self.orphans.place = seed.meeting_place;
        if let Fork::Parent(pid) = fork? {
            self.stems.add(generation, pid, ours);
            let event = Event::StemForked { generation, pid };
            self.events.push_front(event);
        }
        Ok(None)
    }

    pub(super) fn order(&mut self, worker: WorkerId, slot: usize, generation: u32) {
        if let Err(error) = self
            .stems
            .order(generation, worker, slot, board_for(worker))
        {
            let error = format!("its stem cannot be told: {error}");
            self.events.push_front(Event::ForkFailed { worker, error });
        }
    }

    /// What the stems have said: the workers that were forked first, and then the rest.
    pub(super) fn hear_stems(&mut self) -> (Vec<Event>, Vec<Event>) {
        let (mut forked, mut others) = (Vec::new(), Vec::new());
        for said in self.stems.listen() {
            match said {
                Said::Forked {
                    worker,
                    pid,
                    unborn,
                } => {
                    self.crew.add(worker, pid, unborn.channel, unborn.board);
                    forked.push(Event::Forked { worker, pid });
                    self.notify(Notice::WorkerForked { worker, pid });
                }
                Said::ForkFailed { worker, error } => {
                    others.push(Event::ForkFailed { worker, error });
                }
                Said::Unready { generation, reason } => {
                    others.push(Event::StemUnready { generation, reason });
                }
                Said::Ready { generation } => others.push(Event::StemReady { generation }),
            }
        }
        (forked, others)
    }
}
