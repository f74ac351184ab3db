//! The head of a frame (RFC 6455 §5.2): read from a client, and written for one.
//!
//! Everything that a head alone can show is judged here: reserved bits, opcodes, lengths, the mask,
//! the form of control frames. Whether a frame fits what came before it is the connection's to say.

use crate::event::Kind;
use crate::violation::Violation;

/// A control frame has at most so many bytes of payload (RFC 6455 §5.5).
pub(crate) const CONTROL_MAX: usize = 125;
/// Most bytes of a head that a server writes.
pub(crate) const WRITTEN_MAX: usize = 10;
/// Most bytes of a head that a client sends.
const READ_MAX: usize = 14;

const FIN: u8 = 0x80;
/// The bit that permessage-deflate sets in the first frame of a message (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;
/// Payload lengths up to this one are in the second byte itself.
const SHORT_MAX: u8 = 125;
const LENGTH_MAX: u64 = u64::MAX >> 1;

/// What a frame is (RFC 6455 §11.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn read(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

/// The head of a client's frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) opcode: Opcode,
    /// The last frame of its message.
    pub(crate) fin: bool,
    pub(crate) compressed: bool,
    pub(crate) mask: [u8; 4],
    /// Bytes of payload.
    pub(crate) len: u64,
}

impl Head {
    /// The head at the front of `bytes`, and its length; `None` while its end is not there.
    fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let short = second & !MASKED;
        let (opcode, fin, compressed) = kind_of(*first, short)?;
        if second & MASKED == 0 {
            return Err(Violation::Unmasked);
        }
        let Some((len, rest)) = length(short, rest)? else {
            return Ok(None);
        };
        let Some((&mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let head = Self {
            opcode,
            fin,
            compressed,
            mask,
            len,
        };
        Ok(Some((head, bytes.len() - rest.len())))
    }
}

/// What the first byte says, judged together with the length in the second.
fn kind_of(first: u8, short: u8) -> Result<(Opcode, bool, bool), Violation> {
    if first & RESERVED != 0 {
        return Err(Violation::ReservedBit);
    }
    let opcode = Opcode::read(first & 0x0f).ok_or(Violation::Opcode)?;
    let (fin, compressed) = (first & FIN != 0, first & COMPRESSED != 0);
    match opcode.is_control() {
        true if compressed => Err(Violation::ReservedBit),
        true if !fin => Err(Violation::ControlFragmented),
        true if short > SHORT_MAX => Err(Violation::ControlTooLong),
        _ => Ok((opcode, fin, compressed)),
    }
}

/// The length of the payload, and what follows it; `None` while its end is not there.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let long = match short {
        ..=SHORT_MAX => return Ok(Some((short.into(), rest))),
        126 => rest
            .split_first_chunk()
            .map(|(bytes, rest)| (u16::from_be_bytes(*bytes).into(), rest)),
        _ => rest
            .split_first_chunk()
            .map(|(bytes, rest)| (u64::from_be_bytes(*bytes), rest)),
    };
    let least = if short == 126 { 126 } else { 1 << 16 };
    match long {
        Some((len, _)) if len > LENGTH_MAX => Err(Violation::LengthTooLarge),
        Some((len, _)) if len < least => Err(Violation::LengthNotMinimal),
        long => Ok(long),
    }
}

/// What has arrived of a head that is not complete.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Partial {
    bytes: [u8; READ_MAX],
    len: u8,
}

impl Partial {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Goes on with `input`: the head if it is complete now, and how many bytes of `input` are its.
    #[inline]
    pub(crate) fn read(&mut self, input: &[u8]) -> Result<(Option<Head>, usize), Violation> {
        if self.len == 0
            && let Some((head, len)) = Head::read(input)?
        {
            return Ok((Some(head), len));
        }
        self.gather(input)
    }

    fn gather(&mut self, input: &[u8]) -> Result<(Option<Head>, usize), Violation> {
        let had = usize::from(self.len);
        let room = &mut self.bytes[had..];
        let taken = room.len().min(input.len());
        room[..taken].copy_from_slice(&input[..taken]);
        if let Some((head, len)) = Head::read(&self.bytes[..had + taken])? {
            return Ok((Some(head), len - had));
        }
        self.len += u8::try_from(taken).unwrap_or_default();
        Ok((None, taken))
    }
}

