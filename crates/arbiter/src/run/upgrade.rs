//! The loop's part in an upgrade: the check, the execution of the new version, and taking over as
//! one.
//!
//! What is decided is decided by `core/upgrade.rs`; how the state travels is said in `upgrade/`.
//!
//! Invariant: the program is only replaced when every event has been handled and every request
//! answered or taken note of, so that there is nothing to carry over but the state.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::{Arbiter, Setup, own_pid};
use crate::channel;
use crate::control::{self, Control};
use crate::core::ledger::{Damaged, Ledger, Word, Words};
use crate::core::{Asker, Event, Signal, State};
use crate::crew::Crew;
use crate::fatal::Fatal;
use crate::host::{Host, Notice};
use crate::notify::Notifier;
use crate::oom::OomCounter;
use crate::origin::Origin;
use crate::orphans::Orphans;
use crate::partner::Partner;
use crate::pidfile::Pidfile;
use crate::sockets::Listener;
use crate::stem::{self, Stems};
use crate::sys::image::Image;
use crate::sys::{signals, way_back};
use crate::translate::TARGET;
use crate::upgrade::{Check, Order, Predecessor, Upgrading, VERSION, sealed, variable};

/// How long a new version has to take over.
const PATIENCE: Duration = Duration::from_secs(10);
/// Why there is no upgrade without a way back.
const NOTHING_KEPT: &str = "the running program is not kept, so there would be no way back: a script started it, or the log says why";

impl<H: Host> Arbiter<H> {
    /// Goes on in the place of an arbiter of another version: with its sockets, workers and clients,
    /// with the service manager, the command and the version of `setup`, and nothing else of it.
    ///
    /// Until [`run`](Self::run) is called nothing is changed that the former version needs to come
    /// back.
    ///
    /// # Errors
    /// When something that it needs is not there.
    pub fn resume(setup: Setup, host: H, predecessor: Predecessor) -> Result<Self, Fatal> {
        let signals = signals::install_blocked(&Signal::HANDLED)
            .map_err(|source| Fatal::Signals { source })?;
        let failed = |reason| Fatal::Resume { reason };
        let damaged = |damaged: Damaged| failed(damaged.to_string());
        let entries = predecessor.entries().map_err(failed)?;
        let kept = predecessor.kept().map_err(failed)?;
        let origin = entries.one("origin", Words::take).map_err(damaged)?;
        Ok(Self {
            host,
            state: State::read(&entries).map_err(damaged)?,
            listeners: entries.all("listener", Listener::read).map_err(damaged)?,
            crew: Crew::read(&entries).map_err(damaged)?,
            events: entries
                .all("signal", signal)
                .map_err(damaged)?
                .into_iter()
                .map(Event::Signal)
                .collect(),
            signals,
            pidfile: Pidfile::read(&entries, own_pid()).map_err(damaged)?,
            control: Control::read(&entries).map_err(damaged)?,
            secure: setup.secure,
            oom: OomCounter::read(&entries).map_err(damaged)?,
            notifier: Notifier::read(&setup.notify, &entries).map_err(damaged)?,
            origin: Origin::at(origin),
            stems: Stems::read(&entries).map_err(damaged)?,
            partner: Partner::default(),
            orphans: Orphans::read(&entries).map_err(damaged)?,
            estate: None,
            command: setup.command,
            version: setup.version,
            upgrading: Upgrading {
                kept: kept.map(Arc::new).or(setup.kept),
                predecessor: Some(predecessor),
                ..Upgrading::default()
            },
        })
    }

    /// The generation that serves.
    pub fn generation(&self) -> u32 {
        self.state.status(Duration::ZERO).generation
    }

    /// From here on there is no way back. What happened meanwhile comes first: the signals that were
    /// held back, then the ends of workers.
    pub(super) fn take_over(&mut self, predecessor: Predecessor) {
        let confirmed = predecessor
            .confirm()
            .and_then(|undone| signals::unblock_all().map(|()| undone));
        self.orphans.attend();
        for (worker, pid) in self.crew.processes() {
            self.notify(Notice::WorkerForked { worker, pid });
        }
        let mut late = self.signals.received();
        late.retain(|signal| *signal != Signal::Chld);
        self.events.extend(late.into_iter().map(Event::Signal));
        self.events.push_back(Event::Signal(Signal::Chld));
        self.events.push_back(match confirmed {
            Ok(None) => Event::Upgraded,
            Ok(Some(reason)) => Event::UpgradeFailed { reason },
            Err(error) => {
                log::error!(target: TARGET, "Can't put the signals in order: {error}");
                Event::Upgraded
            }
        });
    }

