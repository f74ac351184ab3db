//! Close frames: their codes, and their payload read and written (RFC 6455 §5.5.1, §7.4).
//!
//! A [`Code`] is always one that may be on the wire, so nothing that is made of it needs another
//! check. Who closes, and what follows from it, is the connection's.

use crate::head::{CONTROL_MAX, FrameHead, Opcode};
use crate::violation::Violation;

/// What an application is told where the peer's close frame had no code (RFC 6455 §7.1.5); never on
/// the wire.
pub const NO_CODE: u16 = 1005;
/// What an application is told where the connection ended without a close frame (RFC 6455 §7.1.5);
/// never on the wire.
pub const ABNORMAL: u16 = 1006;

/// A status code that a close frame may have (RFC 6455 §7.4 and its IANA registry).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Code(u16);

impl Code {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes away, or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// A message's data does not fit its type: text that is not UTF-8, compressed data that is none.
    pub const INVALID_DATA: Self = Self(1007);
    /// The peer broke a policy, and no other code fits.
    pub const POLICY: Self = Self(1008);
    /// A message is larger than it may be.
    pub const TOO_LARGE: Self = Self(1009);
    /// The server met an error of its own.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts; the client may come back.
    pub const RESTART: Self = Self(1012);

    /// The code with this number; `None` if it must not be on the wire.
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(number)),
            _ => None,
        }
    }

    /// The code as a number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What a close frame says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Close {
    /// Its code; `None` if it has none, which applications know as [`NO_CODE`].
    pub code: Option<Code>,
    /// Its reason, at most 123 bytes; for people, and often empty.
    pub reason: String,
}

impl Close {
    /// Reads the payload of a close frame.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Violation> {
        let (code, reason) = match payload {
            [] => return Ok(Self::default()),
            [_] => return Err(Violation::CloseLength),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        let code = Code::new(code).ok_or(Violation::CloseCode)?;
        let reason = str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
        Ok(Self {
            code: Some(code),
            reason: reason.to_owned(),
        })
    }
}

/// Appends a close frame. A reason that is too long for one is cut between two characters; without a
/// code there can be none.
pub(crate) fn write(code: Option<Code>, reason: &str, out: &mut Vec<u8>) {
    let Some(code) = code else {
        out.extend_from_slice(FrameHead::new(Opcode::Close, 0).as_bytes());
        return;
    };
    let reason = cut(reason, CONTROL_MAX - 2);
    out.extend_from_slice(FrameHead::new(Opcode::Close, 2 + reason.len()).as_bytes());
    out.extend_from_slice(&code.number().to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// The longest beginning of `text` that has at most `most` bytes and ends between characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_are_reserved_or_unassigned_are_never_on_the_wire() {
        for number in [0, 999, 1004, NO_CODE, ABNORMAL, 1015, 1016, 2999, 5000] {
            assert_eq!(Code::new(number), None, "{number}");
        }
        for number in [1000, 1003, 1007, 1014, 3000, 4999] {
            assert_eq!(Code::new(number).map(Code::number), Some(number));
        }
    }

    #[test]
    fn a_payload_is_nothing_or_a_code_and_a_reason() {
        assert_eq!(Close::read(b""), Ok(Close::default()));
        let bye = Close {
            code: Some(Code::NORMAL),
            reason: "bye".into(),
        };
        assert_eq!(Close::read(b"\x03\xe8bye"), Ok(bye));
        assert_eq!(Close::read(b"\x03"), Err(Violation::CloseLength));
        assert_eq!(Close::read(b"\x03\xed"), Err(Violation::CloseCode));
        assert_eq!(Close::read(b"\x03\xe8\xff"), Err(Violation::CloseReason));
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        let mut out = Vec::new();
        write(Some(Code::NORMAL), &"ä".repeat(100), &mut out);
        assert_eq!(out[..4], [0x88, 124, 3, 0xe8]);
        assert_eq!(str::from_utf8(&out[4..]), Ok(&*"ä".repeat(61)));
    }

    #[test]
    fn a_close_frame_without_a_code_is_empty() {
        let mut out = Vec::new();
        write(None, "lost", &mut out);
        assert_eq!(out, [0x88, 0]);
    }
}
