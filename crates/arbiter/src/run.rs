//! The loop: wait, translate what happened into events, let the core decide, perform its actions.
//!
//! One `poll(2)` waits for signals, the workers' channels, the control socket and the core's next
//! deadline; there is no tick, so an idle arbiter never wakes up (but for a service manager's
//! watchdog). No policy here: every "whether" and "when" is in `core`.
//!
//! `run/waiting.rs` is that poll, `run/stems.rs` is about the stems, `run/orphans.rs` about workers of an arbiter that was killed.
//!
//! Invariants: one thread, and nothing in it blocks but that one poll. What an action brings about
//! (a fork, an exit) is told to the core before any event that was waiting, so that the core never
//! decides over a process that is gone, nor learns of an exit before the fork. Signals go before
//! reports, and before the news of exits: a worker that was stopped together with the arbiter (by
//! Ctrl-C, or by a service manager that signals the whole group) is not replaced first.

mod asked;
mod dance;
mod hooks;
mod orphans;
mod stems;
mod upgrade;
mod waiting;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oxicorn_settings::Address;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid as SystemPid, Signal as SystemSignal, WaitOptions, WaitStatus, getpid, kill_process, wait,
};

use crate::channel::{self, ArbiterChannel};
use crate::control::{self, Control, ControlSocket};
use crate::core::{Action, Event, Exit, Pid, Policy, Signal, State, WorkerId, signal_name};
use crate::crew::Crew;
use crate::fatal::Fatal;
use crate::host::{Fork, Host, Notice, Outcome, WorkerSeed};
use crate::memory;
use crate::notify::{Notifier, NotifyOptions};
use crate::oom::OomCounter;
use crate::origin::Origin;
use crate::orphans::Orphans;
use crate::partner::{Inheritance, Partner};
use crate::pidfile::Pidfile;
use crate::sockets::{Allotment, ListenFds, Listener, Patience, SocketOptions, bind_all};
use crate::start_command::StartCommand;
use crate::stem::Stems;
use crate::sys::board::SharedBoard;
use crate::sys::signals::{self, SignalPipe};
use crate::translate::{TARGET, event_of, exit_of, timespec, write_log};
use crate::upgrade::{Kept, Upgrading};
use dance::Estate;

/// What the operator asked for, as far as the arbiter is concerned.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The numbers that steer the decisions.
    pub policy: Policy,
    /// Where to listen (`bind`).
    pub binds: Vec<Address>,
    /// Listening sockets passed by the service manager.
    pub listen_fds: ListenFds,
    /// How to make the listening sockets.
    pub sockets: SocketOptions,
    /// Where to write the process id (`pidfile`).
    pub pidfile: Option<PathBuf>,
    /// How to reach the service manager.
    pub notify: NotifyOptions,
    /// Where the server can be asked for things.
    pub control: ControlSocket,
    /// The workers speak TLS, so that the addresses are those of `https`.
    pub secure: bool,
    /// How the server was started.
    pub command: StartCommand,
    /// What another arbiter left, if one started this process.
    pub inheritance: Option<Inheritance>,
    /// What the running program can be executed from again; without it there is no upgrade.
    pub kept: Option<Arc<Kept>>,
    /// The version that this is, for those who look.
    pub version: String,
}

/// The process manager, its sockets bound.
#[derive(Debug)]
pub struct Arbiter<H> {
    host: H,
    state: State,
    listeners: Vec<Listener>,
    crew: Crew,
    stems: Stems,
    events: VecDeque<Event>,
    signals: SignalPipe,
    pidfile: Option<Pidfile>,
    control: Control,
    secure: bool,
    oom: OomCounter,
    notifier: Notifier,
    origin: Origin,
    command: StartCommand,
    version: String,
    upgrading: Upgrading,
    partner: Partner,
    orphans: Orphans,
    estate: Option<Estate>,
}

/// Whether the loop goes on after an action.
enum Flow {
    Continue,
    Leave(Outcome),
}