    pub(super) fn asked_to_upgrade(&mut self, asker: Asker, wait: bool) {
        log::info!(target: TARGET, "Asked over the control socket: upgrade");
        let missing = self.upgrading.kept.is_none().then_some(NOTHING_KEPT);
        if let Some(reason) = self.state.refuses_upgrade().or(missing) {
            log::error!(target: TARGET, "Upgrade refused: {reason}.");
            return self.control.answer(asker, control::refused(reason));
        }
        self.events.push_back(Event::Upgrade {
            from: self.version.clone(),
            asker: wait.then_some(asker),
        });
        if !wait {
            self.control.answer(asker, control::done());
        }
    }

    pub(super) fn check_upgrade(&mut self) {
        let (entries, _) = self.written(&[]).finish();
        let state = sealed(VERSION, &entries);
        match state.and_then(|state| Check::start(&self.command, state, own_pid())) {
            Ok(check) => self.upgrading.check = Some(check),
            Err(error) => self.fail(format!(
                "{} cannot be run: {error}",
                self.command.program.display()
            )),
        }
    }

    pub(super) fn hear_check(&mut self) {
        if let Some(check) = &mut self.upgrading.check {
            check.listen();
        }
    }

    pub(super) fn abandon_upgrade(&mut self) {
        self.upgrading.due = false;
        if let Some(check) = self.upgrading.check.take() {
            check.kill();
        }
    }

    /// Becomes the new version. Comes back only if that cannot be, with everything as before.
    pub(super) fn upgrade(&mut self) {
        self.upgrading.due = false;
        let now = self.origin.elapsed();
        self.notifier.ping(now);
        let mut waiting = Vec::new();
        let error = self.enter_new_version(&mut waiting);
        // A timer that cannot be stopped could not have been set either.
        let _ = way_back::stop_timer();
        let _ = signals::unblock_all();
        self.events.extend(waiting.into_iter().map(Event::Signal));
        self.fail(format!("the new version could not be executed: {error}"));
    }

    fn enter_new_version(&mut self, waiting: &mut Vec<Signal>) -> io::Error {
        match self.image_of_new_version(waiting) {
            Ok((image, _state)) => image.enter(),
            Err(error) => error,
        }
    }

    /// From here on the signals wait, and what has come before travels in the state. The state's
    /// descriptor is to be kept until the image is entered.
    fn image_of_new_version(&mut self, waiting: &mut Vec<Signal>) -> io::Result<(Image, OwnedFd)> {
        signals::block_all_but(&[])?;
        *waiting = self.signals.received();
        let (entries, mut inherited) = self.written(waiting).finish();
        let state = sealed(VERSION, &entries)?;
        inherited.push(state.as_raw_fd());
        let order = Order::Take(state.as_raw_fd()).variable(own_pid());
        let environment = self.command.environment.iter().cloned().map(variable);
        let program = self.command.program.as_os_str();
        let arguments = std::iter::once(program.to_owned());
        let image = Image::new(
            program,
            arguments.chain(self.command.arguments.iter().cloned()),
            environment.chain([order]),
            &self.command.directory,
            inherited,
        )?;
        let patience = self.notifier.patience();
        way_back::set_timer(patience.map_or(PATIENCE, |limit| limit.min(PATIENCE)))?;
        Ok((image, state))
    }

    fn fail(&mut self, reason: String) {
        self.events.push_back(Event::UpgradeFailed { reason });
    }

    /// Everything that the next version needs to go on. A signal that was held back for it is an
    /// entry; the end of a child is not, since it looks for those anyway.
    fn written(&self, waiting: &[Signal]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.put("origin", [self.origin.time().write()]);
        ledger.put("channel-messages", [channel::VERSION.write()]);
        ledger.put("stem-messages", [stem::VERSION.write()]);
        ledger.put("directory", [self.command.directory.write()]);
        self.state.write(&mut ledger);
        for listener in &self.listeners {
            listener.write("listener", &mut ledger);
        }
        self.orphans.write(&mut ledger);
        self.crew.write(&mut ledger);
        self.stems.write(&mut ledger);
        self.control.write(&mut ledger);
        self.notifier.write(&mut ledger);
        self.oom.write(&mut ledger);
        if let Some(pidfile) = &self.pidfile {
            pidfile.write(&mut ledger);
        }
        if let Some(kept) = &self.upgrading.kept {
            kept.write(&mut ledger);
        }
        if let Some(heirloom) = self.host.heirloom() {
            ledger.put("heirloom", [heirloom.write()]);
        }
        for signal in waiting.iter().filter(|signal| **signal != Signal::Chld) {
            ledger.put("signal", [signal.number().write()]);
        }
        ledger
    }
}

fn signal(words: &mut Words<'_>) -> Result<Signal, Damaged> {
    Signal::from_number(words.take()?).ok_or_else(|| words.damaged())
}
