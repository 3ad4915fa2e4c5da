use std::time::Duration;

/// Which share of the calls is admitted, in parts of 2^32: a tenth at first,
/// growing with time to all of them.
pub(crate) fn share(remaining: Duration, whole: Duration) -> u32 {
    let left = remaining.as_secs_f64() / whole.as_secs_f64();
    let share = 1.0 - LEFT_OUT_AT_FIRST * left.clamp(0.0, 1.0);
    // Saturates at the greatest number, which leaves out one call in 2^32.
    (share * (1_u64 << 32) as f64) as u32
}

const LEFT_OUT_AT_FIRST: f64 = 0.9;

/// Whether a call is admitted when so much was admitted, modulo one call,
/// before it was added.
pub(crate) fn admits(before: u32, share: u32) -> bool {
    before.checked_add(share).is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grows_from_a_tenth_to_all() {
        let at = |remaining| {
            let share = share(Duration::from_secs(remaining), Duration::from_secs(10));
            (f64::from(share) / f64::from(u32::MAX) * 100.0).round()
        };
        assert_eq!([10, 9, 5, 1, 0].map(at), [10.0, 19.0, 55.0, 91.0, 100.0]);
        assert_eq!(at(99), 10.0);
    }

    proptest! {
        #[test]
        fn admits_its_share_evenly(share in 1..=u32::MAX, start in any::<u32>()) {
            let mut before = start;
            let mut admitted = 0_u64;
            for calls in 1..=200_u64 {
                admitted += u64::from(admits(before, share));
                before = before.wrapping_add(share);
                let exact = (calls * u64::from(share)) >> 32;
                prop_assert!((exact..=exact + 1).contains(&admitted), "{} of {}", admitted, calls);
            }
        }
    }
}
