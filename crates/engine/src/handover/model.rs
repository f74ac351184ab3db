//! Giver and taker against each other, in random orders: packets in two queues, time that passes, deaths at any moment. Only
//! for tests. Invariant of the model: what was sent before an end arrives before that end, as the kernel has it.

use std::collections::{BTreeSet, VecDeque};

use super::giver::{Giver, Word};
use super::message::Refusal;
use super::taker::Taker;

type Items = Vec<u32>;

#[derive(Debug)]
enum Packet {
    Room(usize),
    Prepare(u32, Items),
    Accept(u32),
    Refuse(u32),
    Word(Word),
}

/// Random numbers, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Two processes, each with the connections that it acts on.
struct World {
    dice: Dice,
    now: u64,
    giver: Option<Giver<Items>>,
    taker: Option<Taker<Items>>,
    to_taker: VecDeque<Packet>,
    to_giver: VecDeque<Packet>,
    at_giver: BTreeSet<u32>,
    at_taker: BTreeSet<u32>,
    committed: BTreeSet<u32>,
    refused: BTreeSet<u32>,
}

const ITEMS: u32 = 12;

impl World {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: 0,
            giver: Some(Giver::new(0)),
            taker: Some(Taker::new()),
            to_taker: VecDeque::new(),
            to_giver: VecDeque::from([Packet::Room(100)]),
            at_giver: (0..ITEMS).collect(),
            at_taker: BTreeSet::new(),
            committed: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        match self.dice.roll(5) {
            0 => self.giver_offers(),
            1 => self.giver_speaks(),
            2 => self.taker_hears(),
            3 => self.giver_hears(),
            _ => self.time_passes(),
        }
        let both: Vec<_> = self.at_giver.intersection(&self.at_taker).collect();
        assert!(both.is_empty(), "two act on {both:?}");
    }

    fn giver_offers(&mut self) {
        let Some(giver) = &mut self.giver else { return };
        if giver.allowance(self.now).is_none() || self.at_giver.is_empty() {
            return;
        }
        let count = 1 + usize::try_from(self.dice.roll(3)).unwrap();
        let items: Items = self.at_giver.iter().copied().take(count).collect();
        self.at_giver.retain(|item| !items.contains(item));
        self.to_taker
            .push_back(Packet::Prepare(giver.next_number(), items.clone()));
        giver.offered(items, count, self.now);
    }

    fn giver_speaks(&mut self) {
        let Some(giver) = &mut self.giver else { return };
        let Some(word) = giver.next_word(self.now) else {
            return;
        };
        if self.taker.is_none() {
            return;
        }
        if self.dice.roll(4) == 0 {
            return giver.pause(self.now);
        }
        self.to_taker.push_back(Packet::Word(word));
        let items = giver.said(word).unwrap();
        match word {
            Word::Commit(_) => self.committed.extend(items),
            Word::Abort(_) => self.at_giver.extend(items),
        }
        if giver.is_over() {
            self.giver = None;
        }
    }

    fn taker_hears(&mut self) {
        let Some(taker) = &mut self.taker else { return };
        match self.to_taker.pop_front() {
            Some(Packet::Prepare(number, items)) => {
                if self.dice.roll(8) == 0 {
                    self.refused.extend(items);
                    self.to_giver.push_back(Packet::Refuse(number));
                } else {
                    taker.store(number, items, self.now);
                    self.to_giver.push_back(Packet::Accept(number));
                }
            }
            Some(Packet::Word(Word::Commit(number))) => {
                self.at_taker.extend(taker.on_commit(number).unwrap());
            }
            Some(Packet::Word(Word::Abort(number))) => {
                // Nothing is stored if it was refused.
                drop(taker.on_abort(number));
            }
            Some(other) => panic!("{other:?} is not for a taker"),
            None if self.giver.is_none() => {
                let taker = self.taker.take().unwrap();
                self.at_taker.extend(taker.on_end().flatten());
            }
            None => {}
        }
    }

    fn giver_hears(&mut self) {
        let Some(giver) = &mut self.giver else { return };
        match self.to_giver.pop_front() {
            Some(Packet::Room(room)) => giver.on_room(room),
            Some(Packet::Accept(number)) => giver.on_accept(number, 100),
            Some(Packet::Refuse(number)) => {
                let reason = [Refusal::Room, Refusal::Leaving][usize::from(number % 5 == 0)];
                let items = giver.on_refuse(number, reason);
                self.at_giver.extend(items.into_iter().flatten());
            }
            Some(other) => panic!("{other:?} is not for a giver"),
            None if self.taker.is_none() => {
                self.at_giver.extend(giver.lost().flatten());
                self.giver = None;
            }
            None => {}
        }
    }

    fn time_passes(&mut self) {
        self.now += self.dice.roll(200);
        if let Some(giver) = self.giver.as_mut().filter(|_| self.to_giver.is_empty())
            && giver.is_late(self.now)
        {
            giver.close();
            if giver.is_over() {
                self.giver = None;
            }
        }
        if self.to_taker.is_empty()
            && self
                .taker
                .as_ref()
                .is_some_and(|taker| taker.is_late(self.now))
        {
            // It drops what is stored, and its end.
            self.taker = None;
        }
    }

    fn kill_giver(&mut self) -> BTreeSet<u32> {
        self.at_giver.clear();
        self.to_giver.clear();
        let giver = self.giver.take();
        giver
            .iter()
            .flat_map(|giver| giver.cargo().flatten().copied())
            .collect()
    }

    fn kill_taker(&mut self) {
        self.at_taker.clear();
        self.to_taker.clear();
        self.taker = None;
    }

    /// Until nothing more can happen.
    fn run_out(&mut self) {
        let mut steps = 0;
        while self.giver.is_some() || self.taker.is_some() {
            self.step();
            steps += 1;
            if steps == 2_000
                && let Some(giver) = &mut self.giver
            {
                giver.close();
                if giver.is_over() {
                    self.giver = None;
                }
            }
            assert!(steps < 20_000, "it never ends");
        }
    }
}

fn all() -> BTreeSet<u32> {
    (0..ITEMS).collect()
}

#[test]
fn while_both_live_nothing_is_lost_and_nothing_is_in_two_places() {
    for seed in 1..2_000 {
        let mut world = World::new(seed);
        world.run_out();
        let everywhere: BTreeSet<u32> = world.at_giver.union(&world.at_taker).copied().collect();
        assert_eq!(everywhere, all(), "seed {seed}");
    }
}

#[test]
fn a_giver_that_dies_leaves_what_it_had_offered() {
    for seed in 1..2_000 {
        let mut world = World::new(seed);
        for _ in 0..world.dice.roll(60) {
            world.step();
        }
        let offered = world.kill_giver();
        world.run_out();
        let expected: BTreeSet<u32> = offered.union(&world.committed).copied().collect();
        let lost: Vec<_> = expected
            .difference(&world.at_taker)
            .filter(|item| !world.refused.contains(item))
            .collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?}");
    }
}

#[test]
fn a_taker_that_dies_costs_what_was_committed_and_no_more() {
    for seed in 1..2_000 {
        let mut world = World::new(seed);
        for _ in 0..world.dice.roll(60) {
            world.step();
        }
        world.kill_taker();
        world.run_out();
        let left: BTreeSet<u32> = all().difference(&world.committed).copied().collect();
        assert_eq!(world.at_giver, left, "seed {seed}");
    }
}
