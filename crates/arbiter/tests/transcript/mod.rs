//! Reads and plays the transcripts of `spec/arbiter`; its README describes the format.

mod player;
mod script;

pub(crate) use player::play;
pub(crate) use script::{Transcript, transcripts};
