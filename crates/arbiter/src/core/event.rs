//! What can happen to the arbiter.

use std::time::Duration;

use oxicorn_settings::RestartMode;

use super::{Asker, Cue, OrphanId, Pid, Policy, Room, Signal, WorkerId};

/// Something that happened, in the order in which the loop saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The sockets are bound: start the workers.
    Started,
    /// The time that [`State::next_deadline`](super::State::next_deadline) named has come.
    DeadlineReached,
    /// An [`Action::Fork`](super::Action::Fork) succeeded, or an
    /// [`Action::Order`](super::Action::Order) was carried out.
    Forked {
        /// The worker that was to be forked.
        worker: WorkerId,
        /// Its process.
        pid: Pid,
    },
    /// An [`Action::Fork`](super::Action::Fork) or an [`Action::Order`](super::Action::Order) failed:
    /// no process exists.
    ForkFailed {
        /// The worker that was to be forked.
        worker: WorkerId,
        /// Why, in the system's words.
        error: String,
    },
    /// An [`Action::Fork`](super::Action::Fork) was not carried out, since a hook of the embedder's failed.
    ForkRefused {
        /// The worker that was to be forked.
        worker: WorkerId,
        /// The exit code if the server ends by it.
        code: u8,
        /// Which hook, and how it failed.
        reason: String,
    },
    /// A hook of the embedder's has failed, and the server is to end.
    HookRaised {
        /// The exit code.
        code: u8,
        /// Which hook, and how it failed.
        reason: String,
    },
    /// An [`Action::ForkStem`](super::Action::ForkStem) succeeded.
    StemForked {
        /// Whose stem it is.
        generation: u32,
        /// Its process.
        pid: Pid,
    },
    /// An [`Action::ForkStem`](super::Action::ForkStem) failed: no process exists.
    StemForkFailed {
        /// Whose stem it was to be.
        generation: u32,
        /// Why, in the system's words.
        error: String,
    },
    /// The stem has loaded the application, and waits for orders.
    StemReady {
        /// Whose stem it is.
        generation: u32,
    },
    /// The stem will not become ready, and ends by itself if it can.
    StemUnready {
        /// Whose stem it is.
        generation: u32,
        /// Why, in a few words of one line.
        reason: String,
    },
    /// Somebody asks for a restart.
    Restart {
        /// How; `None` as the configuration says.
        mode: Option<RestartMode>,
        /// Who is to be told how it ended ([`Action::Answer`](super::Action::Answer)), if anybody.
        asker: Option<Asker>,
    },
    /// Somebody asks for so many workers; at least one.
    Scale {
        /// How many there should be.
        workers: usize,
    },
    /// Somebody asks for an upgrade of the arbiter.
    Upgrade {
        /// The version that this is.
        from: String,
        /// Who is to be told how it ended ([`Action::Answer`](super::Action::Answer)), if anybody.
        asker: Option<Asker>,
    },
    /// An [`Action::CheckUpgrade`](super::Action::CheckUpgrade) ended well.
    UpgradeChecked {
        /// The version that would take over.
        version: String,
    },
    /// The new version cannot take over, or could not: this one goes on.
    UpgradeFailed {
        /// Why.
        reason: String,
    },
    /// After an [`Action::Upgrade`](super::Action::Upgrade), in the new version: it has taken over.
    Upgraded,
    /// Before the answer to an [`Action::ReadConfiguration`](super::Action::ReadConfiguration): what
    /// memory there is for the restart that follows.
    RoomMeasured(Room),
    /// An [`Action::ReadConfiguration`](super::Action::ReadConfiguration) succeeded.
    ConfigurationRead {
        /// What it says.
        policy: Policy,
    },
    /// An [`Action::ReadConfiguration`](super::Action::ReadConfiguration) failed: nothing has
    /// changed.
    ConfigurationRefused {
        /// What is wrong with it.
        reason: String,
    },
    /// The worker has loaded the application, and waits for the word to serve.
    WorkerReady {
        /// Who reports.
        worker: WorkerId,
    },
    /// The worker will not become ready, and ends by itself if it can.
    WorkerUnready {
        /// Who reports.
        worker: WorkerId,
        /// Why, in a few words of one line.
        reason: String,
    },
    /// The worker uses more memory than `max_worker_memory`. It goes on serving, as after
    /// [`WorkerRetiring`](Self::WorkerRetiring).
    WorkerOutgrown {
        /// Who reports.
        worker: WorkerId,
        /// Its resident memory, in bytes.
        used: u64,
        /// `max_worker_memory`, in bytes.
        limit: u64,
    },
    /// The worker's application has not answered a request within `timeout`.
    WorkerStuck {
        /// Who reports.
        worker: WorkerId,
        /// What it is stuck on.
        request: StuckRequest,
    },
    /// The worker reached `max_requests` and asks to be replaced. It goes on serving until it is
    /// told to drain, which happens when its successor is ready.
    WorkerRetiring {
        /// Who reports.
        worker: WorkerId,
    },
    /// The worker has given away every connection that could move; those inside the application
    /// follow.
    WorkerGave {
        /// Who reports.
        worker: WorkerId,
    },
    /// Whoever took the worker's connections has gone or is going, and it keeps what is left.
    WorkerStranded {
        /// Who reports.
        worker: WorkerId,
    },
    /// No thread of the worker has come out of the application for a while.
    WorkerSaturated {
        /// Who reports.
        worker: WorkerId,
        /// Connections that wait for a thread, or may do so soon.
        waiting: u32,
    },
    /// Requests wait in the worker, and it has seen a sibling that would come to them sooner.
    WorkerCrowded {
        /// Who reports.
        worker: WorkerId,
        /// Requests that wait in it.
        waiting: u32,
        /// The other workers, and how many requests each has before a newcomer; 0 for one that rests.
        beside: Vec<(WorkerId, u32)>,
    },
    /// A thread of a worker that was saturated is free again.
    WorkerRelieved {
        /// Who reports.
        worker: WorkerId,
    },
    /// The worker has stopped accepting and leaves by itself when its work is done.
    WorkerDraining {
        /// Who reports.
        worker: WorkerId,
    },
    /// A child was reaped; not necessarily a worker.
    WorkerExited {
        /// The process that ended.
        pid: Pid,
        /// How it ended.
        exit: Exit,
        /// Whether the kernel's out-of-memory killer was at work in our cgroup since the last exit;
        /// `None` where that cannot be read.
        oom: Option<bool>,
    },
    /// Something happened between this arbiter and another one.
    Dance(Cue),
    /// A worker of an arbiter that is gone says that it serves on, or that it does so again because
    /// nobody took its connections.
    OrphanFound {
        /// Who says so.
        orphan: OrphanId,
        /// Its process, for the log: it is not a child, and may be of another namespace.
        pid: Pid,
    },
    /// The link to an orphan has ended.
    OrphanGone {
        /// Whose link.
        orphan: OrphanId,
    },
    /// The arbiter received a signal.
    Signal(Signal),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called `exit` with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether a core file was written.
        core: bool,
    },
}

/// The request on which a worker is stuck, as the worker reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckRequest {
    /// The request line as received, cut to a readable length: `GET /slow HTTP/1.1`.
    pub line: String,
    /// The client's address.
    pub client: String,
    /// How long the application has had the request.
    pub age: Duration,
}
