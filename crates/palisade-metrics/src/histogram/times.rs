use std::{collections::BTreeMap, time::Duration};

use super::{layout::Place, nanos};

/// How long something took, many times: exact counts, and quantiles at most
/// 1.1 % off.
///
/// Durations are counted by their logarithm, from a millionth of a second to
/// an hour; what is shorter or longer counts as that.
///
/// ```
/// use std::time::Duration;
/// use palisade_metrics::Times;
///
/// let mut times = Times::default();
/// for millis in 1..=100 {
///     times.record(Duration::from_millis(millis));
/// }
/// assert_eq!(times.count(), 100);
/// assert_eq!(times.mean(), Some(Duration::from_micros(50_500)));
/// let p95 = times.quantile(0.95).expect("there are some");
/// assert!((p95.as_secs_f64() / 0.095 - 1.0).abs() < 0.011);
/// // The bounds of Prometheus' buckets are exact.
/// assert_eq!(times.count_within(Duration::from_millis(25)), 25);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "stored::Stored"))]
pub struct Times {
    // By the number of their place.
    counts: BTreeMap<u16, u64>,
    sum: u64,
    range: Option<(u64, u64)>,
}

impl Times {
    /// Counts a duration.
    pub fn record(&mut self, time: Duration) {
        let nanos = nanos(time);
        self.add(Place::of(nanos), 1);
        self.add_range(nanos, nanos, nanos);
    }

    pub(crate) fn add(&mut self, place: Place, count: u64) {
        if count != 0 {
            *self.counts.entry(place.index()).or_default() += count;
        }
    }

    pub(crate) fn add_range(&mut self, sum: u64, min: u64, max: u64) {
        self.sum = self.sum.wrapping_add(sum);
        if min <= max {
            let (least, most) = self.range.unwrap_or((min, max));
            self.range = Some((least.min(min), most.max(max)));
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// All together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// The arithmetic mean; nothing, if there are none.
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// The shortest.
    pub fn min(&self) -> Option<Duration> {
        self.range.map(|(min, _)| Duration::from_nanos(min))
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        self.range.map(|(_, max)| Duration::from_nanos(max))
    }

    /// The duration that this share of them does not exceed; nothing, if there
    /// are none, or if it is no share. `0.95` for the 95th percentile.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        if !(0.0..=1.0).contains(&share) {
            return None;
        }
        let (min, max) = self.range?;
        let rank = ((share * self.count() as f64).ceil() as u64).max(1);
        let mut below = 0;
        let (middle, _) = self.middles().find(|(_, count)| {
            below += count;
            rank <= below
        })?;
        // Not `clamp`, which panics on a range that was read, whoever wrote it.
        Some(Duration::from_nanos(((middle * 1e9) as u64).max(min).min(max)))
    }

    /// The median.
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// The 95th percentile.
    pub fn p95(&self) -> Option<Duration> {
        self.quantile(0.95)
    }

    /// The 99th percentile.
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    /// The middle of each bucket in seconds, and how many are in it, in order:
    /// at most 1.1 % off, and on the right side of the bounds that
    /// OpenTelemetry advises.
    pub fn middles(&self) -> impl Iterator<Item = (f64, u64)> {
        self.counts.iter().map(|(index, count)| (Place::from_index(*index).middle(), *count))
    }

    /// How many took no longer than this. Exact for the bounds that
    /// OpenTelemetry advises for HTTP (5, 10, 25, 50, 75, 100, 250, 500 and 750
    /// milliseconds, 1, 2.5, 5, 7.5 and 10 seconds), otherwise without those
    /// within 2.2 % of it.
    pub fn count_within(&self, limit: Duration) -> u64 {
        let limit = limit.as_nanos() as f64 / 1e9;
        let within = self
            .counts
            .iter()
            .take_while(|(index, _)| Place::from_index(**index).range().1 <= limit);
        within.map(|(_, count)| count).sum()
    }

    /// The counts by bucket of an exponential histogram of scale 5
    /// ([OpenTelemetry's data model][model]), in order: bucket `i` holds what
    /// took more than 2^(i/32) seconds, and no more than 2^((i+1)/32).
    ///
    /// [model]: https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram
    pub fn exponential(&self) -> Vec<(i32, u64)> {
        let mut buckets: Vec<(i32, u64)> = Vec::new();
        for (index, count) in &self.counts {
            let bucket = Place::from_index(*index).exponential_index();
            match buckets.last_mut() {
                Some((last, sum)) if *last == bucket => *sum += count,
                _ => buckets.push((bucket, *count)),
            }
        }
        buckets
    }

    /// Adds all of the others.
    pub fn merge(&mut self, other: &Self) {
        for (index, count) in &other.counts {
            *self.counts.entry(*index).or_default() += count;
        }
        let (min, max) = other.range.unwrap_or((u64::MAX, 0));
        self.add_range(other.sum, min, max);
    }

