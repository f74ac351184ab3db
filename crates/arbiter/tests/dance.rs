//! Two cores that dance with each other, in virtual time: whatever the operator does, and in
//! whatever order words and workers come, no worker with connections leaves without giving them to
//! somebody who takes them, and in the end one of the two serves.
//!
//! Nothing fails here: what happens when something does is in the transcripts, `properties.rs` and
//! `processes.rs`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oxicorn_arbiter::core::{Cue, Step};
use oxicorn_arbiter::{Action, Event, Exit, Pid, Policy, Signal, State, WorkerId};

const ELDER: usize = 0;
const SUCCESSOR: usize = 1;
/// The successor's process.
const CHILD: Pid = 500;

/// xorshift64*: small, and the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn millis(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// One of the two arbiters, with its workers.
struct Side {
    state: State,
    pids: BTreeMap<WorkerId, Pid>,
    serving: BTreeSet<WorkerId>,
    /// Those that may have connections: they have served or taken, and not given since.
    laden: BTreeSet<WorkerId>,
    leaving: BTreeSet<WorkerId>,
    /// When the last word to it arrives: words stay in order.
    heard_at: Duration,
    ended: bool,
}

impl Side {
    fn new(policy: Policy, now: Duration) -> Self {
        Self {
            state: State::new(policy, now),
            pids: BTreeMap::new(),
            serving: BTreeSet::new(),
            laden: BTreeSet::new(),
            leaving: BTreeSet::new(),
            heard_at: now,
            ended: false,
        }
    }
}

struct Stage {
    chance: Chance,
    policy: Policy,
    now: Duration,
    sides: Vec<Side>,
    /// What is still to happen; the number keeps those of one moment in order.
    coming: BTreeMap<(Duration, u64), (usize, Event)>,
    last: u64,
    last_pid: Pid,
    offers: u64,
    taken: usize,
    declined: usize,
    /// Workers that left with connections that nobody took.
    lost: Vec<String>,
    /// The moments at which nobody served, once somebody had.
    gaps: usize,
    begun: bool,
    story: Vec<String>,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let policy = Policy {
            workers: usize::try_from(1 + chance.below(3)).expect("small"),
            graceful_timeout: Duration::from_secs(30),
            observe_timeout: chance.millis(3000),
            daemon: chance.coin(),
            ..Policy::default()
        };
        Self {
            chance,
            policy,
            now: Duration::ZERO,
            sides: vec![Side::new(policy, Duration::ZERO)],
            coming: BTreeMap::new(),
            last: 0,
            last_pid: 1000,
            offers: 0,
            taken: 0,
            declined: 0,
            lost: Vec::new(),
            gaps: 0,
            begun: false,
            story: Vec::new(),
        }
    }

    fn later(&mut self, delay: Duration, side: usize, event: Event) {
        self.last += 1;
        let at = self.now + delay;
        self.coming.insert((at, self.last), (side, event));
    }

    /// Over the link: late, but never out of order.
    fn say(&mut self, to: usize, cue: Cue) {
        let at = self.now + self.chance.millis(50);
        let Some(side) = self.sides.get_mut(to) else {
            return;
        };
        side.heard_at = side.heard_at.max(at);
        let delay = side.heard_at.saturating_sub(self.now);
        self.later(delay, to, Event::Dance(cue));
    }

    /// Plays until nothing is left to happen, or `until`.
    fn play(&mut self, until: Duration) {
        loop {
            let due = |(index, side): (usize, &Side)| {
                let at = side.state.next_deadline().filter(|_| !side.ended)?;
                Some((at, index))
            };
            let deadline = self.sides.iter().enumerate().filter_map(due).min();
            let next = self.coming.keys().next().copied();
            match (next, deadline) {
                (Some((at, number)), deadline) if deadline.is_none_or(|(due, _)| at <= due) => {
                    if at > until {
                        break;
                    }
                    self.now = at;
                    if let Some((side, event)) = self.coming.remove(&(at, number)) {
                        self.handle(side, event);
                    }
                }
                (_, Some((at, side))) if at <= until => {
                    self.now = at;
                    self.handle(side, Event::DeadlineReached);
                }
                _ => break,
            }
        }
        self.now = until;
    }

    fn handle(&mut self, index: usize, event: Event) {
        if self.sides[index].ended {
            return;
        }
        self.story.push(format!("{:?} {index} {event:?}", self.now));
        let actions = self.sides[index].state.handle(self.now, event);
        for action in actions {
            self.story.push(format!("      {action:?}"));
            self.perform(index, action);
        }
        let serve = self.sides.iter().any(|side| !side.serving.is_empty());
        self.begun |= serve;
        self.gaps += usize::from(self.begun && !serve);
    }

    fn perform(&mut self, index: usize, action: Action) {
        let side = &mut self.sides[index];
        match action {
            Action::Fork { worker, .. } => self.fork(index, worker),
            Action::ReadConfiguration { .. } => {
                let policy = self.policy;
                self.handle(index, Event::ConfigurationRead { policy });
            }
            Action::SendServe { worker } => {
                side.serving.insert(worker);
                side.laden.insert(worker);
            }
            Action::SendPark { worker } => {
                side.serving.remove(&worker);
            }
            Action::Connect { from, to } => {
                side.serving.remove(&from);
                side.laden.remove(&from);
                side.laden.insert(to);
            }
            Action::SendDrain { worker } => self.leaves(index, worker),
            Action::Signal { pid, signal } => self.signalled(index, pid, signal),
            Action::Dance(step) => self.step(index, &step),
            Action::Exit { .. } => self.ends(index),
            _ => {}
        }
    }

    fn fork(&mut self, index: usize, worker: WorkerId) {
        self.last_pid += 1;
        let pid = self.last_pid;
        self.sides[index].pids.insert(worker, pid);
        let boot = self.chance.millis(3000);
        self.later(boot, index, Event::WorkerReady { worker });
        self.handle(index, Event::Forked { worker, pid });
    }

    fn leaves(&mut self, index: usize, worker: WorkerId) {
        let side = &mut self.sides[index];
        side.serving.remove(&worker);
        if side.laden.remove(&worker) {
            self.lost.push(format!("{worker} of {index}"));
        }
        let first = self.sides[index].leaving.insert(worker);
        if let (true, Some(pid)) = (first, self.sides[index].pids.get(&worker).copied()) {
            let (exit, oom) = (Exit::Code(0), None);
            let delay = self.chance.millis(1000);
            self.later(delay, index, Event::WorkerExited { pid, exit, oom });
        }
    }

    fn signalled(&mut self, index: usize, pid: Pid, signal: Signal) {
        let found = self.sides[index].pids.iter().find(|(_, own)| **own == pid);
        let worker = found.map(|(worker, _)| *worker);
        match (worker, signal) {
            (Some(worker), Signal::Term | Signal::Quit) => self.leaves(index, worker),
            _ => panic!("{signal:?} to {pid}: {}", self.tell()),
        }
    }

    fn step(&mut self, index: usize, step: &Step) {
        let other = 1 - index;
        match *step {
            Step::Start => self.start(),
            Step::Say(standing) => self.say(other, Cue::Said(standing)),
            Step::Give { from } => {
                self.sides[index].serving.remove(&from);
                self.sides[index].laden.remove(&from);
                self.offers += 1;
                let offer = self.offers;
                self.say(other, Cue::Offered { offer });
            }
            Step::Take { worker, .. } => {
                self.taken += 1;
                self.sides[index].laden.insert(worker);
            }
            Step::Decline { .. } => self.declined += 1,
            Step::Bequeath | Step::Promote => {}
        }
    }

    fn start(&mut self) {
        self.sides.push(Side::new(self.policy, self.now));
        let boot = self.chance.millis(2000);
        let born = Event::Dance(Cue::Born { linked: true });
        self.later(boot, SUCCESSOR, born);
        self.later(boot, SUCCESSOR, Event::Started);
        // What is said meanwhile waits on the link.
        self.sides[SUCCESSOR].heard_at = self.now + boot;
        self.handle(ELDER, Event::Dance(Cue::Started { pid: CHILD }));
    }

    fn ends(&mut self, index: usize) {
        self.sides[index].ended = true;
        self.say(1 - index, Cue::LinkLost);
        let delay = self
            .sides
            .get(1 - index)
            .map(|side| side.heard_at.saturating_sub(self.now));
        let (pid, exit, oom) = (CHILD, Exit::Code(0), None);
        let event = match index {
            ELDER => Event::Dance(Cue::ElderGone),
            _ => Event::WorkerExited { pid, exit, oom },
        };
        self.later(delay.unwrap_or_default(), 1 - index, event);
    }

    fn pass(&mut self, limit: u64) {
        let until = self.now + self.chance.millis(limit);
        self.play(until);
        self.settle();
    }

    /// Until no word is on its way: two that are told to leave at the same moment find that out by
    /// words that cross, and what they give each other comes back.
    fn settle(&mut self) {
        let words = |(_, event): &&(usize, Event)| matches!(event, Event::Dance(_));
        while self.coming.values().any(|one| words(&one)) {
            self.play(self.now + Duration::from_millis(10));
        }
    }

    fn tell(&self) -> String {
        format!("{:?}\n{}", self.policy, self.story.join("\n"))
    }
}

