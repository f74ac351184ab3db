//! Two arbiters at once: gunicorn's way to a new version of the server itself.
//!
//! USR2 makes this arbiter, the *elder*, start a second one, its *successor*, on the same listening
//! sockets. The operator then sends the elder's workers away (WINCH), and ends the elder (TERM) or,
//! to back out, the successor. The two are *partners*: over a link each says how it stands, and
//! whoever lets workers go has them give their connections to the workers of the other, in either
//! direction.
//!
//! Invariants: one successor at a time, and none of an arbiter whose own elder lives; connections
//! are offered only to a partner that said it is able; waiting for a partner is bounded, and ends
//! when the partner does. Whatever happens to a partner, this arbiter does what it would do alone; so
//! do two that are told to leave at the same moment: their offers cross, and are declined.

use std::time::Duration;

use super::decide::seconds;
use super::stopping::Mode;
use super::worker::{Force, Phase, Worker};
use super::{Action, Exit, Level, Pid, State, WorkerId, signal_name};

/// Names an offer of connections by the partner; never used twice.
pub type Offer = u64;

/// How an arbiter stands, as it tells its partner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// No worker can take connections at the moment.
    #[default]
    Away,
    /// Its workers serve, and take what is offered.
    Able,
    /// It was told to stop: it takes nothing any more.
    Leaving,
}

/// What happens between two arbiters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cue {
    /// Before everything else: this arbiter was started by another one.
    Born {
        /// Whether there is a link to it.
        linked: bool,
    },
    /// A [`Step::Start`] succeeded.
    Started {
        /// The successor's process.
        pid: Pid,
    },
    /// A [`Step::Start`] failed: no process exists.
    NotStarted {
        /// Why, in the system's words.
        error: String,
    },
    /// The partner says how it stands.
    Said(Standing),
    /// A worker of another arbiter's wants to give connections; answer with [`Step::Take`] or
    /// [`Step::Decline`].
    Offered {
        /// Which offer.
        offer: Offer,
    },
    /// The link has ended.
    LinkLost,
    /// The process of the arbiter that started this one has ended.
    ElderGone,
}

/// What is to be done between two arbiters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Start a second arbiter; answer with [`Cue::Started`] or [`Cue::NotStarted`].
    Start,
    /// Tell the partner how this arbiter stands.
    Say(Standing),
    /// Offer the worker's connections to the partner. The worker is parked by it.
    Give {
        /// Who gives.
        from: WorkerId,
    },
    /// Let a worker take what was offered.
    Take {
        /// Which offer.
        offer: Offer,
        /// Who takes.
        worker: WorkerId,
    },
    /// Nobody can take what was offered: the partner's worker keeps it.
    Decline {
        /// Which offer.
        offer: Offer,
    },
    /// The Unix sockets' paths are the successor's from now on.
    Bequeath,
    /// Take the names (pidfile, control socket, Unix sockets) and the place before the service
    /// manager that were the elder's.
    Promote,
}

/// What this arbiter knows of the other one.
#[derive(Debug, Default)]
pub(super) struct Dance {
    /// The arbiter that this one started, until it was reaped.
    successor: Option<Pid>,
    /// It has said that it leaves.
    successor_leaves: bool,
    /// The arbiter that started this one lives.
    has_elder: bool,
    /// Who can be talked to, and how it stands.
    partner: Option<Standing>,
    /// What the partner was told.
    said: Standing,
    /// How many workers there should be when those that WINCH sent away come back.
    resting: Option<usize>,
    /// Until when WINCH waits for the successor.
    rest_at: Option<Duration>,
    /// The stop that was asked for waits for the partner.
    stop_waits: bool,
}

impl State {
    pub(super) fn cued(&mut self, cue: Cue) {
        match cue {
            Cue::Born { linked } => {
                self.dance.has_elder = true;
                self.dance.partner = linked.then_some(Standing::Away);
            }
            Cue::Started { pid } => self.successor_started(pid),
            Cue::NotStarted { error } => {
                let text = format!("Cannot start a successor: {error}. This arbiter serves on.");
                self.log(Level::Error, text);
            }
            Cue::Said(standing) => self.partner_said(standing),
            Cue::Offered { offer } => self.offered(offer),
            Cue::LinkLost => self.dance.partner = None,
            Cue::ElderGone => self.promoted(),
        }
    }

    /// Whether there is more to this arbiter than itself: another one, or workers that WINCH sent away.
    pub(super) fn dances(&self) -> bool {
        let dance = &self.dance;
        dance.successor.is_some()
            || dance.has_elder
            || dance.partner.is_some()
            || dance.resting.is_some()
    }

