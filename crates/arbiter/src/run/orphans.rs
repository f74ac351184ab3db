//! The loop's dealings with orphans; `core/orphans.rs` decides.

use super::Arbiter;
use crate::core::{Cue, Event};
use crate::host::{Host, Notice};
use crate::orphans::News;
use crate::sockets::Listener;

impl<H: Host> Arbiter<H> {
    pub(super) fn hear_orphans(&mut self) {
        for news in self.orphans.turn() {
            self.events.push_back(match news {
                News::Found { orphan, pid } => Event::OrphanFound { orphan, pid },
                News::Gone { orphan } => Event::OrphanGone { orphan },
                News::Offered(end) => {
                    let offer = self.partner.keep(end);
                    Event::Dance(Cue::Offered { offer })
                }
            });
        }
    }

    /// With the paths of Unix sockets, unless orphans serve on there.
    pub(super) fn close_listeners(&mut self) {
        if self.orphans.serve_on() {
            self.listeners.iter_mut().for_each(Listener::bequeath);
        }
        self.listeners.drain(..).for_each(Listener::retire);
        self.notify(Notice::ListenersClosed);
    }
}
