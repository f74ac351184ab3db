//! The steward: a native thread that keeps the engine going while every application thread is inside the application. It
//! never runs Python and never takes the interpreter lock. Invariant: it has the seat only while no thread wants it.

use std::io;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oxicorn_board::Count;
use oxicorn_engine::{Exchange, Now, Turn};

use super::siblings::Rush;
use super::vigil::Vigil;
use super::{Crew, Holder, Seat, lock};

/// How long the seat may be empty before the steward takes it.
const TICK: Duration = Duration::from_millis(5);

/// How long new connections are left to other workers while every thread here is busy.
const PATIENCE: Duration = Duration::from_millis(100);

/// Starts the steward of `crew`.
pub(crate) fn start(crew: &'static Crew) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("oxicorn-steward".to_owned());
    thread.spawn(move || crew.keep_house()).map(drop)
}

impl Crew {
    /// The steward's life; runs on a native thread of its own. While requests come and go it looks once a tick; when a tick
    /// passes without any it sleeps until a thread enters the application.
    pub(crate) fn keep_house(&self) {
        let mut rush = Rush::new();
        let mut vigil = Vigil::default();
        let mut seat = lock(&self.seat);
        while !self.is_stopping() {
            let entries = seat.entries;
            seat = self.wait_a_tick(seat, &mut vigil);
            if seat.entries != entries {
                drop(seat);
                self.watch_rush(&mut rush);
                seat = lock(&self.seat);
                continue;
            }
            self.end_rush();
            if seat.inside > 0 && seat.holder.is_none() {
                seat.holder = Some(Holder::Steward);
                seat.stall = None;
                drop(seat);
                self.stand_in(&mut vigil);
                seat = lock(&self.seat);
                seat.holder = None;
                seat.wanted = false;
                if seat.parked > 0 {
                    self.give_ticket(&mut seat);
                }
                continue;
            }
            if seat.vigil {
                continue;
            }
            seat.steward_asleep = true;
            while seat.steward_asleep && !self.is_stopping() {
                seat = self
                    .steward
                    .wait(seat)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Keeps the vigil for the length of a tick.
    fn wait_a_tick<'s>(
        &'s self,
        mut seat: MutexGuard<'s, Seat>,
        vigil: &mut Vigil,
    ) -> MutexGuard<'s, Seat> {
        let end = Instant::now() + TICK;
        loop {
            let mut limit = end.saturating_duration_since(Instant::now());
            while seat.vigil {
                drop(seat);
                let patience = self.keep_vigil(vigil);
                seat = lock(&self.seat);
                if let Some(patience) = patience {
                    limit = limit.min(patience);
                    break;
                }
            }
            let waited = self.steward.wait_timeout(seat, limit);
            let timeout;
            (seat, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            let over = timeout.timed_out() && Instant::now() >= end;
            if over || self.is_stopping() {
                return seat;
            }
        }
    }

    /// Leads without Python until a thread wants the seat. Requests that become complete meanwhile wait; new connections
    /// stay in the listeners' queues, if another worker can take them there.
    fn stand_in(&self, vigil: &mut Vigil) {
        self.accept_if(!self.shares_listeners);
        let (mut since, mut entries) = (Instant::now(), lock(&self.seat).entries);
        while !self.is_stopping() && !lock(&self.seat).wanted {
            // Who still waits outside after this while was left there by the other workers too, and our threads do come back.
            let open = since.elapsed() > PATIENCE && lock(&self.seat).entries != entries;
            if open {
                self.accept_if(true);
            }
            self.return_backlog();
            let turn = self.engine().turn(Now::read());
            match turn {
                Turn::Exchange(exchange) => self.put_off(exchange),
                Turn::Notice(notice) => self.on_notice(notice),
                Turn::Idle { again } => {
                    if open {
                        self.accept_if(!self.shares_listeners);
                        (since, entries) = (Instant::now(), lock(&self.seat).entries);
                    }
                    let work = again.then_some(Duration::ZERO);
                    let vigil = self.keep_vigil(vigil);
                    let looks = [self.watch_stall(), self.watch_siblings(), vigil, work];
                    if !self.wait_without_python(looks.into_iter().flatten().min()) {
                        break;
                    }
                }
            }
        }
        self.accept_if(true);
        self.end_rush();
    }

    fn wait_without_python(&self, patience: Option<Duration>) -> bool {
        let mut poller = lock(&self.poller);
        if let Err(error) = poller.wait(patience) {
            log::error!(target: "oxicorn", "Waiting for events failed: {error}");
            return false;
        }
        self.engine().feed(&mut poller);
        true
    }

    /// The request moves to another worker with its connection, or waits for a thread.
    fn put_off(&self, exchange: Box<Exchange>) {
        let mut engine = self.engine();
        let Err(exchange) = engine.put_back(exchange, Now::read()) else {
            return;
        };
        engine.hold(&exchange);
        drop(engine);
        let mut seat = lock(&self.seat);
        seat.backlog.push_back(exchange);
        self.board.set(Count::Backlog, seat.backlog.len() as u64);
        if seat.parked > 0 {
            self.give_ticket(&mut seat);
        }
    }
}
