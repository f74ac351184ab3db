//! The opening handshake, server side (RFC 6455 §4.2): what the client asks for, and the fields of
//! the answer that accepts it.
//!
//! The request's head was parsed by `http1`, and the head of the answer is written by whoever writes
//! all heads. What is decided here: whether the request is a handshake, which accept key, subprotocol
//! and extension belong into the answer. Only HTTP/1.1; over HTTP/2 there are neither key nor upgrade.

use std::fmt;

use sha1::{Digest, Sha1};

use crate::deflate::{Agreement, Offer, Policy};
use crate::list;
use crate::refusal::Refusal;

/// What is appended to the client's key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// 16 bytes in base64.
const KEY_LEN: usize = 24;

/// A valid handshake of a client.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    accept: String,
    protocols: Vec<&'a str>,
    offers: Vec<Offer>,
}

/// The subprotocol that was chosen is none of those that the client offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOffered;

impl fmt::Display for NotOffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client did not offer this subprotocol")
    }
}

impl std::error::Error for NotOffered {}

/// Whether a request asks for a WebSocket, valid or not. If not, it is served as any other, as RFC
/// 9110 §7.8 allows.
pub fn is_asked<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> bool {
    fields.into_iter().any(|(name, value)| {
        name.eq_ignore_ascii_case(b"upgrade") && list::has_token(value, "websocket")
    })
}

impl<'a> Opening<'a> {
    /// Reads a handshake. `minor`: of the version HTTP/1.x; `fields`: name and value without blanks
    /// around them, in order.
    pub fn read(
        method: &[u8],
        minor: u8,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, Refusal> {
        let mut seen = Seen::default();
        for (name, value) in fields {
            seen.note(name, value)?;
        }
        let checks = [
            (method == b"GET", Refusal::Method),
            (minor >= 1, Refusal::HttpVersion),
            (seen.upgrade, Refusal::Upgrade),
            (seen.connection, Refusal::Connection),
            (seen.version.is(b"13"), Refusal::Version),
        ];
        if let Some((_, refusal)) = checks.into_iter().find(|(holds, _)| !holds) {
            return Err(refusal);
        }
        let key = seen.key.only().filter(|key| is_key(key));
        Ok(Self {
            accept: accept_of(key.ok_or(Refusal::Key)?),
            protocols: seen.protocols,
            offers: seen.extensions.iter().filter_map(Offer::read).collect(),
        })
    }

    /// The subprotocols that the client offers, the one that it likes most first.
    pub fn protocols(&self) -> &[&'a str] {
        &self.protocols
    }

    /// The client's favourite among the subprotocols that we support.
    pub fn choose(&self, supported: &[&str]) -> Option<&'a str> {
        let mut offered = self.protocols.iter().copied();
        offered.find(|protocol| supported.contains(protocol))
    }

    /// What can be agreed on about compression; `None` if nothing was offered that can be kept.
    pub fn deflate(&self, policy: &Policy) -> Option<Agreement> {
        Agreement::find(&self.offers, policy)
    }

    /// The fields of the answer `101 Switching Protocols` that accepts this handshake (RFC 6455
    /// §4.2.2).
    pub fn fields(
        &self,
        protocol: Option<&str>,
        deflate: Option<&Agreement>,
    ) -> Result<Vec<(&'static str, String)>, NotOffered> {
        let mut fields = vec![
            ("Upgrade", "websocket".to_owned()),
            ("Connection", "Upgrade".to_owned()),
            ("Sec-WebSocket-Accept", self.accept.clone()),
        ];
        if let Some(protocol) = protocol {
            let offered = self.protocols.iter().find(|offered| **offered == protocol);
            let protocol = *offered.ok_or(NotOffered)?;
            fields.push(("Sec-WebSocket-Protocol", protocol.to_owned()));
        }
        fields.extend(deflate.map(|deflate| ("Sec-WebSocket-Extensions", deflate.answer())));
        Ok(fields)
    }
}

/// A field that must be there once.
#[derive(Clone, Copy, Default)]
enum Single<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Single<'a> {
    fn note(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    fn only(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }

    fn is(self, wanted: &[u8]) -> bool {
        self.only() == Some(wanted)
    }
}

/// What the fields say, in one pass.
#[derive(Default)]
struct Seen<'a> {
    upgrade: bool,
    connection: bool,
    version: Single<'a>,
    key: Single<'a>,
    protocols: Vec<&'a str>,
    extensions: Vec<list::Extension<'a>>,
}

impl<'a> Seen<'a> {
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        let named = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if named("upgrade") {
            self.upgrade |= list::has_token(value, "websocket");
        } else if named("connection") {
            self.connection |= list::has_token(value, "upgrade");
        } else if named("sec-websocket-version") {
            self.version.note(value);
        } else if named("sec-websocket-key") {
            self.key.note(value);
        } else if named("sec-websocket-protocol") {
            list::tokens(value, &mut self.protocols).map_err(|_| Refusal::Protocols)?;
        } else if named("sec-websocket-extensions") {
            list::extensions(value, &mut self.extensions).map_err(|_| Refusal::Extensions)?;
        }
        Ok(())
    }
}

/// Whether this is 16 bytes in base64: 22 digits and two signs to fill up.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| BASE64.contains(byte);
    key.len() == KEY_LEN && key.ends_with(b"==") && key[..KEY_LEN - 2].iter().all(digit)
}

/// The accept key for a client's key (RFC 6455 §4.2.2, item 5.4).
fn accept_of(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    base64(digest.as_slice())
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 0x3f;
            let filled = digit <= group.len();
            text.push(if filled {
                BASE64[value as usize].into()
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3.
    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        let accept = accept_of(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// RFC 4648 §10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
