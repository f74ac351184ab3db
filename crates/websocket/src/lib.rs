#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod close;
mod connection;
pub mod deflate;
mod event;
mod head;
mod input;
mod list;
mod mask;
mod message;
mod opening;
mod refusal;
mod violation;

pub use close::{ABNORMAL, Close, Code, NO_CODE};
pub use connection::Connection;
pub use event::{Closed, Event, Kind, State, Step};
pub use head::FrameHead;
pub use opening::{NotOffered, Opening, is_asked};
pub use refusal::Refusal;
pub use violation::Violation;
