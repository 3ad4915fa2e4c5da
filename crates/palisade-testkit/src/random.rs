use std::time::Duration;

/// Random numbers that a seed repeats, for scripts.
///
/// ```
/// use palisade_testkit::Random;
///
/// let (mut random, mut again) = (Random::seeded(1), Random::seeded(1));
/// assert_eq!(random.number(), again.number());
/// ```
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The numbers of one request: the same for the same seed, route and request number, whatever
    /// else is running.
    pub(crate) fn new(seed: u64, route: &str, number: u64) -> Self {
        // FNV-1a tells the routes apart; the generator below does the mixing.
        let route = route.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut random = Self::seeded(seed);
        random.0 = random.number() ^ route;
        random.0 = random.number() ^ number;
        random
    }

    /// Uniform in `0..bound`, up to a bias that no test can see.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.number()) * u128::from(bound);
        // The upper half of a product of two 64-bit numbers.
        (product >> 64) as u64
    }

    /// Uniform between zero and `max`, without `max`.
    pub(crate) fn duration(&mut self, max: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(max.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The next number: SplitMix64 (Steele, Lea, Flood 2014).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_seed_route_and_number() {
        let draw = |seed, route, number| Random::new(seed, route, number).below(u64::MAX);
        assert_eq!(draw(1, "/a", 1), draw(1, "/a", 1));
        for (seed, route, number) in [(2, "/a", 1), (1, "/b", 1), (1, "/a", 2)] {
            assert_ne!(draw(1, "/a", 1), draw(seed, route, number));
        }
    }

    #[test]
    fn spreads_evenly() {
        let mut counts = [0_u32; 10];
        for number in 0..10_000 {
            let drawn = Random::new(7, "/a", number).below(10);
            counts[usize::try_from(drawn).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }
}
