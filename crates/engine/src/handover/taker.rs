//! The side that takes: batches that are stored and not yet its own. It does no input or output and reads no clock.
//! Invariant: a batch is adopted on the commit, or when the giver is gone without an abort; in no other case. A giver that
//! is gone has read nothing since it offered, so nobody else acts on the batch.
//!
//! ```text
//!  prepare ──▶ stored ──commit, or the giver's end──▶ adopted
//!                 └─────abort, or no word for long──▶ dropped
//! ```

/// Milliseconds a giver that has our answer may say nothing. It commits at once, so it is stuck, or dead while a process that
/// it forked holds its end. Whether it will read the connections again nobody knows: dropping them is safe in both cases.
pub(crate) const PATIENCE: u64 = 5_000;

#[derive(Debug)]
struct Stored<T> {
    number: u32,
    cargo: T,
    until: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Taker<T> {
    stored: Vec<Stored<T>>,
}

impl<T> Taker<T> {
    pub(crate) fn new() -> Self {
        Self { stored: Vec::new() }
    }

    pub(crate) fn store(&mut self, number: u32, cargo: T, now: u64) {
        let until = now + PATIENCE;
        self.stored.push(Stored {
            number,
            cargo,
            until,
        });
    }

    /// The batch is ours now.
    pub(crate) fn on_commit(&mut self, number: u32) -> Option<T> {
        self.remove(number)
    }

    /// The batch stays the giver's.
    pub(crate) fn on_abort(&mut self, number: u32) -> Option<T> {
        self.remove(number)
    }

    /// The giver is gone: what it has not taken back is ours.
    pub(crate) fn on_end(self) -> impl Iterator<Item = T> {
        self.stored.into_iter().map(|stored| stored.cargo)
    }

    pub(crate) fn is_late(&self, now: u64) -> bool {
        self.stored.iter().any(|stored| stored.until <= now)
    }

    /// Monotonic milliseconds when the first patience ends.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.stored.iter().map(|stored| stored.until).min()
    }

    fn remove(&mut self, number: u32) -> Option<T> {
        let at = self
            .stored
            .iter()
            .position(|stored| stored.number == number)?;
        Some(self.stored.remove(at).cargo)
    }
}