/// Any order of signals that ends with one of the two told to stop, in any haste.
fn danced(seed: u64) -> (Stage, usize) {
    let mut stage = Stage::new(seed);
    stage.handle(ELDER, Event::Started);
    stage.play(Duration::from_secs(5));
    stage.handle(ELDER, Event::Signal(Signal::Usr2));
    stage.pass(8000);
    for signal in [Signal::Winch, Signal::Hup, Signal::Winch, Signal::Usr2] {
        if stage.chance.coin() {
            stage.handle(ELDER, Event::Signal(signal));
            stage.pass(6000);
        }
    }
    let who = if stage.chance.coin() {
        ELDER
    } else {
        SUCCESSOR
    };
    stage.handle(who, Event::Signal(Signal::Term));
    stage.play(stage.now + Duration::from_secs(120));
    (stage, 1 - who)
}

#[test]
fn nobody_who_dances_loses_a_connection_and_the_other_one_serves_on() {
    let (mut taken, mut returned) = (0, 0);
    for seed in 0..2000 {
        let (stage, left) = danced(seed);
        let tell = || format!("seed {seed}: {}", stage.tell());
        assert_eq!(stage.lost, Vec::<String>::new(), "{}", tell());
        assert_eq!(stage.declined, 0, "{}", tell());
        assert_eq!(stage.gaps, 0, "{}", tell());
        assert!(stage.sides[1 - left].ended, "{}", tell());
        let side = &stage.sides[left];
        assert!(!side.ended, "{}", tell());
        assert_eq!(side.serving.len(), stage.policy.workers, "{}", tell());
        assert_eq!(side.state.next_deadline(), None, "{}", tell());
        taken += stage.taken;
        returned += usize::from(left == ELDER);
    }
    assert!(
        taken > 1000 && returned > 500,
        "too little happened: {taken} taken, {returned} backed out"
    );
}
