//! What is asked over the control socket: every event of before has been handled, so what a client sees is true, and what
//! two ask one after the other adds up. Not here: how it is said, which is `control`'s. Invariant: who asks is answered, at
//! once or when what he waits for has ended.

use super::{Arbiter, own_pid};
use crate::control::{self, Picture, Request};
use crate::core::{Asker, Event, Signal, Status};
use crate::host::Host;
use crate::translate::TARGET;

impl<H: Host> Arbiter<H> {
    pub(super) fn asked(&mut self, asker: Asker, request: Request) {
        if let Request::Upgrade { wait } = request {
            return self.asked_to_upgrade(asker, wait);
        }
        let status = self.state.status(self.origin.elapsed());
        let Some(event) = self.event_asked(asker, request, &status) else {
            let answer = self.shown(request, &status);
            return self.control.answer(asker, answer);
        };
        log::info!(target: TARGET, "Asked over the control socket: {request}");
        match event {
            Err(refusal) => self.control.answer(asker, control::refused(&refusal)),
            Ok(_) if !status.serving && request.needs_a_serving_arbiter() => {
                let refusal = control::refused("the server stops");
                self.control.answer(asker, refusal);
            }
            Ok(event) => {
                if !request.waits() {
                    self.control.answer(asker, begun(&event, &status));
                }
                self.events.push_back(event);
            }
        }
    }

    /// `None` for a request that only looks, or that the loop sees to itself.
    fn event_asked(
        &self,
        asker: Asker,
        request: Request,
        status: &Status,
    ) -> Option<Result<Event, String>> {
        let event = match request {
            Request::Status | Request::Config | Request::Upgrade { .. } => return None,
            Request::Restart { mode, wait } => {
                let asker = wait.then_some(asker);
                Event::Restart { mode, asker }
            }
            Request::Workers(resize) => {
                let wanted = resize.of(status.target);
                return Some(wanted.map(|workers| Event::Scale { workers }));
            }
            Request::Replace(pid) => {
                let worker = self.state.replaceable(pid);
                return Some(worker.map(|worker| Event::WorkerRetiring { worker }));
            }
            Request::Stop { quick: false } => Event::Signal(Signal::Term),
            Request::Stop { quick: true } => Event::Signal(Signal::Quit),
            Request::ReopenLogs => Event::Signal(Signal::Usr1),
        };
        Some(Ok(event))
    }

    fn shown(&self, request: Request, status: &Status) -> String {
        if request == Request::Config {
            return control::configuration(&self.host.configuration(status.generation));
        }
        control::status(&Picture {
            version: &self.version,
            pid: own_pid(),
            uptime: self.origin.elapsed(),
            status,
            counts: &self.crew.counts(),
            listeners: &self.listeners,
            secure: self.secure,
        })
    }
}

fn begun(event: &Event, status: &Status) -> String {
    match event {
        Event::Scale { workers } => control::resized(status.target, *workers),
        _ => control::done(),
    }
}
