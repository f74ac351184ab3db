//! Plays a transcript against the core, with a world in which forks succeed at once or fail at
//! once.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use oxicorn_arbiter::core::{Cue, Room, Step as Figure, Tally};
use oxicorn_arbiter::{Action, Event, Level, News, Pid, Policy, State, WorkerId};

use super::script::{Happening, Step, Transcript, UpgradeStep, Who, given};

/// Plays the transcript; on a contradiction the error tells the story up to it.
pub(crate) fn play(transcript: &Transcript) -> Result<(), String> {
    let mut player = Player::new(transcript);
    for (line, step) in &transcript.steps {
        player
            .take(step)
            .map_err(|error| player.story(transcript, *line, &error))?;
    }
    player
        .settle()
        .map_err(|error| player.story(transcript, 0, &error))
}

struct Player {
    state: State,
    now: Duration,
    forks_fail: bool,
    forks_refused: bool,
    /// Orders are answered when the transcript says so.
    orders_wait: bool,
    /// What the configuration says when it is read.
    policy: Policy,
    /// What memory there is when it is read, if that is known.
    room: Option<Room>,
    /// Why the configuration cannot be read.
    refusal: Option<String>,
    /// What the last happening caused and no `then` has named yet.
    done: VecDeque<String>,
    logged: VecDeque<(Level, String)>,
    /// What the service manager is told, if there is one: it need not be named otherwise.
    statuses: Option<VecDeque<String>>,
    story: String,
}

