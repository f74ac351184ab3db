//! A stem's side: the process that has imported the application and forks workers by order.
//!
//! [`StemSeed`] is what a stem is given for its life. The embedder loads the application, says
//! [`ready`](StemSeed::ready), and then lets [`grow`](StemSeed::grow) carry out orders; it comes back
//! once in every worker, and in the stem when that is to leave. When there is a stem, and what its end
//! means, is decided in `core::stem`.
//!
//! Invariant: a worker does nothing before the arbiter can know its process and is its parent.

mod birth;
mod channel;
mod links;

use std::io;
use std::os::fd::OwnedFd;

use oxicorn_board::Floor;
use rustix::io::Errno;

use crate::bond;
use crate::core::{Pid, WorkerId};
use crate::host::{Fork, WorkerSeed};
use crate::orphans::MeetingPlace;
use crate::sockets::Listener;
use crate::sys::board::SharedBoard;
use crate::sys::signals;
use crate::translate::TARGET;

use birth::Side;
pub use birth::die_with;
pub use channel::StemChannel;
use channel::{Command, Order};
pub(crate) use channel::{VERSION, pair};
pub(crate) use links::{Said, Stems};

/// What a stem is given for its life; the counterpart of a [`WorkerSeed`].
#[derive(Debug)]
pub struct StemSeed {
    /// Whose workers it forks: counts from 1.
    pub generation: u32,
    /// Its end of the channel to the arbiter.
    pub channel: StemChannel,
    /// The listening sockets, for its workers.
    pub listeners: Vec<Listener>,
    /// Where its workers are found by a new arbiter, for them.
    pub meeting_place: Option<MeetingPlace>,
    /// Where its workers see each other.
    pub(crate) floor: Option<&'static Floor>,
    /// The arbiter's process.
    pub(crate) arbiter: Pid,
}

impl StemSeed {
    /// To be called before the application is imported, when the process has the rights that it will
    /// have: if the arbiter ends before the stem is ready, this process ends too.
    ///
    /// # Errors
    /// `EPIPE` if the arbiter is gone.
    pub fn begin(&self) -> io::Result<()> {
        bond::bind_to(self.arbiter)
    }

    /// Reports that the application is loaded. Signals do nothing again, whatever the application has
    /// made of them; those that a child of the application's gets do what they always do.
    ///
    /// # Errors
    /// `EPIPE` if the arbiter is gone.
    pub fn ready(&self) -> io::Result<()> {
        signals::deafen()?;
        bond::let_go()?;
        self.channel.ready()
    }

    /// Reports why the stem will not become ready, in a few words; before it ends.
    ///
    /// # Errors
    /// `EPIPE` if the arbiter is gone.
    pub fn unready(&self, reason: &str) -> io::Result<()> {
        self.channel.unready(reason)
    }

    /// Carries out orders, and waits for them without waking up in between. `before` is called for each
    /// worker that is about to be forked (`pre_fork`), which is not if it fails; `fork` then twice;
    /// `reopen` when the log files are to be opened anew.
    ///
    /// Returns the seed in a forked worker, whose signals have their default actions, and `None` in
    /// the stem when no more orders come.
    pub fn grow(
        self,
        before: &mut dyn FnMut(WorkerId) -> io::Result<()>,
        fork: &mut dyn FnMut() -> io::Result<Fork>,
        reopen: &mut dyn FnMut(),
    ) -> Option<WorkerSeed> {
        loop {
            match self.channel.wait() {
                Command::Leave => return None,
                Command::Reopen => reopen(),
                Command::Fork(order) => match self.carry_out(&order, before, fork) {
                    Side::Stem => {}
                    Side::Worker => return self.into_worker(order),
                },
            }
        }
    }

    /// What cannot be reported is no loss: the arbiter is gone then, and nobody waits for the worker.
    fn carry_out(
        &self,
        order: &Order,
        before: &mut dyn FnMut(WorkerId) -> io::Result<()>,
        fork: &mut dyn FnMut() -> io::Result<Fork>,
    ) -> Side {
        let born = match &order.channel {
            Some(_) => {
                before(order.worker).and_then(|()| birth::bear(&self.channel, order.worker, fork))
            }
            None => Err(io::Error::from(Errno::MFILE)),
        };
        born.unwrap_or_else(|error| {
            if let Err(error) = self.channel.fork_failed(order.worker, &error.to_string()) {
                log::debug!(target: TARGET, "Can't report to the arbiter: {error}");
            }
            Side::Stem
        })
    }

    fn into_worker(self, order: Order) -> Option<WorkerSeed> {
        if let Err(error) = signals::reset_to_default() {
            log::warn!(target: TARGET, "Can't reset the signals: {error}");
        }
        Some(WorkerSeed {
            id: order.worker,
            slot: order.slot,
            generation: self.generation,
            channel: order.channel?,
            board: order.board.and_then(board_of),
            floor: self.floor,
            listeners: self.listeners,
            meeting_place: self.meeting_place,
            arbiter: self.arbiter,
        })
    }
}

/// Without a board a worker serves all the same.
fn board_of(fd: OwnedFd) -> Option<SharedBoard> {
    let refused = |error: &io::Error| {
        log::warn!(target: TARGET, "What this worker does cannot be counted: {error}");
    };
    SharedBoard::of(fd).inspect_err(refused).ok()
}
