//! The one place where the arbiter waits: for everybody who may have something to say, and for the next deadline. What is
//! said is put into events here, in the order that `run.rs` is about; what follows is decided elsewhere. Invariant: without
//! news and without a deadline nobody wakes up.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::Arbiter;
use crate::control::Source;
use crate::core::{Event, Signal, WorkerId};
use crate::host::Host;
use crate::translate::{TARGET, timespec};
use crate::upgrade::Check;

/// Who has something to say.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one who may have something to say"
)]
struct Woken {
    signals: bool,
    stems: bool,
    workers: Vec<WorkerId>,
    control: Vec<Source>,
    partner: bool,
    orphans: bool,
    check: bool,
    host: bool,
}

impl<H: Host> Arbiter<H> {
    pub(super) fn wait(&mut self) {
        let deadline = self.state.next_deadline();
        let wake_at = deadline.into_iter().chain(self.notifier.due()).min();
        let patience = wake_at.map(|at| at.saturating_sub(self.origin.elapsed()));
        let woken = self.poll(patience.into_iter().chain(self.control.patience()).min());
        let (forked, others) = if woken.stems {
            self.hear_stems()
        } else {
            Default::default()
        };
        self.events.extend(forked);
        if woken.signals {
            let mut signals = self.signals.received();
            signals.sort_by_key(|signal| *signal == Signal::Chld);
            self.events.extend(signals.into_iter().map(Event::Signal));
        }
        for id in woken.workers {
            self.read_channel(id);
        }
        self.events.extend(others);
        self.control.turn(&woken.control);
        if woken.host {
            self.host.look();
        }
        if woken.check {
            self.hear_check();
        }
        if woken.partner {
            self.hear_partner();
        }
        if woken.orphans {
            self.hear_orphans();
        }
        if deadline.is_some_and(|at| at <= self.origin.elapsed()) {
            self.events.push_back(Event::DeadlineReached);
        }
        self.notifier.keep_up(self.origin.elapsed());
    }

    fn poll(&self, patience: Option<Duration>) -> Woken {
        let clients = self.control.interests();
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let stems = self.stems.open();
        fds.extend(stems.map(|link| PollFd::new(link, PollFlags::IN)));
        let channels = self.crew.open();
        fds.extend(channels.map(|(_, channel)| PollFd::new(channel, PollFlags::IN)));
        fds.extend(
            clients
                .iter()
                .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)),
        );
        let check = self.upgrading.check.as_ref().and_then(Check::output);
        fds.extend(check.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let host = self.host.interest();
        fds.extend(host.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let orphans = self.orphans.interests();
        fds.extend(orphans.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let partner = self.partner.interests();
        fds.extend(partner.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, patience.map(timespec).as_ref()) {
            Ok(_) => {}
            Err(error) => {
                if error != Errno::INTR {
                    log::error!(target: TARGET, "The arbiter cannot wait: {error}");
                }
                let signals = true;
                return Woken {
                    signals,
                    ..Woken::default()
                };
            }
        }
        let mut woken = fds.iter().map(|fd| !fd.revents().is_empty());
        let signals = woken.next() == Some(true);
        let mut is_woken = || woken.next() == Some(true);
        let stems = self.stems.open().filter(|_| is_woken()).count() > 0;
        let workers = self.crew.open().map(|(id, _)| id);
        let workers = workers.filter(|_| is_woken()).collect();
        let control = clients.iter().map(|(source, ..)| *source);
        let control = control.filter(|_| is_woken()).collect();
        let check = check.is_some_and(|_| is_woken());
        let host = host.is_some_and(|_| is_woken());
        let orphans = self.orphans.interests().filter(|_| is_woken()).count() > 0;
        let partner = woken.any(|is_woken| is_woken);
        Woken {
            signals,
            stems,
            workers,
            control,
            partner,
            orphans,
            check,
            host,
        }
    }
}
