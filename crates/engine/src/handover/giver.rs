//! The side that gives: which batches are out, and what has to be said about them next. It does no input or output and reads
//! no clock; what a batch holds is the caller's. Invariant: a batch goes back to the caller as kept only after the other side
//! was told so, refused it, or is gone; as given only after the commit was sent. So never two processes act on it.
//!
//! ```text
//!  offer ──▶ Offered ──accept──▶ Accepted ──commit sent──▶ given away
//!              │  └───refuse─────────────────────────────▶ kept
//!              └ late, stopped ─▶ Aborted ──abort sent───▶ kept       (an Accepted one too, before its commit is sent)
//!         the other side is gone, wherever it was ───────▶ kept
//! ```

use std::collections::VecDeque;

use super::message::Refusal;

/// Milliseconds the other side has for an answer.
pub(crate) const PATIENCE: u64 = 1_000;

/// Milliseconds until a send that failed for want of something is tried again.
const PAUSE: u64 = 20;

/// Batches that may wait for their answer at once: they fit the socket's buffer with room for what is said about them.
const WINDOW: usize = 4;

/// Descriptors of one packet, below the kernel's 253.
pub(crate) const PACKET: usize = 250;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Offered,
    Accepted,
    Aborted,
}

#[derive(Debug)]
struct Batch<T> {
    number: u32,
    cargo: T,
    descriptors: usize,
    /// Monotonic milliseconds until which the answer may come.
    until: u64,
    stage: Stage,
}

/// What has to be said about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Commit(u32),
    Abort(u32),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Giver<T> {
    last: u32,
    open: VecDeque<Batch<T>>,
    /// Descriptors the other side has room for; unknown until it has said so.
    room: Option<usize>,
    /// Monotonic milliseconds when to ask for room; `u64::MAX` = there is some.
    ask_at: u64,
    /// Monotonic milliseconds until which the answer to the question may come; `u64::MAX` = none is awaited.
    answer_until: u64,
    paused_until: u64,
    /// Nothing is offered any more.
    closing: bool,
}

impl<T> Giver<T> {
    pub(crate) fn new(now: u64) -> Self {
        Self {
            last: 0,
            open: VecDeque::new(),
            room: None,
            ask_at: now,
            answer_until: u64::MAX,
            paused_until: 0,
            closing: false,
        }
    }

    /// How many descriptors may be sent now, at least one and as many as one packet takes.
    pub(crate) fn allowance(&self, now: u64) -> Option<usize> {
        let open = !self.closing && self.open.len() < WINDOW && !self.is_paused(now);
        self.room
            .filter(|&room| open && room > 0)
            .map(|room| room.min(PACKET))
    }

    /// Whether offers go out as fast as they are answered: then what has not been offered yet is about to be.
    pub(crate) fn flows(&self, now: u64) -> bool {
        let goes_on = self.room.is_some_and(|room| room > 0 || self.waits());
        goes_on && !self.closing && !self.is_paused(now)
    }

    /// Whether the other side has ever said that it is there.
    pub(crate) fn is_met(&self) -> bool {
        self.room.is_some()
    }

