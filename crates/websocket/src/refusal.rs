//! Why an opening handshake was refused: the client's fault, with status, text and fields of the
//! answer (RFC 6455 §4.2).

use std::fmt;

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// No `upgrade` in the Connection field (RFC 6455 §4.2.1, item 4).
    Connection,
    /// A Sec-WebSocket-Extensions field that does not fit its grammar (RFC 6455 §9.1).
    Extensions,
    /// HTTP/1.0, which cannot upgrade (RFC 6455 §4.2.1, item 1).
    HttpVersion,
    /// No Sec-WebSocket-Key, two, or one that is not 16 bytes in base64 (RFC 6455 §4.2.1, item 5).
    Key,
    /// A method other than GET (RFC 6455 §4.2.1, item 1).
    Method,
    /// A Sec-WebSocket-Protocol field that is not a list of tokens (RFC 6455 §4.1, item 10).
    Protocols,
    /// No `websocket` in the Upgrade field (RFC 6455 §4.2.1, item 3).
    Upgrade,
    /// No Sec-WebSocket-Version, two, or another than 13 (RFC 6455 §4.2.1, item 6, and §4.4).
    Version,
}

impl Refusal {
    /// The status code of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Version | Self::Upgrade => 426,
            Self::Method => 405,
            _ => 400,
        }
    }

    /// The log text: one clause, lower case, without peer data.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Connection => "no upgrade in the Connection field",
            Self::Extensions => "a malformed Sec-WebSocket-Extensions field",
            Self::HttpVersion => "a WebSocket handshake on HTTP/1.0",
            Self::Key => "no valid Sec-WebSocket-Key field",
            Self::Method => "a WebSocket handshake that is not a GET",
            Self::Protocols => "a malformed Sec-WebSocket-Protocol field",
            Self::Upgrade => "no websocket in the Upgrade field",
            Self::Version => "a WebSocket version other than 13",
        }
    }

    /// The fields that belong to the status (RFC 9110 §15.5.6 and §15.5.22, RFC 6455 §4.4), besides
    /// those that every answer has.
    pub const fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Version | Self::Upgrade => &[
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
            ],
            Self::Method => &[("Allow", "GET")],
            _ => &[],
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}
