//! TLS on a connection, by rustls: what new connections are encrypted with (`Acceptor`), one connection's keys and records
//! (`session`), and the way from an accepted socket to the first request (`handshake`). Certificates, ciphers and tickets are
//! somebody else's: a finished configuration comes in. Invariant: nothing here waits, and nothing is sent or received but
//! through the connection's own socket.

mod handshake;
mod session;

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;

pub(crate) use session::Session;

/// What a handshake works with.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Everything rustls needs.
    pub config: Arc<ServerConfig>,
    /// The server's own certificate, in PEM form.
    pub certificate: Arc<str>,
}

/// Has the terms for each new connection: those of this moment, since certificates are renewed.
#[derive(Clone)]
pub struct Acceptor(Arc<dyn Fn() -> Terms + Send + Sync>);

impl Acceptor {
    /// `terms` is called for each accepted connection, and should be fast.
    pub fn new(terms: impl Fn() -> Terms + Send + Sync + 'static) -> Self {
        Self(Arc::new(terms))
    }

    fn terms(&self) -> Terms {
        (self.0)()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

/// What was agreed in a handshake.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    /// The version's number on the wire: 0x0303 for TLS 1.2, 0x0304 for TLS 1.3.
    pub version: u16,
    /// The cipher suite's number on the wire.
    pub cipher: u16,
    /// The certificate that the server has shown, in PEM form.
    pub certificate: Arc<str>,
    /// The client's certificates in DER form, its own first; empty if it has shown none.
    pub client: Vec<Vec<u8>>,
}
