//! The client's side of the wire.

use flate2::{Compress, Compression, FlushCompress};

/// The mask of every frame: that of the examples in RFC 6455 §5.7.
pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;

/// A frame with this first byte, and its payload masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ ..126 => bytes.push(0x80 | u8::try_from(len).expect("below 126")),
        len @ ..65_536 => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(len).expect("below 65,536").to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(masked(payload));
    bytes
}

pub(crate) fn masked(payload: &[u8]) -> Vec<u8> {
    let mask = MASK.iter().cycle();
    payload
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect()
}

/// Several frames, one after the other.
pub(crate) fn frames<const N: usize>(frames: [(u8, &[u8]); N]) -> Vec<u8> {
    let frames = frames.into_iter();
    frames
        .flat_map(|(first, payload)| frame(first, payload))
        .collect()
}

/// The frames that a server has written: first byte and payload of each.
pub(crate) fn read_frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [first, short, rest @ ..] = bytes {
        let (len, rest) = match short {
            127 => {
                let (len, rest) = rest.split_first_chunk().expect("a length");
                (
                    usize::try_from(u64::from_be_bytes(*len)).expect("a length"),
                    rest,
                )
            }
            126 => {
                let (len, rest) = rest.split_first_chunk().expect("a length");
                (u16::from_be_bytes(*len).into(), rest)
            }
            short => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(len);
        found.push((*first, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame was written");
    found
}

/// A client's compressor, as zlib is used for it.
pub(crate) struct Compressor(Compress);

impl Compressor {
    pub(crate) fn new(window_bits: u8) -> Self {
        Self(Compress::new_with_window_bits(
            Compression::new(6),
            false,
            window_bits,
        ))
    }

    /// The payload of a compressed message.
    pub(crate) fn message(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + data.len() / 8 + 100);
        self.0
            .compress_vec(data, &mut out, FlushCompress::Sync)
            .expect("a compressor that works");
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }

    /// For a message that may not refer to those before it.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }
}