    /// USR2.
    pub(super) fn asked_for_a_successor(&mut self) {
        let obstacle = if self.dance.successor.is_some() {
            "Child exists."
        } else if self.dance.has_elder {
            "Parent exists."
        } else if self.mode != Mode::Serving || self.stop_at.is_some() {
            "The server stops."
        } else if self.upgrade.is_some() {
            "An upgrade is under way."
        } else {
            return self.act(Action::Dance(Step::Start));
        };
        self.log(Level::Warning, format!("USR2 signal ignored. {obstacle}"));
    }

    /// Whether the child that ended was the successor.
    pub(super) fn successor_ended(&mut self, pid: Pid, exit: Exit) -> bool {
        if self.dance.successor != Some(pid) {
            return false;
        }
        self.dance.successor = None;
        self.dance.partner = None;
        let how = match exit {
            Exit::Code(code) => format!("exited with code {code}"),
            Exit::Signal { number, .. } => format!("was sent {}", signal_name(number)),
        };
        let goes_on = if self.mode == Mode::Serving && self.stop_at.is_none() {
            " This arbiter serves on."
        } else {
            ""
        };
        let text = format!("Successor (pid:{pid}) {how}.{goes_on}");
        self.log(Level::Warning, text);
        true
    }

    /// The process that serves on when this one has gone, as far as can be told.
    pub(super) fn heir(&self) -> Option<Pid> {
        let stays = !self.dance.successor_leaves;
        self.dance.successor.filter(|_| stays)
    }

    /// Whether WINCH sends the workers away.
    pub(super) fn heeds_winch(&self) -> bool {
        let has_linked_heir = self.heir().is_some() && self.dance.partner.is_some();
        self.policy.daemon || has_linked_heir
    }

    /// WINCH. While a successor that may take the connections boots, the workers stay.
    pub(super) fn asked_to_rest(&mut self) {
        if self.target == 0 || self.dance.successor.is_none() || !self.partner_may_come() {
            return self.rest();
        }
        let until = self.now.saturating_add(self.policy.graceful_timeout);
        self.dance.rest_at.get_or_insert(until);
        let limit = seconds(self.policy.graceful_timeout);
        let text = format!("The workers stay until the successor is ready, at most {limit}.");
        self.log(Level::Info, text);
    }

    /// Whether the partner takes connections now.
    pub(super) fn partner_takes(&self) -> bool {
        self.dance.partner == Some(Standing::Able)
    }

    /// Whether a stop should wait, since somebody may soon be able to take the connections.
    pub(super) fn stop_awaits_partner(&self) -> bool {
        self.partner_may_come() && self.workers.values().any(Worker::has_handlers)
    }

    /// Puts the stop off until the partner is ready to take the connections.
    pub(super) fn await_partner(&mut self) {
        let limit = seconds(self.policy.graceful_timeout);
        let text = format!("Stopping when the other arbiter is ready, in {limit} at the latest.");
        self.log(Level::Info, text);
        self.dance.stop_waits = true;
        self.stop_at = Some(self.now.saturating_add(self.policy.graceful_timeout));
    }

    /// Whether the stop that was asked for waits for the partner, or has done so.
    pub(super) fn stop_has_waited(&self) -> bool {
        self.dance.stop_waits
    }

    /// Before the listening sockets are closed.
    pub(super) fn bequeath(&mut self) {
        if self.heir().is_some() {
            self.act(Action::Dance(Step::Bequeath));
        }
    }

    /// Gives a worker's connections to the partner, if it takes any. The worker leaves next.
    pub(super) fn give_away(&mut self, id: WorkerId) {
        let speaks = |w: &Worker| w.has_handlers() && w.force == Force::None;
        if self.partner_takes() && self.workers.get(&id).is_some_and(speaks) {
            self.act(Action::Dance(Step::Give { from: id }));
        }
    }

    /// Takes the steps that have become possible.
    pub(super) fn advance_dance(&mut self) {
        self.rest_when_due();
        if self.are_needed_again() {
            let workers = self.dance.resting.take().unwrap_or_default();
            self.log(Level::Info, "The workers come back.");
            self.set_target(workers);
        }
    }

    fn rest_when_due(&mut self) {
        let Some(until) = self.dance.rest_at else {
            return;
        };
        if self.mode != Mode::Serving || self.dance.successor.is_none() {
            self.dance.rest_at = None;
        } else if self.partner_takes() {
            self.rest();
        } else if until <= self.now {
            self.give_up_waiting();
        }
    }

    /// Until when WINCH waits.
    pub(super) fn rest_at(&self) -> Option<Duration> {
        self.dance.rest_at
    }

