//! The field `Forwarded` (RFC 7239): what each proxy on the way says of whom it got the request from.
//!
//! The values of all its lines are one list; its last element is that of the nearest proxy. What
//! breaks the grammar makes the whole list worth nothing, since nobody can tell who wrote which part
//! of it. Invariant: an element of the result is an element of the field, in its place.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use oxicorn_http1::response::is_field_name;

/// One proxy's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'b> {
    /// Whom it got the request from (`for`).
    pub client: Option<Cow<'b, [u8]>>,
    /// Where it was reached (`by`).
    pub by: Option<Cow<'b, [u8]>>,
    /// The Host field that it got (`host`).
    pub host: Option<Cow<'b, [u8]>>,
    /// The scheme that it was asked by (`proto`).
    pub proto: Option<Cow<'b, [u8]>>,
}

/// The elements of a field's lines, in their order. `None`: it is malformed.
pub fn elements<'b>(lines: impl IntoIterator<Item = &'b [u8]>) -> Option<Vec<Element<'b>>> {
    let mut elements = Vec::new();
    for line in lines {
        let mut rest = line.trim_ascii();
        while !rest.is_empty() {
            let (element, after) = element(rest)?;
            elements.extend(element);
            rest = after;
        }
    }
    Some(elements)
}

/// One element and what follows its comma. An empty one is none (RFC 9110 §5.6.1.2).
fn element(input: &[u8]) -> Option<(Option<Element<'_>>, &[u8])> {
    let mut element = Element::default();
    let mut is_empty = true;
    let mut rest = input.trim_ascii_start();
    loop {
        match rest.split_first() {
            None => return Some(((!is_empty).then_some(element), rest)),
            Some((b',', after)) => {
                return Some(((!is_empty).then_some(element), after.trim_ascii_start()));
            }
            Some((b';', after)) => rest = after.trim_ascii_start(),
            Some(_) => {
                let pair = pair(rest)?;
                element.note(pair.name, pair.value)?;
                is_empty = false;
                rest = pair.after.trim_ascii_start();
                if !matches!(rest.first(), None | Some(b';' | b',')) {
                    return None;
                }
            }
        }
    }
}

impl<'b> Element<'b> {
    /// A name comes once at the most (RFC 7239 §4); those that nobody knows are allowed.
    fn note(&mut self, name: &[u8], value: Cow<'b, [u8]>) -> Option<()> {
        let place = match name.to_ascii_lowercase().as_slice() {
            b"for" => &mut self.client,
            b"by" => &mut self.by,
            b"host" => &mut self.host,
            b"proto" => &mut self.proto,
            _ => return Some(()),
        };
        place.replace(value).is_none().then_some(())
    }
}

/// `name=value`, and what follows.
struct Pair<'b> {
    name: &'b [u8],
    value: Cow<'b, [u8]>,
    after: &'b [u8],
}

fn pair(input: &[u8]) -> Option<Pair<'_>> {
    let equals = input.iter().position(|&byte| byte == b'=')?;
    let name = input.get(..equals).filter(|name| is_field_name(name))?;
    let rest = input.get(equals + 1..)?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let (value, after) = unquoted(quoted)?;
        return Some(Pair { name, value, after });
    }
    let is_end = |byte: &u8| matches!(byte, b';' | b',' | b' ' | b'\t');
    let end = rest.iter().position(is_end).unwrap_or(rest.len());
    let (value, after) = rest.split_at_checked(end)?;
    is_value(value).then_some(Pair {
        name,
        value: Cow::Borrowed(value),
        after,
    })
}

/// A token; and, since many send it, an address with its colons and brackets (RFC 7239 §4 wants it
/// quoted).
fn is_value(value: &[u8]) -> bool {
    let fits = |&byte: &u8| matches!(byte, b':' | b'[' | b']') || is_field_name(&[byte]);
    !value.is_empty() && value.iter().all(fits)
}

/// The rest of a quoted string (RFC 9110 §5.6.4), and what follows it.
fn unquoted(input: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let end = input.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (plain, rest) = input.split_at_checked(end)?;
    if let Some(rest) = rest.strip_prefix(b"\"") {
        return Some((Cow::Borrowed(plain), rest));
    }
    let (mut value, mut rest) = (plain.to_vec(), rest);
    loop {
        match rest {
            [b'"', after @ ..] => return Some((Cow::Owned(value), after)),
            [b'\\'] | [] => return None,
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
        }
    }
}

/// Who a `for` or `by` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// An address, perhaps with a port.
    Address(IpAddr, Option<u16>),
    /// `unknown`, or a name of the proxy's own making, such as `_hidden`.
    Hidden,
}

