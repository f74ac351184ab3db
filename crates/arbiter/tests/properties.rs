//! Random sequences of events against the pure core: what must hold whatever happens, in whatever
//! order.
//!
//! The world is simulated with just enough sense: a killed process dies soon, a pid is used once,
//! and everything else (crashes, refused forks, contradictory reports, storms of signals) is left
//! to chance.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use oxicorn_arbiter::core::{
    Asker, Cue, Offer, OrphanId, Room, Standing, Step, StuckRequest, Tally,
};
use oxicorn_arbiter::{Action, Event, Exit, News, Pid, Policy, Signal, State, WorkerId};
use oxicorn_settings::RestartMode;

/// xorshift64*: small, and the same on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 33) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = self.below(from.len().max(1) as u64);
        from.get(usize::try_from(index).ok()?).copied()
    }
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that were seen, each on its own"
)]
struct World {
    chance: Chance,
    policy: Policy,
    state: State,
    now: Duration,
    alive: BTreeMap<Pid, WorkerId>,
    /// Stems that live, and whose they are.
    stems: BTreeMap<Pid, u32>,
    /// Generations whose stem takes orders.
    rooted: BTreeSet<u32>,
    /// Whom a stem is to fork.
    orders: BTreeMap<u32, WorkerId>,
    /// Whether a generation's workers are forked by a stem.
    preloads: BTreeMap<u32, bool>,
    stem_deaths: usize,
    /// Processes that were sent SIGKILL, and die when the kernel gets to it.
    doomed: Vec<Pid>,
    target: usize,
    /// The most workers that any generation wanted since there was only one.
    other: usize,
    restarting: bool,
    generation: u32,
    generations: BTreeMap<Pid, u32>,
    ready: BTreeSet<WorkerId>,
    /// Told to serve, and not told otherwise since.
    serving: BTreeSet<WorkerId>,
    /// Forks succeed and configurations are good.
    flawless: bool,
    /// Whoever took its connections has just gone.
    stranded: Option<WorkerId>,
    /// Said that they are saturated, and not since that they are relieved.
    saturated: BTreeSet<WorkerId>,
    /// Has just said how many requests wait in it.
    crowded: Option<(WorkerId, u32)>,
    /// When they last took a share.
    took: BTreeMap<WorkerId, Duration>,
    shares: usize,
    gifts: usize,
    /// Those who wait to hear how their restart ended.
    waiting: BTreeSet<Asker>,
    last_asker: Asker,
    restarts: usize,
    rollbacks: usize,
    /// A new version checks the state.
    checking: bool,
    upgrades: usize,
    last_pid: Pid,
    /// Workers of which the arbiter was told that they were forked.
    forked: u64,
    /// Configurations that were to be read.
    asked_to_read: u64,
    tally: Tally,
    /// What the service manager was told last, besides texts.
    last_news: Option<News>,
    ever_served: bool,
    dance: Dance,
    /// Workers of an arbiter that is gone, and whether they were told to give since their last hello.
    orphans: BTreeMap<OrphanId, bool>,
    last_orphan: OrphanId,
    relieved_orphans: usize,
    dismissed_orphans: usize,
    exit: Option<u8>,
    story: Vec<String>,
}

