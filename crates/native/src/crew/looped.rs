//! A crew of one thread whose own event loop waits for the network (`asgi`, `gevent`). The loop's thread has the seat for good, so there
//! are no followers, no steward and no backlog. Invariant: everything here is called on the loop's thread and waits for
//! nothing.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use oxicorn_board::Count;
use oxicorn_engine::{Exchange, Notice, Now, Stuck, Turn};
use pyo3::prelude::*;

use super::{Crew, Holder, lock};
use crate::gevent::Hub;

/// Requests started, and notices taken, in one call before the rest of the loop has its turn.
const STEPS: usize = 64;

/// What a call of the loop leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The descriptor will say what is new.
    Nothing,
    /// More to do at once.
    Work,
    /// A child came out of a step and goes on: what else there is to do is its parent's.
    Child,
}

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

    /// One call of the loop: turns the engine, and does what it says, until it rests or others have waited long enough.
    /// `settle` is called behind the last step, unless this is a [child](Left::Child) by then.
    pub(crate) fn turn_by_loop(
        &self,
        mut begin: impl FnMut(Box<Exchange>) -> PyResult<()>,
        mut on_notice: impl FnMut(Notice) -> PyResult<()>,
        settle: impl FnOnce(),
    ) -> PyResult<Left> {
        let now = Now::read();
        let mut steps = 0;
        let left = loop {
            if steps == STEPS {
                break Left::Work;
            }
            let turn = self.engine().turn(now);
            match turn {
                Turn::Exchange(exchange) => begin(exchange)?,
                Turn::Notice(notice) => on_notice(notice)?,
                Turn::Idle { again: true } => break Left::Work,
                Turn::Idle { again: false } => break Left::Nothing,
            }
            steps += 1;
            if self.is_forked() {
                return Ok(Left::Child);
            }
        };
        settle();
        if steps > 0 {
            self.watch_memory();
        }
        // What was done to the engine since it came to rest.
        if self.engine().needs_turn() {
            return Ok(Left::Work);
        }
        Ok(left)
    }

    /// The crew has stopped, and none of the requests `inside` the application is waited for.
    pub(crate) fn is_over(&self, inside: usize) -> bool {
        let waits = inside > 0 && !self.has_failed();
        self.is_stopping() && !waits
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
