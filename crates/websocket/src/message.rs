//! A message that is not complete yet: what of it has arrived, and whether it may go on.
//!
//! Limits hold before memory is taken: the announced length of a frame is judged before its payload,
//! and the buffer never has more capacity than the limit allows. Text is checked as it arrives, so
//! that what is not UTF-8 is refused at the first byte that shows it.

use crate::event::Kind;
use crate::violation::Violation;

/// A message between its first frame and its last byte. It takes no memory before it is in pieces.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) compressed: bool,
    /// Bytes of payload that its frames have announced.
    announced: u64,
    data: Vec<u8>,
    /// So many bytes of `data` are known to be UTF-8.
    checked: usize,
}

impl Message {
    pub(crate) fn new(kind: Kind, compressed: bool) -> Self {
        Self {
            kind,
            compressed,
            announced: 0,
            data: Vec::new(),
            checked: 0,
        }
    }

    /// Nothing of its content has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The next frame has `len` bytes of payload.
    pub(crate) fn announce(&mut self, len: u64, limit: usize) -> Result<(), Violation> {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let most = if self.compressed {
            compressed_most(limit)
        } else {
            limit
        };
        self.announced = self.announced.saturating_add(len);
        if self.announced > most {
            return Err(Violation::MessageTooLarge);
        }
        Ok(())
    }

    /// Adds a piece of an uncompressed frame. `left`: bytes of the frame from this piece on.
    pub(crate) fn add(&mut self, piece: &[u8], left: u64) -> Result<(), Violation> {
        self.make_room(piece.len(), usize::try_from(left).unwrap_or(usize::MAX));
        self.data.extend_from_slice(piece);
        self.check()
    }

    /// Doubling, but never beyond the end of what is announced.
    fn make_room(&mut self, piece: usize, left: usize) {
        let len = self.data.len();
        if self.data.capacity() - len < piece {
            self.data.reserve_exact(len.min(left).max(piece));
        }
    }

    /// Adds what `decompress` appends. What it has appended before it failed is judged first, so that
    /// the verdict does not depend on how the message was cut.
    pub(crate) fn add_with(
        &mut self,
        decompress: impl FnOnce(&mut Vec<u8>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let result = decompress(&mut self.data);
        self.check()?;
        result
    }

    fn check(&mut self) -> Result<(), Violation> {
        if self.kind == Kind::Binary {
            return Ok(());
        }
        let new = &self.data[self.checked..];
        match simdutf8::compat::from_utf8(new) {
            Ok(_) => self.checked = self.data.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::Utf8),
        }
        Ok(())
    }

    /// The content of the complete message.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Violation> {
        if self.kind == Kind::Text && self.checked < self.data.len() {
            return Err(Violation::Utf8);
        }
        Ok(self.data)
    }
}

/// What a message within the limit may take when compressed: a compressor that finds nothing to
/// compress adds a few bytes to each of its blocks, of which the smallest in use have 64 bytes.
fn compressed_most(limit: u64) -> u64 {
    limit.saturating_add(limit / 8).saturating_add(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_refused_at_the_first_byte_that_cannot_be_utf8() {
        let mut message = Message::new(Kind::Text, false);
        for byte in "κόσμε".bytes() {
            assert_eq!(message.add(&[byte], 1), Ok(()));
        }
        assert_eq!(message.add(b"\xed", 2), Ok(()));
        assert_eq!(message.add(b"\xa0", 1), Err(Violation::Utf8));
    }

    #[test]
    fn text_does_not_end_inside_a_character() {
        let mut message = Message::new(Kind::Text, false);
        assert_eq!(message.add("ö".as_bytes(), 2), Ok(()));
        assert_eq!(message.add(&"ö".as_bytes()[..1], 1), Ok(()));
        assert_eq!(message.finish(), Err(Violation::Utf8));
    }

    #[test]
    fn the_buffer_is_never_larger_than_what_is_announced() {
        let mut message = Message::new(Kind::Binary, false);
        for left in (1..=1000).rev() {
            assert_eq!(message.add(b"x", left), Ok(()));
            assert!(message.data.capacity() <= 1000);
        }
    }

    #[test]
    fn the_limit_holds_for_all_frames_together() {
        let mut message = Message::new(Kind::Binary, false);
        assert_eq!(message.announce(6, 10), Ok(()));
        assert_eq!(message.announce(4, 10), Ok(()));
        assert_eq!(message.announce(1, 10), Err(Violation::MessageTooLarge));
    }
}
