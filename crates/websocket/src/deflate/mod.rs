//! The extension permessage-deflate (RFC 7692): agreed on in the opening handshake, then applied to
//! whole messages.
//!
//! [`Policy`] is what the operator wants, [`Agreement`] what became of it with one client. Contexts
//! that outlive a message belong to the connection; all others are borrowed from a [`Pool`], so that
//! a connection that is idle holds none.

mod agreement;
mod contexts;
mod pool;
mod streams;

pub(crate) use agreement::Offer;
pub use agreement::{Agreement, Policy};
pub(crate) use contexts::Contexts;
pub use pool::Pool;
