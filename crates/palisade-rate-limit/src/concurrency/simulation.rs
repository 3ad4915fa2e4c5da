//! Algorithms at work on a service whose behaviour is known.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use proptest::prelude::*;

use crate::{Aimd, Fixed, Gradient2, LimitAlgorithm, Sample, Verdict};

/// A service that works on so many requests at once without getting slower.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) capacity: usize,
    pub(super) base: Duration,
    /// What it does with more: it drops them, or all get slower.
    pub(super) drops: bool,
}

impl Server {
    fn serve(self, number: u32, in_flight: usize) -> (Duration, Verdict) {
        // Up to a tenth more or less.
        let jitter = 0.9 + 0.2 * f64::from(number.wrapping_mul(7919) % 1000) / 1000.0;
        let slower = in_flight as f64 / self.capacity as f64;
        match slower <= 1.0 {
            true => (self.base.mul_f64(jitter), Verdict::Success),
            false if self.drops => (self.base.mul_f64(jitter / 10.0), Verdict::Dropped),
            false => (self.base.mul_f64(jitter * slower), Verdict::Success),
        }
    }
}

/// Sends as many as may be in flight, and no more than are wanted at once. The
/// limits after each.
pub(super) fn run(
    algorithm: &mut impl LimitAlgorithm,
    server: Server,
    wanted: usize,
    calls: u32,
) -> Vec<usize> {
    let mut now = Duration::ZERO;
    let mut limits = Vec::new();
    let mut sent = BinaryHeap::new();
    for number in 0..calls {
        while sent.len() < algorithm.limit().min(wanted) {
            let in_flight = sent.len() + 1;
            let (rtt, verdict) = server.serve(number + in_flight as u32, in_flight);
            let dropped = verdict == Verdict::Dropped;
            sent.push(Reverse((now + rtt, now, in_flight, dropped)));
        }
        let Some(Reverse((at, sent_at, in_flight, dropped))) = sent.pop() else {
            break;
        };
        now = at;
        let verdict = if dropped { Verdict::Dropped } else { Verdict::Success };
        algorithm.record(&Sample::new(sent_at, at - sent_at, in_flight, verdict));
        limits.push(algorithm.limit());
    }
    limits
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let verdict =
        prop_oneof![Just(Verdict::Success), Just(Verdict::Dropped), Just(Verdict::Ignored)];
    let sample = (any::<u32>(), prop_oneof![Just(0), any::<u64>()], 0..300_usize, verdict);
    let sample = sample.prop_map(|(sent_at, rtt, in_flight, verdict)| {
        let sent_at = Duration::from_micros(sent_at.into());
        Sample::new(sent_at, Duration::from_nanos(rtt), in_flight, verdict)
    });
    prop::collection::vec(sample, 0..300)
}

fn stays_within_bounds(mut algorithm: impl LimitAlgorithm, samples: &[Sample]) {
    for sample in samples {
        algorithm.record(sample);
        assert!((5..=50).contains(&algorithm.limit()), "{}", algorithm.limit());
        if sample.in_flight % 50 == 0 {
            algorithm.set_limit(sample.in_flight);
            assert_eq!(algorithm.limit(), sample.in_flight.clamp(5, 50));
        }
    }
}

fn never_grows_unused(mut algorithm: impl LimitAlgorithm, samples: &[Sample]) {
    for sample in samples {
        let before = algorithm.limit();
        let in_flight = sample.in_flight.min((before - 1) / 2);
        algorithm.record(&Sample { in_flight, ..*sample });
        assert!(algorithm.limit() <= before);
    }
}

proptest! {
    #[test]
    fn limits_stay_within_bounds(samples in samples()) {
        stays_within_bounds(Aimd::new(20).bounds(5..=50), &samples);
        stays_within_bounds(Gradient2::new(20).bounds(5..=50), &samples);
    }

    #[test]
    fn what_is_not_used_never_grows(samples in samples()) {
        never_grows_unused(Aimd::new(20), &samples);
        never_grows_unused(Gradient2::new(20), &samples);
    }
}

#[test]
fn a_fixed_limit_is_fixed() {
    let mut fixed = Fixed::new(7);
    let server = Server { capacity: 3, base: Duration::from_millis(1), drops: true };
    assert!(run(&mut fixed, server, usize::MAX, 100).iter().all(|limit| *limit == 7));
    assert!(Fixed::try_new(0).is_err());
}

#[test]
fn a_light_load_moves_nothing() {
    let server = Server { capacity: 1000, base: Duration::from_millis(20), drops: true };
    let (mut aimd, mut gradient) = (Aimd::new(10), Gradient2::new(10));
    run(&mut aimd, server, 3, 10_000);
    run(&mut gradient, server, 3, 10_000);
    assert_eq!((aimd.limit(), gradient.limit()), (10, 10));
}
