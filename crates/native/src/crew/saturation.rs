//! When the crew cannot come to its connections, and what becomes of the requests that wait: the arbiter is told when no
//! thread has come out of the application for a while, and once more when one is free. Meanwhile the arbiter may have the
//! connections given to another worker; the requests in the backlog go along. Invariant: every report that the crew is
//! saturated is followed by one that it is relieved, in this order, for both are sent under the seat's lock.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use oxicorn_board::Count;
use oxicorn_engine::Now;

use super::{Crew, Holder, Seat, lock};

/// How long no thread may come out of the application before others are asked to take the connections.
const STALL: Duration = Duration::from_millis(500);

/// A time in which no thread came out of the application.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    since: Instant,
    /// [`Seat::entries`] all the time.
    entries: u64,
    /// How many connections were reported to wait.
    told: Option<u32>,
}

impl Stall {
    fn new(entries: u64) -> Self {
        Self {
            since: Instant::now(),
            entries,
            told: None,
        }
    }

    /// Whether the arbiter was told.
    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Whether it has lasted until now, and for long enough.
    fn holds(&self, entries: u64) -> bool {
        self.entries == entries && self.since.elapsed() >= STALL
    }

    /// Whether there is news for the arbiter. That somebody waits at all is news as well.
    fn is_news(&self, waiting: u32) -> bool {
        self.told.is_none_or(|told| told == 0 && waiting > 0)
    }
}

impl Crew {
    /// For the steward: tells the arbiter when it is time to. How long until then; `None` if there is nothing to wait for.
    pub(super) fn watch_stall(&self) -> Option<Duration> {
        let stats = self.engine().stats();
        let mut seat = lock(&self.seat);
        let entries = seat.entries;
        let known = seat.stall.filter(|stall| stall.entries == entries);
        let mut stall = known.unwrap_or_else(|| Stall::new(entries));
        let left = STALL.saturating_sub(stall.since.elapsed());
        let inside = stats.in_application.saturating_sub(seat.backlog.len());
        let waiting = stats.connections.saturating_sub(inside);
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        if left.is_zero() && !seat.wanted && stall.is_news(waiting) {
            // Without an answer the connections stay, as they do without a sibling.
            match self.channel.saturated(waiting) {
                Ok(()) => seat.owes_relief = true,
                Err(error) => {
                    log::debug!(target: "oxicorn", "The arbiter could not be told 'saturated': {error}");
                }
            }
            stall.told = Some(waiting);
        }
        seat.stall = Some(stall);
        stall.told.is_none().then_some(left)
    }

    /// Whether so many requests that are stuck are all that is inside the application, and the threads outside it have not come
    /// back for a while: something keeps the interpreter lock. That the steward stands in says little by itself: threads that
    /// come and go leave it the seat whenever all of them are inside.
    pub(super) fn hangs_beside(&self, stuck: usize) -> bool {
        let seat = lock(&self.seat);
        let stalls = seat.stall.is_some_and(|stall| stall.holds(seat.entries));
        seat.holder == Some(Holder::Steward) && !seat.wanted && stuck >= seat.inside && stalls
    }

    /// The arbiter, or the end of a hand-over, has changed what becomes of the connections: if the crew does not come to
    /// them after a while, it says so again.
    pub(super) fn renew_stall(&self) {
        lock(&self.seat).stall = None;
    }

    /// A thread is free. What cannot be sent now is sent by the next one.
    pub(super) fn relieve(&self, seat: &mut Seat) {
        if seat.owes_relief && !self.is_forked() {
            let told = self.channel.relieved();
            // Nobody waits to hear it any more where there is no arbiter.
            seat.owes_relief = told.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe);
        }
    }

    /// For the steward: requests of the backlog leave with their connections, if those are given away. Nobody else adds to
    /// the backlog meanwhile.
    pub(super) fn return_backlog(&self) {
        if !self.engine().gives_readily() {
            return;
        }
        let waiting = std::mem::take(&mut lock(&self.seat).backlog);
        let now = Now::read();
        let put_back = |exchange| self.engine().put_back(exchange, now).err();
        let kept: Vec<_> = waiting.into_iter().filter_map(put_back).collect();
        let mut seat = lock(&self.seat);
        seat.backlog.extend(kept);
        self.board.set(Count::Backlog, seat.backlog.len() as u64);
    }
}
