#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod accept;
mod access;
mod capsule;
mod clock;
mod codec;
mod connection;
mod deadlines;
mod edge;
mod engine;
mod exchange;
mod forwarded;
mod handover;
mod options;
mod outbox;
mod own;
mod peer;
mod poller;
mod question;
mod reading;
mod refusal;
mod slab;
mod spool;
mod stats;
mod streaming;
mod timer;
mod websocket;
mod writing;

pub use access::percent_decoded;
pub use clock::Now;
pub use edge::{Edge, Origin};
pub use engine::{Engine, Notice, Running, Stuck, Turn, WatchId};
pub use exchange::{Body, Exchange, Response, Scheme};
pub use forwarded::TrustPolicy;
pub use handover::{Failure, Handover};
pub use options::Options;
pub use outbox::{FilePart, Shared};
pub use peer::Peer;
pub use poller::{Poller, Waker};
pub use question::{Answer, answer, question};
pub use stats::Stats;
pub use streaming::Input;
pub use websocket::{Disconnect, Heard, Message};
pub use writing::{Ending, Flow, wait_writable};
