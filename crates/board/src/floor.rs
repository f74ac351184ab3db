//! The floor: memory that all workers of one server share, where each shows the others whether it rests and how many
//! requests wait in it. Not for counting, which is the board's, and not for deciding who takes what.
//!
//! Invariant: a place is written by the worker whose number is on it, and cleared by the arbiter only after that worker's
//! end. So a reader may see numbers of different moments, but never those of somebody who is gone for long.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the first number of a floor says: "oxifloo" and the version of the layout, 1.
const FORMAT: u64 = u64::from_be_bytes(*b"oxifloo\x01");

/// How many workers have a place. Those beyond see the others and are not seen.
const PLACES: usize = 511;

/// See the module.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Floor {
    format: AtomicU64,
    /// So many places have been in use.
    used: AtomicU64,
    places: [Place; PLACES],
}

/// Where one worker shows itself. On a cache line of its own: it is written at every rest, and seldom read.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Place {
    /// 0 = nobody's.
    worker: AtomicU64,
    /// Odd while the worker rests; a new number for each rest.
    rest: AtomicU64,
    waiting: AtomicU64,
}

/// What can be seen of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub worker: u64,
    /// While it rests, a number that no other rest of it has.
    pub rest: Option<u64>,
    /// Requests that wait in it for a thread, as far as it has looked.
    pub waiting: u32,
}

impl Seen {
    /// How many requests a newcomer finds before it; 0 if a thread is ready for it.
    pub fn load(&self) -> u32 {
        match self.rest {
            Some(_) => 0,
            None => self.waiting.saturating_add(1),
        }
    }

    /// What it has had to do at least since it was seen `before`: nothing only if it has rested all the time.
    pub fn load_since(&self, before: &Self) -> u32 {
        if self.rest.is_some() && self.rest == before.rest {
            return 0;
        }
        before.waiting.max(self.waiting).saturating_add(1)
    }
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            format: AtomicU64::new(FORMAT),
            used: AtomicU64::new(0),
            places: std::array::from_fn(|_| Place::default()),
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        let [worker, rest, waiting] = [0; 3].map(AtomicU64::new);
        Self {
            worker,
            rest,
            waiting,
        }
    }
}

impl Floor {
    /// Begins a floor on zeroes.
    pub fn begin(&self) {
        self.format.store(FORMAT, Ordering::Relaxed);
    }

    /// Whether this is a floor whose layout we know.
    pub fn is_known(&self) -> bool {
        self.format.load(Ordering::Relaxed) == FORMAT
    }

    /// A place for the worker of this number, which is not 0 and which nobody else has. `None` if all are taken.
    pub fn enter(&self, worker: u64) -> Option<&Place> {
        let free = |place: &Place| {
            place
                .worker
                .compare_exchange(0, worker, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        };
        let at = self.places.iter().position(free)?;
        self.used.fetch_max(at as u64 + 1, Ordering::AcqRel);
        self.places.get(at)
    }

    /// The worker of this number has ended.
    pub fn leave(&self, worker: u64) {
        let theirs = |place: &&Place| place.worker.load(Ordering::Relaxed) == worker;
        for place in self.in_use().iter().filter(theirs) {
            place.rest.store(0, Ordering::Relaxed);
            place.waiting.store(0, Ordering::Relaxed);
            place.worker.store(0, Ordering::Release);
        }
    }

    /// Everybody who is there.
    pub fn look(&self) -> impl Iterator<Item = Seen> {
        self.in_use().iter().filter_map(Place::seen)
    }

    fn in_use(&self) -> &[Place] {
        let used = self.used.load(Ordering::Acquire);
        let used = usize::try_from(used).unwrap_or(PLACES).min(PLACES);
        self.places.get(..used).unwrap_or_default()
    }
}

impl Place {
    /// From now on a thread waits for something to do.
    #[inline]
    pub fn rest(&self) {
        let next = self.rest.load(Ordering::Relaxed).wrapping_add(2) | 1;
        self.rest.store(next, Ordering::Relaxed);
    }

    /// There is something to do.
    #[inline]
    pub fn rise(&self) {
        let now = self.rest.load(Ordering::Relaxed) & !1;
        self.rest.store(now, Ordering::Relaxed);
    }

