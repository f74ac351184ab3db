#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod forwarded;
pub mod proxy;
pub mod uwsgi;
