//! Accepting connections, and what to do when there are too many. Invariant: a listener's readiness is remembered until
//! `accept` has said that its queue is empty.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::Interest;
use mio::unix::SourceFd;
use oxicorn_board::Count;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags, acceptfrom_with};

use crate::capsule::Place;
use crate::clock::Now;
use crate::connection::{Connection, Phase};
use crate::engine::{Engine, LISTENERS, token};
use crate::peer::Peer;
use crate::slab::Id;
use crate::transport::Transport;

/// The most idle connections closed at once to make room, so that the search for them pays.
const EVICTION: usize = 16;

/// Milliseconds to leave the accept queue alone after an error that cannot be mended here.
const PAUSE: u64 = 200;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) socket: OwnedFd,
    /// Its queue may hold connections.
    ready: bool,
    /// Monotonic milliseconds before which it is left alone.
    paused_until: u64,
}

impl Listening {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            ready: true,
            paused_until: 0,
        }
    }
}

/// Milliseconds between two complaints.
const SILENCE: u64 = 10_000;

/// How one `accept` ended.
enum Accepted {
    One,
    Empty,
    Failed,
}

/// The address that `socket` is bound to; an unnamed Unix socket when it has none that is known here.
pub(crate) fn place_of(socket: &OwnedFd) -> Place {
    let address = rustix::net::getsockname(socket).ok();
    let ip = address
        .as_ref()
        .and_then(|any| SocketAddr::try_from(any.clone()).ok());
    if let Some(ip) = ip {
        return Place::Ip(ip);
    }
    let unix = address.and_then(|any| SocketAddrUnix::try_from(any).ok());
    let name = unix.as_ref().and_then(|unix| {
        let hidden = unix.abstract_name().map(|name| [b"\0", name].concat());
        hidden.or_else(|| unix.path_bytes().map(<[u8]>::to_vec))
    });
    Place::Unix(name.unwrap_or_default())
}

