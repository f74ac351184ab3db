//! The loop's dealings with orphans; `core/orphans.rs` decides.

use super::Arbiter;
use crate::core::{Cue, Event};
use crate::host::Host;
use crate::orphans::News;

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
}