    /// Tells the partner how this arbiter stands, if that is new.
    pub(super) fn say_standing(&mut self) {
        let standing = self.standing();
        let listens = self.dance.partner.is_some() && self.mode != Mode::Ended;
        if listens && self.dance.said != standing {
            self.dance.said = standing;
            self.act(Action::Dance(Step::Say(standing)));
        }
    }

    /// What gunicorn calls itself in the log.
    pub(super) fn master_name(&self) -> &'static str {
        if self.dance.has_elder {
            "Master.2"
        } else {
            "Master"
        }
    }

    /// Whether the partner is there, and may become able.
    pub(super) fn partner_may_come(&self) -> bool {
        self.dance.partner == Some(Standing::Away)
    }

    fn successor_started(&mut self, pid: Pid) {
        self.dance = Dance {
            successor: Some(pid),
            partner: Some(Standing::Away),
            ..Dance::default()
        };
        let text = format!("Successor (pid:{pid}) was started.");
        self.log(Level::Info, text);
    }

    fn partner_said(&mut self, standing: Standing) {
        if self.dance.partner.is_none() {
            return;
        }
        let before = self.dance.partner.replace(standing);
        self.dance.successor_leaves |= standing == Standing::Leaving;
        if let Some(pid) = self.dance.successor
            && standing == Standing::Able
            && before == Some(Standing::Away)
        {
            let text = format!(
                "Successor (pid:{pid}) serves: TERM to this arbiter hands over to it, TERM to the successor undoes it."
            );
            self.log(Level::Info, text);
        }
        let standing = format!("{standing:?}").to_lowercase();
        self.log(Level::Debug, format!("The other arbiter is {standing}."));
    }

    fn offered(&mut self, offer: Offer) {
        let taker = match self.mode {
            Mode::Serving if self.stop_at.is_none() => self.next_taker(),
            Mode::Idle | Mode::Serving | Mode::Stopping(_) | Mode::Ended => None,
        };
        self.act(Action::Dance(match taker {
            Some(worker) => Step::Take { offer, worker },
            None => Step::Decline { offer },
        }));
    }

    fn promoted(&mut self) {
        self.dance.partner = None;
        if !std::mem::take(&mut self.dance.has_elder) {
            return;
        }
        self.log(Level::Info, "Master has been promoted.");
        self.act(Action::Dance(Step::Promote));
        self.tell_promoted();
    }

    /// Sends every worker away; the sockets stay.
    fn rest(&mut self) {
        self.dance.rest_at = None;
        self.log(Level::Info, "graceful stop of workers");
        self.dismiss_follow_up("WINCH stops the workers");
        // Before a restart is undone: no connection goes back to workers that leave as well.
        self.give_everything_away();
        self.roll_back("WINCH stops the workers.");
        if self.heir().is_some() && self.target > 0 {
            self.dance.resting = Some(self.target);
        }
        self.set_target(0);
    }

    fn give_everything_away(&mut self) {
        if !self.partner_takes() {
            return;
        }
        for id in self.by_slot(|w| w.is_serving() || w.phase == Phase::Parked) {
            self.give_away(id);
            self.retire(id);
        }
    }

    /// In the background WINCH is obeyed, as ever; in the foreground it is nothing without a
    /// successor, as ever.
    fn give_up_waiting(&mut self) {
        if self.policy.daemon {
            return self.rest();
        }
        self.dance.rest_at = None;
        let text = "WINCH ignored: the successor is not ready. The workers stay.";
        self.log(Level::Warning, text);
    }

    /// Whether there is no successor any more, or soon, for whom the workers were sent away. A restart
    /// brings new ones by itself.
    fn are_needed_again(&self) -> bool {
        let serves = self.mode == Mode::Serving && self.stop_at.is_none();
        let restarts = self.restart.is_some() || self.reading.is_some();
        let rests = self.dance.resting.is_some() && self.target == 0;
        rests && self.heir().is_none() && serves && !restarts
    }

    /// Able from the moment at which all wanted workers serve until none does.
    pub(super) fn standing(&self) -> Standing {
        match self.mode {
            Mode::Idle => return Standing::Away,
            Mode::Serving if self.stop_at.is_none() => {}
            Mode::Serving | Mode::Stopping(_) | Mode::Ended => return Standing::Leaving,
        }
        let serving = |worker: &&Worker| worker.fills_slot() && worker.is_serving();
        let serving = self.workers.values().filter(serving).count();
        let enough = match self.dance.said {
            Standing::Able => 1,
            Standing::Away | Standing::Leaving => self.target.max(1),
        };
        if self.target > 0 && serving >= enough {
            Standing::Able
        } else {
            Standing::Away
        }
    }
}
