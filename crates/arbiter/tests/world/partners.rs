//! The other arbiter of a dance, and orphans of one that is gone.

use oxicorn_arbiter::core::{Cue, Offer, OrphanId, Standing, Step};
use oxicorn_arbiter::{Event, Exit, Pid, WorkerId};

use super::World;

/// The other arbiter.
#[derive(Default)]
pub(crate) struct Dance {
    pub(crate) successor: Option<Pid>,
    pub(crate) has_elder: bool,
    /// What it said last; `None` without a link.
    pub(crate) standing: Option<Standing>,
    /// What it was told last.
    pub(crate) told: Standing,
    pub(crate) last_offer: Offer,
    /// An offer that was not yet answered.
    pub(crate) open: Option<Offer>,
    pub(crate) gifts: usize,
    pub(crate) taken: usize,
    pub(crate) promotions: usize,
}

impl World {
    pub(crate) fn dances(&mut self, step: &Step) -> Option<Event> {
        let linked = self.dance.standing.is_some();
        match step {
            Step::Start => return Some(self.successor()),
            Step::Say(standing) => {
                let new = *standing != self.dance.told;
                assert!(linked && new, "nobody listens:\n{}", self.tell());
                self.dance.told = *standing;
            }
            Step::Give { from } => self.give(*from),
            Step::Take { offer, worker } => {
                let serves = self.serving.contains(worker);
                assert!(serves, "{worker} cannot take:\n{}", self.tell());
                self.answered(*offer);
                self.dance.taken += 1;
            }
            Step::Decline { offer } => self.answered(*offer),
            Step::Bequeath => {
                let heir = self.dance.successor;
                assert!(heir.is_some(), "nobody inherits:\n{}", self.tell());
            }
            Step::Promote => {
                let elder = std::mem::take(&mut self.dance.has_elder);
                assert!(elder, "there was no elder:\n{}", self.tell());
                self.dance.promotions += 1;
            }
        }
        None
    }

    pub(crate) fn successor(&mut self) -> Event {
        let alone = self.dance.successor.is_none() && !self.dance.has_elder;
        assert!(alone, "a third arbiter:\n{}", self.tell());
        if self.chance.one_in(4) {
            let error = "by chance".to_owned();
            return Event::Dance(Cue::NotStarted { error });
        }
        self.last_pid += 1;
        let pid = self.last_pid;
        self.dance.successor = Some(pid);
        self.dance.standing = Some(Standing::Away);
        self.dance.told = Standing::Away;
        Event::Dance(Cue::Started { pid })
    }

    pub(crate) fn give(&mut self, from: WorkerId) {
        let able = self.dance.standing == Some(Standing::Able);
        let knows = self.ready.contains(&from) && self.alive.values().any(|one| *one == from);
        assert!(able && knows, "{from} cannot give:\n{}", self.tell());
        self.serving.remove(&from);
        self.dance.gifts += 1;
    }

    pub(crate) fn answered(&mut self, offer: Offer) {
        let open = self.dance.open.take();
        assert_eq!(open, Some(offer), "answered before:\n{}", self.tell());
    }

    /// Something of the other arbiter's, if there is one.
    pub(crate) fn the_other_does_something(&mut self) {
        let cue = match (self.chance.below(8), self.dance.successor) {
            (0, Some(pid)) => {
                self.dance.successor = None;
                self.dance.standing = None;
                return self.end(pid, Exit::Code(0));
            }
            (1, _) if self.dance.has_elder => {
                self.dance.standing = None;
                Cue::ElderGone
            }
            (2, _) => {
                self.dance.standing = None;
                Cue::LinkLost
            }
            (3..=5, _) => {
                let all = [
                    Standing::Able,
                    Standing::Able,
                    Standing::Away,
                    Standing::Leaving,
                ];
                let said = self.chance.pick(&all).unwrap();
                self.dance.standing = self.dance.standing.map(|_| said);
                Cue::Said(said)
            }
            _ => {
                self.dance.last_offer += 1;
                // Whoever has ended answers nothing.
                self.dance.open = self.exit.is_none().then_some(self.dance.last_offer);
                Cue::Offered {
                    offer: self.dance.last_offer,
                }
            }
        };
        self.handle(Event::Dance(cue));
    }

    /// One says hello, for the first time or again, or goes.
    pub(crate) fn some_orphan_comes_or_goes(&mut self) {
        let known: Vec<OrphanId> = self.orphans.keys().copied().collect();
        let known = self.chance.pick(&known).filter(|_| self.chance.one_in(2));
        if let Some(orphan) = known.filter(|_| self.chance.one_in(2)) {
            self.orphans.remove(&orphan);
            return self.handle(Event::OrphanGone { orphan });
        }
        let orphan = known.unwrap_or(self.last_orphan + 1);
        self.last_orphan = self.last_orphan.max(orphan);
        self.orphans.insert(orphan, false);
        self.handle(Event::OrphanFound { orphan, pid: 7 });
    }

    pub(crate) fn is_born(&mut self) {
        let linked = !self.chance.one_in(4);
        self.dance.has_elder = true;
        self.dance.standing = linked.then_some(Standing::Away);
        self.handle(Event::Dance(Cue::Born { linked }));
    }
}
