//! What a balancer sends in front of a connection, and listeners that read it.

use oxicorn_edge::proxy::Versions;
use oxicorn_engine::Options;
use oxicorn_settings::Networks;

/// A client at 192.0.2.7:56324, in words and in bytes.
pub(crate) const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
/// The same in bytes.
pub(crate) const BLOCK: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0f\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\0\0";

/// Reads headers of those on loopback.
pub(crate) fn reads(options: &mut Options) {
    options.edge.proxy = Some(Versions::Both);
    options.edge.proxy_senders = Networks::parse(["127.0.0.1"]).unwrap();
}

/// Refuses who sends none.
pub(crate) fn strict(options: &mut Options) {
    reads(options);
    options.edge.proxy_required = true;
}
