#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod close;
mod connection;
pub mod deflate;
mod event;
mod head;
mod list;
mod mask;
mod message;
mod opening;
mod refusal;
mod violation;

pub use close::{ABNORMAL, Close, Code, NO_CODE};
pub use connection::{Closed, Connection, State};
pub use event::{Event, Kind, Step};
pub use head::FrameHead;
pub use opening::{NotOffered, Opening, is_asked};
pub use refusal::Refusal;
pub use violation::Violation;
