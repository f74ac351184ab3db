//! Waiting: the epoll instance, and the events of its last wait. It is apart from the engine so that a thread can wait
//! without holding the engine. Invariant: registration is edge-triggered and for both directions, once per descriptor.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Registry, Token};

/// Events taken from the kernel in one wait.
const BATCH: usize = 256;

/// The token of the cross-thread waker; its events only end a wait.
const WAKER: Token = Token(usize::MAX);

/// What one event said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer will send nothing more.
    pub(crate) ended: bool,
}

impl From<&Event> for Ready {
    fn from(event: &Event) -> Self {
        let failed = event.is_error();
        Self {
            token: event.token().0 as u64,
            readable: event.is_readable() || event.is_read_closed() || failed,
            writable: event.is_writable() || failed,
            ended: event.is_read_closed() || failed,
        }
    }
}

/// Ends another thread's wait at any moment.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Makes the poller's descriptor readable.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}

/// The one pollable descriptor.
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    events: Events,
    waker: Waker,
}

impl Poller {
    /// A new epoll instance. Make it after the fork: an inherited one is shared with the parent.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        Ok(Self {
            poll,
            events: Events::with_capacity(BATCH),
            waker,
        })
    }

    /// What other threads use to end a wait.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    pub(crate) fn registry(&self) -> io::Result<Registry> {
        self.poll.registry().try_clone()
    }

    /// Waits until something is ready, for at most `timeout` (for ever when `None`), and returns how many events there
    /// are for [`crate::Engine::feed`]. A signal ends the wait early with 0.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => Ok(self.events.iter().count()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// The events of the last wait.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Ready> + '_ {
        self.events
            .iter()
            .filter(|event| event.token() != WAKER)
            .map(Ready::from)
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}
