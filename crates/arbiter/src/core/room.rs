//! Whether there is memory for a second set of workers, and what becomes of a restart if there is
//! not.
//!
//! Hot and phased restarts end with two whole generations alive: the old one stands by until the new
//! one has been watched. Where the memory for that is missing the kernel would kill somebody, perhaps
//! the workers that serve. The restart then goes on as a regular one, which needs memory for one more
//! worker only, and the log says why. That is an estimate, so nobody is refused a restart over it, and
//! who asked for a mode by name gets it.

use oxicorn_settings::RestartMode;

use super::outgrown::mebibytes;
use super::{Level, State};

/// Memory, measured before a restart; in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// How much the system would still give to this server.
    pub available: u64,
    /// How much the present workers use.
    pub used: u64,
    /// How many workers that is; zero if it could not be measured.
    pub workers: usize,
}

impl Room {
    /// What so many workers of the present size need.
    fn need_of(&self, workers: usize) -> Option<u64> {
        let each = self.used.checked_div(self.workers as u64)?;
        Some(each.saturating_mul(workers as u64))
    }

    /// Why there is no room for so many more workers, if there is none.
    fn lacks(&self, newcomers: usize) -> Option<String> {
        let need = self.need_of(newcomers)?;
        let (workers, use_, new, need_) = (
            if self.workers == 1 {
                "worker"
            } else {
                "workers"
            },
            if self.workers == 1 { "uses" } else { "use" },
            if newcomers == 1 { "one" } else { "ones" },
            if newcomers == 1 { "needs" } else { "need" },
        );
        let text = format!(
            "{} {workers} {use_} {}, {newcomers} new {new} {need_} {}, and {} are free.",
            self.workers,
            mebibytes(self.used),
            mebibytes(need),
            mebibytes(self.available)
        );
        (need > self.available).then_some(text)
    }
}

impl State {
    /// How to restart with so many new workers. `asked`: somebody named the mode.
    pub(super) fn mode_with_room(
        &mut self,
        asked: Option<RestartMode>,
        configured: RestartMode,
        newcomers: usize,
    ) -> RestartMode {
        let mode = asked.unwrap_or(configured);
        let lacks = self.room.take().and_then(|room| room.lacks(newcomers));
        let Some(lacks) = lacks.filter(|_| mode != RestartMode::Regular) else {
            return mode;
        };
        if asked.is_some() {
            let text = format!("Memory may run out during the {mode} restart: {lacks}");
            self.log(Level::Warning, text);
            return mode;
        }
        let text = format!("The restart is regular, not {mode}: {lacks}");
        self.log(Level::Warning, text);
        RestartMode::Regular
    }
}
