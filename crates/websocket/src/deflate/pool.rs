//! Compressors and decompressors that no connection holds now.
//!
//! A compressor is 260 to 370 KiB, a decompressor 47 KiB: too much for each of ten thousand idle
//! connections, and too much to be made for each message. Whoever serves connections one after the
//! other needs one of each, so one pool for a thread is enough.

use std::fmt;

use super::streams::{Deflater, Inflater};

/// Spare ones of each sort; more are not kept.
const SPARES: usize = 2;

/// What compresses and decompresses the messages of all connections that are served in turn.
pub struct Pool {
    level: u32,
    deflaters: Vec<(u8, Box<Deflater>)>,
    inflaters: Vec<(u8, Box<Inflater>)>,
}

impl Pool {
    /// An empty pool, which takes memory when it is first used. `level`: how hard to compress, from 1
    /// (fast) to 9 (small).
    pub fn new(level: u8) -> Self {
        Self {
            level: level.min(9).into(),
            deflaters: Vec::new(),
            inflaters: Vec::new(),
        }
    }

    pub(super) fn deflater(&mut self, window_bits: u8) -> Box<Deflater> {
        let level = self.level;
        spare(&mut self.deflaters, window_bits)
            .unwrap_or_else(|| Box::new(Deflater::new(window_bits, level)))
    }

    pub(super) fn inflater(&mut self, window_bits: u8) -> Box<Inflater> {
        spare(&mut self.inflaters, window_bits)
            .unwrap_or_else(|| Box::new(Inflater::new(window_bits)))
    }

    pub(super) fn keep_deflater(&mut self, window_bits: u8, mut deflater: Box<Deflater>) {
        deflater.reset();
        keep(&mut self.deflaters, (window_bits, deflater));
    }

    pub(super) fn keep_inflater(&mut self, window_bits: u8, mut inflater: Box<Inflater>) {
        inflater.reset();
        keep(&mut self.inflaters, (window_bits, inflater));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("level", &self.level)
            .field("deflaters", &self.deflaters.len())
            .field("inflaters", &self.inflaters.len())
            .finish()
    }
}

fn spare<T>(spares: &mut Vec<(u8, T)>, window_bits: u8) -> Option<T> {
    let at = spares.iter().position(|(bits, _)| *bits == window_bits)?;
    Some(spares.remove(at).1)
}

/// The one that has not been used for longest makes room.
fn keep<T>(spares: &mut Vec<(u8, T)>, spare: (u8, T)) {
    if spares.len() == SPARES {
        spares.remove(0);
    }
    spares.push(spare);
}
