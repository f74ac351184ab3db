//! A server's connection under test, and the client's side of the wire: frames written as a client
//! writes them, and those of the server read.

#![allow(dead_code, unused_imports, reason = "each test program uses its part")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "what is wrong here has to stop the test"
)]

mod client;
#[path = "../../../http1/tests/support/random.rs"]
mod random;
mod server;

pub(crate) use client::{Compressor, FIN, MASK, RSV1, frame, frames, masked, read_frames};
pub(crate) use random::Random;
pub(crate) use server::{Server, agreement, owned};
