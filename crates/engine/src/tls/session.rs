//! One TLS connection: rustls, and the socket that it reads and writes. Bytes that rustls has encrypted and the socket has not
//! taken are bounded by one block: nothing more is encrypted before they have left.
//! Invariant: `unread` is what rustls holds decrypted, so that nobody waits for an event that has been.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use rustls::ServerConnection;

use super::{Facts, Terms};
use crate::outbox::retry;
use crate::transport::Received;

/// Bytes that are encrypted before the socket is asked whether it takes them. rustls holds no more either.
const BLOCK: usize = 64 * 1024;

/// Reads of full buffers that may pass without a byte for us; each is 4 KiB at least, and a record has 16 KiB at the most.
/// Whoever sends more than that of nothing keeps us busy on purpose.
const IDLE_READS: usize = 64;

/// How far the handshake has come.
pub(super) enum Shaken {
    /// Something of the client is missing.
    Waits,
    /// Done.
    Done,
    /// The client does not speak TLS: it has sent a letter.
    Plain,
    /// The client left.
    Gone,
}

/// How a client begins.
enum Opening {
    /// Not yet.
    Silence,
    /// Not at all.
    End,
    /// With a letter, as requests do and records of TLS do not.
    Letter,
    /// With something else.
    Record,
}

/// What rustls got of the socket.
enum Taken {
    /// As much as it had room for; there may be more.
    Some,
    /// Everything that was there.
    All,
    /// Nothing was there.
    Nothing,
    /// The client's side has ended.
    End,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    socket: Arc<OwnedFd>,
    link: ServerConnection,
    certificate: Arc<str>,
    facts: Option<Arc<Facts>>,
    /// Decrypted bytes that nobody has taken yet.
    unread: usize,
    /// The client has begun, and with TLS.
    begun: bool,
    /// `close_notify` was said, or must not be.
    parted: bool,
}

impl Session {
    /// A handshake that nobody has begun yet.
    pub(super) fn new(socket: OwnedFd, terms: Terms) -> Result<Self, rustls::Error> {
        let mut link = ServerConnection::new(terms.config)?;
        link.set_buffer_limit(Some(BLOCK));
        Ok(Self {
            socket: Arc::new(socket),
            link,
            certificate: terms.certificate,
            facts: None,
            unread: 0,
            begun: false,
            parted: false,
        })
    }

    pub(crate) fn socket(&self) -> &Arc<OwnedFd> {
        &self.socket
    }

    pub(crate) fn facts(&self) -> Option<Arc<Facts>> {
        self.facts.clone()
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.unread > 0
    }

    /// Whether the client has said anything.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Goes on with the handshake as far as the socket allows. `ended`: the client's end was announced.
    pub(super) fn shake(&mut self, ended: bool) -> io::Result<Shaken> {
        if !self.begun {
            match opening(&self.socket)? {
                Opening::Silence => return Ok(Shaken::Waits),
                Opening::End => return Ok(Shaken::Gone),
                Opening::Letter => return Ok(Shaken::Plain),
                Opening::Record => self.begun = true,
            }
        }
        while self.link.is_handshaking() {
            let taken = self.take_in()?;
            let waits = match taken {
                Taken::End => return Ok(Shaken::Gone),
                Taken::Nothing => true,
                Taken::All => !ended,
                Taken::Some => false,
            };
            if waits && self.link.is_handshaking() {
                return Ok(Shaken::Waits);
            }
        }
        self.facts = Some(Arc::new(self.agreed()));
        Ok(Shaken::Done)
    }

    fn agreed(&self) -> Facts {
        let suite = self.link.negotiated_cipher_suite();
        let chain = self.link.peer_certificates().unwrap_or_default();
        Facts {
            version: self.link.protocol_version().map_or(0, u16::from),
            cipher: suite.map_or(0, |suite| u16::from(suite.suite())),
            certificate: self.certificate.clone(),
            client: chain.iter().map(|one| one.to_vec()).collect(),
        }
    }

