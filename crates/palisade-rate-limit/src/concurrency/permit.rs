use std::{fmt, sync::Arc, time::Duration};

use palisade_core::Outcome;

use crate::{
    Fixed, LimitAlgorithm, Sample, Verdict, admit::LineSettings, concurrency::places::Places,
    shared::Shared,
};

/// The place of one request in flight: made by
/// [`ConcurrencyLimiter`](crate::ConcurrencyLimiter). Dropped, it goes to who
/// has waited for the longest.
#[must_use = "dropped, it is given back"]
pub struct Permit<A: LimitAlgorithm = Fixed> {
    shared: Arc<Shared<Places<A>>>,
    // Until something was said about it. Nothing, where nobody learns from it.
    sent: Option<Sent>,
}

#[derive(Clone, Copy)]
struct Sent {
    at: u64,
    in_flight: usize,
}

impl<A: LimitAlgorithm> Permit<A> {
    /// One that was taken.
    #[inline]
    pub(crate) fn new(shared: Arc<Shared<Places<A>>>) -> Self {
        let mut permit = Self { shared, sent: None };
        permit.send();
        permit
    }

    /// The request is sent now, and not when the permit was made.
    #[inline]
    pub(crate) fn send(&mut self) {
        if A::LEARNS {
            let at = self.shared.settings().clock().now();
            self.sent = Some(Sent { at, in_flight: self.shared.limits.in_flight() });
        }
    }

    /// Says what the request came to, and with that how long it took since there
    /// was a permit. Only what is said first counts. The permit is held on: a
    /// response may have a body.
    ///
    /// Nothing said, as of a request that was cancelled, nothing is learned.
    pub fn record(&mut self, outcome: Outcome) {
        let Some(Sent { at, in_flight }) = self.sent.take() else {
            return;
        };
        let rtt = self.shared.settings().clock().now().saturating_sub(at);
        let (at, rtt) = (Duration::from_nanos(at), Duration::from_nanos(rtt));
        let sample = Sample::new(at, rtt, in_flight, Verdict::of(outcome));
        if self.shared.limits.record(&sample) {
            self.shared.wake_first();
        }
    }
}

impl<A: LimitAlgorithm> Drop for Permit<A> {
    #[inline]
    fn drop(&mut self) {
        if self.shared.limits.give_back() {
            self.shared.wake_first();
        }
    }
}

impl<A: LimitAlgorithm> fmt::Debug for Permit<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit(..)")
    }
}
