//! What the crew shows its siblings and sees of them, and when it asks for relief: requests wait here, nobody comes to them
//! for two looks, and all the while the same sibling has much less to do. What comes of it is decided by the arbiter. Not for
//! a crew that does not come back at all; that is `saturation`.
//!
//! Invariant: nothing is sent, and nobody is woken, while no sibling has less to do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oxicorn_arbiter::core::fair_share;
use oxicorn_board::{Floor, Place, Seen};

use super::{Crew, lock};

/// From one look at the siblings to the next. What is true at both is taken for true in between.
const LOOK: Duration = Duration::from_millis(10);

/// A look that is so old says nothing any more.
const STALE: Duration = Duration::from_millis(100);

/// How long a crew must have been without a rest before requests that wait for its leader are taken for a queue.
const RUSH: Duration = Duration::from_millis(50);

/// From a question without an answer to the next one.
const SILENCE: Duration = Duration::from_millis(50);

/// From a share that failed to the next question.
const RELUCTANCE: Duration = Duration::from_secs(1);

/// The siblings, as far as they can be seen.
#[derive(Debug)]
pub(super) struct Siblings {
    floor: &'static Floor,
    /// `None` if there was no room for this worker.
    place: Option<&'static Place>,
    /// This worker's number.
    own: u64,
    crowd: Mutex<Crowd>,
    /// More than nothing is shown to wait.
    shows: AtomicBool,
}

/// What is known of requests that wait.
#[derive(Debug, Default)]
struct Crowd {
    last: Option<Look>,
    /// Nothing is asked before.
    quiet_until: Option<Instant>,
}

/// What was seen at one moment.
#[derive(Debug)]
struct Look {
    at: Instant,
    waiting: u32,
    others: Vec<Seen>,
}

impl Look {
    /// So many requests have waited since `earlier`, if a sibling has had much less to do all the time.
    fn crowded_since(&self, earlier: &Self) -> Option<u32> {
        let waiting = self.waiting.min(earlier.waiting);
        let other = |seen: &Seen| {
            let before = earlier.others.iter().find(|one| one.worker == seen.worker);
            before.is_some_and(|before| fair_share(waiting, seen.load_since(before), 1) > 0)
        };
        self.others.iter().any(other).then_some(waiting)
    }
}

impl Siblings {
    /// For the worker of this number, after the fork.
    pub(super) fn new(floor: &'static Floor, own: u64) -> Self {
        Self {
            floor,
            place: floor.enter(own),
            own,
            crowd: Mutex::default(),
            shows: AtomicBool::new(false),
        }
    }

    fn rest(&self) {
        if let Some(place) = self.place {
            place.rest();
        }
    }

    fn rise(&self) {
        if let Some(place) = self.place {
            place.rise();
        }
    }

    /// So many requests wait here.
    fn show(&self, waiting: u32) {
        let shows = waiting > 0;
        if let Some(place) = self.place
            && (shows || self.shows.load(Ordering::Relaxed))
        {
            self.shows.store(shows, Ordering::Relaxed);
            place.show_waiting(waiting);
        }
    }

    fn others(&self) -> impl Iterator<Item = Seen> {
        self.floor.look().filter(|seen| seen.worker != self.own)
    }

    fn look(&self, at: Instant, waiting: u32) -> Look {
        Look {
            at,
            waiting,
            others: self.others().collect(),
        }
    }

    /// Looks, if it is time to. How many requests have waited for long enough, if the siblings are to be asked to take some.
    fn watch(&self, waiting: u32) -> Watched {
        self.show(waiting);
        let mut crowd = lock(&self.crowd);
        if waiting == 0 {
            crowd.last = None;
            return Watched::default();
        }
        let now = Instant::now();
        let due = crowd.last.as_ref().map(|last| last.at + LOOK);
        if let Some(left) = due.and_then(|due| due.checked_duration_since(now))
            && !left.is_zero()
        {
            return Watched::until(left);
        }
        let look = self.look(now, waiting);
        let earlier = crowd.last.take();
        let earlier = earlier.filter(|earlier| now.duration_since(earlier.at) < STALE);
        let crowded = earlier.and_then(|earlier| look.crowded_since(&earlier));
        crowd.last = Some(look);
        let quiet = crowd.quiet_until.is_some_and(|until| now < until);
        let crowded = crowded.filter(|_| !quiet);
        if crowded.is_some() {
            crowd.quiet_until = Some(now + SILENCE);
        }
        Watched {
            crowded,
            look_again: Some(LOOK),
        }
    }

