#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod authorities;
mod certificate;
mod material;
mod shelf;
mod sources;
mod tickets;

pub use certificate::{pem, subject};
pub use material::{Clients, Served};
pub use shelf::{Reader, Shelf};
pub use sources::{Problem, Sources};
pub use tickets::Tickets;
