//! Negotiating permessage-deflate (RFC 7692 §5, §7.1): the first offer that can be kept is accepted.
//!
//! A server may ask for less than it was offered, and need not use all that it was granted. An offer
//! with an unknown, repeated or invalid parameter is declined, and the next one is looked at.

use std::fmt::Write;

use crate::list::{Extension, Parameter};

/// The name of the extension (RFC 7692 §7).
const NAME: &str = "permessage-deflate";
/// The window of a client that does not say otherwise, and the largest (RFC 7692 §7.1.2).
const BITS_MAX: u8 = 15;
/// The smallest window that can be asked for (RFC 7692 §7.1.2).
const BITS_MIN: u8 = 8;
/// The smallest window of our compressor: zlib's cannot write a raw stream with a smaller one.
const OUR_BITS_MIN: u8 = 9;

/// What the operator wants. The default holds no memory for idle connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Whether our compressor refers to earlier messages: smaller messages, for 260 to 370 KiB of
    /// each connection.
    pub server_takeover: bool,
    /// Whether the client's compressor may: smaller messages, for 47 KiB of each connection.
    pub client_takeover: bool,
    /// Our window is at most 2 to this power of bytes; 9 to 15.
    pub server_window_bits: u8,
    /// The client's window, if it can choose; 9 to 15.
    pub client_window_bits: u8,
    /// Messages with fewer bytes are sent as they are.
    pub threshold: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            server_takeover: false,
            client_takeover: false,
            server_window_bits: BITS_MAX,
            client_window_bits: BITS_MAX,
            threshold: 1024,
        }
    }
}

/// What a client offers, with values that the RFC allows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// The client can choose its window, and this is the largest that it would.
    client_max_window_bits: Option<u8>,
}

impl Offer {
    /// The offer in an extension; `None` if it is another extension, or not valid.
    pub(crate) fn read(extension: &Extension<'_>) -> Option<Self> {
        let mut offer = Self::default();
        let ours = extension.name.eq_ignore_ascii_case(NAME);
        let valid = ours && extension.parameters.iter().all(|one| offer.take(one));
        valid.then_some(offer)
    }

    /// Notes a parameter; whether it is one, valid, and new.
    fn take(&mut self, parameter: &Parameter<'_>) -> bool {
        let value = parameter.value.as_deref();
        match parameter.name {
            "server_no_context_takeover" => set(&mut self.server_no_context_takeover, value),
            "client_no_context_takeover" => set(&mut self.client_no_context_takeover, value),
            "server_max_window_bits" => {
                let bits = value.and_then(window_bits);
                bits.is_some_and(|bits| self.server_max_window_bits.replace(bits).is_none())
            }
            "client_max_window_bits" => {
                let bits = value.map_or(Some(BITS_MAX), window_bits);
                bits.is_some_and(|bits| self.client_max_window_bits.replace(bits).is_none())
            }
            _ => false,
        }
    }
}

fn set(flag: &mut bool, value: Option<&str>) -> bool {
    let new = !*flag;
    *flag = true;
    new && value.is_none()
}

/// A number from 8 to 15, without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    let number = value.parse().ok()?;
    let digits = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    (digits && (BITS_MIN..=BITS_MAX).contains(&number)).then_some(number)
}

/// What was agreed on with one client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreement {
    pub(super) server_takeover: bool,
    pub(super) client_takeover: bool,
    pub(super) server_window_bits: u8,
    /// As agreed; `None` if the client cannot choose, and so uses the largest.
    client_window_bits: Option<u8>,
    pub(super) threshold: usize,
}

impl Agreement {
    /// The first of the offers that can be kept, under `policy`.
    pub(crate) fn find(offers: &[Offer], policy: &Policy) -> Option<Self> {
        offers.iter().find_map(|offer| Self::of(*offer, policy))
    }

    fn of(offer: Offer, policy: &Policy) -> Option<Self> {
        let server_most = offer.server_max_window_bits.unwrap_or(BITS_MAX);
        if server_most < OUR_BITS_MIN {
            return None;
        }
        let ours = |bits: u8| bits.clamp(OUR_BITS_MIN, BITS_MAX);
        Some(Self {
            server_takeover: policy.server_takeover && !offer.server_no_context_takeover,
            client_takeover: policy.client_takeover && !offer.client_no_context_takeover,
            server_window_bits: ours(policy.server_window_bits).min(server_most),
            client_window_bits: offer
                .client_max_window_bits
                .map(|most| ours(policy.client_window_bits).min(most)),
            threshold: policy.threshold,
        })
    }

