//! What was read: the bytes of certificates and key, and from them what rustls runs on. Invariant: what was made here can be
//! made again from the same bytes, in another process as well.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, ServerConfig, SupportedProtocolVersion, version};

use crate::authorities::Authorities;
use crate::certificate::{pem, public_key};
use crate::tickets::Tickets;

/// What is offered over ALPN (RFC 7301).
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// Whether clients have to show a certificate (`cert_reqs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// They are not asked.
    #[default]
    Unknown,
    /// They may.
    Optional,
    /// They must.
    Required,
}

/// What a worker serves with.
#[derive(Clone, Debug)]
pub struct Served {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    /// The server's own certificate in PEM form.
    pub certificate: Arc<str>,
}

/// See the module. All bytes are in DER form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Material {
    /// The server's certificate first.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
    /// Who may sign clients' certificates.
    pub(crate) authorities: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material")
            .field("chain", &self.chain.len())
            .field("authorities", &self.authorities.len())
            .finish_non_exhaustive()
    }
}

impl Material {
    /// What rustls runs on. `suites`: the names of the cipher suites that are offered, all if there is none.
    pub(crate) fn serve(
        &self,
        clients: Clients,
        suites: &[&'static str],
        tickets: &Arc<Tickets>,
    ) -> Result<Served, Error> {
        let provider = Arc::new(provider(suites));
        let versions = versions(&provider);
        let own = self.own(&provider)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)?;
        let builder = match self.verifier(clients, provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let own = SingleCertAndKey::from(own);
        let mut config = builder.with_cert_resolver(Arc::new(own));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Whoever resumes a session shows no certificate, and rustls asks for none: neither whether one had been shown, nor
        // whether it is still valid and its authority still believed.
        if clients == Clients::Unknown {
            config.ticketer = tickets.clone();
        }
        let certificate = self.chain.first().and_then(|own| pem(own));
        Ok(Served {
            config: Arc::new(config),
            certificate: certificate.unwrap_or_default().into(),
        })
    }

    /// Certificate and key, which fit. rustls cannot tell of a certificate of version 1, as `openssl x509 -req` makes them
    /// unless it is told extensions; to send one it need not understand it.
    fn own(&self, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
        let loaded = provider.key_provider.load_private_key(self.private_key()?);
        let own = CertifiedKey::new(self.certificates(), loaded?);
        let fits = match own.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
            Err(Error::InvalidCertificate(what)) => {
                match self.chain.first().and_then(|der| public_key(der)) {
                    Some(key) if own.key.public_key().is_some_and(|its| *its == *key) => Ok(()),
                    Some(_) => Err(InconsistentKeys::KeyMismatch.into()),
                    None => Err(Error::InvalidCertificate(what)),
                }
            }
            other => other,
        };
        fits.map(|()| own)
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let chain = self.chain.iter().cloned();
        chain.map(CertificateDer::from).collect()
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let key = PrivateKeyDer::try_from(self.key.clone());
        key.map_err(|reason| Error::General(reason.to_owned()))
    }

    fn verifier(
        &self,
        clients: Clients,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
        let optional = match clients {
            Clients::Unknown => return Ok(None),
            Clients::Optional => true,
            Clients::Required => false,
        };
        let authorities = Authorities::new(&self.authorities, optional, provider)?;
        Ok(Some(Arc::new(authorities)))
    }

    /// The bytes, for another process; see [`Material::read`].
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, &self.key);
        put_all(&mut out, &self.chain);
        put_all(&mut out, &self.authorities);
        out
    }

    /// What [`Material::write`] wrote, or nothing.
    pub(crate) fn read(mut bytes: &[u8]) -> Option<Self> {
        let key = take(&mut bytes)?;
        let chain = take_all(&mut bytes)?;
        let authorities = take_all(&mut bytes)?;
        bytes.is_empty().then_some(Self {
            chain,
            key,
            authorities,
        })
    }
}

/// The cryptography, with the suites that are wanted.
fn provider(suites: &[&'static str]) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !suites.is_empty() {
        provider.cipher_suites.retain(|suite| {
            let name = suite.suite().as_str().unwrap_or_default();
            suites.iter().any(|wanted| standard(name) == *wanted)
        });
    }
    provider
}

/// IANA's name of a suite, which rustls writes with the version in front for TLS 1.3.
fn standard(name: &str) -> String {
    name.replace("TLS13_", "TLS_")
}

/// The versions that the suites are for.
fn versions(provider: &CryptoProvider) -> Vec<&'static SupportedProtocolVersion> {
    let known = [&version::TLS13, &version::TLS12];
    let is_for = |one: &&&'static SupportedProtocolVersion| {
        let mut suites = provider.cipher_suites.iter();
        suites.any(|suite| suite.version() == **one)
    };
    known.iter().filter(is_for).copied().collect()
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_all(out: &mut Vec<u8>, all: &[Vec<u8>]) {
    out.extend((all.len() as u64).to_le_bytes());
    for one in all {
        put(out, one);
    }
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    usize::try_from(u64::from_le_bytes(*number)).ok()
}

fn take(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let len = number(bytes)?;
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken.to_vec())
}

fn take_all(bytes: &mut &[u8]) -> Option<Vec<Vec<u8>>> {
    let count = number(bytes)?;
    // A count that is wrong ends with the bytes, before it takes memory.
    (0..count).map(|_| take(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_shorter() {
        let material = Material {
            chain: vec![vec![1; 300], vec![2; 5]],
            key: vec![3; 40],
            authorities: vec![vec![], vec![4]],
        };
        let bytes = material.write();
        assert_eq!(Material::read(&bytes), Some(material));
        for cut in 0..bytes.len() {
            assert_eq!(Material::read(&bytes[..cut]), None, "{cut} bytes");
        }
        assert_eq!(Material::read(&[bytes, vec![0]].concat()), None);
    }

    #[test]
    fn a_choice_of_suites_chooses_the_versions() {
        let of = |names: &[&'static str]| versions(&provider(names)).len();
        assert_eq!(of(&[]), 2);
        assert_eq!(of(&["TLS_AES_128_GCM_SHA256"]), 1);
        assert_eq!(of(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]), 1);
        let one = provider(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
        assert_eq!(one.cipher_suites.len(), 1);
    }
}
