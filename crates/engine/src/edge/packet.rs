//! Requests as uwsgi packets. A packet is to `reading` what a head is in HTTP: bytes that are kept until they are complete,
//! and a `Head` whose spans lie in them; the body behind it has the length that the packet says. Invariant: everything that a
//! request is goes through the same exchange, with the same limits and times, whatever it came in.

use oxicorn_edge::uwsgi;

use super::{Fault, Language, is_among};
use crate::clock::Now;
use crate::connection::Connection;
use crate::engine::Engine;
use crate::exchange::{Exchange, Scheme};
use crate::forwarded::TrustPolicy;
use crate::peer::Peer;
use crate::reading::Gathered;
use crate::refusal::Refusal;
use crate::slab::Id;

impl Engine {
    /// The bytes in the spare buffer begin a packet.
    pub(crate) fn read_packet(
        &mut self,
        id: Id,
        gathered: Gathered,
        now: Now,
    ) -> Option<Box<Exchange>> {
        let peer = self.connections.get_mut(id)?.peer;
        let speakers = self.options.edge.uwsgi.as_ref();
        // One that began here before the setting changed may go on.
        let allowed = speakers.is_none_or(|speakers| is_among(peer, speakers));
        let bytes = self.spare.bytes.get_mut(..gathered.filled);
        let parsed = match bytes {
            _ if !allowed => Err(Fault::PacketForbidden),
            Some(bytes) => uwsgi::parse(bytes, &mut self.spare.head).map_err(Fault::Packet),
            None => Ok(false),
        };
        match parsed {
            Ok(true) => self.begin(id, gathered.filled, now),
            Ok(false) => self.keep_partial(id, gathered, now),
            Err(fault) => {
                self.refuse(id, &Refusal::Edge(fault), now);
                None
            }
        }
    }
}

impl Exchange {
    /// The scheme that a packet states.
    pub(crate) fn scheme_of_packet(&self) -> Scheme {
        if uwsgi::is_https(self.packet()) {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    /// What is known of the client: from the connection, and from the packet. The fields in a packet are those of the client
    /// that it names, so it is that one who has to be trusted.
    #[inline]
    pub(crate) fn describe_client(&mut self, connection: &Connection, trust: &TrustPolicy) {
        self.peer = connection.peer;
        self.trusted = connection.trusted;
        self.origin = connection.origin.as_deref().copied();
        self.is_packet = connection.language == Language::Uwsgi;
        if !self.is_packet {
            return;
        }
        if let Some(client) = uwsgi::client(self.packet()) {
            self.peer = Peer::from(Some(client));
            self.trusted = trust.trusts(self.peer);
        }
    }
}