    /// See [`crate::transport::Transport::receive`].
    pub(crate) fn receive(&mut self, room: &mut [u8], ended: bool) -> io::Result<(Received, bool)> {
        let mut dry = false;
        for _ in 0..IDLE_READS {
            match self.link.reader().read(room) {
                Ok(0) => return Ok((Received::End, true)),
                Ok(n) => {
                    self.unread = self.unread.saturating_sub(n);
                    let more = !dry || ended || self.unread > 0;
                    return Ok((Received::Bytes(n), more));
                }
                // It ended without `close_notify`: requests say themselves where they end.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok((Received::End, true));
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(_) if dry => return Ok((Received::Nothing, false)),
                Err(_) => {}
            }
            dry = match self.take_in()? {
                Taken::Some => false,
                Taken::All => !ended,
                // At the end rustls knows what kind of end it was.
                Taken::Nothing | Taken::End => true,
            };
        }
        Err(io::Error::new(
            ErrorKind::InvalidData,
            "records without content",
        ))
    }

    /// Encrypts and sends as much of `parts` as the socket takes, and one block at the most that it does not take at once.
    pub(crate) fn send(&mut self, parts: &[&[u8]]) -> io::Result<usize> {
        let mut taken = 0;
        while self.flush()? {
            let block = window(parts, taken);
            if block.is_empty() {
                break;
            }
            taken += self.link.writer().write_vectored(&block)?;
        }
        Ok(taken)
    }

    /// Sends what is encrypted. Whether nothing of it is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.link.wants_write() {
            match self.link.write_tls(&mut Outward(&self.socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub(crate) fn is_flushed(&self) -> bool {
        !self.link.wants_write()
    }

    /// RFC 8446 §6.1: without `close_notify` the client knows that something is missing.
    pub(crate) fn cut(&mut self) {
        self.parted = true;
    }

    /// Says `close_notify`, once. Whether it has left.
    pub(crate) fn say_goodbye(&mut self) -> io::Result<bool> {
        if !self.parted && self.facts.is_some() {
            self.parted = true;
            self.link.send_close_notify();
        }
        self.flush()
    }

    /// One read of the socket, and what follows from it.
    fn take_in(&mut self) -> io::Result<Taken> {
        let mut inward = Inward {
            socket: &self.socket,
            dry: false,
        };
        let taken = match self.link.read_tls(&mut inward) {
            Ok(0) => Taken::End,
            Ok(_) if inward.dry => Taken::All,
            Ok(_) => Taken::Some,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Taken::Nothing),
            Err(error) => return Err(error),
        };
        match self.link.process_new_packets() {
            Ok(state) => self.unread = state.plaintext_bytes_to_read(),
            Err(error) => {
                // The alert; whoever does not read it learns from the end.
                let _ = self.flush();
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
        self.flush()?;
        Ok(taken)
    }
}

fn opening(socket: &OwnedFd) -> io::Result<Opening> {
    let mut first = [0u8];
    let seen = retry(|| recv(socket, &mut first, RecvFlags::PEEK))?;
    Ok(match (seen, first) {
        (None, _) => Opening::Silence,
        (Some((0, _)), _) => Opening::End,
        (Some(_), [byte]) if byte.is_ascii_alphabetic() => Opening::Letter,
        (Some(_), _) => Opening::Record,
    })
}

/// The next block of `parts`, of which `taken` bytes are done with.
fn window<'p>(parts: &[&'p [u8]], taken: usize) -> Vec<IoSlice<'p>> {
    let (mut skip, mut room) = (taken, BLOCK);
    let mut block = Vec::with_capacity(parts.len());
    for part in parts {
        let rest = part.get(skip.min(part.len())..).unwrap_or_default();
        skip -= skip.min(part.len());
        let slice = rest.get(..room).unwrap_or(rest);
        room -= slice.len();
        if !slice.is_empty() {
            block.push(IoSlice::new(slice));
        }
    }
    block
}

/// The socket, for rustls to read. `dry`: it had less than there was room for.
struct Inward<'s> {
    socket: &'s OwnedFd,
    dry: bool,
}

impl Read for Inward<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let space = room.len();
        let received = retry(|| recv(self.socket, &mut *room, RecvFlags::empty()))?;
        let (count, _) = received.ok_or(ErrorKind::WouldBlock)?;
        self.dry = count < space;
        Ok(count)
    }
}

/// The socket, for rustls to write.
struct Outward<'s>(&'s OwnedFd);

impl Write for Outward<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = retry(|| send(self.0, bytes, SendFlags::NOSIGNAL))?;
        sent.ok_or_else(|| ErrorKind::WouldBlock.into())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut none = SendAncillaryBuffer::default();
        let sent = retry(|| sendmsg(self.0, slices, &mut none, SendFlags::NOSIGNAL))?;
        sent.ok_or_else(|| ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
