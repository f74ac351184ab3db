//! What one connection needs to compress and decompress, and which of it outlives a message.
//!
//! A context is made or borrowed for the first message that needs it. After a message it stays only if
//! context takeover is agreed (RFC 7692 §7.1.1).

use super::Pool;
use super::agreement::Agreement;
use super::streams::{Deflater, Inflater};
use crate::event::Kind;
use crate::head::{FrameHead, WRITTEN_MAX};

/// The compression of one connection.
#[derive(Debug)]
pub(crate) struct Contexts {
    agreement: Agreement,
    deflater: Option<Box<Deflater>>,
    inflater: Option<Box<Inflater>>,
}

impl Contexts {
    pub(crate) fn new(agreement: Agreement) -> Self {
        Self {
            agreement,
            deflater: None,
            inflater: None,
        }
    }

    /// Whether a message of `len` bytes is compressed. An empty one cannot get smaller.
    pub(crate) fn compresses(&self, len: usize) -> bool {
        len >= self.agreement.threshold.max(1)
    }

    /// Appends a compressed message; or nothing, and false, if the compressor broke. Then it goes,
    /// with its context: the next one refers to nothing that was before it.
    pub(crate) fn compress(
        &mut self,
        kind: Kind,
        data: &[u8],
        pool: &mut Pool,
        out: &mut Vec<u8>,
    ) -> bool {
        let bits = self.agreement.server_window_bits;
        let spare = self.deflater.take();
        let mut deflater = spare.unwrap_or_else(|| pool.deflater(bits));
        let start = out.len();
        if !compress(&mut deflater, kind, data, out) {
            out.truncate(start);
            return false;
        }
        if self.agreement.server_takeover {
            self.deflater = Some(deflater);
        } else {
            pool.keep_deflater(bits, deflater);
        }
        true
    }

    /// What decompresses the current message.
    pub(crate) fn inflater(&mut self, pool: &mut Pool) -> &mut Inflater {
        let bits = self.agreement.inflater_bits();
        self.inflater.get_or_insert_with(|| pool.inflater(bits))
    }

    /// The client's message is complete.
    pub(crate) fn message_ended(&mut self, pool: &mut Pool) {
        let gone = |_: &mut Box<Inflater>| !self.agreement.client_takeover;
        if let Some(inflater) = self.inflater.take_if(gone) {
            pool.keep_inflater(self.agreement.inflater_bits(), inflater);
        }
    }
}

/// Appends a compressed frame; false if the compressor broke. The head is written when the length is
/// known, so its place is cut to its size then.
fn compress(deflater: &mut Deflater, kind: Kind, data: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0; WRITTEN_MAX]);
    let body = out.len();
    if !deflater.compress(data, out) {
        return false;
    }
    let head = FrameHead::compressed(kind, out.len() - body);
    let place = body - head.as_bytes().len();
    out[place..body].copy_from_slice(head.as_bytes());
    out.drain(start..place);
    true
}
