//! Giving a share: only connections whose requests wait, and only so many. It is giving as in `giving`, but for which
//! connections are candidates: they are named once, when the other process has said that it takes them. The listeners do not
//! rest meanwhile, and what is not named is served as ever. Invariant: a share ends by itself, and soon: when everything named
//! has moved, or as soon as the other process has no room.

use std::io;
use std::os::fd::OwnedFd;

use super::Handover;
use super::giving::Giving;
use crate::clock::Now;
use crate::connection::{Connection, Phase};
use crate::engine::{Engine, Notice};
use crate::exchange::Exchange;
use crate::slab::Id;

/// What is given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every connection, also those that become movable later.
    Everything,
    /// Up to so many connections; the other process was not heard yet.
    Share(usize),
    /// Up to so many, to be named now.
    Welcome(usize),
    /// Those that were named.
    Named,
}

impl Engine {
    /// Offers up to `most` connections whose requests wait to the engine at the other end of `link`, as
    /// [`Engine::give_to`] does with all. [`Handover::Welcome`] asks which, [`Handover::Shared`] follows when it is over.
    /// An error leaves everything as it was.
    pub fn share_with(&mut self, link: OwnedFd, most: usize, now: Now) -> io::Result<()> {
        self.begin_giving(link, Scope::Share(most), now)?;
        self.arm_timer();
        Ok(())
    }

    /// The answer to [`Handover::Welcome`]: requests of which the application has seen nothing, to move with their
    /// connections. If they are fewer than were asked for, connections go along that have said something nobody has looked at
    /// yet. Gives back the requests that cannot move; all of them if the share is over.
    pub fn share(&mut self, waiting: Vec<Box<Exchange>>, now: Now) -> Vec<Box<Exchange>> {
        let Some(most) = self.welcome() else {
            return waiting;
        };
        let (mut named, mut kept) = (Vec::new(), Vec::new());
        for exchange in waiting {
            match self.take_back(exchange, now) {
                Ok(id) => named.push(id),
                Err(exchange) => kept.push(exchange),
            }
        }
        let more = most.saturating_sub(named.len());
        named.extend(self.ready_to_go(more));
        self.name(&named);
        kept
    }

    /// How many may be named.
    fn welcome(&self) -> Option<usize> {
        let giving = self.giving.as_ref()?;
        match giving.scope {
            Scope::Welcome(most) if !giving.giver.is_closing() => Some(most),
            _ => None,
        }
    }

    /// Connections with events that were not looked at, the last ones first.
    fn ready_to_go(&mut self, most: usize) -> Vec<Id> {
        let mut found: Vec<Id> = self.unseen().collect();
        let begins = |one: &Connection| matches!(one.phase, Phase::Head) && one.is_movable();
        found.retain(|&id| self.connections.get_mut(id).is_some_and(|one| begins(one)));
        found.truncate(most);
        found
    }

    fn name(&mut self, named: &[Id]) {
        let Some(giving) = &mut self.giving else {
            return;
        };
        giving.scope = Scope::Named;
        let held_back = giving.holds_back();
        for &id in named {
            let found = self.connections.get_mut(id);
            if let Some(connection) = found.filter(|found| !found.offered) {
                connection.offered = true;
                giving.candidates.push_back(id);
            }
        }
        if !held_back {
            for &id in named {
                self.enqueue_if_announced(id);
            }
        }
    }

    /// The other process was heard, or is done.
    pub(super) fn advance_sharing(&mut self, giving: &mut Giving, now: Now) {
        let flows = giving.giver.flows(now.mono);
        match giving.scope {
            Scope::Share(most) if giving.giver.is_met() && flows => {
                giving.scope = Scope::Welcome(most);
                let welcome = Handover::Welcome { most };
                self.notices.push_back(Notice::Handover(welcome));
            }
            Scope::Share(_) if giving.giver.is_met() => giving.giver.close(),
            Scope::Named if giving.giver.is_quiet() && (giving.candidates.is_empty() || !flows) => {
                giving.giver.close();
            }
            _ => {}
        }
    }
}
