//! Orphans as the loop sees them: workers of an arbiter that was killed, which serve on, and are met at
//! the meeting place (`place.rs`).
//!
//! An arbiter that starts calls there before it binds anything. The first orphan that answers sends
//! the sockets of its server, so that nothing is bound a second time; the others answer one by one
//! while the workers boot, since one call always waits there for whoever has time. When they are told
//! to give is decided in `core/orphans.rs`.
//!
//! Invariants: nothing blocks but the first call, for a second; what an orphan says or does not say
//! keeps no arbiter from starting.

mod link;
mod place;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use oxicorn_settings::Address;
use rustix::event::{PollFd, PollFlags, poll};

pub use link::{OrphanLink, Word};
pub use place::MeetingPlace;

use self::link::{Answer, Call};
use self::place::Name;
use crate::core::ledger::{Damaged, Entries, Ledger, Words};
use crate::core::{OrphanId, Pid};
use crate::sockets::{ListenAddr, Listener};
use crate::sys::descriptors::adopt;
use crate::translate::{TARGET, timespec};

/// How long a start waits for an orphan, if there may be one.
const PATIENCE: Duration = Duration::from_secs(1);
/// After so many calls in succession that were ended without an answer there are no more.
const MOST_REFUSALS: u32 = 16;

/// The orphans that are known, and how others are found.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Ours, or that of the server that is taken over.
    pub(crate) place: Option<MeetingPlace>,
    name: Option<Name>,
    /// Waits for an orphan.
    call: Option<Call>,
    refusals: u32,
    linked: BTreeMap<OrphanId, Call>,
    last: OrphanId,
    /// Those that were told to leave. Their links end with this process, after what was said.
    dismissed: Vec<Call>,
    /// What the first orphan has sent, until everything is bound.
    sockets: Vec<OwnedFd>,
    /// Where such a socket is used.
    taken: Vec<ListenAddr>,
    /// Everything is bound.
    settled: bool,
    news: Vec<News>,
}

/// What has come of a call or of a link.
#[derive(Debug)]
pub(crate) enum News {
    Found {
        orphan: OrphanId,
        pid: Pid,
    },
    /// An orphan's connections come over this.
    Offered(OwnedFd),
    Gone {
        orphan: OrphanId,
    },
}

impl Orphans {
    /// Looks for orphans of a server with this first address.
    pub(crate) fn sought(first: Option<&Address>) -> Self {
        let local = first.and_then(ListenAddr::expected);
        let mut found = Self {
            name: local.and_then(|local| Name::of(&local).ok()),
            ..Self::default()
        };
        found.wait_for_the_first();
        found
    }

    /// With the meeting place that another arbiter left which started this one.
    pub(crate) fn inherited(place: Option<RawFd>) -> Self {
        let refused = |error: &io::Error| {
            log::warn!(target: TARGET, "There is no meeting place: {error}");
        };
        let place = place.map(adopt).transpose().inspect_err(refused);
        Self::meeting_at(place.ok().flatten())
    }

    /// What an earlier version of the arbiter had. It finds its orphans anew.
    pub(crate) fn read(entries: &Entries<'_>) -> Result<Self, Damaged> {
        let place = entries.maybe("meeting-place", Words::descriptor)?;
        Ok(Self::meeting_at(place))
    }

    /// Writes the meeting place down for the next version of the arbiter.
    pub(crate) fn write(&self, ledger: &mut Ledger) {
        if let Some(place) = &self.place {
            let number = ledger.inherit(place.as_fd().as_raw_fd());
            ledger.put("meeting-place", [number]);
        }
    }

    fn meeting_at(place: Option<OwnedFd>) -> Self {
        let place = place.map(MeetingPlace::of);
        Self {
            name: place.as_ref().and_then(|place| place.name().ok()),
            place,
            settled: true,
            ..Self::default()
        }
    }

    /// The listener for this address, if an orphan has sent it.
    pub(crate) fn listener_at(&mut self, address: &Address) -> Option<Listener> {
        // One may have been too late for the start.
        self.call_again();
        self.hear_call();
        let expected = ListenAddr::expected(address)?;
        let is_there = |socket: &OwnedFd| ListenAddr::of(socket).is_ok_and(|at| at == expected);
        let found = self.sockets.iter().position(is_there)?;
        let listener = Listener::left_behind(self.sockets.swap_remove(found)).ok()?;
        self.taken.push(expected);
        Some(listener)
    }

    /// When everything is bound: the paths of sockets that orphans sent are this process' own, and there
    /// is a meeting place, if one can be made, with a call that waits there.
    pub(crate) fn settle(&mut self, listeners: &mut [Listener]) {
        let taken = std::mem::take(&mut self.taken);
        for listener in listeners.iter_mut() {
            if taken.contains(&listener.local) {
                listener.claim();
            }
        }
        self.settled = true;
        self.sockets.clear();
        if self.place.is_none()
            && let Err(error) = self.make_place(listeners)
        {
            log::debug!(target: TARGET, "Workers will not outlive this arbiter: no meeting place: {error}");
        }
        self.attend();
    }

