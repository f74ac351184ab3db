//! Who may sign clients' certificates. rustls takes an authority for valid without end; here one counts in its own time only,
//! as with OpenSSL. Invariant: whom rustls refuses nobody lets in here.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use crate::certificate::Validity;

/// See the module.
#[derive(Debug)]
pub(crate) struct Authorities {
    /// Each with its time, in DER form.
    known: Vec<(Validity, Vec<u8>)>,
    provider: Arc<CryptoProvider>,
    /// Believes all of them.
    all: Arc<dyn ClientCertVerifier>,
    /// A client need not show a certificate.
    optional: bool,
}

impl Authorities {
    /// `known`: in DER form; one at the least.
    pub(crate) fn new(
        known: &[Vec<u8>],
        optional: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        Ok(Self {
            known: known
                .iter()
                .map(|der| (Validity::of(der), der.clone()))
                .collect(),
            all: verifier(known.iter(), provider.clone())?,
            provider,
            optional,
        })
    }

    /// Those that are valid now, if not all are.
    fn fewer(&self, now: Duration) -> Option<Vec<&Vec<u8>>> {
        let valid = self.known.iter().filter(|(time, _)| time.contains(now));
        let valid: Vec<_> = valid.map(|(_, der)| der).collect();
        (valid.len() < self.known.len()).then_some(valid)
    }
}

fn verifier<'d>(
    known: impl Iterator<Item = &'d Vec<u8>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for der in known {
        roots.add(CertificateDer::from(der.as_slice()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| Error::General(error.to_string()))
}

impl ClientCertVerifier for Authorities {
    fn client_auth_mandatory(&self) -> bool {
        !self.optional
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.all.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.all.verify_client_cert(own, chain, now)?;
        let Some(valid) = self.fewer(Duration::from_secs(now.as_secs())) else {
            return Ok(verified);
        };
        // Made anew each time: it is rare, and not for long.
        let expired = |_| Error::InvalidCertificate(CertificateError::Expired);
        let among_them = verifier(valid.into_iter(), self.provider.clone()).map_err(expired)?;
        among_them
            .verify_client_cert(own, chain, now)
            .map_err(expired)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.all.supported_verify_schemes()
    }
}