impl<H: Host> Arbiter<H> {
    /// Writes the pidfile, takes over the signals and binds the sockets, in this order.
    ///
    /// An address that is in use is tried five times, a second apart.
    ///
    /// # Errors
    /// The reason why the server cannot start; what was made until then is removed again.
    pub fn start(mut setup: Setup, mut host: H) -> Result<Self, Fatal> {
        let pid = own_pid();
        let inheritance = setup.inheritance.take();
        setup.command.forget(&Inheritance::VARIABLES);
        let estate = inheritance
            .as_ref()
            .map(|inheritance| Estate::set_aside(&mut setup, inheritance));
        let pidfile = setup
            .pidfile
            .map(|path| Pidfile::create(&path, pid))
            .transpose()?;
        let unwritten = |_: &Fatal| pidfile.iter().for_each(Pidfile::remove);
        // A hook that waits can be interrupted: the signals are not ours yet.
        host.starting()
            .map_err(Fatal::Raised)
            .inspect_err(unwritten)?;
        let mut signals = signals::install(&Signal::HANDLED)
            .map_err(|source| Fatal::Signals { source })
            .inspect_err(unwritten)?;
        let mut notifier = Notifier::new(&setup.notify);
        let mut allotment = match &inheritance {
            Some(left) if !left.listeners.is_empty() => Allotment::inherited(&left.listeners),
            _ => Allotment::of(&setup.binds, &setup.listen_fds),
        };
        // First of all: a new address may be in conflict with one that is given up.
        notifier.forget(allotment.give_up_stale());
        let mut orphans = match &inheritance {
            Some(left) => Orphans::inherited(left.meeting_place),
            None => Orphans::sought(allotment.addresses.first()),
        };
        let mut left = |address: &Address| orphans.listener_at(address);
        let mut listeners = bind_all(
            &allotment.addresses,
            &setup.sockets,
            &mut left,
            &mut signals,
        )
        .inspect_err(unwritten)?;
        orphans.settle(&mut listeners);
        notifier.store(&allotment.names, &listeners);
        Ok(Self {
            host,
            state: State::new(setup.policy, Duration::ZERO),
            listeners,
            crew: Crew::new(),
            stems: Stems::default(),
            events: VecDeque::new(),
            signals,
            pidfile,
            control: Control::open(&setup.control, pid),
            secure: setup.secure,
            oom: OomCounter::of_this_process(),
            notifier,
            origin: Origin::now(),
            command: setup.command,
            version: setup.version,
            upgrading: Upgrading {
                kept: setup.kept,
                ..Upgrading::default()
            },
            partner: inheritance.as_ref().map(Partner::elder).unwrap_or_default(),
            orphans,
            estate,
        })
    }

    /// The listening sockets.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Their URLs.
    pub fn urls(&self) -> Vec<String> {
        let urls = self.listeners.iter();
        urls.map(|one| one.local.url(self.secure)).collect()
    }

    /// Runs the server until it is stopped. Returns once in the arbiter, and once in every worker
    /// it forks.
    ///
    /// In a worker everything of the arbiter's is closed, and the host is dropped: a host that is
    /// needed there as well is lent as `&mut`.
    pub fn run(mut self) -> Outcome {
        self.begin();
        loop {
            while let Some(event) = self.events.pop_front() {
                for action in self.state.handle(self.origin.elapsed(), event) {
                    if let Flow::Leave(outcome) = self.perform(action) {
                        return outcome;
                    }
                }
            }
            match self.control.next_request() {
                Some((asker, request)) => self.asked(asker, request),
                None if self.upgrading.due => self.upgrade(),
                None => self.wait(),
            }
        }
    }

    fn begin(&mut self) {
        if let Some(predecessor) = self.upgrading.predecessor.take() {
            return self.take_over(predecessor);
        }
        self.announce();
        self.meet_the_elder();
        self.hear_orphans();
        self.events.push_back(Event::Started);
    }

