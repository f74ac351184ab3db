#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod floor;

use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

pub use floor::{Floor, Place, Seen};

/// What the first number of a page says: "oxiboard" and the version of the layout, 1.
pub const FORMAT: u64 = u64::from_be_bytes(*b"oxiboar\x01");

/// A number on the board. Those up to [`Count::Threads`] are of this moment, the others only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Connections of this worker.
    Open,
    /// Of these: inside a request head.
    Head,
    /// Of these: inside a request body.
    Body,
    /// Of these: with a complete request that the application has not answered, those in the backlog included.
    Request,
    /// Of these: the response is complete, its last bytes wait for the client.
    Sending,
    /// Of these: answered for the last time, until the client closes too.
    Closing,
    /// Of these: offered to another worker that has not taken them yet.
    Moving,
    /// Complete requests that no thread was free for.
    Backlog,
    /// Threads inside the application.
    Busy,
    /// Threads for the application.
    Threads,
    /// Connections accepted.
    Accepted,
    /// Requests handed to the application, those that wait for a thread included.
    Requests,
    /// Requests refused by the parser or a limit.
    Refused,
    /// Connections closed by a timeout of the client's making.
    TimedOut,
    /// Connections closed to make room for new ones.
    Evicted,
    /// Connections given to other workers.
    Given,
    /// Connections taken from other workers.
    Taken,
}

/// How many numbers there are.
const COUNTS: usize = Count::Taken as usize + 1;

/// The numbers of one worker, where others see them. See the crate's page.
#[derive(Debug)]
#[repr(C)]
pub struct Board {
    format: AtomicU64,
    cells: [AtomicU64; COUNTS],
}

impl Default for Board {
    fn default() -> Self {
        let cells = std::array::from_fn(|_| AtomicU64::new(0));
        let format = AtomicU64::new(FORMAT);
        Self { format, cells }
    }
}

impl Board {
    /// Begins a page of zeroes.
    pub fn begin(&self) {
        self.format.store(FORMAT, Ordering::Relaxed);
    }

    /// Whether this is a page whose layout we know.
    pub fn is_known(&self) -> bool {
        self.format.load(Ordering::Relaxed) == FORMAT
    }

    /// Counts so many more.
    #[inline]
    pub fn add(&self, count: Count, more: u64) {
        let cell = &self.cells[count as usize];
        cell.store(
            cell.load(Ordering::Relaxed).wrapping_add(more),
            Ordering::Relaxed,
        );
    }

    /// Counts so many less, but never less than none.
    #[inline]
    pub fn sub(&self, count: Count, less: u64) {
        let cell = &self.cells[count as usize];
        cell.store(
            cell.load(Ordering::Relaxed).saturating_sub(less),
            Ordering::Relaxed,
        );
    }

    /// Says how many there are.
    #[inline]
    pub fn set(&self, count: Count, number: u64) {
        self.cells[count as usize].store(number, Ordering::Relaxed);
    }

    /// How many there are.
    #[inline]
    pub fn number(&self, count: Count) -> u64 {
        self.cells[count as usize].load(Ordering::Relaxed)
    }

    /// All numbers.
    pub fn counts(&self) -> Counts {
        Counts(std::array::from_fn(|at| {
            self.cells[at].load(Ordering::Relaxed)
        }))
    }
}

/// The numbers of a board at one moment, or of several boards together.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; COUNTS]);

impl Counts {
    /// How many there were.
    pub fn of(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// Connections of which nothing of a request has been received since the last response.
    pub fn idle(&self) -> u64 {
        const OTHERS: [Count; 6] = [
            Count::Head,
            Count::Body,
            Count::Request,
            Count::Sending,
            Count::Closing,
            Count::Moving,
        ];
        let others: u64 = OTHERS.iter().map(|count| self.of(*count)).sum();
        self.of(Count::Open).saturating_sub(others)
    }

    /// Requests inside the application.
    pub fn inside(&self) -> u64 {
        let waiting = self.of(Count::Backlog);
        self.of(Count::Request).saturating_sub(waiting)
    }

    /// Requests that the application is done with.
    pub fn answered(&self) -> u64 {
        let unanswered = self.of(Count::Request);
        self.of(Count::Requests).saturating_sub(unanswered)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (mine, more) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(more);
        }
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_zeroes_is_known_only_when_it_was_begun() {
        let format = AtomicU64::new(0);
        let blank = Board {
            format,
            ..Board::default()
        };
        assert!(!blank.is_known());
        blank.begin();
        assert!(blank.is_known());
        assert_eq!(blank.counts(), Counts::default());
    }

    #[test]
    fn the_layout_is_what_the_version_stands_for() {
        // Whoever changes these changes FORMAT.
        assert_eq!(size_of::<Board>(), 18 * 8);
        assert_eq!(Count::Open as usize, 0);
        assert_eq!(Count::Threads as usize, 9);
        assert_eq!(Count::Taken as usize, 16);
    }

    #[test]
    fn what_is_in_no_other_state_is_idle() {
        let board = Board::default();
        board.add(Count::Open, 7);
        board.add(Count::Head, 2);
        board.add(Count::Request, 3);
        board.set(Count::Backlog, 1);
        board.add(Count::Requests, 10);
        let counts = board.counts();
        assert_eq!((counts.idle(), counts.inside()), (2, 2));
        assert_eq!(counts.answered(), 7);
    }

    #[test]
    fn numbers_of_different_moments_never_make_less_than_none() {
        let board = Board::default();
        board.add(Count::Head, 2);
        board.sub(Count::Open, 1);
        board.set(Count::Backlog, 3);
        let counts = board.counts();
        assert_eq!((counts.idle(), counts.inside()), (0, 0));
    }

    #[test]
    fn several_boards_add_up() {
        let board = Board::default();
        board.add(Count::Open, 3);
        board.add(Count::Taken, 1);
        let mut sum = board.counts();
        sum += board.counts();
        assert_eq!((sum.of(Count::Open), sum.of(Count::Taken)), (6, 2));
    }
}
