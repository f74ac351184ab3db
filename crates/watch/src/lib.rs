#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod systems;
mod watch;

pub use systems::tells_everything;
pub use watch::Watch;
