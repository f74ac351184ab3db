//! From an accepted socket to the first request. A handshake is a phase of its connection as any other: it has a deadline, and
//! goes on when its socket has something to read or room to write. Invariant: no bytes of a client are taken for a request
//! before its handshake is done.

use std::os::fd::OwnedFd;

use oxicorn_board::Count;

use super::session::{Session, Shaken};
use crate::clock::Now;
use crate::connection::Phase;
use crate::deadlines::after;
use crate::engine::Engine;
use crate::exchange::Exchange;
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::slab::Id;
use crate::transport::Transport;

impl Engine {
    /// What a connection that was accepted speaks.
    pub(crate) fn transport_for(&self, socket: OwnedFd, peer: Peer) -> Option<Transport> {
        let Some(acceptor) = &self.options.tls else {
            return Some(Transport::plain(socket));
        };
        match Session::new(socket, acceptor.terms()) {
            Ok(session) => Some(Transport::Tls(Box::new(session))),
            Err(error) => {
                log::error!(target: "oxicorn", "A connection from {peer} was closed: TLS cannot begin: {error}");
                None
            }
        }
    }

    pub(crate) fn handshake_deadline(&self, now: Now) -> u64 {
        after(now, self.options.handshake_timeout)
    }

    /// Goes on with a handshake; behind it may be a request.
    pub(crate) fn shake(&mut self, id: Id, now: Now) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(id)?;
        let Transport::Tls(session) = &mut connection.transport else {
            return None;
        };
        if !connection.readable {
            return None;
        }
        match session.shake(connection.ended) {
            Ok(Shaken::Waits) => {
                connection.readable = false;
                connection.keep_sending();
                None
            }
            Ok(Shaken::Done) => {
                connection.keep_sending();
                connection.phase = Phase::Head;
                connection.show(self.board, connection.state());
                self.set_deadline(id, self.first_deadline(now));
                self.read(id, now)
            }
            Ok(Shaken::Plain) => {
                connection.transport = Transport::Plain(session.socket().clone());
                self.refuse(id, &Refusal::PlainHttp, now);
                None
            }
            Ok(Shaken::Gone) => {
                log::debug!(target: "oxicorn", "{} left inside the TLS handshake", connection.peer);
                self.drop_connection(id);
                None
            }
            Err(error) => {
                log::info!(target: "oxicorn", "The TLS handshake with {} failed: {error}", connection.peer);
                self.part_from(id, now);
                None
            }
        }
    }

    /// The first request is waited for as for any; but not for long when the worker is about to leave.
    fn first_deadline(&self, now: Now) -> u64 {
        let usual = self.head_deadline(now);
        if self.draining {
            usual.min(self.idle_deadline(now))
        } else {
            usual
        }
    }

    /// The handshake has failed. The alert that says why must not be overtaken by a reset.
    fn part_from(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.outbox = None;
        connection.phase = Phase::Flush { close: true };
        connection.show(self.board, Some(Count::Sending));
        self.set_deadline(id, self.write_deadline(now));
        self.after_response(id, now);
    }

    /// The time is over; or, if the worker is about to leave, that of a client who has not even begun.
    pub(crate) fn stop_shaking(&mut self, id: Id, now: Now) {
        let timeout = self.options.handshake_timeout;
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let limit = match timeout {
            0 => u64::MAX,
            timeout => connection.active.saturating_add(timeout),
        };
        let begun = matches!(&connection.transport, Transport::Tls(session) if session.has_begun());
        if limit > now.mono && (begun || connection.has_input()) {
            return self.set_deadline(id, limit);
        }
        if limit <= now.mono {
            log::info!(target: "oxicorn", "Closed: {} did not finish the TLS handshake within tls_handshake_timeout", connection.peer);
            self.board.add(Count::TimedOut, 1);
        }
        self.drop_connection(id);
    }
}
