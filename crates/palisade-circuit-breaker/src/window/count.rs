use std::sync::atomic::Ordering;

use super::Entry;
use crate::{
    sync::{AtomicU64, fence},
    trip::Counts,
};

/// A ring of the last calls, a bit each, or two where slow calls count.
///
/// The first word of a breaker's ring counts the calls, the others hold them.
/// Every word names the generation that it is of, and one of an earlier
/// generation is empty: so nobody has to clear the ring, and a call of an
/// earlier generation that comes late finds no place in it.
///
/// A success, the rule, writes the first word and reads one other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountWindow {
    size: u32,
    bits: u32,
}

/// What a word of calls holds beside its generation.
const PAYLOAD: u32 = 32;
/// The count of calls is below this.
const HEAD_BITS: u32 = 34;

const FAILED: u64 = 1;
const SLOW: u64 = 2;
const ODD: u64 = 0x5555_5555;

impl CountWindow {
    pub(super) fn new(size: u32, counts_slow: bool) -> Self {
        Self { size, bits: if counts_slow { 2 } else { 1 } }
    }

    pub(super) fn words(&self) -> usize {
        1 + (self.size * self.bits).div_ceil(PAYLOAD) as usize
    }

    #[inline]
    pub(super) fn add(&self, words: &[AtomicU64], entry: Entry, current: impl Fn() -> bool) {
        if let Some(place) = self.claim(&words[0], entry.generation, &current) {
            self.write(words, place, entry, current);
        }
    }

    /// Takes the next place in the ring.
    #[inline]
    fn claim(&self, head: &AtomicU64, generation: u32, current: impl Fn() -> bool) -> Option<u32> {
        let mut word = head.load(Ordering::Acquire);
        loop {
            let calls = match of(word, HEAD_BITS) == generation {
                true => word as u32,
                // Read before `current` is asked: if it is, then this is of an
                // earlier generation. If it changes after, the exchange fails.
                false if current() => 0,
                false => return None,
            };
            // How often the ring went round does not matter, but that it did.
            let next = if calls + 1 == 2 * self.size { self.size } else { calls + 1 };
            let next = u64::from(generation) << HEAD_BITS | u64::from(next);
            match head.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(if calls < self.size { calls } else { calls - self.size }),
                Err(changed) => word = changed,
            }
        }
    }

    #[inline]
    fn write(&self, words: &[AtomicU64], place: u32, entry: Entry, current: impl Fn() -> bool) {
        let bit = place * self.bits;
        let slot = &words[1 + (bit / PAYLOAD) as usize];
        let shift = bit % PAYLOAD;
        let mask = ((1 << self.bits) - 1) << shift;
        let value = match (entry.failed, entry.slow) {
            (false, false) => 0,
            (failed, slow) => ((u64::from(failed) * FAILED) | (u64::from(slow) * SLOW)) << shift,
        };

        let mut word = slot.load(Ordering::Acquire);
        loop {
            let next = match of(word, PAYLOAD) == entry.generation {
                true => word & !mask | value,
                // What is of an earlier generation holds no failure, and needs none taken out.
                false if value == 0 => return,
                false if current() => u64::from(entry.generation) << PAYLOAD | value,
                false => return,
            };
            if next == word {
                return;
            }
            match slot.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(changed) => word = changed,
            }
        }
    }

    pub(super) fn counts(&self, words: &[AtomicU64], generation: u32) -> Counts {
        // Who has written sees what others wrote before they come to this line,
        // or they see this one's: of two last failures one sees both.
        fence(Ordering::SeqCst);
        let mut counts = Counts::default();
        let head = words[0].load(Ordering::Acquire);
        if of(head, HEAD_BITS) != generation {
            return counts;
        }
        counts.calls = u64::from(self.size.min(head as u32));
        let slots = words[1..].iter().map(|slot| slot.load(Ordering::Acquire));
        for word in slots.filter(|word| of(*word, PAYLOAD) == generation) {
            let calls = word & u64::from(u32::MAX);
            match self.bits {
                1 => counts.failures += u64::from(calls.count_ones()),
                _ => {
                    counts.failures += u64::from((calls & ODD).count_ones());
                    counts.slow += u64::from((calls >> 1 & ODD).count_ones());
                }
            }
        }
        counts
    }
}

/// The generation of a word that has it above so many bits.
fn of(word: u64, bits: u32) -> u32 {
    (word >> bits) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::window::{Window, Windows};

    fn entry(generation: u32, failed: bool, slow: bool) -> Entry {
        Entry { generation, failed, slow }
    }

    proptest! {
        // The reference keeps a list of the calls of a generation.
        #[test]
        fn agrees_with_a_list(
            size in 1..200_u32, counts_slow in any::<bool>(),
            steps in prop::collection::vec((prop::bool::weighted(0.02), any::<bool>(), any::<bool>()), 0..600),
        ) {
            let windows = Windows::new(Some(Window::count(size)), counts_slow);
            let words = windows.words();
            let (mut generation, mut list) = (0, VecDeque::new());
            for (turn, failed, slow) in steps {
                if turn {
                    generation += 1;
                    list.clear();
                }
                let slow = slow && counts_slow;
                windows.add(&words, entry(generation, failed, slow), 0, || true);
                list.push_back((failed, slow));
                if size < list.len() as u32 {
                    list.pop_front();
                }
                let count = |of: fn(&(bool, bool)) -> bool| list.iter().filter(|call| of(call)).count() as u64;
                let expected = Counts { calls: list.len() as u64, failures: count(|c| c.0), slow: count(|c| c.1) };
                prop_assert_eq!(windows.counts(&words, generation, 0), expected);
            }
        }
    }

    #[test]
    fn a_late_call_finds_no_place() {
        let windows = Windows::new(Some(Window::count(4)), false);
        let words = windows.words();
        windows.add(&words, entry(3, true, false), 0, || true);
        windows.add(&words, entry(2, true, false), 0, || false);
        assert_eq!(windows.counts(&words, 3, 0), Counts { calls: 1, failures: 1, slow: 0 });
        assert_eq!(windows.counts(&words, 2, 0), Counts::default());
    }

    #[test]
    fn takes_a_bit_a_call() {
        for (size, counts_slow, words) in
            [(100, false, 5), (100, true, 8), (1, false, 2), (32, false, 2), (33, false, 3)]
        {
            assert_eq!(Windows::new(Some(Window::count(size)), counts_slow).words().len(), words);
        }
    }
}