impl Player {
    fn new(transcript: &Transcript) -> Self {
        Self {
            state: State::new(transcript.policy, Duration::ZERO),
            now: Duration::ZERO,
            forks_fail: false,
            forks_refused: false,
            orders_wait: false,
            policy: transcript.policy,
            room: None,
            refusal: None,
            done: VecDeque::new(),
            logged: VecDeque::new(),
            statuses: transcript.service_manager.then(VecDeque::new),
            story: String::new(),
        }
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::At(time) => self.advance(*time),
            Step::When(happening) => self.when(happening),
            Step::Then(expected) => expected.iter().try_for_each(|action| self.then(action)),
            Step::Logged { level, text } => self.then_logged(level, text),
            Step::Status(text) => self.then_status(text),
            Step::Wake(expected) => self.then_wake(*expected),
            Step::Counted(expected) => self.then_counted(*expected),
        }
    }

    /// Nothing may be due on the way: a transcript names every moment at which the arbiter wakes.
    fn advance(&mut self, time: Duration) -> Result<(), String> {
        self.settle()?;
        if time < self.now {
            return Err(format!("{time:?} is in the past"));
        }
        let due = self.state.next_deadline();
        if let Some(due) = due.filter(|due| *due < time) {
            return Err(format!(
                "the arbiter wakes at {due:?}, which the transcript passes over"
            ));
        }
        self.now = time;
        if due == Some(time) {
            self.handle(Event::DeadlineReached);
        }
        Ok(())
    }

    /// The new version goes on from the state as it was written down.
    fn upgrade(&mut self, step: &UpgradeStep) -> Result<Event, String> {
        Ok(match step {
            UpgradeStep::Asked(asker) => Event::Upgrade {
                from: "1.0".to_owned(),
                asker: *asker,
            },
            UpgradeStep::Checked(version) => Event::UpgradeChecked {
                version: version.clone(),
            },
            UpgradeStep::Failed(reason) => Event::UpgradeFailed {
                reason: reason.clone(),
            },
            UpgradeStep::Done => {
                self.state = State::from_text(&self.state.to_text())?;
                Event::Upgraded
            }
        })
    }

    /// What only changes what will come of actions.
    fn heed(&mut self, happening: &Happening) {
        match happening {
            Happening::ForksFail(fail) => self.forks_fail = *fail,
            Happening::ForksRefused(refused) => self.forks_refused = *refused,
            Happening::OrdersWait(wait) => self.orders_wait = *wait,
            _ => {}
        }
    }

    fn when(&mut self, happening: &Happening) -> Result<(), String> {
        self.settle()?;
        self.heed(happening);
        let event = match happening {
            // Those that were heeded just now.
            Happening::ForksFail(_) | Happening::ForksRefused(_) | Happening::OrdersWait(_) => {
                return Ok(());
            }
            Happening::HookRaised(code) => Event::HookRaised {
                code: *code,
                reason: HOOK.to_owned(),
            },
            Happening::Forked(worker) => forked(*worker),
            Happening::NotForked(worker) => not_forked(*worker),
            Happening::StemReady(generation) => Event::StemReady {
                generation: *generation,
            },
            Happening::StemUnready(generation, reason) => Event::StemUnready {
                generation: *generation,
                reason: reason.clone(),
            },
            Happening::Start => Event::Started,
            Happening::Signal(signal) => Event::Signal(*signal),
            Happening::Restart(mode, asker) => Event::Restart {
                mode: *mode,
                asker: *asker,
            },
            Happening::Scale(workers) => Event::Scale { workers: *workers },
            Happening::Upgrade(step) => self.upgrade(step)?,
            Happening::Refuse(reason) => {
                self.refusal.clone_from(reason);
                return Ok(());
            }
            Happening::Measure(room) => {
                self.room = Some(*room);
                return Ok(());
            }
            Happening::Configure(name, value) => {
                return given(&mut self.policy, name, value);
            }
            Happening::Unready(worker, reason) => Event::WorkerUnready {
                worker: *worker,
                reason: reason.clone(),
            },
            Happening::Outgrown(worker) => Event::WorkerOutgrown {
                worker: *worker,
                used: 600 << 20,
                limit: 512 << 20,
            },
            Happening::Gave(worker) => Event::WorkerGave { worker: *worker },
            Happening::Stranded(worker) => Event::WorkerStranded { worker: *worker },
            Happening::Saturated(worker, waiting) => Event::WorkerSaturated {
                worker: *worker,
                waiting: *waiting,
            },
            Happening::Crowded(worker, waiting, beside) => Event::WorkerCrowded {
                worker: *worker,
                waiting: *waiting,
                beside: beside.clone(),
            },
            Happening::Relieved(worker) => Event::WorkerRelieved { worker: *worker },
            Happening::Cue(cue) => Event::Dance(cue.clone()),
            Happening::OrphanFound(orphan) => Event::OrphanFound {
                orphan: *orphan,
                pid: 700 + Pid::try_from(*orphan).expect("transcripts are short"),
            },
            Happening::OrphanGone(orphan) => Event::OrphanGone { orphan: *orphan },
            Happening::Ready(worker) => Event::WorkerReady { worker: *worker },
            Happening::Retiring(worker) => Event::WorkerRetiring { worker: *worker },
            Happening::Draining(worker) => Event::WorkerDraining { worker: *worker },
            Happening::Stuck(worker, request) => Event::WorkerStuck {
                worker: *worker,
                request: request.clone(),
            },
            Happening::Ends(who, exit, oom) => {
                let (exit, oom) = (*exit, *oom);
                let pid = self.process_of(who)?;
                Event::WorkerExited { pid, exit, oom }
            }
        };
        self.handle(event);
        Ok(())
    }

    fn process_of(&self, who: &Who) -> Result<Pid, String> {
        Ok(match who {
            Who::Pid(pid) => *pid,
            Who::Stem(generation) => stem_pid(*generation),
            Who::Worker(worker) => self.state.pid(*worker).ok_or("no such worker is alive")?,
        })
    }

    fn then(&mut self, expected: &str) -> Result<(), String> {
        let actual = self
            .done
            .pop_front()
            .ok_or_else(|| format!("not done: {expected}"))?;
        // Slot and generation are only named where they matter.
        let longer = |word: &str| actual.starts_with(&format!("{expected} {word} "));
        let matches = actual == expected || longer("in slot") || longer("of generation");
        if matches {
            Ok(())
        } else {
            Err(format!("expected {expected:?}, but it was {actual:?}"))
        }
    }

    fn then_logged(&mut self, level: &str, text: &str) -> Result<(), String> {
        while let Some((actual_level, actual)) = self.logged.pop_front() {
            if format!("{actual_level:?}").to_lowercase() == level && actual.contains(text) {
                return Ok(());
            }
        }
        Err(format!("not logged: {level} {text:?}"))
    }

    fn then_status(&mut self, text: &str) -> Result<(), String> {
        let told = self
            .statuses
            .iter_mut()
            .flatten()
            .any(|status| status == text);
        if told {
            Ok(())
        } else {
            Err(format!("not told: {text:?}, but {:?}", self.statuses))
        }
    }

    fn then_wake(&self, expected: Option<Duration>) -> Result<(), String> {
        match self.state.next_deadline() {
            actual if actual == expected => Ok(()),
            actual => Err(format!("the arbiter wakes at {actual:?}, not {expected:?}")),
        }
    }

    fn then_counted(&self, expected: Tally) -> Result<(), String> {
        match self.state.status(self.now).tally {
            actual if actual == expected => Ok(()),
            actual => Err(format!("{actual:?}, not {expected:?}")),
        }
    }

    /// Every action must have been named. Log lines may go unnamed.
    fn settle(&mut self) -> Result<(), String> {
        self.logged.clear();
        self.statuses.iter_mut().for_each(VecDeque::clear);
        match self.done.pop_front() {
            None => Ok(()),
            Some(action) => Err(format!("not expected: {action}")),
        }
    }

    fn handle(&mut self, event: Event) {
        let _ = writeln!(self.story, "{:>8.3} s  {event:?}", self.now.as_secs_f64());
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.state.handle(self.now, event) {
                let _ = writeln!(self.story, "            → {action:?}");
                if matches!(action, Action::ReadConfiguration { .. }) {
                    events.extend(self.room.map(Event::RoomMeasured));
                }
                events.extend(self.answer(&action));
                self.record(action);
            }
        }
    }

    fn configuration(&self) -> Event {
        match &self.refusal {
            None => Event::ConfigurationRead {
                policy: self.policy,
            },
            Some(reason) => Event::ConfigurationRefused {
                reason: reason.clone(),
            },
        }
    }

    fn second_arbiter(&self) -> Cue {
        if self.forks_fail {
            let error = "out of processes".to_owned();
            return Cue::NotStarted { error };
        }
        Cue::Started { pid: SUCCESSOR }
    }

    /// What comes of an action at once.
    fn answer(&self, action: &Action) -> Option<Event> {
        match action {
            Action::Order { .. } if self.orders_wait => None,
            Action::Fork { worker, .. } if self.forks_refused => Some(Event::ForkRefused {
                worker: *worker,
                code: 255,
                reason: HOOK.to_owned(),
            }),
            Action::Fork { worker, .. } | Action::Order { worker, .. } if self.forks_fail => {
                Some(not_forked(*worker))
            }
            Action::Fork { worker, .. } | Action::Order { worker, .. } => Some(forked(*worker)),
            Action::ForkStem { generation } if self.forks_fail => Some(Event::StemForkFailed {
                generation: *generation,
                error: OUT_OF_PROCESSES.to_owned(),
            }),
            Action::ForkStem { generation } => Some(Event::StemForked {
                generation: *generation,
                pid: stem_pid(*generation),
            }),
            Action::ReadConfiguration { .. } => Some(self.configuration()),
            Action::Dance(Figure::Start) => Some(Event::Dance(self.second_arbiter())),
            _ => None,
        }
    }

    fn record(&mut self, action: Action) {
        let name = match action {
            Action::Log { level, text } => return self.logged.push_back((level, text)),
            Action::Fork {
                worker,
                slot,
                generation,
            } => format!("fork {worker} in slot {slot} of generation {generation}"),
            Action::Order {
                worker,
                slot,
                generation,
            } => format!("order {worker} in slot {slot} of generation {generation}"),
            Action::ForkStem { generation } => format!("fork stem {generation}"),
            Action::DismissStem { generation } => format!("dismiss stem {generation}"),
            Action::SendReopen { generation } => format!("tell stem {generation} to reopen"),
            Action::ReadConfiguration { .. } => "read configuration".to_owned(),
            Action::SendServe { worker } => format!("serve {worker}"),
            Action::SendPark { worker } => format!("park {worker}"),
            Action::Connect { from, to } => format!("connect {from} to {to}"),
            Action::Share { from, to, most } => format!("share {most} of {from} with {to}"),
            Action::RestartEnded {
                generation,
                failure: None,
            } => format!("confirm {generation}"),
            Action::RestartEnded { generation, .. } => format!("keep {generation}"),
            Action::Signal { pid, signal } => {
                format!("{} {}", signal.lower_name().to_uppercase(), named(pid))
            }
            Action::SendDrain { worker } => format!("drain {worker}"),
            Action::Tell { news, status } => {
                let Some(statuses) = &mut self.statuses else {
                    return;
                };
                statuses.push_back(status);
                match news {
                    News::Succeeded(pid) => format!("tell succeeded by {pid}"),
                    other => format!("tell {}", format!("{other:?}").to_lowercase()),
                }
            }
            Action::ReopenLogs => "reopen logs".to_owned(),
            Action::CheckUpgrade => "check upgrade".to_owned(),
            Action::Upgrade => "become the new version".to_owned(),
            Action::AbandonUpgrade => "abandon upgrade".to_owned(),
            Action::CloseListeners => "close listeners".to_owned(),
            Action::Reap => "reap".to_owned(),
            Action::ChildExited { worker, .. } => format!("mourn {worker}"),
            Action::WorkersChanged { new, old: None } => format!("want {new}"),
            Action::WorkersChanged {
                new,
                old: Some(old),
            } => format!("want {new} not {old}"),
            Action::Answer {
                asker,
                generation,
                failure: None,
            } => format!("tell {asker}: generation {generation}"),
            Action::Answer {
                asker,
                failure: Some(reason),
                ..
            } => format!("tell {asker}: {reason}"),
            Action::Dance(figure) => figure_name(&figure),
            Action::RelieveOrphan { orphan } => format!("relieve orphan {orphan}"),
            Action::DismissOrphan { orphan } => format!("dismiss orphan {orphan}"),
            Action::Exit { code } => format!("exit {code}"),
        };
        self.done.push_back(name);
    }

    fn story(&self, transcript: &Transcript, line: usize, error: &str) -> String {
        format!(
            "{}\n  line {line}: {error}\n{}",
            transcript.claim, self.story
        )
    }
}

