//! The decisions of the arbiter as a pure function of what happened and when.
//!
//! [`State::handle`] takes one [`Event`] and the time, and answers with the [`Action`]s to perform.
//! Nothing in this module reads a clock, touches a file, a socket, a thread or the environment, so
//! every rule is tested as a transcript (`spec/arbiter`) in virtual time. Performing the actions is
//! `run.rs`' work.
//!
//! Invariant: at the moment the arbiter forks a worker, at most so many are alive as are wanted, plus,
//! while there are two generations, as many as the other one wants or wanted, plus one.

mod action;
mod backoff;
mod balance;
mod dance;
mod decide;
mod event;
mod exits;
pub(crate) mod ledger;
mod orphans;
mod outgrown;
mod policy;
mod population;
mod restart;
mod rollback;
mod room;
mod service;
mod share;
mod signal;
mod snapshot;
mod status;
mod stem;
mod stopping;
mod tally;
mod upgrade;
mod worker;

pub use action::{Action, Level};
pub use dance::{Cue, Offer, Standing, Step};
pub use decide::State;
pub use event::{Event, Exit, StuckRequest};
pub use orphans::{OrphanId, OrphanStatus};
pub use policy::Policy;
pub use room::Room;
pub use service::News;
pub use share::fair_share;
pub use signal::{Signal, signal_name};
pub use status::{RestartStatus, Status, StemStatus, WorkerStatus};
pub use tally::Tally;
pub use upgrade::UpgradeStatus;

/// Names a worker for its whole life: its age, counted from 1, never used twice.
pub type WorkerId = u64;

/// Names somebody who waits for an answer; never used twice.
pub type Asker = u64;

/// A process id as the kernel gives it.
pub type Pid = i32;