/// Reads a node (RFC 7239 §6). `None`: it is malformed.
pub fn node(value: &[u8]) -> Option<Node> {
    let text = std::str::from_utf8(value).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = match rest {
            "" => Port::Hidden,
            _ => port(rest.strip_prefix(':')?)?,
        };
        return Some(port.of(address.into()));
    }
    if let Ok(address) = text.parse() {
        // Version 6 without brackets is not of the grammar, and can be nothing else.
        return Some(Port::Hidden.of(address));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, text)) => (name, port(text)?),
        None => (text, Port::Hidden),
    };
    if name == "unknown" || is_obfuscated(name) {
        return Some(Node::Hidden);
    }
    let address: Ipv4Addr = name.parse().ok()?;
    Some(port.of(address.into()))
}

/// A node's port.
enum Port {
    Number(u16),
    Hidden,
}

impl Port {
    fn of(self, address: IpAddr) -> Node {
        let number = match self {
            Self::Number(number) => Some(number),
            Self::Hidden => None,
        };
        Node::Address(address.to_canonical(), number)
    }
}

fn port(text: &str) -> Option<Port> {
    if is_obfuscated(text) {
        return Some(Port::Hidden);
    }
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Port::Number)
}

fn is_obfuscated(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() > 1 && text.starts_with('_') && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> Option<Vec<Element<'static>>> {
        elements(lines.iter().map(|line| line.as_bytes()))
    }

    fn client(value: &'static str) -> Element<'static> {
        Element {
            client: Some(value.as_bytes().into()),
            ..Element::default()
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        assert_eq!(
            read(&["for=\"_gazonk\""]).unwrap(),
            [client("_gazonk")],
            "RFC 7239 §4"
        );
        assert_eq!(
            read(&["For=\"[2001:db8:cafe::17]:4711\""]).unwrap(),
            [client("[2001:db8:cafe::17]:4711")]
        );
        assert_eq!(
            read(&["for=192.0.2.60;proto=http;by=203.0.113.43"]).unwrap(),
            [Element {
                proto: Some(b"http".into()),
                by: Some(b"203.0.113.43".into()),
                ..client("192.0.2.60")
            }]
        );
        assert_eq!(
            read(&["for=192.0.2.43, for=198.51.100.17"]).unwrap(),
            [client("192.0.2.43"), client("198.51.100.17")]
        );
    }

    #[test]
    fn lines_are_one_list_and_empty_elements_are_none() {
        assert_eq!(
            read(&["for=a , ,", "", ",for=b;"]).unwrap(),
            [client("a"), client("b")]
        );
    }

    #[test]
    fn quoted_strings_may_hold_what_separates() {
        let value = read(&[r#"host="a,b;c=\"d\"";for=x"#]).unwrap();
        assert_eq!(value[0].host.as_deref(), Some(&br#"a,b;c="d""#[..]));
        assert_eq!(value[0].client.as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn what_breaks_the_grammar_is_worth_nothing() {
        for wrong in [
            "for",
            "for=",
            "=a",
            "for=a b",
            "for=a;for=b",
            "for=\"a",
            "for=\"a\\",
            "for=\"a\"b",
            "fo r=a",
            "for =a",
            "for=a;proto=\"x\"y, for=b",
            "for=a=b",
        ] {
            assert_eq!(elements([wrong.as_bytes()]), None, "{wrong}");
        }
    }

    #[test]
    fn nodes_are_addresses_or_hide_one() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (text, expected) in [
            ("192.0.2.1", Some(Node::Address(ip("192.0.2.1"), None))),
            (
                "192.0.2.1:80",
                Some(Node::Address(ip("192.0.2.1"), Some(80))),
            ),
            ("192.0.2.1:_x", Some(Node::Address(ip("192.0.2.1"), None))),
            (
                "[2001:db8::1]",
                Some(Node::Address(ip("2001:db8::1"), None)),
            ),
            (
                "[2001:db8::1]:9",
                Some(Node::Address(ip("2001:db8::1"), Some(9))),
            ),
            ("2001:db8::1", Some(Node::Address(ip("2001:db8::1"), None))),
            (
                "[::ffff:192.0.2.1]",
                Some(Node::Address(ip("192.0.2.1"), None)),
            ),
            ("unknown", Some(Node::Hidden)),
            ("unknown:1", Some(Node::Hidden)),
            ("_a.b-c_", Some(Node::Hidden)),
            ("_", None),
            ("a", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]9", None),
            ("[192.0.2.1]", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:+1", None),
            ("192.0.2.1:65536", None),
            ("192.0.2.1:000080", None),
            ("", None),
        ] {
            assert_eq!(node(text.as_bytes()), expected, "{text}");
        }
    }
}
