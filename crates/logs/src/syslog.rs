//! Lines to a syslog daemon, as Python's `SysLogHandler` sends them.
//!
//! For: `<PRI>tag: [pid] message` and a NUL (RFC 3164 §4.1), one write each, over UDP, TCP or a Unix
//! socket. Not for: names of hosts (who makes it resolves them), or telling anybody what was lost; the
//! two logs do that with the [`Delivery`].
//!
//! Invariants:
//! - A daemon that takes nothing is waited for a few milliseconds, once; until it works again its
//!   lines are counted as lost without waiting.
//! - A daemon that was restarted is found again.
//! - No lock is held during a write or a wait, so neither a slow daemon nor a fork can block another
//!   thread.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::error_log::Level;
use crate::losses::{Delivery, Losses};

/// How long a daemon that takes nothing is waited for before its lines are given up.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long the first connection may take: a moment of the start, and nobody waits yet.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// Milliseconds between two attempts to connect a stream.
const PAUSE: u64 = 1000;

/// What is left of a message that is too long for a datagram.
const CUT: usize = 8 * 1024;

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogPlace {
    /// UDP.
    Udp(SocketAddr),
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket of this kind; `None`: of datagrams, or else a stream.
    Unix(PathBuf, Option<SyslogKind>),
}

/// What a Unix socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogKind {
    /// Datagrams.
    Datagrams,
    /// A stream.
    Stream,
}

/// A syslog daemon, shared by all threads.
#[derive(Debug)]
pub struct Syslog {
    place: SyslogPlace,
    facility: u8,
    link: RwLock<Option<Arc<Link>>>,
    losses: Losses,
    since: Instant,
    /// Milliseconds after `since` before which no stream is connected again.
    pause_until: AtomicU64,
}

#[derive(Debug)]
struct Link {
    fd: OwnedFd,
    is_stream: bool,
    is_connected: AtomicBool,
}

/// A daemon and what the lines for it begin with.
#[derive(Clone, Debug)]
pub struct SyslogTag {
    /// The daemon.
    pub syslog: Arc<Syslog>,
    /// The program's name: `gunicorn.shop.error`.
    pub tag: String,
}

impl SyslogTag {
    /// Sends one line, or a message of several.
    pub fn send(&self, level: Level, message: &[u8]) -> Delivery {
        let pid = std::process::id();
        let head = format!("<{}>{}: [{pid}] ", self.syslog.priority(level), self.tag);
        let packet = [head.as_bytes(), message, b"\0"].concat();
        self.syslog.send(&packet)
    }
}

impl Syslog {
    /// The daemon at `place`; `facility` is syslog's number. It is connected at once if it is there;
    /// if not, lines will tell.
    #[must_use]
    pub fn new(place: SyslogPlace, facility: u8) -> Arc<Self> {
        let syslog = Self {
            place,
            facility,
            link: RwLock::new(None),
            losses: Losses::default(),
            since: Instant::now(),
            pause_until: AtomicU64::new(0),
        };
        if let Ok(link) = syslog.connect() {
            // What came of it shows with the first line.
            let _ = link.settle(FIRST_PATIENCE);
        }
        Arc::new(syslog)
    }

    /// What to call it in a message.
    pub fn name(&self) -> String {
        match &self.place {
            SyslogPlace::Udp(address) => format!("syslog at udp://{address}"),
            SyslogPlace::Tcp(address) => format!("syslog at tcp://{address}"),
            SyslogPlace::Unix(path, _) => format!("syslog at unix://{}", path.display()),
        }
    }

    /// How many lines were lost.
    pub fn lost(&self) -> u64 {
        self.losses.total()
    }

    /// Facility and severity in one number (RFC 3164 §4.1.1).
    fn priority(&self, level: Level) -> u16 {
        let severity = match level {
            Level::Critical => 2,
            Level::Error => 3,
            Level::Warning => 4,
            Level::Info => 6,
            Level::Debug => 7,
        };
        u16::from(self.facility) * 8 + severity
    }

    fn send(&self, packet: &[u8]) -> Delivery {
        match self.deliver(packet) {
            Ok(()) => self.losses.succeeded(),
            Err(cause) => self.losses.failed(1, cause),
        }
    }

    /// Sends; over a new connection if the old one is not good any more.
    fn deliver(&self, packet: &[u8]) -> Result<(), Errno> {
        let patience = if self.losses.go_on() {
            Duration::ZERO
        } else {
            PATIENCE
        };
        if let Some(link) = self.known() {
            match link.send(packet, patience) {
                Ok(()) => return Ok(()),
                Err(cause @ (Errno::AGAIN | Errno::INPROGRESS | Errno::NOBUFS)) => {
                    return Err(cause);
                }
                Err(_) => self.forget(&link),
            }
        }
        let link = self.connect()?;
        let sent = link.send(packet, patience);
        if sent.is_err_and(|cause| cause != Errno::AGAIN && cause != Errno::INPROGRESS) {
            self.forget(&link);
        }
        sent
    }

