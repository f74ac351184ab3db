//! The one trusted-proxy policy: whose forwarding headers are believed, and what they say about the scheme. Everything that
//! asks "may I believe this field?" asks here. Invariant: an untrusted peer's fields never change anything.

use oxicorn_http1::Head;
use oxicorn_settings::Networks;

use crate::exchange::Scheme;
use crate::peer::Peer;

/// Whom to believe, and which fields say `https`.
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    /// `forwarded_allow_ips`. Clients of a Unix socket are always trusted: only local processes reach it.
    pub proxies: Networks,
    /// `secure_scheme_headers`: field name and the value that means https.
    pub secure_fields: Vec<(String, String)>,
}

impl Default for TrustPolicy {
    fn default() -> Self {
        let pairs = [
            ("X-FORWARDED-PROTOCOL", "ssl"),
            ("X-FORWARDED-PROTO", "https"),
            ("X-FORWARDED-SSL", "on"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            proxies: Networks::parse(["127.0.0.1", "::1"]).unwrap_or(Networks::NONE),
            secure_fields: pairs.into_iter().map(own).collect(),
        }
    }
}

impl TrustPolicy {
    /// Whether this peer's forwarding fields are believed.
    pub fn trusts(&self, peer: Peer) -> bool {
        peer.ip()
            .is_none_or(|address| self.proxies.contains(address))
    }

    /// Whether this host, as a forwarding field names it, is one of the trusted proxies.
    pub fn trusts_host(&self, host: &[u8]) -> bool {
        let text = std::str::from_utf8(host).unwrap_or_default();
        let address = text.trim_start_matches('[').trim_end_matches(']').parse();
        address.is_ok_and(|address| self.proxies.contains(address))
    }

    /// What a trusted peer's fields say of the scheme; `own` if they say nothing. `None`: they contradict each other.
    pub(crate) fn scheme(&self, head: &Head, bytes: &[u8], own: Scheme) -> Option<Scheme> {
        let mut said = None;
        for field in &head.fields {
            let name = field.name.of(bytes);
            // All default names begin with X; custom ones are compared in full.
            let Some((_, secure)) = self
                .secure_fields
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
            else {
                continue;
            };
            let https = field.value.of(bytes) == secure.as_bytes();
            let scheme = if https { Scheme::Https } else { Scheme::Http };
            if said.is_some_and(|earlier| earlier != scheme) {
                return None;
            }
            said = Some(scheme);
        }
        Some(said.unwrap_or(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme_of(fields: &str) -> Option<Scheme> {
        scheme_over(Scheme::Http, fields)
    }

    fn scheme_over(own: Scheme, fields: &str) -> Option<Scheme> {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = Head::default();
        assert!(
            head.parse(bytes.as_bytes(), &oxicorn_http1::Policy::default(), true)
                .unwrap()
        );
        TrustPolicy::default().scheme(&head, bytes.as_bytes(), own)
    }

    #[test]
    fn the_scheme_is_what_the_fields_agree_on() {
        assert_eq!(scheme_of(""), Some(Scheme::Http));
        assert_eq!(
            scheme_of("X-Forwarded-Proto: https\r\n"),
            Some(Scheme::Https)
        );
        assert_eq!(scheme_of("x-forwarded-proto: http\r\n"), Some(Scheme::Http));
        assert_eq!(
            scheme_of("X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n"),
            None
        );
    }

    #[test]
    fn a_proxy_that_says_nothing_speaks_for_itself_and_one_that_speaks_is_believed() {
        let own = Scheme::Https;
        assert_eq!(scheme_over(own, ""), Some(Scheme::Https));
        let said = scheme_over(own, "X-Forwarded-Proto: http\r\n");
        assert_eq!(said, Some(Scheme::Http));
    }
}
