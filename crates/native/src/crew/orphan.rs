//! A worker whose arbiter is gone, an *orphan*: it serves on, and waits at the meeting place for a new arbiter, whose
//! workers take its connections. If none comes in time it drains, as a worker does that cannot be found.
//!
//! ```text
//! the arbiter is gone ─▶ Alone ──hello──▶ Met ──give──▶ Giving ──everything is given──▶ drain
//!                          ▲ │ ◀───────────┴──────────────┘
//!                          │ │   the new arbiter is gone, or nobody takes
//!                          │ └ orphan_timeout ─▶ drain
//! ```
//!
//! Invariants: it serves in each of these but the last, where what it has is served by whoever takes it; each has an end
//! that needs nobody else; there is one arbiter at a time, the first that called.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use oxicorn_arbiter::orphans::{MeetingPlace, OrphanLink, Word};
use oxicorn_engine::WatchId;
use rustix::net::sockopt::socket_peercred;

use super::notices::fuse;
use super::{Crew, lock};
use crate::relay;

/// How long a new arbiter may take to get its workers ready where `boot_timeout` has no end.
const LONGEST_BOOT: Duration = Duration::from_secs(600);

/// What idle connections have to move, whatever running requests have (`graceful_timeout`).
const SHORTEST_MOVE: Duration = Duration::from_secs(2);

/// After so many times that nobody took the connections, though the new workers serve, they end where they are.
const MOST_TRIES: u32 = 3;

/// How it stands with an arbiter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It lives, or nobody waits for another one.
    #[default]
    Kept,
    Alone,
    Met,
    Giving,
}

/// What a worker needs to outlive its arbiter.
#[derive(Debug)]
pub(super) struct Orphanhood {
    /// How long a new arbiter may take from its hello until its workers take the connections.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// Where a new arbiter comes; `None` once nobody is to come any more.
    place: Option<MeetingPlace>,
    door: Option<WatchId>,
    link: Option<(OrphanLink, WatchId)>,
    timer: Option<WatchId>,
    /// What is left of `orphan_timeout`, but for the time since `alone_since`.
    left: Duration,
    alone_since: Option<Instant>,
    /// How often nobody took the connections, since there is a link.
    tries: u32,
}

/// Who has something to say.
enum Caller {
    Door,
    Link,
    Timer,
}

impl Orphanhood {
    /// `timeout`: how long to serve on, zero for not at all; `boot`: `boot_timeout`.
    pub(super) fn new(place: Option<MeetingPlace>, timeout: Duration, boot: Duration) -> Self {
        // A stem and its workers have it each.
        let patience = if boot.is_zero() {
            LONGEST_BOOT
        } else {
            boot.saturating_mul(2)
        };
        let state = State {
            stage: Stage::Kept,
            place: place.filter(|_| !timeout.is_zero()),
            door: None,
            link: None,
            timer: None,
            left: timeout,
            alone_since: None,
            tries: 0,
        };
        Self {
            patience,
            state: Mutex::new(state),
        }
    }
}

impl State {
    fn caller(&self, id: WatchId) -> Option<Caller> {
        let link = self.link.as_ref().map(|(_, watch)| *watch);
        match Some(id) {
            known if known == self.door => Some(Caller::Door),
            known if known == link => Some(Caller::Link),
            known if known == self.timer => Some(Caller::Timer),
            // News of something that is not watched any more.
            _ => None,
        }
    }

    fn stop_clock(&mut self) {
        if let Some(since) = self.alone_since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
    }
}

impl Crew {
    /// The arbiter is gone: a worker that serves goes on for a while, and so does one that stands by as long as it has
    /// connections. Any other one finishes what it has.
    pub(super) fn orphaned(&self) {
        if self.orphaned.swap(true, Ordering::Relaxed) {
            return;
        }
        if !self.may_serve_on() {
            log::warn!(target: "oxicorn", "Parent changed, shutting down: the arbiter is gone");
            return self.depart();
        }
        let arbiter = socket_peercred(&self.channel).map_or(0, |it| it.pid.as_raw_nonzero().get());
        let left = lock(&self.orphanhood.state).left.as_secs_f32();
        log::warn!(
            target: "oxicorn",
            "The arbiter (pid: {arbiter}) is gone: worker (pid: {}) serves on for {left} s, until a new one takes over",
            std::process::id()
        );
        let open = self.open_door().and_then(|()| self.be_alone());
        self.or_depart(open);
        self.meet();
    }