    fn known(&self) -> Option<Arc<Link>> {
        self.link
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Another thread may have connected anew meanwhile.
    fn forget(&self, link: &Arc<Link>) {
        let mut known = self.link.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|one| Arc::ptr_eq(one, link)) {
            *known = None;
        }
    }

    fn connect(&self) -> Result<Arc<Link>, Errno> {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.pause_until.load(Relaxed) {
            return Err(Errno::NOTCONN);
        }
        let link = Arc::new(self.place.connect()?);
        if link.is_stream {
            self.pause_until.store(now + PAUSE, Relaxed);
        }
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        Ok(link)
    }
}

impl SyslogPlace {
    fn connect(&self) -> Result<Link, Errno> {
        match self {
            Self::Udp(address) => inet(*address, SocketType::DGRAM),
            Self::Tcp(address) => inet(*address, SocketType::STREAM),
            Self::Unix(path, None | Some(SyslogKind::Datagrams)) => {
                let found = unix(path, SocketType::DGRAM);
                match self {
                    Self::Unix(_, None) => found.or_else(|_| unix(path, SocketType::STREAM)),
                    _ => found,
                }
            }
            Self::Unix(path, Some(SyslogKind::Stream)) => {
                unix(path, SocketType::STREAM).or_else(|_| unix(path, SocketType::DGRAM))
            }
        }
    }
}

fn inet(address: SocketAddr, kind: SocketType) -> Result<Link, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let fd = open(family, kind)?;
    let connected = rustix::net::connect(&fd, &address);
    Link::new(fd, kind, connected)
}

fn unix(path: &Path, kind: SocketType) -> Result<Link, Errno> {
    let fd = open(AddressFamily::UNIX, kind)?;
    let connected = rustix::net::connect(&fd, &SocketAddrUnix::new(path)?);
    Link::new(fd, kind, connected)
}

fn open(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, kind, flags, None)
}

impl Link {
    fn new(fd: OwnedFd, kind: SocketType, connected: Result<(), Errno>) -> Result<Self, Errno> {
        match connected {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self {
                fd,
                is_stream: kind == SocketType::STREAM,
                is_connected: AtomicBool::new(connected.is_ok()),
            }),
            Err(cause) => Err(cause),
        }
    }

    /// Waits until it is known whether the connection was made.
    fn settle(&self, patience: Duration) -> Result<(), Errno> {
        if self.is_connected.load(Relaxed) {
            return Ok(());
        }
        if !wait_writable(self.fd.as_fd(), patience) {
            return Err(Errno::INPROGRESS);
        }
        rustix::net::sockopt::socket_error(&self.fd)??;
        self.is_connected.store(true, Relaxed);
        Ok(())
    }

    /// Sends `packet` with one call, so that packets of several threads never mix.
    fn send(&self, packet: &[u8], patience: Duration) -> Result<(), Errno> {
        self.settle(patience)?;
        let sent = match self.send_now(packet) {
            Err(Errno::AGAIN) if !patience.is_zero() => {
                wait_writable(self.fd.as_fd(), patience);
                self.send_now(packet)
            }
            Err(Errno::MSGSIZE) if packet.len() > CUT => self.send_now(&cut(packet)),
            sent => sent,
        };
        match sent {
            // The rest of a line cannot follow later: the daemon would take it for one of its own.
            Ok(taken) if self.is_stream && taken < packet.len() => Err(Errno::PIPE),
            Ok(_) => Ok(()),
            Err(cause) => Err(cause),
        }
    }

    fn send_now(&self, packet: &[u8]) -> Result<usize, Errno> {
        loop {
            match rustix::net::send(&self.fd, packet, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => return sent,
            }
        }
    }
}

/// The beginning of a packet, ended as packets are.
fn cut(packet: &[u8]) -> Vec<u8> {
    let begin = packet.get(..CUT).unwrap_or(packet);
    let whole = String::from_utf8_lossy(begin);
    let kept = whole.trim_end_matches('\u{fffd}');
    [kept.as_bytes(), b"\0"].concat()
}

/// Whether `fd` takes bytes, or has an error for the next write to find, within `patience`.
fn wait_writable(fd: BorrowedFd<'_>, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).unwrap_or_default();
    let mut interest = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    // An interruption is rare, and the patience is short.
    rustix::event::poll(&mut interest, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests;
