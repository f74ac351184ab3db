//! Reads `spec/http1` and drives the crate as the server does: bytes arrive in pieces, requests
//! come out.
//!
//! The format is described in `spec/README.md`. Nothing here judges HTTP: it only unescapes, feeds
//! and compares.

#![allow(dead_code, unused_imports, reason = "each test program uses its part")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a broken case has to stop the test"
)]

mod case;
mod drive;
mod random;
mod text;

pub(crate) use case::{Case, cases};
pub(crate) use drive::{Seen, observe};
pub(crate) use random::Random;