    /// Whether no batch is out.
    pub(crate) fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether nothing is offered any more and all is settled.
    pub(crate) fn is_over(&self) -> bool {
        self.closing && self.open.is_empty()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Connections and the like in batches that are out.
    pub(crate) fn cargo(&self) -> impl Iterator<Item = &T> {
        self.open.iter().map(|batch| &batch.cargo)
    }

    /// The number for the next batch.
    pub(crate) fn next_number(&self) -> u32 {
        self.last.wrapping_add(1)
    }

    /// The batch with [`Giver::next_number`] was sent, with so many descriptors.
    pub(crate) fn offered(&mut self, cargo: T, descriptors: usize, now: u64) {
        self.last = self.next_number();
        self.room = self.room.map(|room| room.saturating_sub(descriptors));
        self.open.push_back(Batch {
            number: self.last,
            cargo,
            descriptors,
            until: now + PATIENCE,
            stage: Stage::Offered,
        });
    }

    /// What is next does not fit into the room that is left.
    pub(crate) fn is_short(&mut self) {
        self.room = self.room.map(|_| 0);
    }

    /// More is to be offered: asks for room after a while if there is none, and none can come with an answer.
    pub(crate) fn wants_more(&mut self, now: u64) {
        let asks = self.ask_at != u64::MAX || self.answer_until != u64::MAX;
        if self.room == Some(0) && !self.waits() && !asks && !self.closing {
            self.ask_at = now + PATIENCE;
        }
    }

    fn waits(&self) -> bool {
        self.open.iter().any(|batch| batch.stage == Stage::Offered)
    }

    /// Whether to ask for room now.
    pub(crate) fn asks(&self, now: u64) -> bool {
        !self.closing && self.ask_at <= now && !self.is_paused(now)
    }

    /// The question was sent.
    pub(crate) fn asked(&mut self, now: u64) {
        self.ask_at = u64::MAX;
        self.answer_until = now + PATIENCE;
    }

    /// The other side has said how much room there is.
    pub(crate) fn on_room(&mut self, room: usize) {
        self.answer_until = u64::MAX;
        self.set_room(room);
    }

    fn set_room(&mut self, room: usize) {
        // What is on its way is not in the other side's count.
        let waits = self
            .open
            .iter()
            .filter(|batch| batch.stage == Stage::Offered);
        let coming: usize = waits.map(|batch| batch.descriptors).sum();
        self.room = Some(room.saturating_sub(coming));
    }

    pub(crate) fn on_accept(&mut self, number: u32, room: usize) {
        let found = self.open.iter_mut().find(|batch| batch.number == number);
        if let Some(batch) = found.filter(|batch| batch.stage == Stage::Offered) {
            batch.stage = Stage::Accepted;
            self.set_room(room);
        }
    }

    /// What the other side does not take, it has dropped: it is ours at once.
    pub(crate) fn on_refuse(&mut self, number: u32, reason: Refusal) -> Option<T> {
        let at = self.open.iter().position(|batch| batch.number == number)?;
        let batch = self.open.remove(at)?;
        if reason == Refusal::Room {
            self.room = Some(0);
        } else {
            self.close();
        }
        Some(batch.cargo)
    }

    /// What to say next, if anything.
    pub(crate) fn next_word(&self, now: u64) -> Option<Word> {
        if self.is_paused(now) {
            return None;
        }
        self.open.iter().find_map(|batch| match batch.stage {
            Stage::Offered => None,
            Stage::Accepted => Some(Word::Commit(batch.number)),
            Stage::Aborted => Some(Word::Abort(batch.number)),
        })
    }

    /// The word was sent: the batch's cargo is given, or kept.
    pub(crate) fn said(&mut self, word: Word) -> Option<T> {
        let (Word::Commit(number) | Word::Abort(number)) = word;
        let at = self.open.iter().position(|batch| batch.number == number)?;
        self.open.remove(at).map(|batch| batch.cargo)
    }

    /// A send failed for a reason that passes.
    pub(crate) fn pause(&mut self, now: u64) {
        self.paused_until = now + PAUSE;
    }

    fn is_paused(&self, now: u64) -> bool {
        now < self.paused_until
    }

    /// The other side may take packets again.
    pub(crate) fn resume(&mut self) {
        self.paused_until = 0;
    }

    /// Whether an answer is overdue.
    pub(crate) fn is_late(&self, now: u64) -> bool {
        let waits = |batch: &Batch<T>| batch.stage == Stage::Offered && batch.until <= now;
        self.answer_until <= now || self.open.iter().any(waits)
    }

    /// Offers nothing any more, and takes back what is not given.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.ask_at = u64::MAX;
        self.answer_until = u64::MAX;
        for batch in &mut self.open {
            batch.stage = Stage::Aborted;
        }
    }

    /// The other side is gone, and read nothing that it was not given.
    pub(crate) fn lost(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.close();
        std::mem::take(&mut self.open)
            .into_iter()
            .map(|batch| batch.cargo)
    }

    /// Monotonic milliseconds when something is due.
    pub(crate) fn deadline(&self, now: u64) -> Option<u64> {
        let waits = self
            .open
            .iter()
            .filter(|batch| batch.stage == Stage::Offered);
        let pause = self.is_paused(now).then_some(self.paused_until);
        waits
            .map(|batch| batch.until)
            .chain([self.ask_at.max(self.paused_until), self.answer_until])
            .chain(pause)
            .filter(|&at| at != u64::MAX)
            .min()
    }
}
