//! Listening sockets that a service manager keeps for us (systemd's descriptor store), so that a
//! server which is killed finds its accept queues again.
//!
//! A socket is stored under a name made of its address, and comes back among the descriptors that
//! are passed at the next start. Only TCP: the path of a Unix socket does not outlive its server.
//! Not here: the message that stores one (`notify.rs`).
//!
//! Invariant: every stored descriptor is used for one address, or given up as stale.

use std::os::fd::RawFd;

use oxicorn_settings::Address;

use super::inherited::ListenFds;
use crate::sys::descriptors::adopt;

/// What the name of every socket of ours begins with.
const PREFIX: &str = "oxicorn-";

/// Which listeners to make of what, and what is left over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Allotment {
    /// What to listen on: addresses, or descriptors that listen already.
    pub(crate) addresses: Vec<Address>,
    /// For each of them the name under which to store it, if it is ours to store.
    pub(crate) names: Vec<Option<String>>,
    /// Stored for an address that is not listened on any more.
    stale: Vec<(RawFd, String)>,
}

impl Allotment {
    /// If any descriptor is given, by the operator or by a socket unit, only descriptors are used.
    pub(crate) fn of(binds: &[Address], passed: &ListenFds) -> Self {
        let (mut stored, given): (Vec<_>, Vec<_>) = passed
            .entries()
            .partition(|(_, name)| name.starts_with(PREFIX));
        let named = binds.iter().filter(|bind| matches!(bind, Address::Fd(_)));
        let given = given.into_iter().map(|(number, _)| Address::Fd(number));
        let inherited: Vec<Address> = named.cloned().chain(given).collect();
        if !inherited.is_empty() {
            return Self {
                names: vec![None; inherited.len()],
                addresses: inherited,
                stale: stored,
            };
        }
        let addresses = binds.iter().map(|bind| taken_back(bind, &mut stored));
        Self {
            addresses: addresses.collect(),
            names: binds.iter().map(name_of).collect(),
            stale: stored,
        }
    }

    /// What another arbiter left replaces everything; it is stored already, if it can be.
    pub(crate) fn inherited(numbers: &[RawFd]) -> Self {
        Self {
            addresses: numbers.iter().copied().map(Address::Fd).collect(),
            names: vec![None; numbers.len()],
            stale: Vec::new(),
        }
    }

    /// Closes what is left over; the names under which it is stored.
    pub(crate) fn give_up_stale(&mut self) -> Vec<String> {
        let names = self.stale.drain(..).map(|(number, name)| {
            // A number that cannot be adopted is none of ours to close.
            drop(adopt(number));
            name
        });
        names.collect()
    }
}

fn taken_back(bind: &Address, stored: &mut Vec<(RawFd, String)>) -> Address {
    let name = name_of(bind);
    let found = stored
        .iter()
        .position(|(_, known)| Some(known) == name.as_ref());
    match found {
        Some(at) => Address::Fd(stored.remove(at).0),
        None => bind.clone(),
    }
}

/// Names are printable ASCII without colons, of 255 characters at most (`sd_notify(3)`).
fn name_of(bind: &Address) -> Option<String> {
    let Address::Tcp { host, port } = bind else {
        return None;
    };
    let name = format!("{PREFIX}{}-{port}", host.replace(':', "_"));
    let valid = name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic());
    valid.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        let host = host.to_owned();
        Address::Tcp { host, port }
    }

    fn passed(names: &str) -> ListenFds {
        let count = names.split(':').count().to_string();
        ListenFds::from_environment(Some("7"), Some(&count), 7).named(Some(names))
    }

    #[test]
    fn inherited_descriptors_replace_the_addresses() {
        let binds = [tcp("", 8000), Address::Fd(9)];
        let passed = ListenFds::from_environment(Some("7"), Some("1"), 7);
        assert_eq!(
            Allotment::of(&binds, &passed).addresses,
            [Address::Fd(9), Address::Fd(3)]
        );
        let alone = Allotment::of(&binds[..1], &ListenFds::default());
        assert_eq!(alone.addresses, binds[..1]);
    }

    #[test]
    fn a_stored_socket_takes_the_place_of_its_address() {
        let binds = [tcp("127.0.0.1", 80), tcp("::1", 80)];
        let allotment = Allotment::of(&binds, &passed("oxicorn-__1-80"));
        assert_eq!(allotment.addresses, [binds[0].clone(), Address::Fd(3)]);
        let names = ["oxicorn-127.0.0.1-80", "oxicorn-__1-80"];
        assert_eq!(allotment.names, names.map(|name| Some(name.to_owned())));
        assert_eq!(allotment.stale, []);
    }

    #[test]
    fn each_stored_socket_is_used_once() {
        let binds = [
            tcp("127.0.0.1", 0),
            tcp("127.0.0.1", 0),
            tcp("127.0.0.1", 0),
        ];
        let two = passed("oxicorn-127.0.0.1-0:oxicorn-127.0.0.1-0");
        let addresses = Allotment::of(&binds, &two).addresses;
        assert_eq!(
            addresses,
            [Address::Fd(3), Address::Fd(4), binds[2].clone()]
        );
    }

    #[test]
    fn an_address_that_is_gone_leaves_a_stale_socket() {
        let allotment = Allotment::of(&[tcp("127.0.0.1", 81)], &passed("oxicorn-127.0.0.1-80"));
        assert_eq!(allotment.addresses, [tcp("127.0.0.1", 81)]);
        assert_eq!(allotment.stale, [(3, "oxicorn-127.0.0.1-80".to_owned())]);
    }

    #[test]
    fn sockets_of_a_socket_unit_come_before_everything_and_are_not_stored() {
        let both = passed("oxicorn-127.0.0.1-80:shop.socket");
        let allotment = Allotment::of(&[tcp("127.0.0.1", 80)], &both);
        assert_eq!(allotment.addresses, [Address::Fd(4)]);
        assert_eq!(allotment.names, [None]);
        assert_eq!(allotment.stale.len(), 1);
    }

    #[test]
    fn only_tcp_addresses_are_stored_and_only_under_valid_names() {
        let path = "/run/web.sock".to_owned();
        assert_eq!(name_of(&Address::Unix { path }), None);
        assert_eq!(name_of(&tcp("a b", 80)), None);
        assert_eq!(name_of(&tcp(&"a".repeat(256), 80)), None);
        assert_eq!(name_of(&tcp("", 80)).as_deref(), Some("oxicorn--80"));
    }
}
