//! The only place of this crate with `unsafe`: signal handlers, forking into the background,
//! adopting inherited descriptors, memory shared with the workers, becoming another program. Every
//! function here is safe to call; every block names the rule it relies on.
#![expect(
    unsafe_code,
    reason = "the system calls below have no safe wrapper in rustix or std"
)]

pub mod board;
pub mod descriptors;
pub mod floor;
pub mod image;
pub mod process;
mod shared;
pub mod signals;
pub mod way_back;
