//! The operator's signals, and the way out.
//!
//! A stop is graceful (TERM) or quick (INT, QUIT, or a second signal during a graceful one); both
//! end every worker, with SIGKILL at their deadline, and the arbiter leaves when the last worker is
//! reaped, or [`Policy::KILL_GRACE`] after the last deadline if the kernel keeps one.
//!
//! With a `shutdown_delay` TERM only fixes the time of a graceful stop. Until then nothing but
//! restarts ends, so that load balancers have time to notice. Beside another arbiter that is not
//! ready to take the connections, TERM waits for it (`dance.rs`), and a quick stop is a graceful one
//! for a second where the other one is.

use std::time::Duration;

use super::decide::seconds;
use super::restart::STOPS;
use super::worker::Worker;
use super::{Action, Level, Policy, Signal, State, WorkerId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Before [`Event::Started`](super::Event::Started).
    Idle,
    Serving,
    Stopping(Stop),
    /// [`Action::Exit`] was given out.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    code: u8,
    reason: Option<&'static str>,
    quick: bool,
    give_up_at: Duration,
    /// When it becomes quick by itself.
    hurry_at: Option<Duration>,
}

impl State {
    pub(super) fn signalled(&mut self, signal: Signal) {
        self.log_signal(signal);
        match signal {
            Signal::Chld => self.act(Action::Reap),
            Signal::Usr1 => self.reopen_logs(),
            Signal::Term | Signal::Int | Signal::Quit => self.asked_to_stop(signal),
            Signal::Hup => {
                self.log(Level::Info, format!("Hang up: {}", self.master_name()));
                self.asked_to_restart(None, None);
            }
            Signal::Usr2 => self.asked_for_a_successor(),
            Signal::Ttin if self.is_serving() => self.set_target(self.target + 1),
            Signal::Ttou if self.is_serving() && self.target > 1 => {
                self.set_target(self.target - 1);
            }
            Signal::Winch if self.is_serving() => self.window_changed(),
            Signal::Ttin | Signal::Ttou | Signal::Winch | Signal::Abrt | Signal::Kill => {}
        }
    }

    /// Stops at once because the application cannot be loaded, when nobody waits for an answer, or
    /// because of a hook of the embedder's, as gunicorn does.
    pub(super) fn halt(&mut self, code: u8, reason: &'static str) {
        self.stop(true, code, Some(reason));
    }

    pub(super) fn give_up_at(&self) -> Option<Duration> {
        match self.mode {
            Mode::Stopping(stop) => Some(stop.give_up_at),
            Mode::Idle | Mode::Serving | Mode::Ended => None,
        }
    }

    pub(super) fn give_up_when_due(&mut self) {
        if self.give_up_at().is_none_or(|at| at > self.now) {
            return;
        }
        for id in self.every_worker() {
            let pid = self.pid(id).unwrap_or_default();
            self.log(
                Level::Error,
                format!("Worker (pid:{pid}) survived SIGKILL: leaving it behind."),
            );
        }
        self.workers.clear();
        self.leave_stems_behind();
        self.finish_when_empty();
    }

    pub(super) fn finish_when_empty(&mut self) {
        let Mode::Stopping(stop) = self.mode else {
            return;
        };
        if !self.workers.is_empty() || !self.stems.is_empty() {
            return;
        }
        let level = if stop.code == 0 {
            Level::Info
        } else {
            Level::Error
        };
        self.log(level, format!("Shutting down: {}", self.master_name()));
        if let Some(reason) = stop.reason {
            self.log(level, format!("Reason: {reason}"));
        }
        self.mode = Mode::Ended;
        self.act(Action::Exit { code: stop.code });
    }

    fn is_serving(&self) -> bool {
        self.mode == Mode::Serving
    }

    /// Children end all the time and windows are resized often: neither is news.
    fn log_signal(&mut self, signal: Signal) {
        let routine = match signal {
            Signal::Chld => true,
            Signal::Winch => !self.heeds_winch(),
            _ => false,
        };
        let level = if routine { Level::Debug } else { Level::Info };
        self.log(level, format!("Handling signal: {}", signal.lower_name()));
    }

    fn reopen_logs(&mut self) {
        self.act(Action::ReopenLogs);
        self.signal_ready_workers(Signal::Usr1);
        self.reopen_stems();
        // Without its handler SIGUSR1 would kill a worker that still boots.
        for worker in self
            .workers
            .values_mut()
            .filter(|worker| !worker.has_handlers())
        {
            worker.owes_reopening = true;
        }
    }

    fn window_changed(&mut self) {
        if self.heeds_winch() {
            self.asked_to_rest();
        } else {
            self.log(Level::Debug, "SIGWINCH ignored. Not daemonized");
        }
    }

    fn asked_to_stop(&mut self, signal: Signal) {
        match self.mode {
            Mode::Serving if signal == Signal::Term && self.delays_stop() => self.delay_stop(),
            Mode::Serving if signal == Signal::Term && self.waits_to_stop() => self.await_partner(),
            Mode::Serving if signal != Signal::Term && self.partner_takes() => self.part(),
            Mode::Idle | Mode::Serving => self.stop(signal != Signal::Term, 0, None),
            Mode::Stopping(stop) if !stop.quick => self.quicken(stop),
            Mode::Stopping(_) | Mode::Ended => {}
        }
    }

