//! Connection ids that are never confused after reuse: an index and a generation that counts the slot's occupants.
//! Invariant: an id stops resolving the moment its connection is removed, and never resolves to another one.

use std::num::NonZeroU32;

/// Names one connection of one engine. Packs into a poller token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    index: u32,
    generation: NonZeroU32,
}

impl Id {
    /// The id as a poller token; generations start at one, so that small tokens stay free for other sources.
    pub(crate) fn token(self) -> u64 {
        u64::from(self.generation.get()) << 32 | u64::from(self.index)
    }

    /// Reads a token back; `None` for tokens that were never ids.
    pub(crate) fn from_token(token: u64) -> Option<Self> {
        let generation = NonZeroU32::new(u32::try_from(token >> 32).ok()?)?;
        Some(Self {
            index: u32::try_from(token & 0xffff_ffff).ok()?,
            generation,
        })
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    value: Option<T>,
}

/// A vector of slots with a free list.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores what `make` builds from its own id. `None` when `make` fails or 2³² slots are taken.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Id) -> Option<T>) -> Option<Id> {
        let index = match self.free.last() {
            Some(&index) => index,
            None => u32::try_from(self.slots.len()).ok()?,
        };
        let generation = self
            .slots
            .get(index as usize)
            .map_or(NonZeroU32::MIN, |slot| slot.generation);
        let id = Id { index, generation };
        let value = make(id)?;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.value = Some(value);
            self.free.pop();
        } else {
            self.slots.push(Slot {
                generation,
                value: Some(value),
            });
        }
        Some(id)
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation {
            slot.value.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.free.push(id.index);
        Some(value)
    }

    /// Every live connection with its id, in slot order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut T)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(index, slot)| {
                let id = Id {
                    index: u32::try_from(index).ok()?,
                    generation: slot.generation,
                };
                slot.value.as_mut().map(|value| (id, value))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_never_resolves_to_the_next_occupant() {
        let mut slab = Slab::new();
        let first = slab.insert_with(|_| Some("a")).unwrap();
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert_with(|_| Some("b")).unwrap();
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "b"));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_failed_insert_takes_no_slot() {
        let mut slab: Slab<u8> = Slab::new();
        assert!(slab.insert_with(|_| None).is_none());
        assert!(slab.is_empty());
        let id = slab.insert_with(|_| Some(7)).unwrap();
        assert_eq!(Id::from_token(id.token()), Some(id));
    }

    #[test]
    fn small_tokens_are_not_ids() {
        assert_eq!(Id::from_token(0xffff_ffff), None);
    }
}