/// The head of a frame that a server sends, ready for the wire.
#[derive(Clone, Copy, Debug)]
pub struct FrameHead {
    bytes: [u8; WRITTEN_MAX],
    len: u8,
}

impl FrameHead {
    /// The head of a whole, uncompressed frame with `len` bytes of payload.
    pub(crate) fn new(opcode: Opcode, len: usize) -> Self {
        Self::of(FIN | opcode as u8, len)
    }

    /// The same for a compressed message.
    pub(crate) fn compressed(kind: Kind, len: usize) -> Self {
        Self::of(FIN | COMPRESSED | Opcode::from(kind) as u8, len)
    }

    fn of(first: u8, len: usize) -> Self {
        let mut bytes = [0; WRITTEN_MAX];
        bytes[0] = first;
        let size = if let Ok(short @ ..=SHORT_MAX) = u8::try_from(len) {
            bytes[1] = short;
            2
        } else if let Ok(medium) = u16::try_from(len) {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        } else {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(len as u64).to_be_bytes());
            10
        };
        Self { bytes, len: size }
    }

    /// The bytes to send, before those of the payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len(bytes: &[u8]) -> Result<Option<u64>, Violation> {
        Head::read(bytes).map(|found| found.map(|(head, _)| head.len))
    }

    #[test]
    fn a_length_has_one_of_three_forms() {
        assert_eq!(len(b"\x82\xfd1234"), Ok(Some(125)));
        assert_eq!(len(b"\x82\xfe\x00\x7e1234"), Ok(Some(126)));
        assert_eq!(len(b"\x82\xfe\xff\xff1234"), Ok(Some(65_535)));
        let most = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff1234";
        assert_eq!(len(most), Ok(Some(LENGTH_MAX)));
        let least = b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x001234";
        assert_eq!(len(least), Ok(Some(65_536)));
    }

    #[test]
    fn a_length_is_minimal_and_has_63_bits() {
        let not_minimal = Err(Violation::LengthNotMinimal);
        assert_eq!(len(b"\x82\xfe\x00\x7d"), not_minimal);
        assert_eq!(
            len(b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff"),
            not_minimal
        );
        let over = b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00";
        assert_eq!(len(over), Err(Violation::LengthTooLarge));
    }

    #[test]
    fn two_bytes_are_enough_to_refuse_a_frame() {
        let refused = [
            (b"\x81\x05", Violation::Unmasked),
            (b"\xa1\x85", Violation::ReservedBit),
            (b"\x91\x85", Violation::ReservedBit),
            (b"\xc9\x85", Violation::ReservedBit),
            (b"\x83\x85", Violation::Opcode),
            (b"\x87\x85", Violation::Opcode),
            (b"\x8b\x85", Violation::Opcode),
            (b"\x8f\x85", Violation::Opcode),
            (b"\x09\x85", Violation::ControlFragmented),
            (b"\x89\xfe", Violation::ControlTooLong),
            (b"\x88\xff", Violation::ControlTooLong),
        ];
        for (bytes, violation) in refused {
            assert_eq!(len(bytes), Err(violation), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_head_may_arrive_in_any_two_pieces() {
        for bytes in [
            &b"\x81\x851234Hello"[..],
            b"\x82\xfe\x01\x001234Hello",
            b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x001234Hello",
        ] {
            let (head, len) = Head::read(bytes).unwrap().unwrap();
            for cut in 0..len {
                let mut partial = Partial::default();
                assert_eq!(partial.read(&bytes[..cut]), Ok((None, cut)));
                assert_eq!(partial.read(&bytes[cut..]), Ok((Some(head), len - cut)));
            }
        }
    }

    /// RFC 6455 §5.7.
    #[test]
    fn a_written_length_is_minimal() {
        let head = |len| FrameHead::new(Opcode::Binary, len).as_bytes().to_vec();
        assert_eq!(head(125), [0x82, 125]);
        assert_eq!(head(126), [0x82, 126, 0, 126]);
        assert_eq!(head(256), [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(head(65_535), [0x82, 126, 0xff, 0xff]);
        assert_eq!(head(65_536), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
