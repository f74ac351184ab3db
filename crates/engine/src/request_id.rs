//! An id for each request, in a field of it. What a trusted peer sends as one is kept, if it can stand in logs, fields and
//! queries as it is; else a new one takes its place. Not for: telling the client or the log, which find it among the
//! request's fields. Invariant: with a name, a request that leaves the engine has exactly one such field, and its value is an
//! id.

use std::fmt::Write as _;
use std::io;

use oxicorn_http1::Field;

use crate::exchange::{Exchange, append};

/// The longest id of another's that is kept.
const LONGEST: usize = 128;

/// Digits of an id of ours, as nginx's `$request_id` has.
const DIGITS: usize = 32;

/// The odd number that splitmix64 counts by.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Gives requests their ids. Made after the fork: two workers with the same seed would give the same ones.
#[derive(Debug)]
pub(crate) struct RequestIds {
    name: String,
    seed: [u64; 2],
}

impl RequestIds {
    /// Ids in the field `name`.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let name = name.to_owned();
        let seed = [random()?, random()?];
        Ok(Self { name, seed })
    }

    /// Sees to it that `exchange`, of which it is known whether its peer is trusted, has one.
    pub(crate) fn mark(&mut self, exchange: &mut Exchange) {
        let Exchange {
            head,
            bytes,
            trusted,
            ..
        } = exchange;
        let is_ours = |field: &Field| {
            field
                .name
                .of(bytes)
                .eq_ignore_ascii_case(self.name.as_bytes())
        };
        let first = head.fields.iter().position(is_ours);
        let Some(first) = first else {
            let name = append(bytes, self.name.as_bytes());
            let value = append(bytes, &self.make());
            head.fields.push(Field { name, value });
            return;
        };
        let mut index = 0;
        head.fields.retain(|field| {
            index += 1;
            index <= first + 1 || !is_ours(field)
        });
        let Some(field) = head.fields.get_mut(first) else {
            return;
        };
        if !*trusted || !is_id(field.value.of(bytes)) {
            field.value = append(bytes, &self.make());
        }
    }

    fn make(&mut self) -> [u8; DIGITS] {
        let mut text = String::with_capacity(DIGITS);
        for half in &mut self.seed {
            *half = half.wrapping_add(STEP);
            // A String takes everything.
            let _ = write!(text, "{:016x}", mixed(*half));
        }
        let mut digits = [b'0'; DIGITS];
        for (to, from) in digits.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        digits
    }
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let given = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if given < bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(u64::from_ne_bytes(bytes))
}

/// splitmix64's last step: different numbers give different ones, without a pattern.
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Whether it can stand anywhere as it is.
fn is_id(value: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=LONGEST).contains(&value.len()) && value.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use oxicorn_http1::{Policy, Span};

    use super::*;

    /// The fields of a request with `fields`, once it was marked.
    fn marked(ids: &mut RequestIds, fields: &str, trusted: bool) -> Vec<(String, String)> {
        let mut exchange = Exchange::new();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        exchange.bytes[..request.len()].copy_from_slice(request.as_bytes());
        let policy = Policy::default();
        assert!(
            exchange
                .head
                .parse(&exchange.bytes, &policy, trusted)
                .unwrap()
        );
        exchange.trusted = trusted;
        ids.mark(&mut exchange);
        let text = |span: Span| String::from_utf8_lossy(span.of(&exchange.bytes)).into_owned();
        let fields = exchange.head.fields.iter();
        fields
            .map(|field| (text(field.name), text(field.value)))
            .filter(|(name, _)| name != "Host")
            .collect()
    }

    fn ids() -> RequestIds {
        RequestIds::new("X-Request-ID").unwrap()
    }

    fn is_ours(id: &str) -> bool {
        id.len() == DIGITS && id.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
    }

    #[test]
    fn a_request_without_an_id_gets_one_of_its_own() {
        let mut ids = ids();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let fields = marked(&mut ids, "Accept: x\r\n", true);
            assert_eq!(fields[0], ("Accept".to_owned(), "x".to_owned()));
            let [_, (name, id)] = &fields[..] else {
                panic!("{fields:?}")
            };
            assert!(name == "X-Request-ID" && is_ours(id), "{fields:?}");
            assert!(seen.insert(id.clone()));
        }
    }

    #[test]
    fn workers_do_not_give_the_same_ids() {
        assert_ne!(ids().make(), ids().make());
    }

    #[test]
    fn the_id_of_a_trusted_peer_is_kept() {
        for id in [
            "1",
            "b7ad6b7169203331",
            "Root=1-67891233-abcdef012345678912345678",
            "a/b+c=.:_@-",
        ] {
            let fields = marked(&mut ids(), &format!("x-request-id: {id}\r\n"), true);
            assert_eq!(fields, [("x-request-id".to_owned(), id.to_owned())]);
        }
    }

    #[test]
    fn an_id_of_anybody_else_or_one_that_is_none_is_replaced() {
        let long = "a".repeat(LONGEST + 1);
        for (id, trusted) in [
            ("mine", false),
            ("", true),
            ("a b", true),
            ("a\"b", true),
            ("a,b", true),
            ("\u{e9}", true),
            (&long, true),
        ] {
            let fields = marked(&mut ids(), &format!("X-Request-Id: {id}\r\n"), trusted);
            let [(name, found)] = &fields[..] else {
                panic!("{fields:?}")
            };
            assert!(name == "X-Request-Id" && is_ours(found), "{id}: {fields:?}");
        }
    }

    #[test]
    fn of_several_ids_the_first_is_kept() {
        let sent = "X-Request-ID: first\r\nB: b\r\nX-Request-ID: second\r\nx-request-id: third\r\n";
        let fields = marked(&mut ids(), sent, true);
        let expected = [("X-Request-ID", "first"), ("B", "b")];
        assert_eq!(
            fields,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
