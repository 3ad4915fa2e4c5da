use std::{array, sync::LazyLock};

/// The bounds that OpenTelemetry advises for HTTP durations, in nanoseconds
/// ([semantic conventions for HTTP metrics][semconv]).
///
/// [semconv]: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
pub(crate) const BOUNDS: [u64; 14] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Powers of two, in seconds: the first begins at a millionth, the last ends
/// above an hour.
pub(crate) const OCTAVES: usize = 32;
/// Counts in an octave: its buckets, and one more for each bound in it.
pub(crate) const SLOTS: usize = BUCKETS + MOST_SPLITS;

// Scale 5 of OpenTelemetry's exponential histogram: a bucket is a factor of 2^(1/32) wide, so its
// middle is at most 1.09 % off.
const BUCKETS: usize = 32;
const LOWEST: i32 = -20;
const MOST_SPLITS: usize = 2;
const MANTISSA_BITS: u32 = 52;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
const CELL_BITS: u32 = 7;

/// Where a duration is counted.
///
/// Buckets are those of an exponential histogram, exclusive below and inclusive
/// above as OpenTelemetry and Prometheus have it, and a bucket with one of
/// [`BOUNDS`] in it is split there. So one count is exact for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) octave: usize,
    pub(crate) slot: usize,
}

struct Layout {
    // For the upper bits of a mantissa, the bucket in which the cell begins. No cell holds two edges.
    cells: [u8; 1 << CELL_BITS],
    // The mantissas at which buckets end.
    edges: [u64; BUCKETS],
    // The bounds in each octave.
    splits: [[u64; MOST_SPLITS]; OCTAVES],
}

static LAYOUT: LazyLock<Layout> = LazyLock::new(|| {
    let mantissa = |bucket: usize| factor(bucket).to_bits() & MANTISSA;
    // The last bucket ends with the octave.
    let edges = array::from_fn(|bucket| match bucket + 1 {
        BUCKETS => u64::MAX,
        next => mantissa(next),
    });
    let cells = array::from_fn(|cell| {
        let begin = (cell as u64) << (MANTISSA_BITS - CELL_BITS);
        edges.partition_point(|edge| *edge < begin) as u8
    });
    let mut splits = [[u64::MAX; MOST_SPLITS]; OCTAVES];
    for bound in BOUNDS {
        let (octave, _, mantissa) = parts(bound);
        // A power of two ends an octave, and so a bucket.
        if mantissa != 0
            && let Some(split) = splits[octave].iter_mut().find(|split| **split == u64::MAX)
        {
            *split = bound;
        }
    }
    Layout { cells, edges, splits }
});

fn factor(bucket: usize) -> f64 {
    (bucket as f64 / BUCKETS as f64).exp2()
}

/// The octave of a duration, whether it lies beyond all octaves, and how far
/// into the octave it is.
fn parts(nanos: u64) -> (usize, bool, u64) {
    // Divided, as a product with a billionth misses the powers of two.
    let bits = (nanos as f64 / 1e9).to_bits();
    let mantissa = bits & MANTISSA;
    let exponent = (bits >> MANTISSA_BITS) as i32 - 1023;
    // A power of two is the end of the octave before.
    let octave = exponent - LOWEST - i32::from(mantissa == 0);
    (octave.clamp(0, OCTAVES as i32 - 1) as usize, !(0..OCTAVES as i32).contains(&octave), mantissa)
}

impl Place {
    #[inline]
    pub(crate) fn of(nanos: u64) -> Self {
        let layout = &*LAYOUT;
        let (octave, beyond, mantissa) = parts(nanos);
        let bucket = match mantissa {
            _ if beyond => (BUCKETS - 1) * usize::from(octave != 0),
            0 => BUCKETS - 1,
            _ => {
                let bucket =
                    usize::from(layout.cells[(mantissa >> (MANTISSA_BITS - CELL_BITS)) as usize]);
                bucket + usize::from(layout.edges[bucket] < mantissa)
            }
        };
        let splits = layout.splits[octave].iter().filter(|split| **split < nanos).count();
        Self { octave, slot: bucket + splits }
    }

    /// The place by its number, in the order of durations.
    pub(crate) fn from_index(index: u16) -> Self {
        Self { octave: usize::from(index) / SLOTS, slot: usize::from(index) % SLOTS }
    }

    pub(crate) fn index(self) -> u16 {
        (self.octave * SLOTS + self.slot) as u16
    }