    /// Those that came since an earlier look at the same. The shortest and the
    /// longest are then known as exactly as any quantile.
    pub fn since(&self, earlier: &Self) -> Self {
        let left = |(index, count): (&u16, &u64)| {
            let before = earlier.counts.get(index).copied().unwrap_or_default();
            let count = count.saturating_sub(before);
            (count != 0).then_some((*index, count))
        };
        let counts: BTreeMap<u16, u64> = self.counts.iter().filter_map(left).collect();
        let nanos = |seconds: f64| (seconds * 1e9) as u64;
        let ends = counts.first_key_value().zip(counts.last_key_value());
        let range = ends.zip(self.range).map(|(((first, _), (last, _)), (min, max))| {
            let lower = nanos(Place::from_index(*first).range().0);
            let upper = nanos(Place::from_index(*last).range().1);
            let known = (lower.max(min), upper.min(max));
            // Who was counted before it was measured may lie beyond all that was measured.
            if known.0 <= known.1 { known } else { (lower, upper) }
        });
        Self { counts, sum: self.sum.wrapping_sub(earlier.sum), range }
    }
}

#[cfg(feature = "serde")]
mod stored {
    use std::collections::BTreeMap;

    use super::Times;
    use crate::histogram::layout::{OCTAVES, SLOTS};

    /// What was read, whoever wrote it.
    #[derive(serde::Deserialize)]
    pub(super) struct Stored {
        counts: BTreeMap<u16, u64>,
        sum: u64,
        range: Option<(u64, u64)>,
    }

    impl TryFrom<Stored> for Times {
        type Error = &'static str;

        fn try_from(Stored { counts, sum, range }: Stored) -> Result<Self, Self::Error> {
            let known = |index: &u16| usize::from(*index) < OCTAVES * SLOTS;
            if !counts.keys().all(known) {
                return Err("times are counted where there is no place");
            }
            let sum_of = |sum: u64, count: &u64| sum.checked_add(*count);
            if counts.values().try_fold(0, sum_of).is_none() {
                return Err("there are too many times");
            }
            if range.is_some_and(|(min, max)| max < min) {
                return Err("the shortest time is longer than the longest");
            }
            Ok(Self { counts, sum, range })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::histogram::layout::BOUNDS;

    fn times_of(nanos: &[u64]) -> Times {
        let mut times = Times::default();
        nanos.iter().for_each(|nanos| times.record(Duration::from_nanos(*nanos)));
        times
    }

    #[test]
    fn what_is_counted_and_not_measured_yet_has_its_place() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(1));
        let before = times_of(&[nanos(short)]);
        let mut now = before.clone();
        // Read between the two words that a thread writes.
        now.add(Place::of(nanos(long)), 1);
        let since = now.since(&before);
        let median = since.p50().unwrap().as_secs_f64();
        assert!((median / long.as_secs_f64() - 1.0).abs() <= 0.03, "{median}");
        let (min, max) = since.range.unwrap();
        assert!(min <= max);
    }

    proptest! {
        #[test]
        fn quantiles_are_right(mut nanos in prop::collection::vec(1_000..4_000_000_000_000_u64, 1..200), share in 0.0..=1.0_f64) {
            let times = times_of(&nanos);
            nanos.sort_unstable();
            let rank = ((share * nanos.len() as f64).ceil() as usize).max(1);
            let exact = nanos[rank - 1] as f64;
            let found = times.quantile(share).unwrap().as_nanos() as f64;
            prop_assert!((found / exact - 1.0).abs() <= 0.011, "{} instead of {}", found, exact);
        }

        #[test]
        fn counts_are_exact(nanos in prop::collection::vec(0..20_000_000_000_u64, 0..200), bound in 0..BOUNDS.len()) {
            let times = times_of(&nanos);
            let bound = BOUNDS[bound];
            prop_assert_eq!(times.count(), nanos.len() as u64);
            prop_assert_eq!(times.sum(), nanos.iter().map(|nanos| Duration::from_nanos(*nanos)).sum());
            let within = nanos.iter().filter(|nanos| **nanos <= bound).count() as u64;
            prop_assert_eq!(times.count_within(Duration::from_nanos(bound)), within);
            prop_assert_eq!(times.min(), nanos.iter().min().map(|nanos| Duration::from_nanos(*nanos)));
            prop_assert_eq!(times.max(), nanos.iter().max().map(|nanos| Duration::from_nanos(*nanos)));
            let exponential: u64 = times.exponential().iter().map(|(_, count)| count).sum();
            prop_assert_eq!(exponential, times.count());
        }

        #[test]
        fn what_was_merged_can_be_taken_apart(
            early in prop::collection::vec(1_000..1_000_000_000_u64, 0..50),
            late in prop::collection::vec(1_000..1_000_000_000_u64, 0..50),
        ) {
            let (early, late) = (times_of(&early), times_of(&late));
            let mut all = early.clone();
            all.merge(&late);
            let found = all.since(&early);
            prop_assert_eq!(found.counts, late.counts);
            prop_assert_eq!(found.sum, late.sum);
            if let (Some(found), Some(exact)) = (found.range, late.range) {
                prop_assert!(found.0 <= exact.0 && exact.1 <= found.1);
                prop_assert!(exact.0 as f64 <= found.0 as f64 * 1.022 + 1.0);
                prop_assert!(found.1 as f64 <= exact.1 as f64 * 1.022 + 1.0);
            }
        }
    }

    #[test]
    fn what_makes_no_sense_has_no_answer() {
        assert_eq!(Times::default().quantile(0.5), None);
        assert_eq!(Times::default().mean(), None);
        let some = times_of(&[5]);
        assert_eq!(some.quantile(1.1), None);
        assert_eq!(some.quantile(f64::NAN), None);
        assert_eq!(some.quantile(1.0), Some(Duration::from_nanos(5)));
    }
}
