//! The choice of TLS cipher suites in OpenSSL's notation (`ciphers(1)`): names, groups joined by `+`, and what is taken away
//! again with `!` or `-`. Only suites that are sound today can be chosen. Invariant: what cannot be offered is refused by its
//! name, and never left out in silence, unless it was to be left out anyway.

use crate::stored::Stored;
use crate::value::Value;

/// The chosen suites.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ciphers(Vec<&'static str>);

/// OpenSSL's name, IANA's name, and the groups that it belongs to.
struct Suite(&'static str, &'static str, &'static [&'static str]);

/// In the order of OpenSSL's default.
const SUITES: [Suite; 9] = [
    Suite(
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_256_GCM_SHA384",
        &["TLSv1.3"],
    ),
    Suite(
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
        &["TLSv1.3"],
    ),
    Suite(
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_GCM_SHA256",
        &["TLSv1.3"],
    ),
    Suite(
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        &["ECDSA", "AES256", "AESGCM", "AES", "SHA384"],
    ),
    Suite(
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        &["RSA", "AES256", "AESGCM", "AES", "SHA384"],
    ),
    Suite(
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        &["ECDSA", "CHACHA20", "CHACHA20-POLY1305", "SHA256"],
    ),
    Suite(
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        &["RSA", "CHACHA20", "CHACHA20-POLY1305", "SHA256"],
    ),
    Suite(
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        &["ECDSA", "AES128", "AESGCM", "AES", "SHA256"],
    ),
    Suite(
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        &["RSA", "AES128", "AESGCM", "AES", "SHA256"],
    ),
];

/// Groups that all suites of TLS 1.2 are in. `TLSv1` is what older versions of uvicorn and their examples say.
const EVERY: [&str; 11] = [
    "ALL",
    "DEFAULT",
    "COMPLEMENTOFDEFAULT",
    "HIGH",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
    "FIPS",
    "TLSv1",
    "TLSv1.2",
];

impl Ciphers {
    /// No choice.
    pub const NONE: Self = Self(Vec::new());

    /// IANA's names of the suites that are offered; all that there are if none was chosen.
    pub fn names(&self) -> &[&'static str] {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (mut chosen, mut banned) = (Vec::new(), Vec::new());
        let words = text.split([':', ',', ' ']).filter(|word| !word.is_empty());
        for word in words {
            match word.split_at(1) {
                (_, _) if word.starts_with('@') => {}
                ("!", group) => banned.extend(members(group)),
                ("-", group) => {
                    let gone: Vec<_> = members(group).collect();
                    chosen.retain(|one| !gone.contains(one));
                }
                // Moves suites to the end: the client chooses, so that the order says nothing.
                ("+", _) => {}
                _ => chosen.extend(named(word)?),
            }
        }
        chosen.retain(|one| !banned.contains(one));
        if chosen.is_empty() {
            return Err("leaves no cipher suite to offer".into());
        }
        Ok(Self(in_order(&chosen)))
    }
}

impl Stored for Ciphers {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_text().map(str::trim) {
            None | Some("") => Ok(Self::default()),
            Some(text) => Self::parse(text),
        }
    }
}

/// The suites of a word that adds some.
fn named(word: &str) -> Result<Vec<&'static str>, String> {
    let found: Vec<_> = members(word).collect();
    if found.is_empty() {
        return Err(format!(
            "'{word}' cannot be offered: only suites with ECDHE and AES-GCM or CHACHA20-POLY1305 are"
        ));
    }
    Ok(found)
}

/// The suites that are in every group of `A+B`.
fn members(word: &str) -> impl Iterator<Item = &'static str> {
    let is_meant = move |suite: &&Suite| word.split('+').all(|group| suite.is_in(group));
    SUITES.iter().filter(is_meant).map(|suite| suite.1)
}

impl Suite {
    fn is_in(&self, group: &str) -> bool {
        let Self(openssl, iana, groups) = self;
        // "aRSA" is how the server proves itself, as "RSA" is in a choice of groups.
        let plain = group.strip_prefix('a').unwrap_or(group);
        let of_all = EVERY.contains(&group) && !groups.contains(&"TLSv1.3");
        of_all
            || group == *openssl
            || group == *iana
            || groups.contains(&group)
            || groups.contains(&plain)
    }
}

/// As OpenSSL does: such a choice is about TLS 1.2 only, unless it names suites of TLS 1.3.
fn in_order(chosen: &[&'static str]) -> Vec<&'static str> {
    let is_new = |suite: &Suite| suite.2.contains(&"TLSv1.3");
    let names_new = SUITES
        .iter()
        .any(|suite| is_new(suite) && chosen.contains(&suite.1));
    let is_meant = |suite: &&Suite| chosen.contains(&suite.1) || (is_new(suite) && !names_new);
    SUITES
        .iter()
        .filter(is_meant)
        .map(|suite| suite.1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(text: &str) -> Vec<&'static str> {
        let all = Ciphers::parse(text).unwrap().0;
        all.into_iter()
            .filter(|name| name.contains("_WITH_"))
            .collect()
    }

    #[test]
    fn names_and_groups_choose() {
        assert_eq!(
            old("ECDHE-RSA-AES128-GCM-SHA256"),
            ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
        );
        assert_eq!(old("ECDHE+AESGCM").len(), 4);
        assert_eq!(old("ECDHE+CHACHA20+aECDSA").len(), 1);
        assert_eq!(old("HIGH:!aNULL:!MD5:@STRENGTH").len(), 6);
        assert_eq!(old("ECDHE+AESGCM:ECDHE+CHACHA20:!ECDSA").len(), 3);
        assert_eq!(old("ALL:-AES128").len(), 4);
        assert_eq!(old("TLSv1").len(), 6);
    }

    #[test]
    fn suites_of_the_newer_version_stay_unless_they_are_chosen() {
        assert_eq!(Ciphers::parse("AESGCM").unwrap().0.len(), 7);
        let one = Ciphers::parse("TLS_AES_128_GCM_SHA256").unwrap();
        assert_eq!(one.names(), ["TLS_AES_128_GCM_SHA256"]);
    }

    #[test]
    fn what_cannot_be_offered_is_named() {
        for name in [
            "AES128-SHA",
            "DHE-RSA-AES128-GCM-SHA256",
            "RC4",
            "ECDHE+3DES",
        ] {
            let refusal = Ciphers::parse(&format!("ECDHE+AESGCM:{name}")).unwrap_err();
            assert!(refusal.contains(name), "{refusal}");
        }
        assert!(
            Ciphers::parse("ECDHE:!ALL")
                .unwrap_err()
                .contains("no cipher")
        );
        assert!(Ciphers::parse("!RC4").unwrap_err().contains("no cipher"));
    }

    #[test]
    fn no_choice_is_everything() {
        for value in [Value::None, Value::text(" ")] {
            assert_eq!(Ciphers::from_value(&value), Ok(Ciphers::default()));
        }
    }
}
