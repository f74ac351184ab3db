//! A client that speaks TLS: rustls over a [`Client`], whose bytes the test can see and cut.

use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use oxicorn_engine::{Acceptor, Options, Terms};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, version};

use super::{Client, Rig};

/// A server's certificate for `localhost`, and clients that trust it.
struct Identity {
    server: Arc<ServerConfig>,
    roots: Arc<RootCertStore>,
}

fn identity() -> &'static Identity {
    static ONE: OnceLock<Identity> = OnceLock::new();
    ONE.get_or_init(|| {
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let CertifiedKey { cert, signing_key } = made;
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let der: CertificateDer<'static> = cert.der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(der.clone()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_no_client_auth();
        Identity {
            server: Arc::new(builder.with_single_cert(vec![der], key.into()).unwrap()),
            roots: Arc::new(roots),
        }
    })
}

/// Lets the engine speak TLS.
pub(crate) fn encrypt(options: &mut Options) {
    options.tls = Some(Acceptor::new(|| Terms {
        config: identity().server.clone(),
        certificate: "the certificate".into(),
    }));
}

/// A rig whose engine speaks TLS.
pub(crate) fn secure_rig(change: impl FnOnce(&mut Options)) -> Rig {
    Rig::with(|options| {
        encrypt(options);
        change(options);
    })
}

/// How the server's side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecureEnd {
    /// With `close_notify`.
    Clean,
    /// Without.
    Truncated,
    /// With an alert, or with what is no TLS.
    Failed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Secure {
    pub(crate) raw: Client,
    link: ClientConnection,
    /// Decrypted.
    pub(crate) got: Vec<u8>,
    /// Encrypted, and not sent yet.
    out: Vec<u8>,
    fed: usize,
    /// How it ended, if it has.
    pub(crate) end: Option<SecureEnd>,
}

impl Secure {
    /// A client that has begun nothing yet.
    pub(crate) fn new(rig: &Rig) -> Self {
        Self::of(rig, false)
    }

    /// One that knows TLS 1.2 only.
    pub(crate) fn old(rig: &Rig) -> Self {
        Self::of(rig, true)
    }

    fn of(rig: &Rig, old: bool) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let version = if old {
            &version::TLS12
        } else {
            &version::TLS13
        };
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let builder = builder.with_root_certificates(identity().roots.clone());
        let config = Arc::new(builder.with_no_client_auth());
        let name = ServerName::try_from("localhost").unwrap();
        let mut link = ClientConnection::new(config, name).unwrap();
        link.set_buffer_limit(None);
        Self {
            raw: rig.client(),
            link,
            got: Vec::new(),
            out: Vec::new(),
            fed: 0,
            end: None,
        }
    }

    /// Encrypts; sent by [`Secure::step`].
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.link.writer().write_all(bytes).unwrap();
    }

    /// Says `close_notify`.
    pub(crate) fn part(&mut self) {
        self.link.send_close_notify();
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.link.is_handshaking()
    }

    /// What is to be sent now, and is not sent.
    pub(crate) fn flight(&mut self) -> Vec<u8> {
        while self.link.wants_write() {
            self.link.write_tls(&mut self.out).unwrap();
        }
        std::mem::take(&mut self.out)
    }

    /// Sends `most` bytes of what is to be sent, and reads what has come.
    pub(crate) fn step(&mut self, most: usize) {
        let flight = self.flight();
        let sent = self.raw.push(&flight[..most.min(flight.len())]);
        self.out = flight[sent..].to_vec();
        self.listen(usize::MAX);
    }

    /// Reads at most about so many encrypted bytes.
    pub(crate) fn listen(&mut self, most: usize) {
        if most == usize::MAX {
            self.raw.pull();
        } else {
            self.raw.pull_once(most);
        }
        let ended = self.raw.end.is_some();
        while self.fed < self.raw.got.len() && self.end.is_none() {
            let mut rest = &self.raw.got[self.fed..];
            self.fed += self.link.read_tls(&mut rest).unwrap();
            self.digest();
        }
        if ended && self.end.is_none() {
            self.link.read_tls(&mut &[][..]).unwrap();
            self.digest();
        }
    }

    fn digest(&mut self) {
        if self.link.process_new_packets().is_err() {
            self.end = Some(SecureEnd::Failed);
            return;
        }
        let mut buffer = [0; 16 << 10];
        loop {
            match self.link.reader().read(&mut buffer) {
                Ok(0) => return self.end = Some(SecureEnd::Clean),
                Ok(count) => self.got.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.end = Some(SecureEnd::Truncated),
            }
        }
    }
}

impl Rig {
    /// Goes round with a client until `done`.
    pub(crate) fn with_secure(
        &mut self,
        client: &mut Secure,
        what: &str,
        mut done: impl FnMut(&mut Self, &Secure) -> bool,
    ) {
        self.until(what, |rig| {
            client.step(usize::MAX);
            done(rig, client)
        });
    }

    /// A client that has agreed on keys, and has said nothing yet.
    pub(crate) fn secure_client(&mut self) -> Secure {
        let mut client = Secure::new(self);
        self.with_secure(&mut client, "the handshake", |_, client| {
            !client.is_handshaking()
        });
        // The last word is the client's.
        client.step(usize::MAX);
        self.round(Duration::from_millis(20));
        client
    }

    /// Reads until the client has `count` bytes.
    pub(crate) fn receive_secure(&mut self, client: &mut Secure, count: usize) {
        self.with_secure(client, "bytes for the client", |_, client| {
            client.got.len() >= count
        });
    }

    /// How the client's connection ends.
    pub(crate) fn secure_end(&mut self, client: &mut Secure) -> SecureEnd {
        self.with_secure(client, "the end of the connection", |_, client| {
            client.end.is_some()
        });
        client.end.unwrap()
    }
}
