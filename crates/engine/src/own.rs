//! Connections that the driver makes to its own engine: one end of a socket pair, served as if a client had connected. Not
//! for clients: those come from the listeners, or from another process. Invariant: whoever asks itself is nobody's wear, so
//! its requests are not counted for `max_requests`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use crate::capsule::Place;
use crate::clock::Now;
use crate::edge::Language;
use crate::engine::Engine;
use crate::peer::Peer;
use crate::transport::Transport;

impl Engine {
    /// Serves `socket`, a non-blocking stream, as a connection to the first listener from this machine. It is trusted as a
    /// proxy is, and is meant for one request. Refused by an engine that drains or that no descriptor can be added to.
    pub fn admit_own(&mut self, socket: OwnedFd, now: Now) -> io::Result<()> {
        if self.is_draining() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let id = self.admit(Transport::plain(socket), self.own_peer(), 0, now);
        let connection = id.and_then(|id| self.connections.get_mut(id));
        let unregistered = || io::Error::other("it could not be registered");
        let connection = connection.ok_or_else(unregistered)?;
        connection.trusted = true;
        connection.language = Language::Http;
        if self.options.max_requests > 0 {
            self.options.max_requests += 1;
        }
        Ok(())
    }

    /// As the first listener's clients are: with an address, or without one.
    fn own_peer(&self) -> Peer {
        let local: IpAddr = match self.places.first() {
            Some(Place::Ip(SocketAddr::V4(_))) => Ipv4Addr::LOCALHOST.into(),
            Some(Place::Ip(SocketAddr::V6(_))) => Ipv6Addr::LOCALHOST.into(),
            Some(Place::Unix(_)) | None => return Peer::Unix,
        };
        Peer::Ip(SocketAddr::new(local, 0))
    }
}