    /// A number that changes with every rest.
    pub fn rests(&self) -> u64 {
        self.rest.load(Ordering::Relaxed)
    }

    /// So many requests wait for a thread.
    pub fn show_waiting(&self, waiting: u32) {
        self.waiting.store(u64::from(waiting), Ordering::Relaxed);
    }

    fn seen(&self) -> Option<Seen> {
        let worker = self.worker.load(Ordering::Acquire);
        let rest = self.rest.load(Ordering::Relaxed);
        let waiting = self.waiting.load(Ordering::Relaxed);
        let seen = Seen {
            worker,
            rest: (rest % 2 == 1).then_some(rest),
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
        };
        Some(seen).filter(|_| worker != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(floor: &Floor) -> Vec<Seen> {
        floor.look().collect()
    }

    #[test]
    fn everybody_sees_who_rests_and_how_many_wait() {
        let floor = Floor::default();
        let (one, two) = (floor.enter(1).unwrap(), floor.enter(2).unwrap());
        one.show_waiting(7);
        two.rest();
        let [one, two] = look(&floor)[..] else {
            panic!("two are there");
        };
        assert_eq!((one.worker, one.rest, one.waiting), (1, None, 7));
        assert_eq!((two.worker, two.rest.is_some()), (2, true));
        assert_eq!((one.load(), two.load()), (8, 0));
    }

    #[test]
    fn each_rest_has_a_number_of_its_own() {
        let floor = Floor::default();
        let place = floor.enter(1).unwrap();
        let mut seen = Vec::new();
        for _ in 0..100 {
            place.rest();
            seen.extend(look(&floor)[0].rest);
            place.rise();
            assert_eq!(look(&floor)[0].rest, None);
        }
        assert_eq!(seen.len(), 100);
        seen.dedup();
        assert_eq!(seen.len(), 100);
    }

    #[test]
    fn who_rests_now_and_then_has_something_to_do() {
        let floor = Floor::default();
        let place = floor.enter(1).unwrap();
        place.rest();
        let before = look(&floor)[0];
        assert_eq!(look(&floor)[0].load_since(&before), 0);
        place.rise();
        assert_eq!(look(&floor)[0].load_since(&before), 1);
        place.rest();
        assert_eq!(look(&floor)[0].load_since(&before), 1);
        place.show_waiting(4);
        let queue = look(&floor)[0];
        place.show_waiting(2);
        place.rise();
        assert_eq!(look(&floor)[0].load_since(&queue), 5);
    }

    #[test]
    fn who_has_left_is_not_seen_and_its_place_is_taken_anew() {
        let floor = Floor::default();
        for worker in 1..=3 {
            floor.enter(worker).unwrap().rest();
        }
        floor.leave(2);
        floor.leave(99);
        let workers = |floor: &Floor| floor.look().map(|seen| seen.worker).collect::<Vec<_>>();
        assert_eq!(workers(&floor), [1, 3]);
        assert_eq!(floor.enter(4).unwrap().rests(), 0);
        assert_eq!(workers(&floor), [1, 4, 3]);
    }

    #[test]
    fn a_full_floor_has_no_place_and_no_panic() {
        let floor = Floor::default();
        for worker in 1..=PLACES as u64 {
            assert!(floor.enter(worker).is_some());
        }
        assert!(floor.enter(9999).is_none());
        assert_eq!(floor.look().count(), PLACES);
    }

    #[test]
    fn a_place_that_is_cleared_by_mistake_is_right_again_after_the_next_rest() {
        let place = Place::default();
        place.rest();
        place.rest.store(0, Ordering::Relaxed);
        place.rise();
        assert_eq!(place.rests() % 2, 0);
        place.rest();
        assert_eq!(place.rests() % 2, 1);
    }

    #[test]
    fn the_layout_is_what_the_version_stands_for() {
        // Whoever changes these changes FORMAT.
        assert_eq!(size_of::<Place>(), 64);
        assert_eq!(size_of::<Floor>(), 64 * (PLACES + 1));
        assert!(Floor::default().is_known());
    }
}
