use std::sync::OnceLock;

use crate::sync::{AtomicUsize, Ordering, step};

/// Values that are put in and never taken out, never more than a fixed number.
///
/// A look at one that is there writes nothing that threads share, and waits for
/// nobody. Two threads that put the same thing in get the same place.
#[derive(Debug)]
pub(crate) struct Table<V> {
    // Found by hash and then one after the other, up to a free place.
    slots: Box<[OnceLock<Box<V>>]>,
    // Places that are taken, or about to be.
    taken: AtomicUsize,
    most: usize,
}

impl<V> Table<V> {
    pub(crate) fn new(most: usize) -> Self {
        // Half of them stay free, so that a search is short.
        let slots = most.max(1).saturating_mul(2).next_power_of_two();
        Self {
            slots: (0..slots).map(|_| OnceLock::new()).collect(),
            taken: AtomicUsize::new(0),
            most,
        }
    }

    /// The place of a value.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl Fn(&V) -> bool) -> Option<usize> {
        for index in self.places(hash) {
            let value = self.slots[index].get()?;
            if is(value) {
                return Some(index);
            }
        }
        None
    }

    /// The place of a value, made if it is not there. Nothing, if there is no
    /// room for it.
    #[inline]
    pub(crate) fn find_or_insert(
        &self,
        hash: u64,
        is: impl Fn(&V) -> bool,
        make: impl FnOnce() -> V,
    ) -> Option<usize> {
        self.find(hash, &is).or_else(|| self.insert(hash, is, make))
    }

    #[cold]
    fn insert(
        &self,
        hash: u64,
        is: impl Fn(&V) -> bool,
        make: impl FnOnce() -> V,
    ) -> Option<usize> {
        if !self.take_place() {
            // It may have come in just now.
            return self.find(hash, is);
        }
        let mut value = Box::new(make());
        for index in self.places(hash) {
            step();
            match self.slots[index].set(value) {
                Ok(()) => return Some(index),
                Err(back) => value = back,
            }
            if self.slots[index].get().is_some_and(|there| is(there)) {
                // Somebody else was faster.
                break;
            }
        }
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.find(hash, is)
    }

    fn take_place(&self) -> bool {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// What a search goes through.
    fn places(&self, hash: u64) -> impl Iterator<Item = usize> + use<V> {
        let mask = self.slots.len() - 1;
        (0..=mask).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }

    /// What stands at a place that was found.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&V> {
        self.slots.get(index)?.get().map(|value| &**value)
    }

    /// All that is there, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &V)> {
        let filled = self.slots.iter().enumerate();
        filled.filter_map(|(index, slot)| slot.get().map(|value| (index, &**value)))
    }
}

#[cfg(all(test, palisade_shuttle))]
mod models;

#[cfg(all(test, not(palisade_shuttle)))]
mod tests {
    use std::{
        hash::BuildHasher,
        sync::{Barrier, Mutex},
        thread,
    };

    use foldhash::fast::FixedState;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_each_once_and_no_more_than_it_may(most in 0..20_usize, keys in prop::collection::vec(0..40_u32, 0..200), bits in 0..8_u32) {
            let table = Table::new(most);
            let mut held: Vec<u32> = Vec::new();
            for key in keys {
                // Few bits: many meet at one place.
                let hash = FixedState::default().hash_one(key) & ((1 << bits) - 1);
                let place = table.find_or_insert(hash, |value| *value == key, || key);
                if !held.contains(&key) && held.len() < most {
                    held.push(key);
                }
                prop_assert_eq!(place.is_some(), held.contains(&key));
                prop_assert_eq!(place.and_then(|place| table.get(place)), place.map(|_| &key));
            }
            let mut all: Vec<_> = table.iter().map(|(_, value)| *value).collect();
            all.sort_unstable();
            held.sort_unstable();
            prop_assert_eq!(all, held);
        }
    }

    #[test]
    fn threads_agree() {
        let table = Table::new(4);
        let barrier = Barrier::new(8);
        let found = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (table, barrier, found) = (&table, &barrier, &found);
                scope.spawn(move || {
                    barrier.wait();
                    for key in 0..8_u64 {
                        let key = (key + thread) % 8;
                        let place = table.find_or_insert(key % 2, |value| *value == key, || key);
                        found.lock().unwrap().extend(place.map(|place| (key, place)));
                    }
                });
            }
        });
        assert_eq!(table.iter().count(), 4);
        for (key, place) in found.into_inner().unwrap() {
            assert_eq!(table.get(place), Some(&key));
        }
    }
}
