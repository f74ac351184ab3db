//! The leader: the thread that has the seat waits for the network and turns the engine, until there is a request for it.
//! Invariant: while another thread is inside the application, which may take the interpreter lock and keep it, the leader
//! waits for that lock without the seat: events that came in are with the engine, and the steward can go on with them.

use std::io;
use std::time::Duration;

use oxicorn_engine::{Exchange, Now, Poller, Turn};
use pyo3::prelude::*;

use super::{Crew, lock};

/// Milliseconds the leader may keep the interpreter lock from threads inside the application, as `sys.getswitchinterval`.
const SWITCH: u64 = 5;

/// Why a thread stops leading.
pub(super) enum Led {
    /// It has the seat and a request.
    Exchange(Box<Exchange>),
    /// It has the seat, and all is over.
    Stop,
    /// It does not have the seat any more.
    Aside,
}

/// What became of a wait for events.
enum Waited {
    /// There was no need to.
    No,
    /// The interpreter lock was let go meanwhile.
    Yes,
    /// The seat too.
    Aside,
}

impl Crew {
    /// For the thread that has the seat. `alone`: no other thread is inside the application, and so none will be.
    pub(super) fn lead_until_exchange(&self, py: Python<'_>, alone: bool) -> PyResult<Led> {
        let mut now = Now::read();
        let mut attached = now.mono;
        loop {
            let turn = self.engine().turn(now);
            match turn {
                Turn::Exchange(exchange) => return Ok(Led::Exchange(exchange)),
                Turn::Notice(notice) => {
                    self.on_notice(notice);
                    // It may have been the bell.
                    py.check_signals()?;
                }
                Turn::Idle { .. } if self.is_stopping() => return Ok(Led::Stop),
                Turn::Idle { again } => {
                    let waited = self.wait(py, again, alone)?;
                    now = Now::read();
                    match waited {
                        Waited::No if now.mono < attached + SWITCH => {}
                        Waited::No => {
                            // Native code never looks whether another thread wants the interpreter lock.
                            if !alone {
                                self.step_aside();
                            }
                            py.detach(|| ());
                            if !alone {
                                return Ok(Led::Aside);
                            }
                            attached = now.mono;
                        }
                        Waited::Yes => attached = now.mono,
                        Waited::Aside => return Ok(Led::Aside),
                    }
                }
            }
        }
    }

    /// Waits for events: first without letting go of the interpreter lock, for under load there are some already.
    fn wait(&self, py: Python<'_>, again: bool, alone: bool) -> PyResult<Waited> {
        let mut poller = lock(&self.poller);
        let mut found = poller.wait(Some(Duration::ZERO))?;
        let waits = found == 0 && !again;
        if waits && !alone {
            drop(poller);
            py.detach(|| self.wait_and_step_aside())?;
            return Ok(Waited::Aside);
        }
        if waits {
            let poller: &mut Poller = &mut poller;
            found = py.detach(|| self.at_rest(|| poller.wait(None)))?;
        }
        self.engine().feed(&mut poller);
        drop(poller);
        if found == 0 {
            // A signal may have ended the wait: the main thread runs Python's handlers here.
            py.check_signals()?;
        }
        Ok(if waits { Waited::Yes } else { Waited::No })
    }

    /// After an error the seat is still taken.
    fn wait_and_step_aside(&self) -> io::Result<()> {
        let mut poller = lock(&self.poller);
        self.at_rest(|| poller.wait(None))?;
        self.engine().feed(&mut poller);
        drop(poller);
        self.step_aside();
        Ok(())
    }

    /// Leaves the seat to whoever comes first: this thread again, when it has the interpreter lock; another one that comes
    /// out of the application; or the steward.
    fn step_aside(&self) {
        let mut seat = lock(&self.seat);
        seat.holder = None;
        if seat.inside > 0 {
            self.call_steward(&mut seat);
        }
    }
}
