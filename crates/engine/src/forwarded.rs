//! The one trusted-proxy policy: whose forwarding headers are believed, and what they say about client and scheme. Everything
//! that asks "may I believe this field?" asks here. Invariant: an untrusted peer's fields never change anything.
//!
//! `Forwarded` (RFC 7239) counts only where none of the older fields is there. Most proxies set those and pass on a
//! `Forwarded` of their client's as it came, so the other way round clients could say what they like.

use std::net::IpAddr;

use oxicorn_edge::forwarded::{Element, Node, elements, node};
use oxicorn_http1::Head;
use oxicorn_settings::Networks;

use crate::exchange::{Exchange, Scheme};
use crate::peer::Peer;

/// Whom to believe, and which fields say `https`.
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    /// `forwarded_allow_ips`. Clients of a Unix socket are always trusted: only local processes reach it.
    pub proxies: Networks,
    /// `secure_scheme_headers`: field name and the value that means https.
    pub secure_fields: Vec<(String, String)>,
    /// Whether `Forwarded` is read.
    pub standard: bool,
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
            standard: true,
        }
    }
}

impl TrustPolicy {
    /// Whether this peer's forwarding fields are believed.
    pub fn trusts(&self, peer: Peer) -> bool {
        peer.ip()
            .is_none_or(|address| self.proxies.contains(address))
    }

    /// The client that a trusted proxy speaks for: the last host of `X-Forwarded-For` that is no trusted proxy itself, else
    /// the first one; or that of `Forwarded`, by the same rule. Its port is 0 where nobody knows it.
    pub fn client(&self, exchange: &Exchange) -> Option<(String, u16)> {
        if !exchange.trusted {
            return None;
        }
        let (head, bytes) = (&exchange.head, exchange.bytes());
        self.older_client(head, bytes)
            .map(|host| (host, 0))
            .or_else(|| self.standard_client(head, bytes))
    }

    fn older_client(&self, head: &Head, bytes: &[u8]) -> Option<String> {
        let values = head.fields_named(bytes, "x-forwarded-for");
        let hosts: Vec<&[u8]> = values
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|host| !host.is_empty())
            .collect();
        let client = hosts.iter().rev().find(|host| !self.trusts_host(host));
        let client = client.or_else(|| hosts.first())?;
        Some(String::from_utf8_lossy(client).into_owned())
    }

    /// Whether this host, as a forwarding field names it, is one of the trusted proxies.
    fn trusts_host(&self, host: &[u8]) -> bool {
        let text = std::str::from_utf8(host).unwrap_or_default();
        let address = text.trim_start_matches('[').trim_end_matches(']').parse();
        address.is_ok_and(|address| self.proxies.contains(address))
    }

    fn standard_client(&self, head: &Head, bytes: &[u8]) -> Option<(String, u16)> {
        let element = self.standard_element(head, bytes)?;
        let (address, port) = address_of(&element)?;
        Some((address.to_string(), port.unwrap_or(0)))
    }

    /// What a trusted peer's fields say of the scheme; `own` if they say nothing. `None`: they contradict each other.
    pub(crate) fn scheme(&self, head: &Head, bytes: &[u8], own: Scheme) -> Option<Scheme> {
        let mut said = None;
        for field in &head.fields {
            let name = field.name.of(bytes);
            let Some((_, secure)) = self.secure_field(name) else {
                continue;
            };
            let https = field.value.of(bytes) == secure.as_bytes();
            let scheme = if https { Scheme::Https } else { Scheme::Http };
            if said.is_some_and(|earlier| earlier != scheme) {
                return None;
            }
            said = Some(scheme);
        }
        Some(said.unwrap_or_else(|| self.standard_scheme(head, bytes).unwrap_or(own)))
    }

    fn secure_field(&self, name: &[u8]) -> Option<&(String, String)> {
        self.secure_fields
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
    }

    fn standard_scheme(&self, head: &Head, bytes: &[u8]) -> Option<Scheme> {
        let element = self.standard_element(head, bytes)?;
        let https = element.proto.as_deref()?.eq_ignore_ascii_case(b"https");
        Some(if https { Scheme::Https } else { Scheme::Http })
    }

    /// The element of `Forwarded` about the client: the last one whose `for` is no trusted proxy, else the first.
    fn standard_element<'b>(&self, head: &Head, bytes: &'b [u8]) -> Option<Element<'b>> {
        head.field(bytes, "forwarded").filter(|_| self.standard)?;
        let is_older = |name: &[u8]| {
            name.eq_ignore_ascii_case(b"x-forwarded-for") || self.secure_field(name).is_some()
        };
        if head
            .fields
            .iter()
            .any(|field| is_older(field.name.of(bytes)))
        {
            return None;
        }
        let mut elements = elements(head.fields_named(bytes, "forwarded"))?;
        let is_proxy = |element: &Element<'_>| {
            address_of(element).is_some_and(|(address, _)| self.proxies.contains(address))
        };
        let at = elements.iter().rposition(|element| !is_proxy(element));
        elements.truncate(at.unwrap_or(0) + 1);
        elements.pop()
    }
}

