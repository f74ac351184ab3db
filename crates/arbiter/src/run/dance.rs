//! What the loop performs between this arbiter and another one; `core/dance.rs` decides.
//!
//! Invariant: a name (pidfile, control socket, path of a Unix socket) belongs to one of the two at
//! each moment, and only its owner removes it.

use std::os::fd::AsFd;
use std::path::PathBuf;

use oxicorn_settings::Address;

use super::{Arbiter, own_pid};
use crate::control::{ControlPlace, ControlSocket};
use crate::core::{Cue, Event, Offer, Step, WorkerId};
use crate::host::{Host, Notice};
use crate::notify::{Notifier, NotifyOptions};
use crate::partner::{Inheritance, Legacy};
use crate::sockets::Listener;
use crate::translate::TARGET;

/// What a second arbiter takes over when the first has gone; until then its names have the suffix
/// `.2`, and it says nothing to the service manager.
#[derive(Debug)]
pub(super) struct Estate {
    inheritance: Inheritance,
    pidfile: Option<PathBuf>,
    control: Option<PathBuf>,
    binds: Vec<Address>,
    notify: NotifyOptions,
}

impl Estate {
    /// Takes the names out of the setup, and puts those of a second arbiter in their places.
    pub(super) fn set_aside(setup: &mut super::Setup, inheritance: &Inheritance) -> Self {
        let pidfile = setup.pidfile.take();
        setup.pidfile = pidfile.clone().map(second);
        let control = match &setup.control.place {
            ControlPlace::Path(path) => Some(path.clone()),
            ControlPlace::Nowhere | ControlPlace::RuntimeDirectory => None,
        };
        if let Some(path) = &control {
            let place = ControlPlace::Path(second(path.clone()));
            let mode = setup.control.mode;
            setup.control = ControlSocket { place, mode };
        }
        Self {
            inheritance: inheritance.clone(),
            pidfile,
            control,
            binds: setup.binds.clone(),
            notify: std::mem::take(&mut setup.notify),
        }
    }
}

/// gunicorn's name for a file of the second arbiter's.
fn second(path: PathBuf) -> PathBuf {
    let mut name = path.into_os_string();
    name.push(".2");
    name.into()
}

impl<H: Host> Arbiter<H> {
    pub(super) fn dance(&mut self, step: &Step) {
        match *step {
            Step::Start => self.start_successor(),
            Step::Say(standing) => {
                let lost = self.partner.say(standing).map(Event::Dance);
                self.events.extend(lost);
            }
            Step::Give { from } => self.give(from),
            Step::Take { offer, worker } => self.take(offer, worker),
            Step::Decline { offer } => drop(self.partner.offered(offer)),
            Step::Bequeath => self.listeners.iter_mut().for_each(Listener::bequeath),
            Step::Promote => self.promote(),
        }
    }

    /// What another arbiter has to do with this one, told to the core before everything else.
    pub(super) fn meet_the_elder(&mut self) {
        if self.estate.is_some() {
            let linked = self.partner.is_linked();
            self.events.push_back(Event::Dance(Cue::Born { linked }));
            self.hear_partner();
        }
    }

    pub(super) fn hear_partner(&mut self) {
        let cues = self.partner.turn().into_iter();
        self.events.extend(cues.map(Event::Dance));
    }

    fn start_successor(&mut self) {
        let place = self.orphans.place.as_ref();
        let host = &mut self.host;
        let legacy = Legacy {
            command: &self.command,
            listeners: &self.listeners,
            place,
            own: own_pid(),
        };
        let cue = self
            .partner
            .start(&legacy, &mut |command| host.execute(command));
        self.orphans.attend();
        self.events.push_front(Event::Dance(cue));
    }

    /// A worker that cannot give keeps its connections.
    fn give(&self, from: WorkerId) {
        let given = self.crew.give_away(from, |end| self.partner.offer(end));
        if let Err(error) = given {
            log::warn!(target: TARGET, "Worker {from} cannot give its connections away: {error}");
        }
    }

    fn take(&mut self, offer: Offer, worker: WorkerId) {
        if let Some(end) = self.partner.offered(offer) {
            self.crew
                .tell(worker, "take", |channel| channel.take(end.as_fd()));
        }
    }

    fn promote(&mut self) {
        let Some(estate) = self.estate.take() else {
            return;
        };
        if let (Some(file), Some(path)) = (&mut self.pidfile, estate.pidfile) {
            file.inherit(path, estate.inheritance.elder);
        }
        if let Some(path) = estate.control {
            self.control.inherit(path);
        }
        for (number, listener) in estate.inheritance.listeners.iter().zip(&mut self.listeners) {
            // A gunicorn removes the paths of the addresses that it was given.
            let made = match &estate.inheritance.paths {
                Some(paths) => paths.contains(number),
                None => listener.is_named(&estate.binds),
            };
            if made {
                listener.claim();
            }
        }
        self.notifier = Notifier::new(&estate.notify);
        self.orphans.attend();
        self.notify(Notice::Promoted);
    }
}
