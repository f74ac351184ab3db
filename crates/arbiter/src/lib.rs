#![doc = include_str!("../README.md")]

mod bond;
mod cgroup;
pub mod channel;
mod control;
pub mod core;
mod crew;
mod fatal;
mod host;
mod memory;
mod notify;
mod oom;
mod origin;
pub mod orphans;
mod packet;
mod partner;
mod pidfile;
mod run;
#[cfg(test)]
mod scratch;
pub mod sockets;
mod start_command;
pub mod stem;
pub mod sys;
mod translate;
mod upgrade;

pub use crate::control::{ControlPlace, ControlSocket};
pub use crate::core::{Action, Event, Exit, Level, News, Pid, Policy, Signal, State, WorkerId};
pub use crate::fatal::Fatal;
pub use crate::host::{Fork, Host, Notice, Outcome, Raised, WorkerSeed};
pub use crate::notify::NotifyOptions;
pub use crate::oom::OomCounter;
pub use crate::partner::Inheritance;
pub use crate::pidfile::Pidfile;
pub use crate::run::{Arbiter, Setup};
pub use crate::sockets::{ListenAddr, ListenFds, Listener, SocketOptions};
pub use crate::start_command::StartCommand;
pub use crate::stem::StemSeed;
pub use crate::upgrade::{Beginning, Kept, Predecessor, answer_check, check, undo};
