use std::{sync::atomic::Ordering, time::Duration};

use super::Entry;
use crate::{
    sync::{AtomicU64, fence},
    trip::Counts,
};

/// Counts of calls by when they ended, in a ring of buckets.
///
/// The first word of a breaker's ring holds the latest time that was seen, in
/// widths of a bucket; then come the calls of each bucket, the failures of
/// each, and the slow calls of each, if these count. A word is changed as a
/// whole, and names what it is of: who finds another time or generation in it
/// finds it empty. So nobody has to clear the ring, and a call of an earlier
/// generation that comes late finds no place in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeWindow {
    width: u64,
    buckets: u32,
    rows: u32,
}

/// What a word counts, and of what.
///
/// Time is that of the first word, its lower 32 bits. So that no word is found
/// when its time comes round again, who first sees a new era clears the ring:
/// after 25 days in the narrowest buckets, 68 years in buckets of a second. Of
/// the generation there are 12 bits: calls of 4096 states ago count again, if
/// they all fit into one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    time: u32,
    generation: u32,
    count: u32,
}

const GENERATION_BITS: u32 = 12;
const COUNT_BITS: u32 = 20;
const MAX_COUNT: u32 = (1 << COUNT_BITS) - 1;
/// Half of what a word can tell apart, so that none outlives two.
const ERA_BITS: u32 = 31;

impl Bucket {
    fn unpack(word: u64) -> Self {
        Self {
            time: (word >> 32) as u32,
            generation: (word as u32) >> COUNT_BITS,
            count: word as u32 & MAX_COUNT,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.time) << 32 | u64::from(self.generation << COUNT_BITS | self.count)
    }

    /// Without a call in it.
    fn of(time: u64, generation: u32) -> Self {
        let generation = generation & ((1 << GENERATION_BITS) - 1);
        Self { time: time as u32, generation, count: 0 }
    }

    fn counts_for(self, other: Self) -> bool {
        (self.time, self.generation) == (other.time, other.generation)
    }

    /// How many widths before the other; as good as for ever, if after.
    fn age(self, other: Self) -> u32 {
        other.time.wrapping_sub(self.time)
    }
}