const HOOK: &str = "a hook raised ValueError";
const OUT_OF_PROCESSES: &str = "out of processes";

fn forked(worker: WorkerId) -> Event {
    let pid = pid_of(worker);
    Event::Forked { worker, pid }
}

fn not_forked(worker: WorkerId) -> Event {
    let error = OUT_OF_PROCESSES.to_owned();
    Event::ForkFailed { worker, error }
}

fn named(pid: Pid) -> String {
    match pid - stem_pid(0) {
        generation @ 1.. => format!("stem {generation}"),
        _ => (pid - pid_of(0)).to_string(),
    }
}

/// The process of the stem of generation `n` is 500 + `n`.
fn stem_pid(generation: u32) -> Pid {
    500 + Pid::try_from(generation).expect("transcripts are short")
}
fn figure_name(figure: &Figure) -> String {
    match figure {
        Figure::Start => "start a successor".to_owned(),
        Figure::Say(standing) => format!("say {}", format!("{standing:?}").to_lowercase()),
        Figure::Give { from } => format!("give {from} away"),
        Figure::Take { offer, worker } => format!("let {worker} take offer {offer}"),
        Figure::Decline { offer } => format!("decline offer {offer}"),
        Figure::Bequeath => "bequeath".to_owned(),
        Figure::Promote => "promote".to_owned(),
    }
}

/// The process of the second arbiter.
const SUCCESSOR: Pid = 500;

/// The process of worker `n` is 100 + `n`.
fn pid_of(worker: WorkerId) -> Pid {
    100 + Pid::try_from(worker).expect("transcripts are short")
}
