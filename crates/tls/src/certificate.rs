//! What is to be known about a certificate before it is used: when it is valid, and whose it is. Trust is not decided here;
//! rustls does that. Invariant: what cannot be understood here is not refused here, since rustls may understand it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_cert::Certificate;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::pem::{LineEnding, encode_string};
use x509_cert::der::{Decode, Encode, Tag, Tagged};

/// The label of a certificate in PEM form (RFC 7468 §5).
const LABEL: &str = "CERTIFICATE";

/// The time of a certificate, both ends included, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    begin: Duration,
    end: Duration,
}

impl Validity {
    /// Always, if that is not understood.
    pub(crate) fn of(der: &[u8]) -> Self {
        let Ok(certificate) = Certificate::from_der(der) else {
            return Self {
                begin: Duration::ZERO,
                end: Duration::MAX,
            };
        };
        let validity = certificate.tbs_certificate().validity();
        Self {
            begin: validity.not_before.to_unix_duration(),
            end: validity.not_after.to_unix_duration(),
        }
    }

    pub(crate) fn contains(self, now: Duration) -> bool {
        self.begin <= now && now <= self.end
    }
}

/// Why a certificate is of no use now, if so, and whose it is.
pub(crate) fn untimely(der: &[u8], now: SystemTime) -> Option<String> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    if Validity::of(der).contains(now) {
        return None;
    }
    let certificate = Certificate::from_der(der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let why = if validity.not_after.to_unix_duration() < now {
        format!("expired at {}", validity.not_after.to_date_time())
    } else {
        let begin = validity.not_before.to_date_time();
        format!("is not valid before {begin}")
    };
    let name = certificate.tbs_certificate().subject();
    Some(format!("{why} ({name})"))
}

/// Whether these bytes can be sent as a certificate: clients end a handshake over anything else.
pub(crate) fn is_one(der: &[u8]) -> bool {
    AnyRef::from_der(der).is_ok_and(|found| found.tag() == Tag::Sequence)
}

/// The public key of a certificate, `SubjectPublicKeyInfo` in DER form (RFC 5280 §4.1).
pub(crate) fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    key.to_der().ok()
}

/// The subject of a certificate in DER form, as RFC 4514 writes it.
pub fn subject(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(certificate.tbs_certificate().subject().to_string())
}

/// A certificate in DER form as PEM.
pub fn pem(der: &[u8]) -> Option<String> {
    encode_string(LABEL, LineEnding::LF, der).ok()
}