impl TimeWindow {
    pub(super) fn new(width: Duration, buckets: u32, counts_slow: bool) -> Self {
        let width = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX);
        Self { width, buckets, rows: if counts_slow { 3 } else { 2 } }
    }

    pub(super) fn words(&self) -> usize {
        1 + (self.buckets * self.rows) as usize
    }

    #[inline]
    pub(super) fn add(
        &self,
        words: &[AtomicU64],
        entry: Entry,
        now: u64,
        current: impl Fn() -> bool,
    ) {
        let time = self.time(words, now);
        // The calls first: whoever sums up in between sees too low a rate.
        let counted = self.count(words, 0, time, entry.generation, &current);
        if counted && entry.failed {
            self.count(words, 1, time, entry.generation, &current);
        }
        if counted && entry.slow && self.rows == 3 {
            self.count(words, 2, time, entry.generation, &current);
        }
    }

    /// Which width it is: never an earlier one than before, whatever the clock
    /// says.
    #[inline]
    fn time(&self, words: &[AtomicU64], now: u64) -> u64 {
        let (latest, rest) = words.split_first().expect("a window has a first word");
        let time = now / self.width;
        let seen = latest.load(Ordering::Relaxed);
        if time <= seen {
            return seen;
        }
        let seen = latest.fetch_max(time, Ordering::Relaxed);
        if seen < time && seen >> ERA_BITS != time >> ERA_BITS {
            // A call that another thread counts in this very moment may go with it.
            rest.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        time.max(seen)
    }

    /// Counts one, unless it is late.
    #[inline]
    fn count(
        &self,
        words: &[AtomicU64],
        row: u32,
        time: u64,
        generation: u32,
        current: impl Fn() -> bool,
    ) -> bool {
        let slot = self.slot(words, row, time);
        let empty = Bucket::of(time, generation);
        let mut word = slot.load(Ordering::Acquire);
        loop {
            let bucket = Bucket::unpack(word);
            let bucket = match bucket.counts_for(empty) {
                true if bucket.count == MAX_COUNT => {
                    self.halve(words, time, generation);
                    word = slot.load(Ordering::Acquire);
                    continue;
                }
                true => bucket,
                // Somebody read the clock a whole window later.
                false if 0 < bucket.count && 1 << ERA_BITS <= bucket.age(empty) => return false,
                // Read before `current` is asked: what it holds is of an earlier
                // generation, or time.
                false if current() => empty,
                false => return false,
            };
            let next = Bucket { count: bucket.count + 1, ..bucket }.pack();
            match slot.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(changed) => word = changed,
            }
        }
    }

    /// Makes room in a bucket that is full: its rates stay, give or take what
    /// is counted in this moment.
    #[cold]
    fn halve(&self, words: &[AtomicU64], time: u64, generation: u32) {
        let bucket = Bucket::of(time, generation);
        for row in 0..self.rows {
            let half = |word| {
                let there = Bucket::unpack(word);
                let half = Bucket { count: there.count / 2, ..there };
                there.counts_for(bucket).then(|| half.pack())
            };
            let _ =
                self.slot(words, row, time).fetch_update(Ordering::AcqRel, Ordering::Acquire, half);
        }
    }

    #[inline]
    fn slot<'a>(&self, words: &'a [AtomicU64], row: u32, time: u64) -> &'a AtomicU64 {
        let slot = time % u64::from(self.buckets) + u64::from(row * self.buckets);
        &words[1 + slot as usize]
    }

    pub(super) fn counts(&self, words: &[AtomicU64], generation: u32, now: u64) -> Counts {
        // Who has written sees what others wrote before they come to this line,
        // or they see this one's: of two last failures one sees both.
        fence(Ordering::SeqCst);
        let seen = words[0].load(Ordering::Relaxed);
        let latest = seen.max(now / self.width);
        // Of an era that nobody has cleared yet, or it would be found again.
        if u64::from(self.buckets) <= latest - seen {
            return Counts::default();
        }
        let latest = Bucket::of(latest, generation);
        let sum = |row: u32| -> u64 {
            let start = 1 + (row * self.buckets) as usize;
            let row = words[start..start + self.buckets as usize].iter();
            let buckets = row.map(|word| Bucket::unpack(word.load(Ordering::Acquire)));
            let fresh = buckets.filter(|bucket| {
                bucket.generation == latest.generation && bucket.age(latest) < self.buckets
            });
            fresh.map(|bucket| u64::from(bucket.count)).sum()
        };
        // The calls last: more of them make the rate lower, never higher.
        let slow = if self.rows == 3 { sum(2) } else { 0 };
        let failures = sum(1);
        Counts { slow, failures, calls: sum(0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::window::{Window, Windows};

    const MS: u64 = 1_000_000;

    fn window(millis: u64, buckets: u32) -> (Windows, Box<[AtomicU64]>) {
        let window = Window::time(Duration::from_millis(millis)).buckets(buckets);
        let windows = Windows::new(Some(window), true);
        let words = windows.words();
        (windows, words)
    }

    fn failure(generation: u32) -> Entry {
        Entry { generation, failed: true, slow: false }
    }

    fn calls(windows: &Windows, words: &[AtomicU64], now: u64) -> u64 {
        windows.counts(words, 0, now).calls
    }

    proptest! {
        #[test]
        fn a_bucket_survives_packing(time in any::<u32>(), generation in 0..4096_u32, count in 0..=MAX_COUNT) {
            let bucket = Bucket { time, generation, count };
            prop_assert_eq!(Bucket::unpack(bucket.pack()), bucket);
        }

        // The reference keeps a list of all calls of a generation.
        #[test]
        fn agrees_with_a_list(
            buckets in 1..12_u32, width in 1..5_u64,
            steps in prop::collection::vec((pause(), prop::bool::weighted(0.02), any::<bool>(), any::<bool>()), 0..300),
        ) {
            let (windows, words) = window(width * u64::from(buckets), buckets);
            let (mut now, mut generation, mut list) = (0, 0, Vec::new());
            for (pause, turn, failed, slow) in steps {
                now += pause * MS / 2;
                if turn {
                    generation += 1;
                    list.clear();
                }
                let time = now / (width * MS);
                let expected = |list: &[(u64, bool, bool)]| {
                    let fresh = |of: fn(&(u64, bool, bool)) -> bool| {
                        list.iter().filter(|call| time - call.0 < u64::from(buckets) && of(call)).count() as u64
                    };
                    Counts { calls: fresh(|_| true), failures: fresh(|c| c.1), slow: fresh(|c| c.2) }
                };
                // A look comes before the first call, and after it.
                prop_assert_eq!(windows.counts(&words, generation, now), expected(&list));
                windows.add(&words, Entry { generation, failed, slow }, now, || true);
                list.push((time, failed, slow));
                prop_assert_eq!(windows.counts(&words, generation, now), expected(&list));
            }
        }
    }

    /// Half milliseconds: mostly a few, now and then millions of windows.
    fn pause() -> impl Strategy<Value = u64> {
        prop_oneof![
            20 => 0..4_u64,
            4 => 0..60_u64,
            1 => 0..100_000_000_u64,
            1 => Just(1 << 33),
            1 => Just(1 << 34),
        ]
    }

    #[test]
    fn an_idle_time_that_goes_round_leaves_nothing() {
        for round in [1, 2, 3, 1 << 10] {
            for off in [0, 1, 9, 10, 11] {
                let (windows, words) = window(10, 10);
                windows.add(&words, failure(0), 0, || true);
                // The very word comes round after 2^32 widths, the slot whenever ten divide them.
                let now = ((round << 32) + off) * MS;
                windows.add(&words, failure(0), now, || true);
                assert_eq!(calls(&windows, &words, now), 1, "{round} {off}");
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_stands_still() {
        let (windows, words) = window(10, 10);
        windows.add(&words, failure(0), 100 * MS, || true);
        windows.add(&words, failure(0), 3 * MS, || true);
        windows.add(&words, failure(0), 0, || true);
        assert_eq!(calls(&windows, &words, 0), 3);
        assert_eq!(calls(&windows, &words, 109 * MS), 3);
        assert_eq!(calls(&windows, &words, 110 * MS), 0);
    }

    #[test]
    fn a_late_call_finds_no_place() {
        let (windows, words) = window(10, 10);
        windows.add(&words, failure(5), 0, || true);
        windows.add(&words, failure(4), 0, || false);
        windows.add(&words, failure(5), 0, || false);
        assert_eq!(
            windows.counts(&words, 5, 0).calls,
            2,
            "a bucket that is there is of this generation"
        );
        assert_eq!(windows.counts(&words, 4, 0).calls, 0);
    }

    #[test]
    fn a_full_bucket_keeps_its_rate() {
        let (windows, words) = window(10, 1);
        for (row, count) in [(1, MAX_COUNT), (2, MAX_COUNT / 4)] {
            words[row].store(Bucket { count, ..Bucket::of(0, 0) }.pack(), Ordering::Relaxed);
        }
        windows.add(&words, failure(0), 0, || true);
        let (calls, failures) = (u64::from(MAX_COUNT / 2), u64::from(MAX_COUNT / 8));
        let expected = Counts { calls: calls + 1, failures: failures + 1, slow: 0 };
        assert_eq!(windows.counts(&words, 0, 0), expected);
    }
}
