//! What is known of keys for a while.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;
use tokio::time::Instant;

/// So many keys there are before those are looked for that are not remembered any more.
const FIRST_SWEEP: usize = 1024;

/// Beyond so many, nothing more is remembered.
const MOST: usize = 1 << 16;

/// The first rest, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// What is known of keys, by their hashes: a key may be long, and who is taken
/// for another one is treated like that for a moment.
pub(crate) struct Recent<V> {
    by_hash: HashMap<u64, Known<V>, RandomState>,
    // When there are so many, it is swept, but not all the time.
    sweep_at: usize,
    swept: Option<Instant>,
}

struct Known<V> {
    value: V,
    until: Instant,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { by_hash: HashMap::default(), sweep_at: FIRST_SWEEP, swept: None }
    }
}

impl<V> Recent<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    pub(crate) fn get(&self, hash: u64, now: Instant) -> Option<&V> {
        self.by_hash.get(&hash).filter(|known| now < known.until).map(|known| &known.value)
    }

    pub(crate) fn get_mut(&mut self, hash: u64, now: Instant) -> Option<&mut V> {
        let known = self.by_hash.get_mut(&hash).filter(|known| now < known.until);
        known.map(|known| &mut known.value)
    }

    pub(crate) fn forget(&mut self, hash: u64) {
        self.by_hash.remove(&hash);
    }

    pub(crate) fn remember(&mut self, hash: u64, value: V, now: Instant, until: Instant) {
        let lately = self.swept.is_some_and(|swept| now < swept + FIRST);
        if self.sweep_at <= self.by_hash.len() && !lately {
            self.by_hash.retain(|_, known| now < known.until);
            self.swept = Some(now);
            // Not again before as many have come as there are, if so many may come.
            self.sweep_at = (2 * self.by_hash.len()).clamp(FIRST_SWEEP, MOST);
            self.by_hash.shrink_to(self.sweep_at);
        }
        if self.by_hash.len() < MOST || self.by_hash.contains_key(&hash) {
            self.by_hash.insert(hash, Known { value, until });
        }
    }
}

/// For how long something that is not urgent is not tried again: for longer each
/// time that nothing comes of it.
#[derive(Clone, Copy)]
pub(crate) struct Rest {
    length: Duration,
    end: Instant,
}

impl Rest {
    pub(crate) fn after(before: Option<&Self>, now: Instant) -> Self {
        let length = before.map_or(FIRST, |before| LONGEST.min(2 * before.length));
        Self { length, end: now + length }
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.end <= now
    }

    /// When the next one is a first one again.
    pub(crate) fn forgotten(&self) -> Instant {
        self.end + LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_up_to_a_bound() {
        let mut now = Instant::now();
        let mut rest: Option<Rest> = None;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let next = Rest::after(rest.as_ref(), now);
            let length = Duration::from_secs(seconds);
            assert!(!next.is_over(now + length - Duration::from_nanos(1)));
            now += length;
            assert!(next.is_over(now) && now < next.forgotten());
            rest = Some(next);
        }
    }

    #[test]
    fn a_key_is_known_for_as_long_as_is_said() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut recent = Recent::default();
        recent.remember(1, 'a', now, now + second);
        assert_eq!(recent.get(1, now), Some(&'a'));
        assert_eq!((recent.get(2, now), recent.get(1, now + second)), (None, None));
        recent.forget(1);
        assert!(recent.is_empty());
    }

    #[test]
    fn however_many_there_are_it_stays_small() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut recent = Recent::default();
        for hash in 0..2 * MOST as u64 {
            recent.remember(hash, (), now, now + second);
        }
        assert_eq!(recent.by_hash.len(), MOST);
        // What is known already can be known for longer.
        recent.remember(0, (), now, now + 3 * second);
        assert!(recent.get(0, now + 2 * second).is_some());
        // Those that are not known any more make place, and soon.
        for hash in 0..MOST as u64 {
            recent.remember(u64::MAX - hash, (), now + second, now + 2 * second);
        }
        assert!(recent.by_hash.len() <= MOST && recent.get(u64::MAX, now + second).is_some());
    }
}
