//! What happens by chance.

use std::time::Duration;

use oxicorn_arbiter::core::{Room, StuckRequest};
use oxicorn_arbiter::{Event, Exit, Pid, Policy, Signal, WorkerId};
use oxicorn_settings::RestartMode;

use super::{Chance, World};

/// Milliseconds.
pub(crate) const LONGEST_GRACE: u64 = 40_000;

impl World {
    pub(crate) fn end(&mut self, pid: Pid, exit: Exit) {
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

    pub(crate) fn bury_the_doomed(&mut self) {
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

    pub(crate) fn something_happens(&mut self) {
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

    pub(crate) fn ready(&mut self, worker: WorkerId) {
        self.ready.insert(worker);
        self.handle(Event::WorkerReady { worker });
    }

    pub(crate) fn saturated(&mut self, worker: WorkerId) {
        let waiting = u32::from(!self.chance.one_in(4));
        self.saturated.insert(worker);
        self.handle(Event::WorkerSaturated { worker, waiting });
    }

    /// Some of the others are known to it, and perhaps some that are not there.
    pub(crate) fn crowded(&mut self, worker: WorkerId) {
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

    pub(crate) fn relieved(&mut self, worker: WorkerId) {
        self.saturated.remove(&worker);
        self.handle(Event::WorkerRelieved { worker });
    }

    pub(crate) fn everybody_is_relieved(&mut self) {
        for worker in self.alive.values().copied().collect::<Vec<_>>() {
            self.relieved(worker);
        }
    }

    pub(crate) fn everybody_is_ready(&mut self) {
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

    pub(crate) fn something_harmless_happens(&mut self) {
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

pub(crate) fn some_policy(chance: &mut Chance) -> Policy {
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

pub(crate) fn some_mode(chance: &mut Chance) -> Option<RestartMode> {
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