fn address_of(element: &Element<'_>) -> Option<(IpAddr, Option<u16>)> {
    match node(element.client.as_deref()?)? {
        Node::Address(address, port) => Some((address, port)),
        Node::Hidden => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(fields: &str) -> Exchange {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        let mut exchange = Exchange::new();
        let policy = oxicorn_http1::Policy::default();
        assert!(exchange.head.parse(&bytes, &policy, true).unwrap());
        exchange.bytes = bytes;
        exchange.trusted = true;
        exchange
    }

    fn scheme_of(fields: &str) -> Option<Scheme> {
        scheme_over(Scheme::Http, fields)
    }

    fn scheme_over(own: Scheme, fields: &str) -> Option<Scheme> {
        let exchange = exchange(fields);
        TrustPolicy::default().scheme(&exchange.head, exchange.bytes(), own)
    }

    /// With 10.0.0.0/8 as the trusted proxies.
    fn client_of(fields: &str) -> Option<String> {
        let policy = TrustPolicy {
            proxies: Networks::parse(["10.0.0.0/8", "fd00::/8"]).unwrap(),
            ..TrustPolicy::default()
        };
        let client = policy.client(&exchange(fields));
        client.map(|(host, port)| format!("{host} {port}"))
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
        let nothing = "Forwarded: for=192.0.2.1\r\n";
        assert_eq!(scheme_over(own, nothing), Some(Scheme::Https));
        for said in ["X-Forwarded-Proto: http\r\n", "Forwarded: proto=http\r\n"] {
            assert_eq!(scheme_over(own, said), Some(Scheme::Http), "{said}");
        }
    }

    #[test]
    fn forwarded_says_the_scheme_where_no_older_field_does() {
        assert_eq!(scheme_of("Forwarded: proto=HTTPS\r\n"), Some(Scheme::Https));
        assert_eq!(scheme_of("Forwarded: proto=http\r\n"), Some(Scheme::Http));
        assert_eq!(
            scheme_of("Forwarded: for=192.0.2.1\r\n"),
            Some(Scheme::Http)
        );
        assert_eq!(
            scheme_of("Forwarded: proto=https;\"\r\n"),
            Some(Scheme::Http),
            "malformed"
        );
        for older in ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http"] {
            let both = format!("Forwarded: proto=https\r\n{older}\r\n");
            assert_eq!(scheme_of(&both), Some(Scheme::Http), "{older}");
        }
    }

    #[test]
    fn the_scheme_is_that_by_which_the_client_came() {
        let nearest = "Forwarded: for=192.0.2.1;proto=https, for=10.0.0.1;proto=http\r\n";
        let policy = TrustPolicy {
            proxies: Networks::parse(["10.0.0.0/8"]).unwrap(),
            ..TrustPolicy::default()
        };
        let exchange = exchange(nearest);
        let scheme = policy.scheme(&exchange.head, exchange.bytes(), Scheme::Http);
        assert_eq!(scheme, Some(Scheme::Https));
    }

    #[test]
    fn forwarded_names_the_last_who_is_no_proxy() {
        let client = |value: &str| client_of(&format!("Forwarded: {value}\r\n"));
        assert_eq!(
            client("for=192.0.2.1, for=10.0.0.9"),
            Some("192.0.2.1 0".to_owned())
        );
        assert_eq!(
            client("for=198.51.100.1, for=192.0.2.1"),
            Some("192.0.2.1 0".to_owned())
        );
        assert_eq!(
            client("for=\"[2001:db8::1]:4711\", for=\"[fd00::1]\""),
            Some("2001:db8::1 4711".to_owned())
        );
        assert_eq!(
            client("for=10.0.0.1, for=10.0.0.2"),
            Some("10.0.0.1 0".to_owned())
        );
        assert_eq!(client("for=192.0.2.1, for=_hidden"), None);
        assert_eq!(client("for=unknown"), None);
        assert_eq!(client("proto=https"), None);
        assert_eq!(client("for=192.0.2.1, for"), None, "malformed");
    }

    #[test]
    fn the_older_fields_come_first() {
        let fields = "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 198.51.100.7, 10.0.0.1\r\n";
        assert_eq!(client_of(fields), Some("198.51.100.7 0".to_owned()));
        let fields = "Forwarded: for=192.0.2.1\r\nX-Forwarded-Proto: http\r\n";
        assert_eq!(client_of(fields), None);
        assert_eq!(client_of("X-Forwarded-For: ,\r\n"), None);
        assert_eq!(
            client_of("X-Forwarded-For: any, 10.0.0.1\r\n"),
            Some("any 0".to_owned())
        );
    }

    #[test]
    fn nobody_else_is_believed() {
        let mut exchange = exchange("Forwarded: for=192.0.2.1\r\n");
        exchange.trusted = false;
        assert_eq!(TrustPolicy::default().client(&exchange), None);
        let policy = TrustPolicy {
            standard: false,
            ..TrustPolicy::default()
        };
        exchange.trusted = true;
        assert_eq!(policy.client(&exchange), None);
    }
}
