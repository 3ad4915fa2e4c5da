use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// A sequence of random numbers that threads share without a lock: SplitMix64
/// (Steele, Lea, Flood 2014). Spreads load, keeps no secrets.
///
/// ```
/// use palisade_settings::Random;
///
/// let unit = Random::seeded(7).unit();
/// assert_eq!(unit, Random::seeded(7).unit());
/// assert!((0.0..1.0).contains(&unit));
/// ```
#[derive(Debug)]
pub struct Random(AtomicU64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The sequence that this seed begins.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A sequence that no other process shares.
    pub fn from_entropy() -> Self {
        Self::seeded(RandomState::new().hash_one(0))
    }

    /// The next number, uniform in `0.0..1.0`.
    pub fn unit(&self) -> f64 {
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 53 bits are what an f64 holds.
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_sequence() {
        let draw = |seed| {
            let random = Random::seeded(seed);
            [random.unit(), random.unit(), random.unit()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn nobody_shares_a_sequence() {
        assert_ne!(Random::from_entropy().unit(), Random::from_entropy().unit());
    }

    #[test]
    fn numbers_are_spread_evenly() {
        let random = Random::seeded(1);
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let unit = random.unit();
            assert!((0.0..1.0).contains(&unit));
            tenths[(unit * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
    }
}