impl Engine {
    pub(crate) fn listener_ready(&mut self, index: usize, now: Now) {
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.ready = true;
            self.accept_from(index, now);
        }
    }

    /// Goes on accepting where it was left. Whether there is more to do at once.
    pub(crate) fn accept_pending(&mut self, now: Now) -> bool {
        let mut again = false;
        for index in 0..self.listeners.len() {
            again |= self.accept_from(index, now);
        }
        again
    }

    /// Before the listeners go: nobody who is in the queue shall be turned away.
    pub(crate) fn empty_accept_queues(&mut self, now: Now) {
        for listener in &mut self.listeners {
            listener.ready = true;
        }
        self.accept_budget = usize::MAX;
        self.accept_pending(now);
    }

    fn accept_from(&mut self, index: usize, now: Now) -> bool {
        loop {
            let open = self.listeners.get(index).is_some_and(|listener| {
                self.accepting
                    && !self.disarmed
                    && listener.ready
                    && listener.paused_until <= now.mono
            });
            if !open || self.accept_budget == 0 {
                return open;
            }
            match self.accept_one(index, now) {
                Accepted::One => {
                    self.accept_budget -= 1;
                    self.close_gate(index, 0, true);
                }
                Accepted::Empty => self.close_gate(index, 0, false),
                Accepted::Failed => self.close_gate(index, now.mono + PAUSE, true),
            }
        }
    }

    /// When the next listener that was left alone may be tried again.
    pub(crate) fn accept_pause(&self) -> Option<u64> {
        let paused = self
            .listeners
            .iter()
            .filter(|listener| listener.ready && listener.paused_until > 0);
        paused
            .map(|listener| listener.paused_until)
            .min()
            .filter(|_| self.accepting && !self.disarmed)
    }

    /// Takes the listeners out of the poller: an event for each connection that others accept would be a wake-up for
    /// nothing.
    pub(crate) fn disarm_listeners(&mut self) {
        self.disarmed = true;
        for listener in &self.listeners {
            let fd = listener.socket.as_raw_fd();
            // An error only means that it was not registered.
            let _ = self.registry.deregister(&mut SourceFd(&fd));
        }
    }

    /// Puts them back. What waits in their queues is announced by that.
    pub(crate) fn arm_listeners(&mut self) {
        self.disarmed = false;
        for (index, listener) in self.listeners.iter().enumerate() {
            let fd = listener.socket.as_raw_fd();
            let at = token(LISTENERS + index as u64);
            if let Err(error) = self
                .registry
                .register(&mut SourceFd(&fd), at, Interest::READABLE)
            {
                log::error!(target: "oxicorn", "A listener cannot be watched any more: {error}");
            }
        }
    }

    fn close_gate(&mut self, index: usize, paused_until: u64, ready: bool) {
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.ready = ready;
            listener.paused_until = paused_until;
        }
    }

    fn accept_one(&mut self, index: usize, now: Now) -> Accepted {
        // One more than the limit may be here: whether somebody is waiting is known only by accepting.
        if self.connections.len() > self.options.connections && !self.make_room(None) {
            let limit = self.options.connections;
            self.complain(now, format_args!(
                "All {limit} connections are busy, new ones wait: raise worker_connections or workers"
            ));
            return Accepted::Failed;
        }
        let Some(listener) = self.listeners.get(index) else {
            return Accepted::Empty;
        };
        match acceptfrom_with(
            &listener.socket,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        ) {
            Ok((socket, address)) => {
                let ip = address.and_then(|any| SocketAddr::try_from(any).ok());
                let peer = Peer::from(ip);
                let transport = self.transport_for(socket, peer);
                let newcomer =
                    transport.and_then(|transport| self.admit(transport, peer, index, now));
                if self.connections.len() > self.options.connections {
                    self.make_room(newcomer);
                }
                Accepted::One
            }
            Err(Errno::AGAIN) => Accepted::Empty,
            // The client left before it was accepted, or a signal came: the next one, please.
            Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO | Errno::PERM) => Accepted::One,
            // The kernel looks for a descriptor before it looks whether anybody waits.
            Err(Errno::MFILE | Errno::NFILE) if !somebody_waits(&listener.socket) => {
                Accepted::Empty
            }
            Err(Errno::MFILE | Errno::NFILE) if self.make_room(None) => Accepted::One,
            Err(error) => {
                let advice = if error == Errno::MFILE {
                    " (raise the limit of open files, ulimit -n)"
                } else {
                    ""
                };
                self.complain(
                    now,
                    format_args!(
                        "Cannot accept connections: {error}; trying again every {PAUSE} ms{advice}"
                    ),
                );
                Accepted::Failed
            }
        }
    }

    /// Says why new connections wait; again only when that has lasted for a while.
    fn complain(&mut self, now: Now, reason: std::fmt::Arguments<'_>) {
        if now.mono >= self.complain_after {
            self.complain_after = now.mono + SILENCE;
            log::error!(target: "oxicorn", "{reason}");
        }
    }

    pub(crate) fn admit(
        &mut self,
        transport: Transport,
        peer: Peer,
        listener: usize,
        now: Now,
    ) -> Option<Id> {
        if peer.ip().is_some() {
            // Responses leave in whole blocks; waiting for more only delays the last one. A failure costs speed only.
            let _ = rustix::net::sockopt::set_tcp_nodelay(&transport, true);
        }
        let registry = &self.registry;
        let trusted = self.options.trust.trusts(peer);
        let language = self.options.edge.language();
        let inserted = self.connections.insert_with(|id| {
            let fd = transport.as_fd().as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry
                .register(&mut SourceFd(&fd), token(id.token()), interest)
                .ok()?;
            let mut connection = Connection::new(transport, peer, listener, trusted, now);
            connection.language = language;
            Some(connection)
        });
        if let Some(id) = inserted {
            self.board.add(Count::Accepted, 1);
            self.board.add(Count::Open, 1);
            self.begin_waiting(id, now);
        } else {
            log::error!(target: "oxicorn", "A connection from {peer} could not be registered and was closed");
        }
        inserted
    }

    /// Whether for a handshake or for a request: nobody is waited for without end.
    fn begin_waiting(&mut self, id: Id, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.show(self.board, connection.state());
        let deadline = match connection.phase {
            Phase::Handshake => self.handshake_deadline(now),
            _ => self.head_deadline(now),
        };
        self.set_deadline(id, deadline);
    }

    /// Closes the connections that have been idle for longest; if there are none, those that have been longest in sending
    /// their request; never the newcomer. Whether any was closed.
    fn make_room(&mut self, newcomer: Option<Id>) -> bool {
        let idle = self.candidates(newcomer, Connection::is_idle);
        let mut closed = self.evict_oldest(idle);
        if closed == 0 {
            let slow = self.candidates(newcomer, |connection| {
                !connection.is_idle()
                    && matches!(
                        connection.phase,
                        Phase::Handshake | Phase::Head | Phase::Linger { .. }
                    )
            });
            closed = self.evict_oldest(slow);
        }
        if closed > 0 {
            self.board.add(Count::Evicted, closed as u64);
            log::debug!(target: "oxicorn", "Closed {closed} connections to make room for new ones");
        }
        closed > 0
    }

    fn evict_oldest(&mut self, mut victims: Vec<(u64, Id)>) -> usize {
        // More than are closed: some may have asked meanwhile.
        let looked_at = victims.len().min(4 * EVICTION);
        if looked_at == 0 {
            return 0;
        }
        victims.select_nth_unstable(looked_at - 1);
        victims.truncate(looked_at);
        victims.sort_unstable();
        let most = (self.options.connections / EVICTION).clamp(1, EVICTION);
        victims
            .iter()
            .filter(|&&(_, id)| self.evict(id))
            .take(most)
            .count()
    }

    /// Closes a connection, unless its next request is already there.
    fn evict(&mut self, id: Id) -> bool {
        let Some(connection) = self.connections.get_mut(id) else {
            return false;
        };
        if connection.is_idle() && connection.has_input() {
            return false;
        }
        self.drop_connection(id);
        true
    }

    fn candidates(
        &mut self,
        newcomer: Option<Id>,
        fits: impl Fn(&Connection) -> bool,
    ) -> Vec<(u64, Id)> {
        self.connections
            .iter_mut()
            .filter(|(id, connection)| Some(*id) != newcomer && fits(connection))
            .map(|(id, connection)| (connection.active, id))
            .collect()
    }
}

/// Whether there is somebody in the accept queue.
fn somebody_waits(listener: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    let now = Timespec::default();
    // If that cannot be told, accepting is the only way to find out.
    poll(&mut fds, Some(&now)).map_or(true, |ready| ready > 0)
}
