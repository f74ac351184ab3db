//! What comes out of a connection: events, how far it is, and that a command came too late. Nothing here
//! decides anything.

use std::borrow::Cow;
use std::fmt;

use crate::close::Close;
use crate::violation::Violation;

/// The two types of message (RFC 6455 §5.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// Something that the peer did. What it calls for by the protocol has been done already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'i> {
    /// A whole message. It is borrowed from the input if it was there in one piece and as it is;
    /// otherwise it is the caller's, and the connection keeps nothing of it.
    Message {
        /// Text or binary.
        kind: Kind,
        /// The content; of a text, proven to be UTF-8.
        data: Cow<'i, [u8]>,
    },
    /// A ping, which has been answered, or will be when there is room for an answer.
    Ping(Cow<'i, [u8]>),
    /// A pong: the peer lives. Its payload is that of the ping which it answers.
    Pong(Cow<'i, [u8]>),
    /// The peer closed the connection, or agreed to our close. Nothing comes after it.
    Close(Close),
    /// The peer broke the protocol or a limit. Nothing comes after it.
    Failed(Violation),
}

/// How far one call came.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Step<'i> {
    /// Bytes of the input that were consumed. Without an event it is all of them.
    pub consumed: usize,
    /// What they were, if that is worth knowing.
    pub event: Option<Event<'i>>,
}

/// How far the connection is from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Messages go both ways.
    Open,
    /// Our close frame is written and the peer's is awaited. Messages that still come are discarded.
    Closing,
    /// Nothing is read or written any more: flush what is written, then close the transport.
    Over,
}

/// A command came too late: the connection is closing or over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed")
    }
}

impl std::error::Error for Closed {}
