//! What an entry of a template was last made from, so that it is made anew only when that has changed. Invariant: what is
//! remembered is bounded; longer values are made anew each time.

/// Bytes of a value that are remembered for comparison.
const REMEMBERED: usize = 1024;

/// The bytes an entry was made from.
#[derive(Debug, Default)]
pub(crate) struct Last(Option<Vec<u8>>);

impl Last {
    /// Whether the entry must be made anew for `bytes`; from now on it is made from them.
    pub(crate) fn changes(&mut self, bytes: &[u8]) -> bool {
        if self.0.as_deref() == Some(bytes) {
            return false;
        }
        let mut kept = self.0.take().unwrap_or_default();
        if bytes.len() <= REMEMBERED {
            kept.clear();
            kept.extend_from_slice(bytes);
            self.0 = Some(kept);
        }
        true
    }

    /// The entry was not made: it is not known what it is.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}
