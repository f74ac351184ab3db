//! Offsets into the bytes that were parsed.
//!
//! A [`Head`](crate::Head) stores offsets instead of slices, so it has no lifetime: it can be kept
//! beside the buffer it describes, moved, and reused for the next request without an allocation. It
//! is not a checked reference: using a span with other bytes than those it was made from gives
//! other bytes, or none, but never a panic.

/// A range of bytes: `start` is included, `end` is not.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset one past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this span; empty if it reaches outside `bytes`.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// Number of bytes.
    #[inline]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether there is no byte in it.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// From offsets inside a head.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a head has at most HEAD_CEILING bytes, far below 4 GiB"
    )]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// Where `part` lies in `whole`; meaningful only if `part` was sliced from it.
    #[inline]
    pub(crate) fn locate(whole: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        Self::new(start, start.wrapping_add(part.len()))
    }

    /// The same range in bytes that begin `base` earlier.
    #[inline]
    pub(crate) fn shifted(self, base: u32) -> Self {
        Self {
            start: self.start.wrapping_add(base),
            end: self.end.wrapping_add(base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_outside_the_bytes_is_empty_instead_of_a_panic() {
        assert_eq!(Span { start: 3, end: 9 }.of(b"abc"), b"");
        assert_eq!(Span { start: 2, end: 1 }.of(b"abc"), b"");
        assert_eq!(Span { start: 2, end: 1 }.len(), 0);
        assert!(Span { start: 2, end: 1 }.is_empty());
    }

    #[test]
    fn a_part_is_located_in_its_whole() {
        let whole = b"GET / HTTP/1.1";
        let span = Span::locate(whole, &whole[4..5]);
        assert_eq!(span, Span { start: 4, end: 5 });
        assert_eq!(span.of(whole), b"/");
        assert_eq!(span.shifted(2), Span { start: 6, end: 7 });
    }
}