    fn perform(&mut self, action: Action) -> Flow {
        match action {
            Action::Fork {
                worker,
                slot,
                generation,
            } => return self.fork(worker, slot, generation),
            Action::ForkStem { generation } => return self.fork_stem(generation),
            Action::Order {
                worker,
                slot,
                generation,
            } => self.order(worker, slot, generation),
            Action::SendReopen { generation } => self.stems.reopen(generation),
            Action::DismissStem { generation } => self.stems.dismiss(generation),
            Action::Signal { pid, signal } => self.send_signal(pid, signal),
            Action::ReadConfiguration { generation } => self.read_configuration(generation),
            Action::SendDrain { worker } => self.crew.tell(worker, "drain", ArbiterChannel::drain),
            Action::SendServe { worker } => self.crew.tell(worker, "serve", ArbiterChannel::serve),
            Action::SendPark { worker } => self.crew.tell(worker, "park", ArbiterChannel::park),
            Action::Connect { from, to } => self.crew.connect(from, to),
            Action::Share { from, to, most } => self.crew.share(from, to, most),
            Action::ReopenLogs => self.host.reopen_logs(),
            Action::CloseListeners => self.close_listeners(),
            Action::Reap => self.reap(),
            Action::Tell { news, status } => {
                let now = self.origin.elapsed();
                self.notifier.tell(news, &status, own_pid(), now);
            }
            Action::Log { level, text } => write_log(level, &text),
            Action::ChildExited { worker, pid, exit } => {
                self.notify(Notice::ChildExited { worker, pid, exit });
            }
            Action::WorkersChanged { new, old } => {
                self.notify(Notice::WorkersChanged { new, old });
            }
            Action::RestartEnded {
                generation,
                failure,
            } => self.notify(Notice::RestartEnded {
                generation,
                failure: failure.as_deref(),
            }),
            Action::Answer {
                asker,
                generation,
                failure,
            } => self
                .control
                .answer(asker, control::ended(generation, failure.as_deref())),
            Action::Dance(step) => self.dance(&step),
            Action::RelieveOrphan { orphan } => self.orphans.relieve(orphan),
            Action::DismissOrphan { orphan } => self.orphans.dismiss(orphan),
            Action::CheckUpgrade => self.check_upgrade(),
            Action::Upgrade => self.upgrading.due = true,
            Action::AbandonUpgrade => self.abandon_upgrade(),
            Action::Exit { code } => return Flow::Leave(self.exit(code)),
        }
        Flow::Continue
    }

    fn fork(&mut self, id: WorkerId, slot: usize, generation: u32) -> Flow {
        if self.is_fork_refused(id, generation) {
            return Flow::Continue;
        }
        match self.try_fork(id, slot, generation) {
            Ok(None) => {}
            Ok(Some(seed)) => return Flow::Leave(Outcome::Worker(seed)),
            Err(error) => {
                self.events.push_front(Event::ForkFailed {
                    worker: id,
                    error: error.to_string(),
                });
            }
        }
        Flow::Continue
    }

    /// The seed in the child, nothing in the parent. The listeners travel with the seed, which the
    /// parent takes apart again: no descriptor is duplicated for a fork.
    fn try_fork(
        &mut self,
        id: WorkerId,
        slot: usize,
        generation: u32,
    ) -> io::Result<Option<WorkerSeed>> {
        let (ours, channel) = channel::pair()?;
        let listeners = std::mem::take(&mut self.listeners);
        let seed = WorkerSeed {
            id,
            slot,
            generation,
            channel,
            board: board_for(id),
            floor: self.crew.floor(),
            listeners,
            meeting_place: self.orphans.place.take(),
            arbiter: own_pid(),
        };
        let fork = self.host.fork(&seed);
        if matches!(fork, Ok(Fork::Child)) {
            become_child();
            return Ok(Some(seed));
        }
        self.listeners = seed.listeners;
        self.orphans.place = seed.meeting_place;
        if let Fork::Parent(pid) = fork? {
            self.crew.add(id, pid, ours, seed.board);
            self.events.push_front(Event::Forked { worker: id, pid });
            self.notify(Notice::WorkerForked { worker: id, pid });
        }
        Ok(None)
    }

