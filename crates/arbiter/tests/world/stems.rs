//! Stems, and the workers that they are told to fork.

use oxicorn_arbiter::{Event, WorkerId};

use super::World;

impl World {
    pub(crate) fn fork_stem(&mut self, generation: u32) -> Event {
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

    pub(crate) fn order(&mut self, worker: WorkerId, generation: u32) {
        let free = self.rooted.contains(&generation) && !self.orders.contains_key(&generation);
        assert!(
            free,
            "its stem takes no order for {worker}:\n{}",
            self.tell()
        );
        self.orders.insert(generation, worker);
        self.check_room();
    }

    pub(crate) fn has_stem(&self, generation: u32) {
        let lives = self.stems.values().any(|one| *one == generation);
        assert!(lives, "{generation} has no stem:\n{}", self.tell());
    }

    fn stem_is_ready(&mut self, generation: u32) {
        self.rooted.insert(generation);
        self.handle(Event::StemReady { generation });
    }

    pub(crate) fn some_stem_works(&mut self) {
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

    pub(crate) fn answer(&mut self, generation: u32) {
        if let Some(worker) = self.orders.remove(&generation) {
            let answer = self.forked(worker, generation);
            self.handle(answer);
        }
    }

    pub(crate) fn every_stem_is_ready(&mut self) {
        for generation in self.stems.values().copied().collect::<Vec<_>>() {
            if !self.rooted.contains(&generation) {
                self.stem_is_ready(generation);
            }
        }
    }

    pub(crate) fn every_order_is_answered(&mut self) {
        while let Some((generation, _)) = self.orders.first_key_value() {
            self.answer(*generation);
        }
    }
}
