//! The world around a core, simulated with just enough sense: a killed process dies soon, a pid is used
//! once, and everything else (crashes, refused forks, contradictory reports, storms of signals) is left
//! to chance. Here is what the core's actions do to it, and what must hold at each of them; what
//! happens to the core is in [`chances`]. Invariant: a world is made by its seed alone.

pub(crate) mod chances;
mod partners;
mod stems;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use oxicorn_arbiter::core::{Asker, OrphanId, Tally};
use oxicorn_arbiter::{Action, Event, News, Pid, Policy, Signal, State, WorkerId};

use self::chances::some_policy;
use self::partners::Dance;

/// xorshift64*: small, and the same on every machine.
pub(crate) struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 33) % limit
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = self.below(from.len().max(1) as u64);
        from.get(usize::try_from(index).ok()?).copied()
    }
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that were seen, each on its own"
)]
pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) policy: Policy,
    pub(crate) state: State,
    pub(crate) now: Duration,
    pub(crate) alive: BTreeMap<Pid, WorkerId>,
    /// Stems that live, and whose they are.
    pub(crate) stems: BTreeMap<Pid, u32>,
    /// Generations whose stem takes orders.
    pub(crate) rooted: BTreeSet<u32>,
    /// Whom a stem is to fork.
    pub(crate) orders: BTreeMap<u32, WorkerId>,
    /// Whether a generation's workers are forked by a stem.
    pub(crate) preloads: BTreeMap<u32, bool>,
    pub(crate) stem_deaths: usize,
    /// Processes that were sent SIGKILL, and die when the kernel gets to it.
    pub(crate) doomed: Vec<Pid>,
    pub(crate) target: usize,
    /// The most workers that any generation wanted since there was only one.
    pub(crate) other: usize,
    pub(crate) restarting: bool,
    pub(crate) generation: u32,
    pub(crate) generations: BTreeMap<Pid, u32>,
    pub(crate) ready: BTreeSet<WorkerId>,
    /// Told to serve, and not told otherwise since.
    pub(crate) serving: BTreeSet<WorkerId>,
    /// Forks succeed and configurations are good.
    pub(crate) flawless: bool,
    /// Whoever took its connections has just gone.
    pub(crate) stranded: Option<WorkerId>,
    /// Said that they are saturated, and not since that they are relieved.
    pub(crate) saturated: BTreeSet<WorkerId>,
    /// Has just said how many requests wait in it.
    pub(crate) crowded: Option<(WorkerId, u32)>,
    /// When they last took a share.
    pub(crate) took: BTreeMap<WorkerId, Duration>,
    pub(crate) shares: usize,
    pub(crate) gifts: usize,
    /// Those who wait to hear how their restart ended.
    pub(crate) waiting: BTreeSet<Asker>,
    pub(crate) last_asker: Asker,
    pub(crate) restarts: usize,
    pub(crate) rollbacks: usize,
    /// A new version checks the state.
    pub(crate) checking: bool,
    pub(crate) upgrades: usize,
    pub(crate) last_pid: Pid,
    /// Workers of which the arbiter was told that they were forked.
    pub(crate) forked: u64,
    /// Configurations that were to be read.
    pub(crate) asked_to_read: u64,
    pub(crate) tally: Tally,
    /// What the service manager was told last, besides texts.
    pub(crate) last_news: Option<News>,
    pub(crate) ever_served: bool,
    pub(crate) dance: Dance,
    /// Workers of an arbiter that is gone, and whether they were told to give since their last hello.
    pub(crate) orphans: BTreeMap<OrphanId, bool>,
    pub(crate) last_orphan: OrphanId,
    pub(crate) relieved_orphans: usize,
    pub(crate) dismissed_orphans: usize,
    pub(crate) exit: Option<u8>,
    pub(crate) story: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
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

    pub(crate) fn handle(&mut self, event: Event) {
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
    pub(crate) fn told(&mut self, news: News) {
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

    pub(crate) fn serve(&mut self, worker: WorkerId) {
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

    pub(crate) fn forked(&mut self, worker: WorkerId, generation: u32) -> Event {
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

    pub(crate) fn check_room(&self) {
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

    pub(crate) fn signal(&mut self, pid: Pid, signal: Signal) {
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

    pub(crate) fn tell(&self) -> String {
        let start = self.story.len().saturating_sub(80);
        format!("{:?}\n{}", self.policy, self.story[start..].join("\n"))
    }
}
