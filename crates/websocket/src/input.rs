//! The bytes of one call, taken piece by piece from the front. What was taken outlives the next piece, so
//! that an event can be borrowed from it.

use std::mem;

/// What is left of the input.
pub(crate) struct Input<'i>(&'i mut [u8]);

impl<'i> Input<'i> {
    pub(crate) fn new(bytes: &'i mut [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn left(&self) -> &[u8] {
        self.0
    }

    /// Takes up to `len` bytes from the front.
    pub(crate) fn take(&mut self, len: usize) -> &'i mut [u8] {
        let len = len.min(self.0.len());
        let (front, back) = mem::take(&mut self.0).split_at_mut(len);
        self.0 = back;
        front
    }
}
