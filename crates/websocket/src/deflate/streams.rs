//! Compressing and decompressing a message's payload (RFC 7692 §7.2).
//!
//! Both append to a buffer. The decompressor never lets it grow beyond its limit, whatever it reads.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::violation::Violation;

/// What the sender takes off the end of each message (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// A buffer that has less room than this gets more. A stream that is flushed into less could write
/// its tail twice.
const ROOM_MIN: usize = 64;

/// Compresses messages.
#[derive(Debug)]
pub(crate) struct Deflater(Compress);

impl Deflater {
    /// A window of 2 to the power of `window_bits` bytes, 9 to 15; a level from 0 to 9.
    pub(crate) fn new(window_bits: u8, level: u32) -> Self {
        let level = Compression::new(level);
        Self(Compress::new_with_window_bits(level, false, window_bits))
    }

    /// Forgets all earlier messages.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    /// Appends a compressed message, without its tail; false if the stream broke.
    pub(crate) fn compress(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        loop {
            out.reserve((data.len() / 2).max(ROOM_MIN));
            let before = self.0.total_in();
            if self.0.compress_vec(data, out, FlushCompress::Sync).is_err() {
                return false;
            }
            data = after(data, self.0.total_in() - before);
            if data.is_empty() && out.len() < out.capacity() {
                break;
            }
        }
        let whole = out[start..].ends_with(&TAIL);
        out.truncate(out.len().saturating_sub(TAIL.len()));
        whole
    }
}

/// Decompresses messages.
#[derive(Debug)]
pub(crate) struct Inflater(Decompress);

impl Inflater {
    /// For a peer whose window has at most 2 to the power of `window_bits` bytes, 9 to 15.
    pub(crate) fn new(window_bits: u8) -> Self {
        Self(Decompress::new_with_window_bits(false, window_bits))
    }

    /// Forgets all earlier messages.
    pub(crate) fn reset(&mut self) {
        self.0.reset(false);
    }

    /// Appends what a piece of a message decompresses to, so that `out` has at most `limit` bytes;
    /// `last`: the message ends with this piece.
    pub(crate) fn decompress(
        &mut self,
        piece: &[u8],
        last: bool,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), Violation> {
        self.advance(piece, out, limit)?;
        if last {
            self.advance(&TAIL, out, limit)?;
        }
        Ok(())
    }

    fn advance(
        &mut self,
        mut piece: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), Violation> {
        loop {
            make_room(out, piece.len(), limit);
            let (before, len) = (self.0.total_in(), out.len());
            let status = self.0.decompress_vec(piece, out, FlushDecompress::Sync);
            let taken = self.0.total_in() - before;
            piece = after(piece, taken);
            if out.len() > limit {
                out.truncate(limit);
                return Err(Violation::MessageTooLarge);
            }
            let done = piece.is_empty() && out.len() < out.capacity();
            match status.map_err(|_| Violation::Compression)? {
                // A block that says it is the last one does not end the message (RFC 7692 §7.2.3.4).
                // What a compressor writes after it refers to nothing before it.
                Status::StreamEnd => self.reset(),
                _ if done => return Ok(()),
                _ if taken == 0 && out.len() == len => return Err(Violation::Compression),
                _ => continue,
            }
            if done {
                return Ok(());
            }
        }
    }
}

/// Room for what `input` bytes may become, which is more with each call for the same message; one
/// byte more than the limit, so that a message that is too large is seen to be.
fn make_room(out: &mut Vec<u8>, input: usize, limit: usize) {
    if out.len() == out.capacity() {
        let wanted = out.len().max(input.saturating_mul(4)).max(ROOM_MIN);
        let most = limit.saturating_add(1) - out.len();
        out.reserve_exact(wanted.min(most));
    }
}

fn after(bytes: &[u8], taken: u64) -> &[u8] {
    let taken = usize::try_from(taken).unwrap_or(usize::MAX);
    bytes.get(taken..).unwrap_or_default()
}