    fn read_configuration(&mut self, generation: u32) {
        let event = match self.host.read_configuration(generation) {
            Ok(policy) => Event::ConfigurationRead { policy },
            Err(reason) => Event::ConfigurationRefused { reason },
        };
        self.events.push_front(event);
        if let Some(room) = memory::room(self.crew.pids(), self.stems.pids()) {
            self.events.push_front(Event::RoomMeasured(room));
        }
    }

    /// Reaps every child, also those that a container's first process inherits from others.
    fn reap(&mut self) {
        let later = std::mem::take(&mut self.events);
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.reaped(pid.as_raw_nonzero().get(), status),
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.events.extend(later);
    }

    fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        let Some(exit) = exit_of(status) else {
            return;
        };
        if let Some(check) = self.upgrading.check.take_if(|check| check.pid() == pid) {
            return self.events.push_back(check.ended(exit));
        }
        if self.crew.with_pid(pid).is_none() {
            // It may be a worker of which its stem has told us just now.
            let (forked, others) = self.hear_stems();
            self.events.extend(forked.into_iter().chain(others));
        }
        self.stems.remove(pid);
        // What it said before it died comes first.
        if let Some(id) = self.crew.with_pid(pid) {
            self.read_channel(id);
            self.crew.remove(id);
        }
        let killed = matches!(
            exit,
            Exit::Signal {
                number: libc::SIGKILL,
                ..
            }
        );
        let oom = if killed {
            self.oom.accounts_for_a_kill()
        } else {
            None
        };
        self.events
            .push_back(Event::WorkerExited { pid, exit, oom });
    }

    /// Not to one that was reaped together with whoever is the reason: its number is free, and may be
    /// another process' by now.
    fn send_signal(&self, pid: Pid, signal: Signal) {
        let is_its_end = |event: &Event| matches!(event, Event::WorkerExited { pid: ended, .. } if *ended == pid);
        if self.events.iter().any(is_its_end) {
            return;
        }
        let target = SystemPid::from_raw(pid).zip(SystemSignal::from_named_raw(signal.number()));
        if let Some(Err(error)) = target.map(|(pid, signal)| kill_process(pid, signal)) {
            let name = signal_name(signal.number());
            log::warn!(target: TARGET, "Can't send {name} to process {pid}: {error}");
        }
    }

    fn exit(&mut self, code: u8) -> Outcome {
        self.close_listeners();
        self.pidfile.take().iter().for_each(Pidfile::remove);
        self.control.retire();
        let told = self.host.notify(Notice::Exiting { code });
        Outcome::Exit(told.map_or_else(|raised| raised.code, |()| code))
    }

    fn read_channel(&mut self, worker: WorkerId) {
        let floor = self.crew.floor();
        let reports = self.crew.listen(worker).into_iter();
        self.events
            .extend(reports.map(|report| event_of(worker, report, floor)));
    }
}

/// Waiting for an address, interrupted by the signals that end the server.
impl Patience for SignalPipe {
    fn wait(&mut self, pause: Duration) -> Result<(), Fatal> {
        let start = Instant::now();
        while let Some(left) = pause
            .checked_sub(start.elapsed())
            .filter(|left| !left.is_zero())
        {
            let mut fds = [PollFd::new(self, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(source) => {
                    return Err(Fatal::Signals {
                        source: source.into(),
                    });
                }
            }
            let stop = |s: &Signal| matches!(s, Signal::Term | Signal::Int | Signal::Quit);
            if let Some(signal) = self.received().into_iter().find(stop) {
                return Err(Fatal::Stopped { signal });
            }
        }
        Ok(())
    }
}

/// Without a board a worker serves all the same.
fn board_for(worker: WorkerId) -> Option<SharedBoard> {
    let refused = |error: &io::Error| {
        log::warn!(target: TARGET, "What worker {worker} does cannot be counted: {error}");
    };
    SharedBoard::new().inspect_err(refused).ok()
}

fn become_child() {
    if let Err(error) = signals::reset_to_default() {
        log::warn!(target: TARGET, "Can't reset the signals: {error}");
    }
}

fn own_pid() -> Pid {
    getpid().as_raw_nonzero().get()
}