    /// Whoever was never served does not send requests that could be late.
    fn delays_stop(&self) -> bool {
        self.ever_ready && self.stop_at.is_none() && !self.policy.shutdown_delay.is_zero()
    }

    fn delay_stop(&mut self) {
        let delay = self.policy.shutdown_delay;
        let text = format!("Stopping in {}, serving on until then.", seconds(delay));
        self.log(Level::Info, text);
        self.tell_delay();
        self.cancel_upgrade();
        self.dismiss_follow_up(STOPS);
        self.stop_at = Some(self.now.saturating_add(delay));
    }

    /// Begins the stop whose time has come, and quickens the one that is to be quick.
    pub(super) fn stop_when_due(&mut self) {
        match (self.mode, self.stop_at) {
            (Mode::Serving, Some(at)) if at <= self.now => self.end_delay(),
            (Mode::Serving, Some(_)) if self.stop_has_waited() && !self.partner_may_come() => {
                self.stop(false, 0, None);
            }
            (Mode::Stopping(stop), _) if stop.hurry_at.is_some_and(|at| at <= self.now) => {
                self.quicken(stop);
            }
            _ => {}
        }
    }

    /// When the stop becomes a quick one.
    pub(super) fn hurry_at(&self) -> Option<Duration> {
        match self.mode {
            Mode::Stopping(stop) => stop.hurry_at,
            Mode::Idle | Mode::Serving | Mode::Ended => None,
        }
    }

    fn end_delay(&mut self) {
        if self.stop_awaits_partner() && !self.stop_has_waited() {
            self.await_partner();
        } else {
            self.stop(false, 0, None);
        }
    }

    fn waits_to_stop(&self) -> bool {
        self.stop_at.is_none() && self.stop_awaits_partner()
    }

    /// A quick stop beside a partner: connections first, which is a matter of milliseconds.
    fn part(&mut self) {
        self.stop(false, 0, None);
        if let Mode::Stopping(stop) = &mut self.mode {
            stop.hurry_at = Some(self.now.saturating_add(Policy::PARTING));
        }
    }

    fn stop(&mut self, quick: bool, code: u8, reason: Option<&'static str>) {
        let timeout = if quick {
            self.policy.quick_timeout()
        } else {
            self.policy.graceful_timeout
        };
        let until = self.now.saturating_add(timeout);
        let give_up_at = until.saturating_add(Policy::KILL_GRACE);
        self.mode = Mode::Stopping(Stop {
            code,
            reason,
            quick,
            give_up_at,
            hurry_at: None,
        });
        self.stop_at = None;
        self.tell_stopping(quick);
        self.cancel_restarts();
        if self.was_told_to_stop() {
            self.dismiss_orphans();
        }
        self.bequeath();
        self.act(Action::CloseListeners);
        self.send_home(quick, until);
        self.finish_when_empty();
    }

    fn quicken(&mut self, stop: Stop) {
        self.log(Level::Info, "Quick shutdown requested");
        let until = self.now.saturating_add(self.policy.quick_timeout());
        let give_up_at = stop
            .give_up_at
            .min(until.saturating_add(Policy::KILL_GRACE));
        self.mode = Mode::Stopping(Stop {
            quick: true,
            give_up_at,
            hurry_at: None,
            ..stop
        });
        self.send_home(true, until);
    }

    fn send_home(&mut self, quick: bool, until: Duration) {
        for id in self.every_worker() {
            if quick {
                self.quit(id);
            } else {
                self.give_away(id);
                self.drain(id);
            }
            self.leaves(id, self.sooner(id, until));
        }
    }

    fn drain(&mut self, id: WorkerId) {
        self.act(Action::SendDrain { worker: id });
        self.signal_worker(id, Signal::Term);
    }

    /// Whether it stops, and not because the application cannot be loaded.
    pub(super) fn was_told_to_stop(&self) -> bool {
        matches!(self.mode, Mode::Stopping(stop) if stop.reason.is_none())
    }

    pub(super) fn stops_quickly(&self) -> bool {
        matches!(self.mode, Mode::Stopping(stop) if stop.quick)
    }

    /// Until it has its handlers SIGQUIT would make the worker dump core; a worker that is ready
    /// after all gets its SIGQUIT then.
    fn quit(&mut self, id: WorkerId) {
        let ready = self.workers.get(&id).is_some_and(Worker::has_handlers);
        self.signal_worker(id, if ready { Signal::Quit } else { Signal::Term });
    }

    /// The worker's deadline to leave, if it has one and it comes before `until`.
    fn sooner(&self, id: WorkerId, until: Duration) -> Duration {
        self.workers
            .get(&id)
            .filter(|worker| !worker.is_active())
            .and_then(|worker| worker.deadline)
            .map_or(until, |deadline| deadline.min(until))
    }

    fn every_worker(&self) -> Vec<WorkerId> {
        self.workers.keys().copied().collect()
    }
}
