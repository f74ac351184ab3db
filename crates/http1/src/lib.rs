#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod body;
mod bytes;
mod chunked;
mod facts;
mod framing;
mod head;
mod host;
mod line;
mod lines;
mod policy;
mod reject;
pub mod response;
mod span;
mod target;

pub use body::{Body, Step};
pub use framing::Framing;
pub use head::{Field, Head, worth_parsing};
pub use line::Version;
pub use policy::{HeaderMap, Limits, Policy};
pub use reject::Reject;
pub use span::Span;
pub use target::Form;
