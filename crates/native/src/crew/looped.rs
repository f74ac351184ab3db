//! A crew of one thread whose own event loop waits for the network (`asgi`, `gevent`). The loop's thread has the seat for good, so there
//! are no followers, no steward and no backlog. Invariant: everything here is called on the loop's thread and waits for
//! nothing.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use oxicorn_board::Count;
use oxicorn_engine::Stuck;

use super::{Crew, Holder, lock};
use crate::gevent::Hub;

impl Crew {
    /// The loop leads from now on. The descriptor that it has to watch.
    pub(crate) fn lead_by_loop(&self) -> RawFd {
        lock(&self.seat).holder = Some(Holder::Thread);
        lock(&self.poller).as_raw_fd()
    }

    /// Takes over what has happened, without waiting.
    pub(crate) fn take_events(&self) -> io::Result<()> {
        let mut poller = lock(&self.poller);
        poller.wait(Some(Duration::ZERO))?;
        self.engine().feed(&mut poller);
        Ok(())
    }

    /// So many requests are inside the application.
    pub(crate) fn set_inside(&self, inside: usize) {
        let before = std::mem::replace(&mut lock(&self.seat).inside, inside);
        if (before > 0) != (inside > 0) {
            self.board.set(Count::Busy, u64::from(inside > 0));
        }
    }

    /// What still runs is about to be cut.
    pub(crate) fn cuts_requests(&self) -> bool {
        self.post.cuts()
    }

    /// The loop gives no sign of life while this request, among others, is inside the application.
    pub(crate) fn report_hang(&self, stuck: &Stuck) {
        if !self.is_booting() {
            self.give_up_on(stuck);
        }
    }

    /// The driver cannot go on, through an error of ours.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.stop();
    }

    /// Greenlets run the requests, on this thread: `hub` lets them wait.
    pub(crate) fn wait_by(&self, hub: &'static Hub) {
        // There is one driver for a crew.
        let _ = self.hub.set(hub);
    }

    /// What has to wait instead of this thread, if that is so.
    pub(crate) fn hub(&self) -> Option<&'static Hub> {
        self.hub.get().copied().filter(|hub| hub.is_here())
    }

    /// Makes the loop look at the engine.
    pub(crate) fn call_loop(&self) {
        self.wake();
    }
}
