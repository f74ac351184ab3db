//! The crew's part in moving connections: what the arbiter's commands and the engine's news about it mean here. How they move
//! is the engine's; who gives to whom is the arbiter's. None of it needs the interpreter. Invariant: whoever is told to give
//! everything does so as soon as what it gave before is settled.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use oxicorn_board::Count;
use oxicorn_engine::{Failure, Handover, Now};

use super::notices::tell;
use super::{Crew, lock};

impl Crew {
    /// Connections leave over this descriptor as soon as no request of theirs is inside the application, until the worker
    /// is told to serve. Those that cannot leave go on being served here.
    pub(super) fn give_connections(&self, to: OwnedFd) {
        self.stand_by();
        let mut engine = self.engine();
        engine.stop_giving(Now::read());
        if !engine.can_give() {
            *lock(&self.post.next) = Some(to);
            return;
        }
        let given = engine.give_to(to, Now::read());
        drop(engine);
        match given {
            Ok(()) => {
                self.post.gives.store(true, Ordering::Relaxed);
                self.recall_websockets();
            }
            Err(error) => {
                log::warn!(
                    target: "oxicorn",
                    "Connections stay in worker (pid: {}): {error}", std::process::id()
                );
                self.came_back();
            }
        }
    }

    /// So many requests that wait leave over this descriptor, at the most. Whoever gives everything, or is to, gives no share.
    pub(super) fn share_connections(&self, to: OwnedFd, most: u32) {
        if !self.serves() || !self.engine().can_give() {
            return;
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let shared = self.engine().share_with(to, most, Now::read());
        if let Err(error) = shared {
            log::warn!(target: "oxicorn", "Requests stay in worker (pid: {}): {error}", std::process::id());
        }
    }

    /// Connections arrive over this descriptor.
    pub(super) fn take_connections(&self, from: OwnedFd) {
        let taken = self.engine().take_from(from, Now::read());
        if let Err(error) = taken {
            // The descriptor is closed with this, so whoever gives keeps what it has.
            log::warn!(target: "oxicorn", "No connections are taken over: {error}");
        }
    }

    pub(super) fn on_handover(&self, news: &Handover) {
        let pid = std::process::id();
        match news {
            Handover::Given { moved, left } => {
                log::debug!(target: "oxicorn", "Worker (pid: {pid}) has given {moved} connections, {left} are left");
                if *left == 0 {
                    tell("given", self.channel.given());
                    self.on_all_given();
                }
            }
            Handover::Ended { moved, failure } => {
                let gives = self.engine().is_giving();
                self.post.gives.store(gives, Ordering::Relaxed);
                self.renew_stall();
                let alone = matches!(failure, Some(Failure::Gone | Failure::Leaving));
                let gives_on = self.gives_on();
                if !gives_on && alone && !self.post.serves() {
                    tell("stranded", self.channel.stranded());
                }
                match failure {
                    Some(failure) => log::warn!(
                        target: "oxicorn",
                        "Worker (pid: {pid}) keeps its connections after it gave {moved}: {failure}"
                    ),
                    None => log::debug!(
                        target: "oxicorn",
                        "Worker (pid: {pid}) has stopped giving after {moved} connections"
                    ),
                }
                if failure.is_some() && !gives_on {
                    self.came_back();
                }
            }
            Handover::Welcome { most } => self.name_share(*most),
            Handover::Shared { moved, failure } => {
                log::debug!(target: "oxicorn", "Worker (pid: {pid}) has shared {moved} connections");
                if let Some(siblings) = &self.siblings {
                    siblings.shared(*moved, failure.is_some());
                }
                self.gives_on();
            }
            Handover::Taken { moved } => {
                log::debug!(target: "oxicorn", "Worker (pid: {pid}) has taken over {moved} connections");
            }
        }
    }

    /// Gives to whom it was told to give when it was still giving to somebody else. Whether there is such a one.
    fn gives_on(&self) -> bool {
        let Some(to) = lock(&self.post.next).take() else {
            return false;
        };
        self.give_connections(to);
        true
    }

    /// Requests that wait are named, the last ones in the backlog: its first ones are those that come to a thread here soonest.
    /// If the backlog is empty the engine knows what else waits.
    fn name_share(&self, most: usize) {
        let mut seat = lock(&self.seat);
        let stays = seat.backlog.len().saturating_sub(most);
        let waiting = seat.backlog.split_off(stays);
        drop(seat);
        let kept = self.engine().share(waiting.into(), Now::read());
        let mut seat = lock(&self.seat);
        seat.backlog.extend(kept);
        self.board.set(Count::Backlog, seat.backlog.len() as u64);
    }
}
