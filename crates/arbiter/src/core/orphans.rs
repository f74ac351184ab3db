//! Orphans: workers of an arbiter that was killed, which serve on until this one takes their
//! connections over.
//!
//! Each of them says hello over a link of its own. Once the workers of this arbiter serve, it is told
//! to give: it offers its connections as the workers of a second arbiter do (`dance.rs`), and leaves
//! when they have moved. If this arbiter does not get so far, or dies, the link ends, and the orphan
//! waits for the next one.
//!
//! Invariants: an orphan is told to give only while somebody can take; one that is told anything has
//! said hello, and its link has not ended. A server that the operator stops leaves no orphan behind
//! that it knows of.

use std::collections::BTreeMap;

use super::stopping::Mode;
use super::{Action, Level, Pid, Standing, State};

/// Names an orphan; never used twice.
pub type OrphanId = u64;

/// What this arbiter knows of the workers of another one that is gone.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// Those that serve on, and their processes.
    waiting: BTreeMap<OrphanId, Pid>,
    /// Those that were told to give.
    giving: BTreeMap<OrphanId, Pid>,
}

/// A worker of an arbiter that is gone, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanStatus {
    /// Its process.
    pub pid: Pid,
    /// What it does: `serving`, or `leaving` once it was told to give its connections.
    pub state: &'static str,
}

impl Orphans {
    /// Those that can be seen now, by process.
    pub(super) fn status(&self) -> Vec<OrphanStatus> {
        let show = |state| move |pid: &Pid| OrphanStatus { pid: *pid, state };
        let waiting = self.waiting.values().map(show("serving"));
        let giving = self.giving.values().map(show("leaving"));
        let mut all: Vec<OrphanStatus> = waiting.chain(giving).collect();
        all.sort_by_key(|orphan| orphan.pid);
        all
    }
}

impl State {
    /// Also when it comes back: whoever was to take its connections has gone.
    pub(super) fn orphan_found(&mut self, orphan: OrphanId, pid: Pid) {
        let text = format!("Worker (pid:{pid}) of an arbiter that is gone serves on.");
        self.log(Level::Debug, text);
        self.orphans.giving.remove(&orphan);
        self.orphans.waiting.insert(orphan, pid);
        if self.was_told_to_stop() {
            self.dismiss_orphans();
        }
    }

    pub(super) fn orphan_gone(&mut self, orphan: OrphanId) {
        self.orphans.giving.remove(&orphan);
        self.orphans.waiting.remove(&orphan);
    }

    /// Has them give as soon as somebody can take.
    pub(super) fn relieve_orphans(&mut self) {
        if self.orphans.waiting.is_empty() || !self.takes_over() {
            return;
        }
        let waiting = std::mem::take(&mut self.orphans.waiting);
        let text = match waiting.len() {
            1 => {
                "Found 1 worker of an arbiter that is gone; its connections are taken over.".into()
            }
            many => format!(
                "Found {many} workers of an arbiter that is gone; their connections are taken over."
            ),
        };
        self.log(Level::Info, text);
        for (orphan, pid) in waiting {
            self.orphans.giving.insert(orphan, pid);
            self.act(Action::RelieveOrphan { orphan });
        }
    }

    /// The operator ends the server, and they are part of it; unless another arbiter serves on, which
    /// finds them when this one has ended.
    pub(super) fn dismiss_orphans(&mut self) {
        if self.heir().is_some() {
            return;
        }
        let orphans = std::mem::take(&mut self.orphans);
        let mut all = orphans.waiting;
        all.extend(orphans.giving);
        for orphan in all.into_keys() {
            self.act(Action::DismissOrphan { orphan });
        }
    }

    fn takes_over(&self) -> bool {
        let stays = self.mode == Mode::Serving && self.stop_at.is_none();
        stays && self.standing() == Standing::Able && self.has_taker()
    }
}
