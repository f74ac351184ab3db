//! The seam between the arbiter and whoever embeds it.
//!
//! The arbiter does not know how to fork an interpreter, nor where the logs are; the embedder
//! supplies both as a [`Host`]. What a worker needs to begin its life comes out as a
//! [`WorkerSeed`].

use std::io;
use std::os::fd::BorrowedFd;
use std::process::Command;

use oxicorn_board::Floor;
use oxicorn_settings::Value;

use crate::bond;
use crate::channel::WorkerChannel;
use crate::core::{Exit, Pid, Policy, WorkerId};
use crate::orphans::MeetingPlace;
use crate::sockets::Listener;
use crate::stem::StemSeed;
use crate::sys::board::SharedBoard;

/// A hook of the embedder's has failed: the server ends, or what the hook was called for does not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// The exit code that the server ends with, if it does.
    pub code: u8,
    /// Which hook, and how it failed.
    pub reason: String,
}

/// What the embedder supplies.
pub trait Host {
    /// The pidfile is written, and nothing else was done; signals have the actions that the embedder gave
    /// them (`on_starting`).
    ///
    /// # Errors
    /// The server does not start.
    fn starting(&mut self) -> Result<(), Raised> {
        Ok(())
    }

    /// A worker of `generation` is about to be forked from this process (`pre_fork`).
    ///
    /// # Errors
    /// It is not. A restart that it was for fails; otherwise the server ends.
    fn before_fork(&mut self, worker: WorkerId, generation: u32) -> Result<(), Raised> {
        let _ = (worker, generation);
        Ok(())
    }

    /// Starts the process of a second arbiter (USR2; `pre_exec`, in that process).
    ///
    /// # Errors
    /// What the system says.
    fn execute(&mut self, mut command: Command) -> io::Result<Pid> {
        let child = command.spawn()?;
        Pid::try_from(child.id()).map_err(io::Error::other)
    }

    /// Forks the process, through the interpreter's own hooks. `worker` is what the child will be.
    ///
    /// In the child it returns [`Fork::Child`]; [`Arbiter::run`](crate::Arbiter::run) then returns
    /// [`Outcome::Worker`] there.
    ///
    /// # Errors
    /// When the system refuses (`EAGAIN`, `ENOMEM`): logged, and tried again later.
    fn fork(&mut self, worker: &WorkerSeed) -> io::Result<Fork>;

    /// Forks the process as [`fork`](Self::fork) does; the child will be a stem, and
    /// [`Outcome::Stem`] is what comes out there.
    ///
    /// # Errors
    /// As [`fork`](Self::fork).
    fn fork_stem(&mut self, stem: &StemSeed) -> io::Result<Fork>;

    /// Reads the configuration again, for a restart: what steers the arbiter's decisions from the
    /// time on when this generation serves. Its workers are forked with the new configuration.
    ///
    /// # Errors
    /// What is wrong with it, for the log; then nothing changes.
    fn read_configuration(&mut self, generation: u32) -> Result<Policy, String>;

    /// What `generation` runs with: the name and the value of each setting that is in effect, sorted by name.
    fn configuration(&self, generation: u32) -> Vec<(&'static str, Value)> {
        let _ = generation;
        Vec::new()
    }

    /// Opens the arbiter's log files anew (USR1, after a rotation).
    fn reopen_logs(&mut self);

    /// Learns what happened. Called in the arbiter's process, between two of its steps.
    ///
    /// # Errors
    /// The server ends, as quickly as by SIGQUIT.
    fn notify(&mut self, notice: Notice<'_>) -> Result<(), Raised>;

    /// What the embedder of the next version is to have, in an upgrade: [`Predecessor::heirloom`] there.
    ///
    /// [`Predecessor::heirloom`]: crate::Predecessor::heirloom
    fn heirloom(&self) -> Option<String> {
        None
    }

    /// A descriptor of the embedder's own, for which the arbiter waits as well: when it becomes readable,
    /// [`look`](Self::look) is called. Asked for each time.
    fn interest(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What was waited for has come. Must not block.
    fn look(&mut self) {}
}

impl<H: Host + ?Sized> Host for &mut H {
    fn starting(&mut self) -> Result<(), Raised> {
        (**self).starting()
    }

    fn before_fork(&mut self, worker: WorkerId, generation: u32) -> Result<(), Raised> {
        (**self).before_fork(worker, generation)
    }

    fn execute(&mut self, command: Command) -> io::Result<Pid> {
        (**self).execute(command)
    }

    fn fork(&mut self, worker: &WorkerSeed) -> io::Result<Fork> {
        (**self).fork(worker)
    }

    fn fork_stem(&mut self, stem: &StemSeed) -> io::Result<Fork> {
        (**self).fork_stem(stem)
    }

    fn read_configuration(&mut self, generation: u32) -> Result<Policy, String> {
        (**self).read_configuration(generation)
    }

    fn configuration(&self, generation: u32) -> Vec<(&'static str, Value)> {
        (**self).configuration(generation)
    }

    fn reopen_logs(&mut self) {
        (**self).reopen_logs();
    }

    fn notify(&mut self, notice: Notice<'_>) -> Result<(), Raised> {
        (**self).notify(notice)
    }

    fn heirloom(&self) -> Option<String> {
        (**self).heirloom()
    }

    fn interest(&self) -> Option<BorrowedFd<'_>> {
        (**self).interest()
    }

    fn look(&mut self) {
        (**self).look();
    }
}

/// Which side of a fork the caller is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// In the arbiter: the worker's process.
    Parent(Pid),
    /// In the worker.
    Child,
}

