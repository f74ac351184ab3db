//! A WebSocket client's frames, made and read byte by byte.

/// The request that asks for a WebSocket.
pub(crate) const UPGRADE: &[u8] = b"GET /socket HTTP/1.1\r\nHost: example\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The answer; what its fields say is not the engine's affair.
pub(crate) const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// A masked frame; `first` is its first byte.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = head(first, payload.len(), 0x80);
    frame.extend_from_slice(&mask);
    let turns = payload.iter().zip(mask.iter().cycle());
    frame.extend(turns.map(|(byte, mask)| byte ^ mask));
    frame
}

/// A frame of the server.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

/// The payload of a close frame.
pub(crate) fn code(number: u16, reason: &str) -> Vec<u8> {
    [&number.to_be_bytes(), reason.as_bytes()].concat()
}

fn head(first: u8, len: usize, mask: u8) -> Vec<u8> {
    let mut frame = vec![first];
    match len {
        0..=125 => frame.push(mask | u8::try_from(len).unwrap()),
        126..=0xffff => {
            frame.push(mask | 0x7e);
            frame.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            frame.push(mask | 0x7f);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame
}
