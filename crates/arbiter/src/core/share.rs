//! Balance: some of the requests that wait in one worker go to a sibling that comes to them sooner.
//!
//! A worker in which requests wait for a thread, while it sees a sibling with much less to do, is
//! *crowded*, and says so; what the others have to do at that moment comes along. The answer is a
//! *share*: a number of requests that move with their connections. Both workers go on serving. That no
//! thread comes out at all, and everything moves, is another matter (`balance.rs`).
//!
//! Invariants: nobody who gives everything, or is to, takes a share; who has taken one gives none
//! within [`Policy::STAY`], so that no connection moves twice in that time; and of two workers that both
//! have something to do neither has given or taken one within [`Policy::CALM`].

use std::time::Duration;

use super::stopping::Mode;
use super::{Action, Level, Policy, State, WorkerId};

/// What two workers that both have something to do may differ by, besides a factor of two, before it
/// is worth moving anything.
const SLACK: u32 = 16;

/// How many of the requests that `waiting` counts in one worker should go to a sibling that has
/// `load` of them before a newcomer, where so many siblings rest, this one included: an equal part each
/// for those that rest (`load` 0); or half of what makes the difference, if that is large.
pub fn fair_share(waiting: u32, load: u32, resting: u32) -> u32 {
    if load == 0 {
        return waiting.div_ceil(resting.saturating_add(1));
    }
    let enough = load.saturating_mul(2).saturating_add(SLACK);
    if waiting < enough {
        return 0;
    }
    (waiting - load) / 2
}

impl State {
    /// Without an answer the requests stay, and the worker asks again if that goes on.
    pub(super) fn crowded(&mut self, from: WorkerId, waiting: u32, beside: &[(WorkerId, u32)]) {
        let gives = self.mode == Mode::Serving && self.may_share(from);
        let able = |(id, _): &&(WorkerId, u32)| *id != from && self.may_take(*id);
        let able: Vec<_> = beside.iter().filter(able).copied().collect();
        let Some(&(to, load)) = able.iter().min_by_key(|one| self.order_of(**one)) else {
            return;
        };
        let resting = able.iter().filter(|(_, load)| *load == 0).count();
        let most = fair_share(waiting, load, u32::try_from(resting).unwrap_or(u32::MAX));
        let settled = load == 0 || (self.is_settled(from) && self.is_settled(to));
        if gives && settled && most > 0 {
            self.share(from, to, most);
        }
    }

    fn share(&mut self, from: WorkerId, to: WorkerId, most: u32) {
        if let Some(giver) = self.workers.get_mut(&from) {
            giver.gave_share_at = Some(self.now);
        }
        if let Some(taker) = self.workers.get_mut(&to) {
            taker.took_share_at = Some(self.now);
        }
        let [giver, taker] = [from, to].map(|id| self.pid(id).unwrap_or_default());
        let text = format!(
            "Requests wait in worker (pid:{giver}): up to {most} go to worker (pid:{taker})."
        );
        self.log(Level::Debug, text);
        self.act(Action::Share { from, to, most });
    }

    /// The one that rests, or has least to do; of several, the one that has taken least recently.
    fn order_of(&self, (id, load): (WorkerId, u32)) -> impl Ord + use<> {
        let taken = self.workers.get(&id).and_then(|one| one.took_share_at);
        (load, taken, id)
    }

    fn may_share(&self, id: WorkerId) -> bool {
        let worker = self.workers.get(&id);
        worker.is_some_and(|one| {
            let may_move_on = !self.is_within(Policy::STAY, one.took_share_at);
            one.is_serving() && one.fills_slot() && !one.gives && may_move_on
        })
    }

    fn may_take(&self, id: WorkerId) -> bool {
        let worker = self.workers.get(&id);
        worker
            .is_some_and(|one| one.is_serving() && one.fills_slot() && !one.gives && !one.saturated)
    }

    fn is_settled(&self, id: WorkerId) -> bool {
        let worker = self.workers.get(&id);
        let recent = |at| self.is_within(Policy::CALM, at);
        worker.is_some_and(|one| !recent(one.took_share_at) && !recent(one.gave_share_at))
    }

    /// Whether `at` is less than `time` ago.
    fn is_within(&self, time: Duration, at: Option<Duration>) -> bool {
        at.is_some_and(|at| self.now < at.saturating_add(time))
    }
}

#[cfg(test)]
mod tests {
    use super::fair_share;

    #[test]
    fn those_that_rest_get_equal_parts_and_the_giver_keeps_one() {
        assert_eq!([1, 2, 3, 39].map(|n| fair_share(n, 0, 1)), [1, 1, 2, 20]);
        assert_eq!([1, 3, 39].map(|n| fair_share(n, 0, 3)), [1, 1, 10]);
        assert_eq!(fair_share(0, 0, 1), 0);
    }

    #[test]
    fn nothing_moves_between_workers_that_have_about_the_same_to_do() {
        assert_eq!([17, 18, 59].map(|n| fair_share(n, 1, 0)), [0, 8, 29]);
        assert_eq!([23, 24, 59].map(|n| fair_share(n, 4, 0)), [0, 10, 27]);
        assert_eq!(fair_share(u32::MAX, u32::MAX, 0), 0);
    }

    #[test]
    fn after_a_share_there_is_nothing_to_give_back() {
        for waiting in 0..200 {
            for load in 1..200 {
                let moved = fair_share(waiting, load, 0);
                let back = fair_share(load + moved, waiting + 1 - moved, 0);
                assert!(
                    moved == 0 || back == 0,
                    "{waiting}, {load}: {moved}, {back}"
                );
            }
        }
    }
}
