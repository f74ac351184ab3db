//! What the arbiter decided to do.

use super::{Asker, Exit, News, OrphanId, Pid, Signal, Step, WorkerId};

/// Something to perform, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fork a worker; answer with [`Event::Forked`](super::Event::Forked) or
    /// [`Event::ForkFailed`](super::Event::ForkFailed).
    Fork {
        /// The worker's age, counted from 1.
        worker: WorkerId,
        /// The place that it fills, counted from 0; its successor fills the same.
        slot: usize,
        /// Which loading of the application it belongs to, counted from 1.
        generation: u32,
    },
    /// Fork the stem of a generation; answer with
    /// [`Event::StemForked`](super::Event::StemForked) or
    /// [`Event::StemForkFailed`](super::Event::StemForkFailed).
    ForkStem {
        /// Whose stem it is.
        generation: u32,
    },
    /// Order the generation's stem, which is ready, to fork a worker. Answered by the stem, with
    /// [`Event::Forked`](super::Event::Forked) or [`Event::ForkFailed`](super::Event::ForkFailed), or
    /// by its end.
    Order {
        /// The worker's age, counted from 1.
        worker: WorkerId,
        /// The place that it fills, counted from 0.
        slot: usize,
        /// Which loading of the application it belongs to.
        generation: u32,
    },
    /// Tell a stem to reopen its log files, which its next workers inherit.
    SendReopen {
        /// Whose stem it is.
        generation: u32,
    },
    /// Tell a stem that no more orders come: it leaves.
    DismissStem {
        /// Whose stem it is.
        generation: u32,
    },
    /// Send a signal to a worker's process or to a stem's.
    Signal {
        /// The process; always one that was forked and not yet reaped.
        pid: Pid,
        /// Which signal.
        signal: Signal,
    },
    /// Read the configuration again; answer with
    /// [`Event::ConfigurationRead`](super::Event::ConfigurationRead) or
    /// [`Event::ConfigurationRefused`](super::Event::ConfigurationRefused).
    ReadConfiguration {
        /// The generation that it is for.
        generation: u32,
    },
    /// Tell a worker over its channel to accept connections.
    SendServe {
        /// Which worker.
        worker: WorkerId,
    },
    /// Tell a worker over its channel to accept no more connections, and to wait.
    SendPark {
        /// Which worker.
        worker: WorkerId,
    },
    /// Connect two workers, so that one gives its connections to the other. The giver is parked by
    /// it.
    Connect {
        /// Who gives.
        from: WorkerId,
        /// Who takes.
        to: WorkerId,
    },
    /// Tell the embedder that a restart has ended.
    RestartEnded {
        /// The generation that serves now.
        generation: u32,
        /// Why it is the old one; `None` if the new one serves.
        failure: Option<String>,
    },
    /// Tell a worker over its channel to stop accepting, finish and leave.
    SendDrain {
        /// Which worker.
        worker: WorkerId,
    },
    /// Reopen the arbiter's own log files.
    ReopenLogs,
    /// Close the arbiter's listening sockets and remove the Unix sockets' paths.
    CloseListeners,
    /// Reap every child that has ended.
    Reap,
    /// Write a line to the error log.
    Log {
        /// How grave it is.
        level: Level,
        /// The line.
        text: String,
    },
    /// Tell the service manager, if there is one.
    Tell {
        /// What has become of the server.
        news: News,
        /// The same for people, one line.
        status: String,
    },
    /// Tell the embedder that a worker was reaped.
    ChildExited {
        /// Which worker.
        worker: WorkerId,
        /// The process that it was.
        pid: Pid,
        /// How it ended.
        exit: Exit,
    },
    /// Tell the embedder that the wanted number of workers changed.
    WorkersChanged {
        /// From now on.
        new: usize,
        /// Until now; `None` at the start.
        old: Option<usize>,
    },
    /// Tell somebody who asked for a restart how it ended. Everybody is told, and told once.
    Answer {
        /// Who asked.
        asker: Asker,
        /// The generation that serves now.
        generation: u32,
        /// Why it is not a new one; `None` if it is.
        failure: Option<String>,
    },
    /// Run the new version of the program, to check whether it can go on from here; answer with
    /// [`Event::UpgradeChecked`](super::Event::UpgradeChecked) or
    /// [`Event::UpgradeFailed`](super::Event::UpgradeFailed).
    CheckUpgrade,
    /// Become the new version, once nothing else is to be done. What comes next is heard by it, and
    /// begins with [`Event::Upgraded`](super::Event::Upgraded); if it cannot be,
    /// [`Event::UpgradeFailed`](super::Event::UpgradeFailed).
    Upgrade,
    /// End the check, and do not become another version.
    AbandonUpgrade,
    /// Do something between this arbiter and another one.
    Dance(Step),
    /// Tell an orphan that its connections are taken over: it offers them
    /// ([`Cue::Offered`](super::Cue::Offered)), and leaves when they have moved.
    RelieveOrphan {
        /// Which one.
        orphan: OrphanId,
    },
    /// Tell an orphan that the server ends: it finishes its requests and leaves.
    DismissOrphan {
        /// Which one.
        orphan: OrphanId,
    },
    /// Leave with this exit code. Nothing follows.
    Exit {
        /// The process' exit code.
        code: u8,
    },
}

/// How grave a log line is, in gunicorn's five steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// The normal course of things.
    Info,
    /// Something to look at.
    Warning,
    /// Something failed.
    Error,
    /// A worker was lost to a hanging application.
    Critical,
}