    /// The window of our decompressor, which may be larger than the client's, never smaller.
    pub(super) fn inflater_bits(&self) -> u8 {
        self.client_window_bits
            .unwrap_or(BITS_MAX)
            .max(OUR_BITS_MIN)
    }

    /// The value of our Sec-WebSocket-Extensions field (RFC 7692 §7.1).
    pub fn answer(&self) -> String {
        let mut answer = NAME.to_owned();
        if !self.server_takeover {
            answer.push_str("; server_no_context_takeover");
        }
        if !self.client_takeover {
            answer.push_str("; client_no_context_takeover");
        }
        let windows = [
            ("server", Some(self.server_window_bits)),
            ("client", self.client_window_bits),
        ];
        for (side, bits) in windows {
            if let Some(bits @ ..BITS_MAX) = bits {
                // Writing to a string cannot fail.
                let _ = write!(answer, "; {side}_max_window_bits={bits}");
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list;

    fn answer(field: &str, policy: &Policy) -> Option<String> {
        let mut extensions = Vec::new();
        list::extensions(field.as_bytes(), &mut extensions).unwrap();
        let offers: Vec<_> = extensions.iter().filter_map(Offer::read).collect();
        Agreement::find(&offers, policy).map(|agreement| agreement.answer())
    }

    fn generous() -> Policy {
        Policy {
            server_takeover: true,
            client_takeover: true,
            ..Policy::default()
        }
    }

    #[test]
    fn by_default_no_context_outlives_a_message() {
        let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(
            answer("permessage-deflate", &Policy::default()).as_deref(),
            Some(both)
        );
    }

    /// RFC 7692 §7.1.1 and §7.1.2.
    #[test]
    fn what_a_client_offers_is_agreed_on_within_the_policy() {
        let narrow = Policy {
            server_window_bits: 12,
            client_window_bits: 10,
            ..generous()
        };
        let cases = [
            ("", "", "; server_max_window_bits=12"),
            (
                "; server_max_window_bits=10",
                "; server_max_window_bits=10",
                "; server_max_window_bits=10",
            ),
            (
                "; server_max_window_bits=15",
                "",
                "; server_max_window_bits=12",
            ),
            (
                "; client_max_window_bits",
                "",
                "; server_max_window_bits=12; client_max_window_bits=10",
            ),
            (
                "; client_max_window_bits=9",
                "; client_max_window_bits=9",
                "; server_max_window_bits=12; client_max_window_bits=9",
            ),
            (
                "; client_max_window_bits=\"8\"",
                "; client_max_window_bits=8",
                "; server_max_window_bits=12; client_max_window_bits=8",
            ),
            (
                "; server_no_context_takeover",
                "; server_no_context_takeover",
                "; server_no_context_takeover; server_max_window_bits=12",
            ),
            (
                "; client_no_context_takeover",
                "; client_no_context_takeover",
                "; client_no_context_takeover; server_max_window_bits=12",
            ),
        ];
        for (offer, wide_answer, narrow_answer) in cases {
            let field = format!("{NAME}{offer}");
            let expected = |answer| Some(format!("{NAME}{answer}"));
            assert_eq!(
                answer(&field, &generous()),
                expected(wide_answer),
                "{offer}"
            );
            assert_eq!(answer(&field, &narrow), expected(narrow_answer), "{offer}");
        }
    }

    /// RFC 7692 §7.1: unknown, repeated and invalid parameters; and a window that we cannot have.
    #[test]
    fn an_offer_that_cannot_be_kept_is_declined() {
        for parameters in [
            "server_max_window_bits=8",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=+10",
            "client_max_window_bits=x",
            "client_max_window_bits=16",
            "server_no_context_takeover=1",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits; client_max_window_bits",
            "unknown",
        ] {
            assert_eq!(
                answer(&format!("{NAME}; {parameters}"), &generous()),
                None,
                "{parameters}"
            );
        }
        assert_eq!(answer("x-webkit-deflate-frame", &generous()), None);
    }

    #[test]
    fn the_first_offer_that_can_be_kept_is_accepted() {
        let field = "permessage-deflate; server_max_window_bits=8, foo, \
            permessage-deflate; server_max_window_bits=9, permessage-deflate";
        let expected = "permessage-deflate; server_max_window_bits=9";
        assert_eq!(answer(field, &generous()).as_deref(), Some(expected));
    }
}