/// The other arbiter.
#[derive(Default)]
struct Dance {
    successor: Option<Pid>,
    has_elder: bool,
    /// What it said last; `None` without a link.
    standing: Option<Standing>,
    /// What it was told last.
    told: Standing,
    last_offer: Offer,
    /// An offer that was not yet answered.
    open: Option<Offer>,
    gifts: usize,
    taken: usize,
    promotions: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let policy = some_policy(&mut chance);
        let state = State::new(policy, Duration::ZERO);
        let target = policy.workers;
        Self {
            chance,
            policy,
            state,
            now: Duration::ZERO,
            alive: BTreeMap::new(),
            stems: BTreeMap::new(),
            rooted: BTreeSet::new(),
            orders: BTreeMap::new(),
            preloads: BTreeMap::from([(1, policy.preload)]),
            stem_deaths: 0,
            doomed: Vec::new(),
            target,
            other: 0,
            restarting: false,
            generation: 1,
            generations: BTreeMap::new(),
            ready: BTreeSet::new(),
            serving: BTreeSet::new(),
            flawless: false,
            stranded: None,
            saturated: BTreeSet::new(),
            crowded: None,
            took: BTreeMap::new(),
            shares: 0,
            gifts: 0,
            waiting: BTreeSet::new(),
            last_asker: 0,
            restarts: 0,
            rollbacks: 0,
            checking: false,
            upgrades: 0,
            last_pid: 1000,
            forked: 0,
            asked_to_read: 0,
            tally: Tally::default(),
            last_news: None,
            ever_served: false,
            dance: Dance::default(),
            orphans: BTreeMap::new(),
            last_orphan: 0,
            relieved_orphans: 0,
            dismissed_orphans: 0,
            exit: None,
            story: Vec::new(),
        }
    }

    fn handle(&mut self, event: Event) {
        self.story.push(format!("{:?} {event:?}", self.now));
        self.forget_others();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.forked += u64::from(matches!(event, Event::Forked { .. }));
            for action in self.state.handle(self.now, event) {
                self.story.push(format!("    {action:?}"));
                // The order in which results come back is nobody's to rely on.
                match self.perform(&action) {
                    Some(event) if self.chance.one_in(2) => events.push_front(event),
                    event => events.extend(event),
                }
            }
        }
        assert_eq!(self.dance.open, None, "not answered:\n{}", self.tell());
        self.check_deadline();
        self.check_tally();
        self.check_replaceable();
    }

    /// Whoever may be asked to be replaced lives, and has been ready.
    fn check_replaceable(&self) {
        for (pid, worker) in &self.alive {
            if let Ok(found) = self.state.replaceable(*pid) {
                let serves = found == *worker && self.ready.contains(worker);
                assert!(serves, "{pid} cannot serve:\n{}", self.tell());
            }
        }
        assert!(self.state.replaceable(0).is_err());
    }

    /// The numbers are right, and never fall.
    fn check_tally(&mut self) {
        let before = std::mem::replace(&mut self.tally, self.state.status(self.now).tally);
        let Tally {
            spawned,
            killed,
            restarts,
        } = self.tally;
        let living = self.alive.len() as u64;
        let sound = spawned == self.forked
            && restarts == self.asked_to_read
            && (before.killed..=spawned - living).contains(&killed);
        assert!(sound, "{before:?}, {:?}:\n{}", self.tally, self.tell());
    }

    fn dances(&mut self, step: &Step) -> Option<Event> {
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

    fn successor(&mut self) -> Event {
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

    fn give(&mut self, from: WorkerId) {
        let able = self.dance.standing == Some(Standing::Able);
        let knows = self.ready.contains(&from) && self.alive.values().any(|one| *one == from);
        assert!(able && knows, "{from} cannot give:\n{}", self.tell());
        self.serving.remove(&from);
        self.dance.gifts += 1;
    }

    fn answered(&mut self, offer: Offer) {
        let open = self.dance.open.take();
        assert_eq!(open, Some(offer), "answered before:\n{}", self.tell());
    }

    /// Something of the other arbiter's, if there is one.
    fn the_other_does_something(&mut self) {
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
    fn some_orphan_comes_or_goes(&mut self) {
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

    fn is_born(&mut self) {
        let linked = !self.chance.one_in(4);
        self.dance.has_elder = true;
        self.dance.standing = linked.then_some(Standing::Away);
        self.handle(Event::Dance(Cue::Born { linked }));
    }

    fn perform(&mut self, action: &Action) -> Option<Event> {
        assert_eq!(self.exit, None, "an action after the end:\n{}", self.tell());
        match action {
            Action::Fork {
                worker, generation, ..
            } => return Some(self.fork(*worker, *generation)),
            Action::ForkStem { generation } => return Some(self.fork_stem(*generation)),
            Action::Order {
                worker, generation, ..
            } => self.order(*worker, *generation),
            Action::SendReopen { generation } => self.has_stem(*generation),
            Action::DismissStem { generation } => {
                self.has_stem(*generation);
                self.rooted.remove(generation);
            }
            Action::ReadConfiguration { generation } => {
                self.asked_to_read += 1;
                return Some(self.configuration(*generation));
            }
            Action::Dance(step) => return self.dances(step),
            Action::SendServe { worker } => self.serve(*worker),
            Action::SendPark { worker } | Action::SendDrain { worker } => {
                self.serving.remove(worker);
            }
            Action::Connect { from, to } => self.connect(*from, *to),
            Action::Share { from, to, most } => self.share(*from, *to, *most),
            Action::RestartEnded {
                generation,
                failure,
            } => {
                self.restarting = false;
                self.rollbacks += usize::from(failure.is_some());
                self.generation = *generation;
            }
            Action::Signal { pid, signal } => self.signal(*pid, *signal),
            Action::WorkersChanged { new, old } => {
                self.other = self.other.max(*new).max(old.unwrap_or(0));
                // One more for this generation is one more for the next.
                self.other += usize::from(self.restarting && *new == self.target + 1);
                self.target = *new;
            }
            Action::CheckUpgrade => self.checking = true,
            Action::AbandonUpgrade => self.checking = false,
            Action::Upgrade => return Some(self.become_another()),
            Action::Tell { news, .. } => self.told(*news),
            Action::Answer { asker, .. } => {
                let waited = self.waiting.remove(asker);
                assert!(waited, "{asker} was told before:\n{}", self.tell());
            }
            Action::RelieveOrphan { orphan } => {
                let told = self.orphans.insert(*orphan, true);
                assert_eq!(told, Some(false), "{orphan} again:\n{}", self.tell());
                let taken = !self.serving.is_empty();
                assert!(taken, "nobody takes from {orphan}:\n{}", self.tell());
                self.relieved_orphans += 1;
            }
            Action::DismissOrphan { orphan } => {
                let known = self.orphans.remove(orphan).is_some();
                assert!(known, "{orphan} is not there:\n{}", self.tell());
                self.dismissed_orphans += 1;
            }
            Action::Exit { code } => {
                let waiting = &self.waiting;
                assert!(waiting.is_empty(), "{waiting:?} wait:\n{}", self.tell());
                self.exit = Some(*code);
            }
            _ => {}
        }
        None
    }

    /// After *stopping* nothing else is said, and *ready* only by who serves or has served.
    fn told(&mut self, news: News) {
        if self.last_news == Some(News::Stopping) {
            assert_eq!(news, News::Stopping, "it stopped:\n{}", self.tell());
        }
        if news == News::Reloading {
            assert_eq!(
                self.last_news,
                Some(News::Ready),
                "not ready:\n{}",
                self.tell()
            );
        }
        if let News::Succeeded(pid) = news {
            let heir = self.dance.successor;
            assert_eq!(heir, Some(pid), "not there:\n{}", self.tell());
        }
        if news == News::Ready {
            assert!(self.ever_served, "nobody served:\n{}", self.tell());
        }
        if news != News::Status {
            self.last_news = Some(news);
        }
    }

    fn configuration(&mut self, generation: u32) -> Event {
        if !self.flawless && self.chance.one_in(4) {
            let reason = "by chance".to_owned();
            return Event::ConfigurationRefused { reason };
        }
        let mut policy = some_policy(&mut self.chance);
        if self.flawless {
            policy.boot_timeout = None;
        }
        self.preloads.insert(generation, policy.preload);
        self.other = self.other.max(policy.workers);
        self.restarting = true;
        self.restarts += 1;
        Event::ConfigurationRead { policy }
    }

    fn serve(&mut self, worker: WorkerId) {
        let known = self.ready.contains(&worker) && self.alive.values().any(|one| *one == worker);
        assert!(known, "{worker} cannot serve:\n{}", self.tell());
        self.serving.insert(worker);
        self.ever_served = true;
    }

    fn connect(&mut self, from: WorkerId, to: WorkerId) {
        let needy = self.saturated.contains(&from);
        let stranded = self.stranded.take() == Some(from);
        let gives = self.serving.remove(&from) || needy || stranded;
        let both = gives && self.serving.contains(&to);
        self.gifts += usize::from(needy);
        assert!(both, "{from} cannot give to {to}:\n{}", self.tell());
    }

    /// Only as an answer, only between two that serve, and never on within [`Policy::STAY`].
    fn share(&mut self, from: WorkerId, to: WorkerId, most: u32) {
        let (crowded, waiting) = self.crowded.take().unwrap_or_default();
        let both = self.serving.contains(&from) && self.serving.contains(&to) && from != to;
        let able = both && crowded == from && !self.saturated.contains(&to);
        let fits = (1..=waiting).contains(&most);
        assert!(able && fits, "{from} and {to}, {most}:\n{}", self.tell());
        let stays = self.took.get(&from).map(|at| *at + Policy::STAY);
        let moves_on = stays.is_some_and(|until| self.now < until);
        assert!(!moves_on, "what {from} took moves on:\n{}", self.tell());
        self.took.insert(to, self.now);
        self.shares += 1;
    }

    /// Once all processes are of one generation, no other has a claim to any.
    fn forget_others(&mut self) {
        let ours = |one: &u32| *one == self.generation;
        let mut all = self.generations.values().chain(self.orders.keys());
        if !self.restarting && all.all(ours) {
            self.other = 0;
        }
    }

    fn fork(&mut self, worker: WorkerId, generation: u32) -> Event {
        let preloads = self.preloads[&generation];
        assert!(!preloads, "not from its stem:\n{}", self.tell());
        let forked = self.forked(worker, generation);
        self.check_room();
        forked
    }

    fn forked(&mut self, worker: WorkerId, generation: u32) -> Event {
        if !self.flawless && self.chance.one_in(8) {
            return Event::ForkFailed {
                worker,
                error: "by chance".to_owned(),
            };
        }
        if !self.flawless && self.chance.one_in(500) && !self.preloads[&generation] {
            return Event::ForkRefused {
                worker,
                code: 255,
                reason: "by chance".to_owned(),
            };
        }
        self.last_pid += 1;
        self.alive.insert(self.last_pid, worker);
        self.generations.insert(self.last_pid, generation);
        Event::Forked {
            worker,
            pid: self.last_pid,
        }
    }

    fn check_room(&self) {
        let limit = self.target + self.other + 1;
        assert!(
            self.alive.len() + self.orders.len() <= limit,
            "more than {limit} workers ({} and {}, {:?}):\n{}",
            self.target,
            self.other,
            self.generations,
            self.tell()
        );
    }

    fn fork_stem(&mut self, generation: u32) -> Event {
        let others: Vec<u32> = self.stems.values().copied().collect();
        let fits = others.len() < 2 && !others.contains(&generation);
        assert!(
            fits && self.preloads[&generation],
            "{generation} beside {others:?}:\n{}",
            self.tell()
        );
        if !self.flawless && self.chance.one_in(8) {
            let error = "by chance".to_owned();
            return Event::StemForkFailed { generation, error };
        }
        self.last_pid += 1;
        let pid = self.last_pid;
        self.stems.insert(pid, generation);
        Event::StemForked { generation, pid }
    }

    fn order(&mut self, worker: WorkerId, generation: u32) {
        let free = self.rooted.contains(&generation) && !self.orders.contains_key(&generation);
        assert!(
            free,
            "its stem takes no order for {worker}:\n{}",
            self.tell()
        );
        self.orders.insert(generation, worker);
        self.check_room();
    }

    fn has_stem(&self, generation: u32) {
        let lives = self.stems.values().any(|one| *one == generation);
        assert!(lives, "{generation} has no stem:\n{}", self.tell());
    }

    fn stem_is_ready(&mut self, generation: u32) {
        self.rooted.insert(generation);
        self.handle(Event::StemReady { generation });
    }

    fn some_stem_works(&mut self) {
        let orders: Vec<u32> = self.orders.keys().copied().collect();
        let stems: Vec<u32> = self.stems.values().copied().chain([9999]).collect();
        match self.chance.pick(&orders) {
            Some(generation) => self.answer(generation),
            None if self.flawless => self.every_stem_is_ready(),
            None if self.chance.one_in(8) => {
                let generation = self.chance.pick(&stems).unwrap();
                let reason = "by chance".to_owned();
                self.handle(Event::StemUnready { generation, reason });
            }
            None => {
                let generation = self.chance.pick(&stems).unwrap();
                self.stem_is_ready(generation);
            }
        }
    }

    fn answer(&mut self, generation: u32) {
        if let Some(worker) = self.orders.remove(&generation) {
            let answer = self.forked(worker, generation);
            self.handle(answer);
        }
    }

    fn every_stem_is_ready(&mut self) {
        for generation in self.stems.values().copied().collect::<Vec<_>>() {
            if !self.rooted.contains(&generation) {
                self.stem_is_ready(generation);
            }
        }
    }

    fn every_order_is_answered(&mut self) {
        while let Some((generation, _)) = self.orders.first_key_value() {
            self.answer(*generation);
        }
    }

    fn signal(&mut self, pid: Pid, signal: Signal) {
        assert!(
            self.alive.contains_key(&pid) || self.stems.contains_key(&pid),
            "{pid} is not ours to signal:\n{}",
            self.tell()
        );
        if signal == Signal::Kill {
            self.doomed.push(pid);
        }
    }

    /// A deadline in the past would make the loop spin.
    fn check_deadline(&self) {
        let due = self.state.next_deadline();
        assert!(
            due.is_none_or(|due| due > self.now || self.exit.is_some()),
            "the deadline {due:?} is not in the future:\n{}",
            self.tell()
        );
    }

    fn end(&mut self, pid: Pid, exit: Exit) {
        if let Some(worker) = self.alive.remove(&pid) {
            self.serving.remove(&worker);
            self.saturated.remove(&worker);
        }
        self.generations.remove(&pid);
        if let Some(generation) = self.stems.remove(&pid) {
            self.stem_deaths += 1;
            self.rooted.remove(&generation);
            self.orders.remove(&generation);
        }
        self.doomed.retain(|doomed| *doomed != pid);
        let oom = self.chance.pick(&[None, Some(true), Some(false)]).flatten();
        self.handle(Event::WorkerExited { pid, exit, oom });
    }

    fn bury_the_doomed(&mut self) {
        while let Some(pid) = self.doomed.first().copied() {
            self.end(
                pid,
                Exit::Signal {
                    number: 9,
                    core: false,
                },
            );
        }
    }

    /// Lets time pass to the next deadline or to a moment before it.
    fn let_time_pass(&mut self) {
        let until = self.now + Duration::from_millis(self.chance.below(15_000));
        match self.state.next_deadline() {
            Some(due) if due <= until => {
                self.now = due;
                self.handle(Event::DeadlineReached);
            }
            _ => self.now = until,
        }
    }

    fn something_happens(&mut self) {
        let workers: Vec<WorkerId> = self.alive.values().copied().chain([9999]).collect();
        let worker = self.chance.pick(&workers).unwrap();
        match self.chance.below(38) {
            0..=2 => self.let_time_pass(),
            3 | 4 => self.ready(worker),
            11 => self.somebody_restarts(),
            16 => self.somebody_scales(),
            12 | 28 => self.everybody_is_ready(),
            13 => self.handle(Event::WorkerGave { worker }),
            31 => {
                self.stranded = Some(worker);
                self.handle(Event::WorkerStranded { worker });
                self.stranded = None;
            }
            5 => self.handle(Event::WorkerRetiring { worker }),
            6 => self.handle(Event::WorkerDraining { worker }),
            7 => self.handle(Event::WorkerStuck {
                worker,
                request: some_request(),
            }),
            8 | 9 => self.some_child_ends(),
            10 => self.bury_the_doomed(),
            14 | 15 => self.saturated(worker),
            17 => self.relieved(worker),
            34..=36 => self.crowded(worker),
            18 => self.handle(Event::WorkerOutgrown {
                worker,
                used: 2,
                limit: 1,
            }),
            19 => self.handle(Event::WorkerUnready {
                worker,
                reason: "by chance".to_owned(),
            }),
            20 => self.some_room(),
            21..=24 => self.some_stem_works(),
            25 | 26 => self.the_other_does_something(),
            27 => self.handle(Event::Signal(Signal::Usr2)),
            29 => self.upgrade_goes_on(),
            30 | 32 => self.some_orphan_comes_or_goes(),
            37 if self.chance.one_in(150) => self.handle(Event::HookRaised {
                code: 255,
                reason: "by chance".to_owned(),
            }),
            _ => self.some_signal(),
        }
    }

    fn somebody_restarts(&mut self) {
        let mode = some_mode(&mut self.chance);
        let asker = self.chance.one_in(2).then(|| {
            self.last_asker += 1;
            self.last_asker
        });
        self.waiting.extend(asker);
        self.handle(Event::Restart { mode, asker });
    }

    fn upgrade_goes_on(&mut self) {
        if !std::mem::take(&mut self.checking) {
            let asker = self.chance.one_in(2).then(|| {
                self.last_asker += 1;
                self.last_asker
            });
            self.waiting.extend(asker);
            let from = "1.0".to_owned();
            self.handle(Event::Upgrade { from, asker });
        } else if self.chance.one_in(3) {
            let reason = "by chance".to_owned();
            self.handle(Event::UpgradeFailed { reason });
        } else {
            let version = "2.0".to_owned();
            self.handle(Event::UpgradeChecked { version });
        }
    }

    /// The state is written down and read, and decides as it would have before; whether by the new
    /// version or by the old one, which came back.
    fn become_another(&mut self) -> Event {
        let text = self.state.to_text();
        let due = self.state.next_deadline();
        self.state = State::from_text(&text).unwrap();
        assert_eq!(self.state.to_text(), text);
        assert_eq!(self.state.next_deadline(), due);
        self.upgrades += 1;
        // Their links do not survive it: they come anew.
        self.orphans.clear();
        if self.chance.one_in(2) {
            let reason = "by chance".to_owned();
            return Event::UpgradeFailed { reason };
        }
        Event::Upgraded
    }

    fn some_room(&mut self) {
        let workers = usize::try_from(self.chance.below(3)).unwrap();
        let (available, used) = (self.chance.below(100), self.chance.below(100));
        self.handle(Event::RoomMeasured(Room {
            available,
            used,
            workers,
        }));
    }

    fn somebody_scales(&mut self) {
        let workers = usize::try_from(self.chance.below(6)).unwrap();
        if self.restarting && workers > self.target + 1 {
            // So many more for this generation are so many more for the next.
            self.other += workers - self.target;
        }
        self.handle(Event::Scale { workers });
    }

    fn ready(&mut self, worker: WorkerId) {
        self.ready.insert(worker);
        self.handle(Event::WorkerReady { worker });
    }

    fn saturated(&mut self, worker: WorkerId) {
        let waiting = u32::from(!self.chance.one_in(4));
        self.saturated.insert(worker);
        self.handle(Event::WorkerSaturated { worker, waiting });
    }

    /// Some of the others are known to it, and perhaps some that are not there.
    fn crowded(&mut self, worker: WorkerId) {
        let waiting = u32::try_from(self.chance.below(60)).unwrap();
        let others: Vec<WorkerId> = self.alive.values().copied().chain([9999]).collect();
        let mut beside = Vec::new();
        for other in others {
            let load = self.chance.pick(&[0, 0, 1, 5, 40]).unwrap();
            beside.extend((!self.chance.one_in(4)).then_some((other, load)));
        }
        self.crowded = Some((worker, waiting));
        self.handle(Event::WorkerCrowded {
            worker,
            waiting,
            beside,
        });
        self.crowded = None;
    }

    fn relieved(&mut self, worker: WorkerId) {
        self.saturated.remove(&worker);
        self.handle(Event::WorkerRelieved { worker });
    }

    fn everybody_is_relieved(&mut self) {
        for worker in self.alive.values().copied().collect::<Vec<_>>() {
            self.relieved(worker);
        }
    }

    fn everybody_is_ready(&mut self) {
        self.every_stem_is_ready();
        self.every_order_is_answered();
        for worker in self.alive.values().copied().collect::<Vec<_>>() {
            self.ready(worker);
        }
    }

    fn some_child_ends(&mut self) {
        let mut pids: Vec<Pid> = self.alive.keys().copied().chain([77]).collect();
        if self.chance.one_in(6) {
            pids.extend(self.stems.keys());
        }
        let exits = [
            Exit::Code(0),
            Exit::Code(1),
            Exit::Code(3),
            Exit::Code(4),
            Exit::Signal {
                number: 9,
                core: false,
            },
            Exit::Signal {
                number: 11,
                core: true,
            },
        ];
        let (pid, exit) = (
            self.chance.pick(&pids).unwrap(),
            self.chance.pick(&exits).unwrap(),
        );
        self.end(pid, exit);
    }

    /// Seldom one that ends the server, so that there is a life to look at.
    fn some_signal(&mut self) {
        let all = Signal::HANDLED;
        let signal = self.chance.pick(&all).unwrap();
        let ends = matches!(signal, Signal::Term | Signal::Int | Signal::Quit);
        if !ends || self.chance.one_in(20) {
            self.handle(Event::Signal(signal));
        }
    }

    fn tell(&self) -> String {
        let start = self.story.len().saturating_sub(80);
        format!("{:?}\n{}", self.policy, self.story[start..].join("\n"))
    }
}

fn some_policy(chance: &mut Chance) -> Policy {
    Policy {
        workers: usize::try_from(chance.below(5)).unwrap(),
        graceful_timeout: Duration::from_millis(chance.below(LONGEST_GRACE)),
        shutdown_delay: Duration::from_millis(chance.below(6000).saturating_sub(3000)),
        boot_timeout: chance.one_in(2).then_some(Duration::from_secs(20)),
        daemon: chance.one_in(2),
        restart_mode: some_mode(chance).unwrap_or_default(),
        observe_timeout: Duration::from_millis(chance.below(20_000)),
        preload: chance.one_in(3),
    }
}

fn some_mode(chance: &mut Chance) -> Option<RestartMode> {
    let modes = [RestartMode::Hot, RestartMode::Phased, RestartMode::Regular];
    chance.pick(&modes).filter(|_| !chance.one_in(4))
}

fn some_request() -> StuckRequest {
    let (line, client) = ("GET / HTTP/1.1".to_owned(), "10.0.0.7:1".to_owned());
    StuckRequest {
        line,
        client,
        age: Duration::from_secs(31),
    }
}

const SEEDS: u64 = 3000;
/// Milliseconds.
const LONGEST_GRACE: u64 = 40_000;

fn lived_through(seed: u64, events: usize) -> World {
    let mut world = World::new(seed);
    if seed.is_multiple_of(4) {
        world.is_born();
    }
    world.handle(Event::Started);
    for _ in 0..events {
        if world.exit.is_some() {
            break;
        }
        world.something_happens();
    }
    world
}

/// The invariants themselves are asserted by the world, at every action.
#[test]
fn no_chance_forks_too_many_signals_a_stranger_or_spins() {
    let (mut forked, mut restarts, mut rollbacks, mut gifts) = (0, 0, 0, 0);
    let mut stem_deaths = 0;
    let (mut given, mut taken, mut promotions) = (0, 0, 0);
    let mut upgrades = 0;
    let (mut relieved, mut dismissed) = (0, 0);
    let mut shares = 0;
    for seed in 0..SEEDS {
        let world = lived_through(seed, 200);
        shares += world.shares;
        forked += world.last_pid - 1000;
        restarts += world.restarts;
        rollbacks += world.rollbacks;
        gifts += world.gifts;
        stem_deaths += world.stem_deaths;
        given += world.dance.gifts;
        taken += world.dance.taken;
        promotions += world.dance.promotions;
        upgrades += world.upgrades;
        relieved += world.relieved_orphans;
        dismissed += world.dismissed_orphans;
    }
    assert!(
        relieved > 1000 && dismissed > 300,
        "too little happened: {relieved} orphans relieved, {dismissed} dismissed"
    );
    assert!(upgrades > 500, "too little happened: {upgrades} upgrades");
    assert!(shares > 1000, "too little happened: {shares} shares");
    assert!(
        given > 400 && taken > 500 && promotions > 300,
        "too little happened: {given} given, {taken} taken, {promotions} promoted"
    );
    assert!(
        gifts > 1000 && rollbacks > 1000 && restarts > rollbacks + 500,
        "too little happened: {restarts} restarts, {rollbacks} rolled back, {gifts} gifts"
    );
    assert!(
        stem_deaths > 1000,
        "too little happened: {stem_deaths} stems died"
    );
    assert!(
        forked > Pid::try_from(SEEDS).unwrap() * 5,
        "too little happened: {forked} forks"
    );
}

/// Even if no worker ever reacts to anything but SIGKILL, and the kernel keeps some of them.
#[test]
fn a_server_always_ends_in_time_after_term() {
    for seed in 0..SEEDS {
        let mut world = lived_through(seed, 60);
        if world.exit.is_some() {
            continue;
        }
        let policy = *world.state.policy();
        // Whoever may take the connections is waited for.
        let waits = world.dance.standing == Some(Standing::Away);
        // A restart may end meanwhile, and the time is the new policy's then.
        let longest = Duration::from_millis(LONGEST_GRACE);
        let grace = if policy.shutdown_delay.is_zero() && !waits {
            policy.graceful_timeout
        } else {
            longest
        };
        let patience = if waits { longest } else { Duration::ZERO };
        let limit = world.now + policy.shutdown_delay + patience + grace + Policy::KILL_GRACE;
        world.handle(Event::Signal(Signal::Term));
        while world.exit.is_none() {
            let due = world.state.next_deadline().unwrap_or_else(|| {
                panic!("seed {seed}: it waits for ever:\n{}", world.tell());
            });
            world.now = due;
            assert!(
                due <= limit,
                "seed {seed}: {due:?} is after {limit:?}:\n{}",
                world.tell()
            );
            world.handle(Event::DeadlineReached);
            if world.chance.one_in(2) {
                world.bury_the_doomed();
            }
        }
    }
}

/// After any history, once the application works and nothing more happens, the wanted number
/// serves.
#[test]
fn a_server_that_is_left_in_peace_recovers() {
    for seed in 0..SEEDS / 4 {
        let mut world = lived_through(seed, 60);
        for _ in 0..100 {
            if world.exit.is_some() {
                break;
            }
            world.everybody_is_ready();
            world.everybody_is_relieved();
            world.bury_the_doomed();
            if let Some(due) = world.state.next_deadline() {
                world.now = due;
                world.handle(Event::DeadlineReached);
            }
        }
        if world.exit.is_none() {
            assert_eq!(
                world.alive.len(),
                world.target,
                "seed {seed}:\n{}",
                world.tell()
            );
            assert_eq!(
                world.serving.len(),
                world.target,
                "seed {seed}: not all serve:\n{}",
                world.tell()
            );
            let waits = world.orphans.values().any(|told| !told);
            assert!(
                world.target == 0 || !waits,
                "seed {seed}: an orphan waits:\n{}",
                world.tell()
            );
            let stems: Vec<u32> = world.stems.values().copied().collect();
            let preloads = world.state.policy().preload;
            let expected: &[u32] = if preloads { &[world.generation] } else { &[] };
            assert_eq!(stems, expected, "seed {seed}:\n{}", world.tell());
            assert_eq!(
                world.state.next_deadline(),
                None,
                "seed {seed}:\n{}",
                world.tell()
            );
        }
    }
}

/// Where nothing fails, hot and phased restarts take nothing away: at each moment at least as many
/// workers serve as the smaller of the two generations wants.
#[test]
fn hot_and_phased_restarts_never_leave_fewer_workers_serving_than_wanted() {
    let mut restarts = 0;
    for seed in 0..SEEDS / 4 {
        let mut world = World::new(seed);
        world.flawless = true;
        world.handle(Event::Started);
        world.everybody_is_ready();
        for _ in 0..60 {
            let least = world.target;
            world.something_harmless_happens();
            let least = least.min(world.target);
            assert!(
                world.serving.len() >= least,
                "seed {seed}: {:?} serve:\n{}",
                world.serving,
                world.tell()
            );
        }
        restarts += world.restarts;
    }
    assert!(restarts > 1000, "too little happened: {restarts} restarts");
}

impl World {
    fn something_harmless_happens(&mut self) {
        let workers: Vec<WorkerId> = self.alive.values().copied().collect();
        match (self.chance.below(8), self.chance.pick(&workers)) {
            (0, _) => {
                let modes = [RestartMode::Hot, RestartMode::Phased];
                let mode = self.chance.pick(&modes);
                self.handle(Event::Restart { mode, asker: None });
            }
            (1..=3, Some(worker)) => self.ready(worker),
            (4, Some(worker)) => self.handle(Event::WorkerRetiring { worker }),
            (5 | 6, _) => self.some_stem_works(),
            _ => self.let_seconds_pass(2),
        }
        self.bury_the_doomed();
    }

    fn let_seconds_pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.state.next_deadline().filter(|due| *due <= until) {
            self.now = due;
            self.handle(Event::DeadlineReached);
        }
        self.now = until;
    }
}

/// A state that is not what it should be is refused or read, and nothing worse.
#[test]
fn a_damaged_state_is_never_a_panic() {
    let mut refused = 0;
    for seed in 0..SEEDS {
        let mut world = lived_through(seed, 30);
        let mut text = world.state.to_text().into_bytes();
        for _ in 0..=world.chance.below(3) {
            let length = text.len().max(1) as u64;
            let at = usize::try_from(world.chance.below(length)).unwrap();
            match world.chance.below(3) {
                0 => text.truncate(at),
                _ if text.is_empty() => {}
                1 => text[at] = b"0- =%x\n"[usize::try_from(world.chance.below(7)).unwrap()],
                _ => drop(text.remove(at)),
            }
        }
        let text = String::from_utf8_lossy(&text);
        refused += usize::from(State::from_text(&text).is_err());
    }
    assert!(refused > 500, "too little was damaged: {refused}");
}
