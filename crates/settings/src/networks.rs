//! Whom to trust: a list of IP addresses and networks.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A set of IP addresses: everyone, or a list of addresses and networks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks {
    everyone: bool,
    list: Vec<Network>,
}

impl Networks {
    /// No address at all.
    pub const NONE: Self = Self {
        everyone: false,
        list: Vec::new(),
    };

    /// Whether an address belongs to the set. An IPv4 address that arrives in IPv6 form
    /// (`::ffff:10.0.0.1`) counts as the IPv4 address it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.everyone
            || self
                .list
                .iter()
                .any(|network| network.contains(address.to_canonical()))
    }

    /// Whether every address belongs to the set.
    pub fn is_everyone(&self) -> bool {
        self.everyone
    }

    /// Reads `*`, addresses and networks in CIDR notation.
    ///
    /// # Errors
    /// Which item is wrong and why.
    pub fn parse<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut networks = Self::NONE;
        for item in items {
            if item == "*" {
                networks.everyone = true;
            } else {
                networks.list.push(item.parse()?);
            }
        }
        Ok(networks)
    }
}

/// An address block: all addresses that share the first `prefix` bits of `base`.
///
/// IPv4 is kept in its mapped IPv6 form, so that there is one comparison for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    base: u128,
    prefix: u32,
}

impl Network {
    /// No IPv6 network, however wide, holds an IPv4 address.
    fn contains(self, address: IpAddr) -> bool {
        let same_family = address.is_ipv6() || self.prefix >= 96;
        same_family && ((bits(address) ^ self.base) & self.mask()) == 0
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, prefix) = text
            .split_once('/')
            .map_or((text, None), |(h, p)| (h, Some(p)));
        let address: IpAddr = host.parse().map_err(|_| expected(text))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = match prefix {
            None => width,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|n| *n <= width)
                .ok_or_else(|| expected(text))?,
        };
        let network = Self {
            base: bits(address),
            prefix: 128 - width + length,
        };
        if network.base & !network.mask() != 0 {
            return Err(format!("'{text}' has bits set beyond its prefix length"));
        }
        Ok(network)
    }
}

fn bits(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.to_bits()
}

fn expected(text: &str) -> String {
    format!("'{text}' is not an IP address; expected addresses, networks such as 10.0.0.0/8, or *")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(items: &[&str], address: &str) -> bool {
        Networks::parse(items.iter().copied())
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        assert!(holds(&["10.0.0.0/8"], "10.255.0.1"));
        assert!(!holds(&["10.0.0.0/8"], "11.0.0.1"));
        assert!(holds(&["127.0.0.1", "::1"], "::1"));
        assert!(!holds(&["127.0.0.1"], "127.0.0.2"));
        assert!(holds(&["fd00::/8"], "fd12::1"));
        assert!(holds(&["*"], "203.0.113.9"));
        assert!(!holds(&[], "127.0.0.1"));
        assert!(holds(&["0.0.0.0/0"], "203.0.113.9"));
        assert!(!holds(&["0.0.0.0/0"], "2001:db8::1"));
        assert!(holds(&["::/0"], "2001:db8::1"));
        assert!(!holds(&["::/0"], "203.0.113.9"));
    }

    #[test]
    fn an_ipv4_address_in_ipv6_form_is_the_ipv4_address() {
        assert!(holds(&["10.0.0.0/8"], "::ffff:10.0.0.1"));
    }

    #[test]
    fn a_network_with_host_bits_is_refused() {
        assert!(
            Networks::parse(["192.168.1.1/24"])
                .unwrap_err()
                .contains("beyond its prefix")
        );
        for wrong in [
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/",
            "::1/129",
            "10.0.0",
            "",
        ] {
            assert!(Networks::parse([wrong]).is_err(), "{wrong}");
        }
    }
}
