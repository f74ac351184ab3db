//! What is to be known about a certificate before it is used: when it is valid, and whose it is. Trust is not decided here;
//! rustls does that. Invariant: what cannot be understood here is not refused here, since rustls may understand it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::pem::{LineEnding, encode_string};

/// The label of a certificate in PEM form (RFC 7468 §5).
const LABEL: &str = "CERTIFICATE";

/// Why a certificate is of no use now, if so.
pub(crate) fn untimely(der: &[u8], now: SystemTime) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    if validity.not_after.to_unix_duration() < now {
        let end = validity.not_after.to_date_time();
        return Some(format!("expired at {end}"));
    }
    if validity.not_before.to_unix_duration() > now {
        let begin = validity.not_before.to_date_time();
        return Some(format!("is not valid before {begin}"));
    }
    None
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
