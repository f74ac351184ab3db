//! How an arbiter becomes a newer version of itself, in the same process.
//!
//! | part | what it is |
//! |---|---|
//! | `kept.rs` | what is kept of the program that runs, so that it can come back after it was replaced on the disk |
//! | `order.rs` | the variable that tells a program how it begins |
//! | `check.rs` | the process in which the new version checks a copy of the state |
//! | `state.rs` | the state's file, and the form of what is in it |
//! | `predecessor.rs` | the state and the descriptors in the new program, until it has taken over |
//!
//! When it happens is the core's (`core/upgrade.rs`), the steps are the loop's (`run/upgrade.rs`).
//!
//! Invariant: until the new version has confirmed that it has taken over, nothing that the old one
//! needs to go on is closed, read or changed.

mod check;
mod kept;
mod order;
mod predecessor;
mod state;

use std::sync::Arc;

pub(crate) use check::Check;
pub use kept::Kept;
pub(crate) use order::Order;
pub(crate) use predecessor::variable;
pub use predecessor::{Beginning, Predecessor, answer_check, check, undo};
pub(crate) use state::{VERSION, sealed};

/// What the loop knows of upgrades.
#[derive(Debug, Default)]
pub(crate) struct Upgrading {
    /// What the present program can be executed from again; without it there is no upgrade.
    pub(crate) kept: Option<Arc<Kept>>,
    /// The check that runs.
    pub(crate) check: Option<Check>,
    /// The program is to be replaced when nothing else is to be done.
    pub(crate) due: bool,
    /// In a program that has not yet taken over.
    pub(crate) predecessor: Option<Predecessor>,
}