/// What a worker is given for its life. Belongs to the child; the arbiter keeps no copy of the
/// channel's end.
#[derive(Debug)]
pub struct WorkerSeed {
    /// Its age: counts from 1 over the whole life of the arbiter.
    pub id: WorkerId,
    /// Its place among the workers, counted from 0; taken over by its successor.
    pub slot: usize,
    /// Which loading of the application it belongs to, counted from 1.
    pub generation: u32,
    /// Its end of the channel to the arbiter.
    pub channel: WorkerChannel,
    /// Where it shows what it counts; `None` if there is no memory for it.
    pub board: Option<SharedBoard>,
    /// Where it sees the other workers, and they see it; `None` if there is no memory for it.
    pub floor: Option<&'static Floor>,
    /// The listening sockets, non-blocking and close-on-exec.
    pub listeners: Vec<Listener>,
    /// Where it is found by a new arbiter if its own is killed; `None` if it should leave then.
    pub meeting_place: Option<MeetingPlace>,
    /// The arbiter's process.
    pub(crate) arbiter: Pid,
}

impl WorkerSeed {
    /// To be called before the application is imported, when the process has the rights that it will
    /// have: until [`listens`](Self::listens) this process ends when the arbiter does.
    ///
    /// # Errors
    /// `EPIPE` if the arbiter is gone.
    pub fn begin(&self) -> io::Result<()> {
        bond::bind_to(self.arbiter)
    }

    /// From here on somebody listens to the channel, and so hears of the arbiter's end. To be called by
    /// the same thread.
    ///
    /// # Errors
    /// What the system says.
    pub fn listens(&self) -> io::Result<()> {
        bond::let_go()
    }
}

/// Something the embedder may want to know; where gunicorn has a server hook for it, the hook's
/// name is given.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// The listeners are bound, and no worker exists yet (`when_ready`).
    Ready {
        /// The listeners.
        listeners: &'a [Listener],
    },
    /// The arbiter has closed its listeners.
    ListenersClosed,
    /// The wanted number of workers changed (`nworkers_changed`).
    WorkersChanged {
        /// From now on.
        new: usize,
        /// Until now; `None` at the start.
        old: Option<usize>,
    },
    /// A worker was forked.
    WorkerForked {
        /// Its age.
        worker: WorkerId,
        /// Its process.
        pid: Pid,
    },
    /// A worker was reaped (`child_exit`).
    ChildExited {
        /// Its age.
        worker: WorkerId,
        /// The process that it was.
        pid: Pid,
        /// How it ended.
        exit: Exit,
    },
    /// A restart has ended.
    RestartEnded {
        /// The generation that serves now.
        generation: u32,
        /// Why it is the old one; `None` if the new one serves.
        failure: Option<&'a str>,
    },
    /// The arbiter that started this one has gone, and its names are this one's now.
    Promoted,
    /// The workers are gone; pidfile and sockets are removed (`on_exit`).
    Exiting {
        /// The process' exit code.
        code: u8,
    },
}

/// How [`Arbiter::run`](crate::Arbiter::run) ends.
#[derive(Debug)]
pub enum Outcome {
    /// In the arbiter: leave with this code.
    Exit(u8),
    /// In a forked child, signals back at their defaults: be this worker. Its process is to end
    /// with 0 after its work, 3 if it failed to boot and 4 if the application could not be loaded.
    Worker(WorkerSeed),
    /// In a forked child, where signals that are meant for the arbiter do nothing: be this stem. Its
    /// process is to end with 0 when it has nothing more to fork, and with another code if the
    /// application could not be loaded.
    Stem(StemSeed),
}