    /// Between what a duration counted here lies, in seconds; the first place
    /// begins at zero, the last one does not end.
    pub(crate) fn range(self) -> (f64, f64) {
        static RANGES: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| {
            let places = (0..(OCTAVES * SLOTS) as u16).map(Place::from_index);
            places.map(Place::find_range).collect()
        });
        RANGES[usize::from(self.index())]
    }

    /// As far from one end of the range as from the other, in proportion; the
    /// end that there is, if there is but one.
    pub(crate) fn middle(self) -> f64 {
        let (lower, upper) = self.range();
        if upper.is_finite() { 2.0 * lower * upper / (lower + upper) } else { lower }
    }

    fn find_range(self) -> (f64, f64) {
        let splits = &LAYOUT.splits[self.octave];
        let base = f64::from(self.octave as i32 + LOWEST).exp2();
        let edge = |bucket: usize| base * factor(bucket);
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        // All that begins or ends a place of this octave, in order.
        let mut edges: Vec<f64> = (0..=BUCKETS).map(edge).collect();
        edges
            .extend(splits.iter().filter(|split| **split != u64::MAX).map(|split| seconds(*split)));
        edges.sort_unstable_by(f64::total_cmp);
        // An octave with fewer bounds has no such slot.
        let lower = edges.get(self.slot).copied().unwrap_or(f64::INFINITY);
        let upper = edges.get(self.slot + 1).copied().unwrap_or(f64::INFINITY);
        match (self.octave, self.slot) {
            (0, 0) => (0.0, upper),
            (octave, slot) if octave == OCTAVES - 1 && slot == edges.len() - 2 => {
                (lower, f64::INFINITY)
            }
            _ => (lower, upper),
        }
    }

    /// The bucket of an exponential histogram with this scale that holds all
    /// that is counted here (OpenTelemetry's data model for metrics).
    pub(crate) fn exponential_index(self) -> i32 {
        let splits = &LAYOUT.splits[self.octave];
        let (lower, _) = self.range();
        let before = splits.iter().filter(|split| (**split as f64 / 1e9) <= lower).count();
        (self.octave as i32 + LOWEST) * BUCKETS as i32 + (self.slot - before) as i32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn durations() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            0..20_000_000_000_u64,
            (0..64_u32).prop_map(|shift| 1 << shift),
            (0..BOUNDS.len(), -2..=2_i64)
                .prop_map(|(index, off)| BOUNDS[index].saturating_add_signed(off)),
        ]
    }

    proptest! {
        #[test]
        fn a_duration_lies_where_it_is_counted(nanos in durations()) {
            let place = Place::of(nanos);
            let (lower, upper) = place.range();
            let seconds = nanos as f64 / 1e9;
            prop_assert!((lower < seconds || lower == 0.0) && seconds <= upper, "{} < {} <= {}", lower, seconds, upper);
            prop_assert_eq!(Place::from_index(place.index()), place);
        }

        #[test]
        fn longer_durations_are_not_counted_below_shorter_ones(one in durations(), other in durations()) {
            if one <= other {
                prop_assert!(Place::of(one) <= Place::of(other));
            }
        }

        #[test]
        fn no_place_is_on_both_sides_of_a_bound(nanos in durations()) {
            let (lower, upper) = Place::of(nanos).range();
            for bound in BOUNDS {
                let bound = bound as f64 / 1e9;
                prop_assert!(upper <= bound || bound <= lower, "{} < {} < {}", lower, bound, upper);
            }
        }

        #[test]
        fn places_are_narrow(nanos in 1_000..4_000_000_000_000_u64) {
            let (lower, upper) = Place::of(nanos).range();
            prop_assert!(upper / lower < 1.022, "{} .. {}", lower, upper);
        }

        #[test]
        fn is_the_bucket_of_the_exponential_histogram(nanos in 1_000..4_000_000_000_000_u64) {
            let index = Place::of(nanos).exponential_index();
            let edge = |index: i32| (f64::from(index) / BUCKETS as f64).exp2();
            let seconds = nanos as f64 / 1e9;
            // An edge that is no power of two is rounded.
            let (lower, upper) = (edge(index) * (1.0 - 1e-12), edge(index + 1) * (1.0 + 1e-12));
            prop_assert!(lower < seconds && seconds <= upper, "{} < {} <= {}", lower, seconds, upper);
        }
    }

    #[test]
    fn powers_of_two_end_their_octave() {
        for (nanos, octave) in
            [(1_953_125, -10), (500_000_000, -2), (1_000_000_000, -1), (2_000_000_000, 0)]
        {
            let place = Place::of(nanos);
            assert_eq!(place.octave as i32 + LOWEST, octave);
            assert_eq!(place.range().1, nanos as f64 / 1e9);
            assert_eq!(Place::of(nanos + 1).octave as i32 + LOWEST, octave + 1);
        }
    }

    #[test]
    fn the_ends_take_what_lies_beyond() {
        assert_eq!(Place::of(0), Place { octave: 0, slot: 0 });
        assert_eq!(Place::of(900), Place { octave: 0, slot: 0 });
        assert_eq!(Place::of(u64::MAX).range().1, f64::INFINITY);
    }
}