    /// Whoever stands by accepts nothing, and gives what it has to others; who knows how long they are there.
    fn may_serve_on(&self) -> bool {
        let serves = self.post.serves() || self.engine().stats().connections > 0;
        let leaves = self.draining.load(Ordering::Relaxed);
        serves && !leaves && lock(&self.orphanhood.state).place.is_some()
    }

    fn open_door(&self) -> io::Result<()> {
        let mut state = lock(&self.orphanhood.state);
        if let Some(place) = &state.place {
            let place = place.as_fd().try_clone_to_owned()?;
            state.door = Some(self.engine().watch(place)?);
        }
        Ok(())
    }

    /// Nobody is to come any more: the name is for the next server.
    pub(super) fn close_door(&self) {
        let mut state = lock(&self.orphanhood.state);
        state.place = None;
        let mut gone = vec![state.door.take()];
        if state.stage != Stage::Giving {
            state.stage = Stage::Kept;
            gone.push(state.timer.take());
        }
        let mut engine = self.engine();
        gone.into_iter().flatten().for_each(|id| engine.unwatch(id));
    }

    /// From here on the time counts.
    fn be_alone(&self) -> io::Result<()> {
        let mut state = lock(&self.orphanhood.state);
        state.stop_clock();
        state.stage = Stage::Alone;
        state.alone_since = Some(Instant::now());
        let left = state.left;
        self.set_timer(&mut state, left)
    }

    fn set_timer(&self, state: &mut State, delay: Duration) -> io::Result<()> {
        let timer = fuse(delay)?;
        let mut engine = self.engine();
        if let Some(old) = state.timer.take() {
            engine.unwatch(old);
        }
        state.timer = Some(engine.watch(timer)?);
        Ok(())
    }

    /// A stage without an end must not be.
    fn or_depart(&self, begun: io::Result<()>) {
        if let Err(error) = begun {
            log::error!(target: "oxicorn", "Worker (pid: {}) leaves without a new arbiter: {error}", std::process::id());
            self.depart();
        }
    }

    /// Finishes what it has and leaves. There is no arbiter to see to it that this ends.
    fn depart(&self) {
        self.light_fuse();
        self.drain();
    }

    /// Something that an orphan watches has news.
    pub(super) fn on_orphan_watch(&self, id: WatchId) {
        let caller = lock(&self.orphanhood.state).caller(id);
        match caller {
            Some(Caller::Door) => self.meet(),
            Some(Caller::Link) => {
                self.hear_arbiter();
                self.meet();
            }
            Some(Caller::Timer) => self.on_orphan_timer(),
            None => {}
        }
    }

    /// Goes with the next arbiter that waits, unless there is one already.
    fn meet(&self) {
        while self.let_in() {
            self.hear_arbiter();
        }
    }

    /// Whether somebody came.
    fn let_in(&self) -> bool {
        let mut state = lock(&self.orphanhood.state);
        if state.link.is_some() || state.stage != Stage::Alone {
            return false;
        }
        let Some(link) = state.place.as_ref().and_then(MeetingPlace::accept) else {
            return false;
        };
        let watched = link.as_fd().try_clone_to_owned();
        match watched.and_then(|link| self.engine().watch(link)) {
            Ok(watch) => state.link = Some((link, watch)),
            Err(error) => {
                log::error!(target: "oxicorn", "A new arbiter cannot be heard: {error}");
            }
        }
        true
    }

