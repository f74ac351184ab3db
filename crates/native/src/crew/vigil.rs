//! The vigil: blocks of a response may wait in the engine for the next one, while the application makes it, and the steward
//! sees to it that they do not wait long. So each block is on its way whatever the application does next (PEP 3333,
//! "Buffering and Streaming": "use a different thread"), and blocks that come in quick succession cost one system call.
//! Invariant: while anything waits there is a vigil, and while nothing does for a while there is none.

use std::time::{Duration, Instant};

use oxicorn_engine::{Exchange, Flow, Now};

use super::{Crew, Holder, lock};

/// How long a block waits for the next one at the most, but for the scheduler's delays.
const PATIENCE: Duration = Duration::from_millis(1);

/// The steward's look at what waits.
#[derive(Debug, Default)]
pub(super) struct Vigil {
    next: Option<Instant>,
}

impl Crew {
    /// Sends bytes of a response, perhaps together with those that follow.
    pub(crate) fn send_soon(&self, exchange: &Exchange, parts: &[&[u8]], now: Now) -> Flow {
        if self.hub.get().is_some() {
            // Greenlets have no steward.
            return self.engine().send(exchange, parts, now);
        }
        let (flow, first) = self.engine().send_soon(exchange, parts, now);
        if first {
            self.begin_vigil();
        }
        flow
    }

    fn begin_vigil(&self) {
        let mut seat = lock(&self.seat);
        if std::mem::replace(&mut seat.vigil, true) {
            return;
        }
        if seat.holder == Some(Holder::Steward) {
            drop(seat);
            self.wake();
        } else {
            seat.steward_asleep = false;
            self.steward.notify_one();
        }
    }

    /// For the steward: sends what has waited long enough. How long until it has to look again, if at all.
    pub(super) fn keep_vigil(&self, vigil: &mut Vigil) -> Option<Duration> {
        if !lock(&self.seat).vigil {
            return None;
        }
        let now = Instant::now();
        let next = *vigil.next.get_or_insert(now + PATIENCE);
        if now < next {
            return Some(next - now);
        }
        if self.engine().send_waiting(Now::read()) || self.may_not_end_vigil() {
            vigil.next = Some(now + PATIENCE);
            return Some(PATIENCE);
        }
        vigil.next = None;
        None
    }

    /// Ends the vigil, unless something came just before that: whoever gave it counts on the vigil.
    fn may_not_end_vigil(&self) -> bool {
        lock(&self.seat).vigil = false;
        let came = self.engine().send_waiting(Now::read());
        if came {
            lock(&self.seat).vigil = true;
        }
        came
    }
}
