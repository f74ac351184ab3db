//! What a service manager (systemd) is told about the server, and when.
//!
//! *Ready* is said when the first worker is put in service, not when the sockets are bound: who
//! waits for the service may rely on an answer. A restart is *reloading* until it is confirmed or
//! rolled back. Not for how it is said; that is `notify.rs`.
//!
//! Invariant: nothing but *stopping* is said once the server stops, or nothing but that its successor
//! serves on; every *reloading* is followed by *ready* or by one of these.

use super::decide::seconds;
use super::stopping::Mode;
use super::{Action, Pid, State};

/// What the server is about, in the words of `sd_notify(3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It serves (`READY=1`).
    Ready,
    /// A restart is under way, and it serves meanwhile (`RELOADING=1`).
    Reloading,
    /// It is on its way out (`STOPPING=1`).
    Stopping,
    /// It is on its way out, and another process serves on in its place (`MAINPID=`).
    Succeeded(Pid),
    /// Only the text is new.
    Status,
}

impl State {
    pub(super) fn tell_booting(&mut self) {
        self.tell(
            News::Status,
            format!("Generation {} boots.", self.generation),
        );
    }

    /// A worker was put in service.
    pub(super) fn tell_served(&mut self, generation: u32) {
        if !std::mem::replace(&mut self.announced, true) {
            self.tell(News::Ready, format!("Generation {generation} serves."));
        }
    }

    pub(super) fn tell_reloading(&mut self) {
        let news = self.if_announced(News::Reloading);
        self.tell(news, "The configuration is read for a restart.".to_owned());
    }

    /// A restart goes on.
    pub(super) fn tell_progress(&mut self, text: &str) {
        self.tell(News::Status, text.to_owned());
    }

    pub(super) fn tell_restart_ended(&mut self, failure: Option<&str>) {
        let generation = self.generation;
        let text = match failure {
            None => format!("Generation {generation} serves."),
            Some(why) => format!("Generation {generation} serves on, the restart failed: {why}"),
        };
        self.tell(self.if_announced(News::Ready), text);
    }

    pub(super) fn tell_delay(&mut self) {
        let delay = seconds(self.policy.shutdown_delay);
        let status = format!("Serving on for {delay} before the stop.");
        let news = self.heir().map_or(News::Stopping, |_| News::Status);
        self.act(Action::Tell { news, status });
    }

    pub(super) fn tell_stopping(&mut self, quick: bool) {
        let status = if quick {
            "The workers stop."
        } else {
            "The workers finish their requests."
        };
        self.act(Action::Tell {
            news: self.heir().map_or(News::Stopping, News::Succeeded),
            status: status.to_owned(),
        });
    }

    /// From now on this arbiter is the one that the service manager listens to.
    pub(super) fn tell_promoted(&mut self) {
        let text = format!("Generation {} serves.", self.generation);
        self.tell(self.if_announced(News::Ready), text);
    }

    /// Before the first worker serves there is nothing to be ready again for.
    fn if_announced(&self, news: News) -> News {
        if self.announced { news } else { News::Status }
    }

    fn tell(&mut self, news: News, status: String) {
        if self.mode == Mode::Serving && self.stop_at.is_none() {
            self.act(Action::Tell { news, status });
        }
    }
}