    fn make_place(&mut self, listeners: &[Listener]) -> io::Result<()> {
        let first = listeners.first().ok_or(io::ErrorKind::NotFound)?;
        let name = Name::of(&first.local)?;
        self.place = Some(MeetingPlace::open(&name)?);
        self.name = Some(name);
        Ok(())
    }

    /// Waits for orphans from now on, and is the arbiter that may take them over, unless another one is.
    /// Again whenever a duplicate of the meeting place was closed.
    pub(crate) fn attend(&mut self) {
        let Some(place) = &self.place else {
            return;
        };
        place.hold();
        if self.call.is_none() {
            self.refusals = 0;
            self.call_again();
        }
    }

    /// What to wait for: that it becomes readable.
    pub(crate) fn interests(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let call = self.call.iter().map(AsFd::as_fd);
        call.chain(self.linked.values().map(AsFd::as_fd))
    }

    /// What has happened since.
    pub(crate) fn turn(&mut self) -> Vec<News> {
        self.hear_call();
        let known: Vec<OrphanId> = self.linked.keys().copied().collect();
        for orphan in known {
            self.hear(orphan);
        }
        std::mem::take(&mut self.news)
    }

    /// Tells an orphan to give. If it cannot be told, its link has ended.
    pub(crate) fn relieve(&self, orphan: OrphanId) {
        let told = self.linked.get(&orphan).map_or(Ok(()), Call::give);
        log_unheard(told);
    }

    /// Tells an orphan to leave.
    pub(crate) fn dismiss(&mut self, orphan: OrphanId) {
        if let Some(link) = self.linked.remove(&orphan) {
            log_unheard(link.leave());
            self.dismissed.push(link);
        }
    }

    /// Whether somebody serves on when this process ends.
    pub(crate) fn serve_on(&self) -> bool {
        !self.linked.is_empty()
    }

    fn wait_for_the_first(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.linked.is_empty() {
            self.call_again();
            let left = until.saturating_duration_since(Instant::now());
            let Some(call) = &self.call else { return };
            if left.is_zero() {
                log::warn!(
                    target: TARGET,
                    "Somebody keeps the place of this server, and does not answer: another server, or its last workers; if this start ends with 'Connection in use', stop what listens there"
                );
                return;
            }
            let mut fds = [PollFd::new(call, PollFlags::IN)];
            // Interrupted or not: it is looked at again.
            let _ = poll(&mut fds, Some(&timespec(left)));
            self.hear_call();
        }
    }

    /// Has a call wait at the meeting place, if it can be.
    fn call_again(&mut self) {
        let Some(name) = self.name.as_ref().filter(|_| self.call.is_none()) else {
            return;
        };
        while self.refusals < MOST_REFUSALS {
            match name.call(self.place.is_none()) {
                Ok(call) => return self.call = call,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.refusals += 1,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    log::warn!(
                        target: TARGET,
                        "A process of another user has the name by which workers of a killed arbiter are found: if this arbiter is killed, its workers end with it"
                    );
                    self.refusals = MOST_REFUSALS;
                }
                Err(error) => {
                    return log::debug!(target: TARGET, "Nobody can be met: {error}");
                }
            }
        }
    }

    fn hear_call(&mut self) {
        while let Some(call) = &self.call {
            match call.heard() {
                Answer::Socket(socket) if !self.settled => self.sockets.push(socket),
                Answer::Place(place) => self.take_place(place),
                Answer::Hello(pid) => self.link(pid),
                Answer::Socket(_) | Answer::Offer(_) => {}
                Answer::Nothing => return,
                Answer::End => {
                    self.call = None;
                    self.refusals += 1;
                    self.call_again();
                }
            }
        }
    }

    fn link(&mut self, pid: Pid) {
        if let Some(link) = self.call.take() {
            self.last += 1;
            let orphan = self.last;
            self.linked.insert(orphan, link);
            self.news.push(News::Found { orphan, pid });
            self.refusals = 0;
            self.call_again();
        }
    }

    fn take_place(&mut self, place: MeetingPlace) {
        if let Some(own) = &self.place {
            drop(place);
            own.hold();
        } else if place.hold() {
            self.place = Some(place);
        } else {
            log::info!(target: TARGET, "Another arbiter takes over from the one that is gone");
            self.call = None;
            self.refusals = MOST_REFUSALS;
            self.sockets.clear();
        }
    }

    fn hear(&mut self, orphan: OrphanId) {
        while let Some(link) = self.linked.get(&orphan) {
            match link.heard() {
                Answer::Offer(end) => self.news.push(News::Offered(end)),
                Answer::Hello(pid) => self.news.push(News::Found { orphan, pid }),
                Answer::Socket(_) => {}
                Answer::Place(place) => self.take_place(place),
                Answer::Nothing => return,
                Answer::End => {
                    self.linked.remove(&orphan);
                    self.news.push(News::Gone { orphan });
                    self.refusals = 0;
                    self.call_again();
                }
            }
        }
    }
}

fn log_unheard(told: io::Result<()>) {
    if let Err(error) = told {
        log::debug!(target: TARGET, "An orphan cannot be told anything: {error}");
    }
}
