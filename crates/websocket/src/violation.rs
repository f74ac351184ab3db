//! What a peer did wrong on an open connection: by name, with its close code and its log text.
//!
//! A violation is final: the framing or the data cannot be trusted after it, so nothing behind it
//! is read (RFC 6455 §7.1.7). The texts contain no bytes of the peer. What is wrong with an opening
//! handshake is a [`Refusal`](crate::Refusal).

use std::fmt;

use crate::close::Code;

/// Why a connection was failed. The peer's fault, never ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Violation {
    /// A close frame with a code that must not be on the wire (RFC 6455 §7.4).
    CloseCode,
    /// A close frame whose payload is one byte (RFC 6455 §5.5.1).
    CloseLength,
    /// A reason to close that is not UTF-8 (RFC 6455 §5.5.1).
    CloseReason,
    /// A compressed message that cannot be decompressed (RFC 7692 §7.2.2).
    Compression,
    /// A control frame in fragments (RFC 6455 §5.5).
    ControlFragmented,
    /// A control frame of more than 125 bytes (RFC 6455 §5.5).
    ControlTooLong,
    /// A message begins inside of another (RFC 6455 §5.4).
    Interleaved,
    /// A length in more bytes than it needs (RFC 6455 §5.2).
    LengthNotMinimal,
    /// A length that does not fit into 63 bits (RFC 6455 §5.2).
    LengthTooLarge,
    /// A message larger than the limit, as it was sent or when decompressed.
    MessageTooLarge,
    /// A continuation of no message (RFC 6455 §5.4).
    NothingToContinue,
    /// An opcode without a meaning (RFC 6455 §5.2).
    Opcode,
    /// A reserved bit that no extension gave a meaning, or not in this frame (RFC 6455 §5.2, RFC 7692
    /// §6).
    ReservedBit,
    /// A frame without a mask (RFC 6455 §5.1).
    Unmasked,
    /// A text message that is not UTF-8 (RFC 6455 §8.1).
    Utf8,
}

impl Violation {
    /// The code with which the connection is closed (RFC 6455 §7.4.1).
    pub const fn code(self) -> Code {
        match self {
            Self::CloseReason | Self::Compression | Self::Utf8 => Code::INVALID_DATA,
            Self::MessageTooLarge => Code::TOO_LARGE,
            _ => Code::PROTOCOL,
        }
    }

    /// The log text, and the reason told to the peer: one clause, lower case, without peer data.
    pub const fn text(self) -> &'static str {
        match self {
            Self::CloseCode => "an invalid close code",
            Self::CloseLength => "a close frame of one byte",
            Self::CloseReason => "a close reason that is not UTF-8",
            Self::Compression => "a compressed message that cannot be decompressed",
            Self::ControlFragmented => "a fragmented control frame",
            Self::ControlTooLong => "a control frame of more than 125 bytes",
            Self::Interleaved => "a message inside of another",
            Self::LengthNotMinimal => "a length that is not encoded minimally",
            Self::LengthTooLarge => "a length that is too large",
            Self::MessageTooLarge => "a message larger than the limit",
            Self::NothingToContinue => "a continuation of no message",
            Self::Opcode => "an unknown opcode",
            Self::ReservedBit => "a reserved bit",
            Self::Unmasked => "a frame without a mask",
            Self::Utf8 => "a text message that is not UTF-8",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Violation {}