    /// Everything that it has said: the descriptor does not tell twice.
    fn hear_arbiter(&self) {
        loop {
            let word = lock(&self.orphanhood.state)
                .link
                .as_ref()
                .map_or(Word::Nothing, |(link, _)| link.heard());
            match word {
                Word::Call { seeks } => self.introduce(seeks),
                Word::Give => self.give_to_arbiter(),
                Word::Leave => self.depart(),
                Word::Nothing => return,
                Word::End => self.lose_arbiter(),
            }
        }
    }

    fn introduce(&self, seeks: bool) {
        let mut state = lock(&self.orphanhood.state);
        let told = match (&state.link, &state.place) {
            (Some((link, _)), Some(place)) if seeks => {
                let engine = self.engine();
                let listeners: Vec<BorrowedFd<'_>> = engine.listening().collect();
                let sent = link.send_sockets(&listeners, place);
                sent.and_then(|()| link.hello())
            }
            (Some((link, _)), Some(_)) => link.hello(),
            _ => return,
        };
        if told.is_err() {
            drop(state);
            return self.lose_arbiter();
        }
        state.stop_clock();
        state.stage = Stage::Met;
        let timed = self.set_timer(&mut state, self.orphanhood.patience);
        drop(state);
        log::debug!(target: "oxicorn", "Worker (pid: {}) waits for a new arbiter's workers", std::process::id());
        self.or_depart(timed);
    }

    fn give_to_arbiter(&self) {
        let mut state = lock(&self.orphanhood.state);
        let offered = match (&state.link, state.stage) {
            (Some((link, _)), Stage::Met) => link.offer(),
            _ => return,
        };
        let Ok(end) = offered else {
            drop(state);
            return self.lose_arbiter();
        };
        state.stage = Stage::Giving;
        let timed = self.set_timer(&mut state, self.grace.max(SHORTEST_MOVE));
        drop(state);
        self.or_depart(timed);
        self.give_connections(end);
    }

    /// The new arbiter is gone. Its workers may live, and take on what they have begun to take.
    fn lose_arbiter(&self) {
        let mut state = lock(&self.orphanhood.state);
        state.tries = 0;
        if let Some((_, watch)) = state.link.take() {
            self.engine().unwatch(watch);
        }
        let alone = matches!(state.stage, Stage::Met | Stage::Alone);
        drop(state);
        if alone && !self.draining.load(Ordering::Relaxed) {
            let timed = self.be_alone();
            self.or_depart(timed);
        }
    }

    /// Everything is given.
    pub(super) fn on_all_given(&self) {
        let gives = lock(&self.orphanhood.state).stage == Stage::Giving;
        let stands_by = self.orphaned.load(Ordering::Relaxed) && !self.post.serves();
        if gives || stands_by {
            self.drain();
        }
    }

    /// Nobody takes the connections: they are served here again, until somebody does.
    pub(super) fn came_back(&self) {
        if lock(&self.orphanhood.state).stage != Stage::Giving
            || self.draining.load(Ordering::Relaxed)
        {
            return;
        }
        self.serve();
        let timed = self.be_alone();
        self.or_depart(timed);
        // Who has died took nothing, and is not to blame.
        self.hear_arbiter();
        let mut state = lock(&self.orphanhood.state);
        state.tries += u32::from(state.link.is_some());
        let in_vain = state.tries >= MOST_TRIES;
        drop(state);
        if in_vain {
            return self.depart();
        }
        self.introduce(false);
        self.meet();
    }

    fn on_orphan_timer(&self) {
        let (stage, pid) = (lock(&self.orphanhood.state).stage, std::process::id());
        match stage {
            Stage::Kept => {}
            Stage::Alone => {
                log::warn!(target: "oxicorn", "No new arbiter has come: worker (pid: {pid}) leaves");
                self.depart();
            }
            Stage::Met => {
                log::warn!(target: "oxicorn", "The new arbiter does not take over: worker (pid: {pid}) leaves");
                self.depart();
            }
            Stage::Giving => {
                self.log_cut_requests();
                log::warn!(target: "oxicorn", "Worker graceful timeout (pid: {pid}), requests were cut");
                relay::exit_now(0);
            }
        }
    }
}
