//! The PROXY header in front of a connection's first request: taken off, and remembered for as long as the connection lives.
//! Invariant: the header is decided about once, and its bytes are never seen by the parser of requests.

use oxicorn_edge::proxy::{Found, Header, find};

use super::{Fault, Language, Origin, is_among};
use crate::clock::Now;
use crate::connection::Connection;
use crate::engine::Engine;
use crate::exchange::Exchange;
use crate::options::Options;
use crate::peer::Peer;
use crate::reading::Gathered;
use crate::refusal::Refusal;
use crate::slab::Id;

/// What the bytes so far mean.
enum Verdict {
    /// There is no header.
    None,
    Header(Header),
    /// More bytes are needed.
    Wait,
}

impl Engine {
    /// The bytes in the spare buffer are the first ones of the connection.
    pub(crate) fn read_preface(
        &mut self,
        id: Id,
        gathered: Gathered,
        now: Now,
    ) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        let bytes = self.spare.bytes.get(..gathered.filled).unwrap_or_default();
        match judge(bytes, connection.peer, &self.options) {
            Ok(Verdict::Wait) => self.keep_partial(id, gathered, now),
            Ok(Verdict::None) => {
                connection.language = Language::Http;
                let seen = 0;
                self.parse_head(id, Gathered { seen, ..gathered }, now)
            }
            Ok(Verdict::Header(header)) => {
                connection.remember(&header);
                self.spare.bytes.copy_within(header.len..gathered.filled, 0);
                let filled = gathered.filled - header.len;
                self.go_on_behind(id, filled, now)
            }
            Err(fault) => {
                self.refuse(id, &Refusal::Edge(fault), now);
                None
            }
        }
    }

    /// Goes on with the first `filled` bytes of the spare buffer, which were behind a header.
    fn go_on_behind(&mut self, id: Id, filled: usize, now: Now) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        connection.inbuf = Vec::new();
        connection.partial = false;
        if filled == 0 {
            connection.show(self.board, connection.state());
            if connection.readable {
                self.enqueue(id);
            }
            return None;
        }
        self.parse_head(id, Gathered::fresh(filled), now)
    }
}

fn judge(bytes: &[u8], peer: Peer, options: &Options) -> Result<Verdict, Fault> {
    let edge = &options.edge;
    let found = edge
        .proxy
        .map_or(Ok(Found::Nothing), |versions| find(bytes, versions));
    match found {
        Ok(Found::Undecided) => Ok(Verdict::Wait),
        Ok(Found::Nothing) if edge.proxy_required => Err(Fault::PrefaceMissing),
        Ok(Found::Nothing) => Ok(Verdict::None),
        _ if !is_among(peer, &edge.proxy_senders) => Err(Fault::PrefaceForbidden),
        Ok(Found::Begun) => Ok(Verdict::Wait),
        Ok(Found::Header(header)) => Ok(Verdict::Header(header)),
        Err(malformed) => Err(Fault::Preface(malformed)),
    }
}

impl Connection {
    /// From now on it is the client's, as the header says. Whose fields are believed stays a matter of who sends them.
    fn remember(&mut self, header: &Header) {
        self.language = Language::Http;
        self.origin = Some(Box::new(Origin {
            proxy: self.peer,
            protocol: header.protocol,
            destination: header.addresses.map(|ends| ends.destination),
        }));
        if let Some(ends) = header.addresses {
            self.peer = Peer::from(Some(ends.source));
        }
    }
}