    /// A share is over.
    pub(super) fn shared(&self, moved: u64, failed: bool) {
        let mut crowd = lock(&self.crowd);
        crowd.last = None;
        if failed {
            crowd.quiet_until = Some(Instant::now() + RELUCTANCE);
        } else if moved > 0 {
            crowd.quiet_until = None;
        }
    }
}

/// What came of a look.
#[derive(Debug, Default)]
struct Watched {
    crowded: Option<u32>,
    look_again: Option<Duration>,
}

impl Watched {
    fn until(left: Duration) -> Self {
        Self {
            crowded: None,
            look_again: Some(left),
        }
    }
}

/// How long the crew has had something to do without a break.
#[derive(Debug)]
pub(super) struct Rush {
    rests: u64,
    since: Instant,
}

impl Rush {
    pub(super) fn new() -> Self {
        Self {
            rests: 0,
            since: Instant::now(),
        }
    }

    /// Whether the crew has not rested for [`RUSH`].
    fn lasts(&mut self, rests: u64) -> bool {
        if rests != self.rests || rests % 2 == 1 {
            *self = Self {
                rests,
                ..Self::new()
            };
        }
        self.since.elapsed() >= RUSH
    }
}

impl Crew {
    /// Does something during which the crew has nothing to do, and can be seen to.
    pub(super) fn at_rest<T>(&self, wait: impl FnOnce() -> T) -> T {
        let Some(siblings) = self.siblings.as_ref().filter(|_| self.serves()) else {
            return wait();
        };
        siblings.rest();
        let result = wait();
        siblings.rise();
        result
    }

    /// For the steward, while it stands in: requests of the backlog wait. How long until it should look again; `None` if
    /// there is nothing to look for. Once the crew is saturated, the arbiter knows, and looks for a taker itself.
    pub(super) fn watch_siblings(&self) -> Option<Duration> {
        let siblings = self.siblings.as_ref()?;
        let seat = lock(&self.seat);
        let waiting = u32::try_from(seat.backlog.len()).unwrap_or(u32::MAX);
        let is_saturated = seat.stall.is_some_and(|stall| stall.is_told());
        drop(seat);
        if is_saturated {
            siblings.show(waiting);
            return None;
        }
        let watched = siblings.watch(waiting);
        self.ask_for_relief(watched.crowded);
        watched.look_again
    }

    /// For the steward, while requests come and go: a crew that never rests may have a queue all the same.
    pub(super) fn watch_rush(&self, rush: &mut Rush) {
        let Some(siblings) = self.siblings.as_ref() else {
            return;
        };
        let rushes = siblings.place.is_some_and(|own| rush.lasts(own.rests()));
        // The engine is in use most of the time now, and to wait for it costs more than the look: only if it is worth it.
        let waiting = if rushes && siblings.others().next().is_some() {
            self.engine().unseen_input()
        } else {
            0
        };
        let watched = siblings.watch(u32::try_from(waiting).unwrap_or(u32::MAX));
        self.ask_for_relief(watched.crowded);
    }

    /// The crew has nothing to do, or somebody else looks after what it has.
    pub(super) fn end_rush(&self) {
        if let Some(siblings) = &self.siblings {
            siblings.show(0);
        }
    }

    fn ask_for_relief(&self, crowded: Option<u32>) {
        let Some(waiting) = crowded.filter(|_| self.serves() && self.engine().can_give()) else {
            return;
        };
        // Without an answer they stay.
        if let Err(error) = self.channel.crowded(waiting) {
            log::debug!(target: "oxicorn", "The arbiter could not be told 'crowded': {error}");
        }
    }
}
