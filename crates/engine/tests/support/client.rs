//! A client: a non-blocking socket and what came out of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How a connection ended, seen by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The end of the stream, after all bytes.
    Closed,
    /// A reset: bytes may have been lost.
    Reset,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    socket: TcpStream,
    /// All that was read.
    pub(crate) got: Vec<u8>,
    /// How the connection ended, if it has.
    pub(crate) end: Option<End>,
    refused: bool,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            got: Vec::new(),
            end: None,
            refused: false,
        }
    }

    /// Sends what the socket takes now; how much.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        match self.socket.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.refused = true;
                0
            }
        }
    }

    /// The server takes no more bytes.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Reads what is there now.
    pub(crate) fn pull(&mut self) -> Option<End> {
        while self.end.is_none() && self.pull_once(64 << 10) > 0 {}
        self.end
    }

    /// Reads at most `most` bytes; how many there were.
    pub(crate) fn pull_once(&mut self, most: usize) -> usize {
        let mut buffer = vec![0; most];
        match self.socket.read(&mut buffer) {
            Ok(0) => self.end = Some(End::Closed),
            Ok(count) => {
                self.got.extend_from_slice(&buffer[..count]);
                return count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.end = Some(End::Reset),
        }
        0
    }

    /// Whether nothing came and nothing ended.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.pull().is_none() && self.got.is_empty()
    }

    /// Ends the client's side; it still reads.
    pub(crate) fn shut(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Leaves with a reset.
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).unwrap();
    }

    /// Its own address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// What was read, for messages and simple comparisons.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.got).into_owned()
    }
}
