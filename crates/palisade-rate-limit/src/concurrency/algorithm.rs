use std::time::Duration;

use palisade_core::Outcome;

/// Finds out how many requests may be in flight: [`Fixed`](crate::Fixed),
/// [`Aimd`](crate::Aimd), [`Gradient2`](crate::Gradient2).
///
/// It is plain code, without a lock or a clock: a limiter locks it, and tells it
/// of each request that came to something. So it should be quick, and must
/// neither panic nor call the limiter. A clone is a limit that has learned as
/// much.
///
/// ```
/// use palisade_rate_limit::{ConcurrencyLimiter, LimitAlgorithm, Sample, Verdict};
///
/// /// As many as went well, until one does not.
/// #[derive(Clone, Debug)]
/// struct Careful(usize);
///
/// impl LimitAlgorithm for Careful {
///     fn limit(&self) -> usize {
///         self.0
///     }
///
///     fn record(&mut self, sample: &Sample) {
///         match sample.verdict {
///             Verdict::Success => self.0 = self.0.max(sample.in_flight + 1),
///             Verdict::Dropped => self.0 = 1,
///             _ => {}
///         }
///     }
///
///     fn set_limit(&mut self, limit: usize) {
///         self.0 = limit;
///     }
/// }
///
/// let limiter = ConcurrencyLimiter::adaptive(Careful(1));
/// assert_eq!(limiter.snapshot().limit, 1);
/// ```
pub trait LimitAlgorithm: Clone {
    /// Whether it is to be told of requests. If not, nobody reads the clock for
    /// it. Defaults to yes.
    const LEARNS: bool = true;

    /// How many may be in flight now.
    fn limit(&self) -> usize;

    /// A request came to something.
    fn record(&mut self, sample: &Sample);

    /// Goes on from another limit.
    fn set_limit(&mut self, limit: usize);
}

/// What a [`LimitAlgorithm`] learns of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// When it was sent, from any one moment on.
    pub sent_at: Duration,
    /// How long it took from then to the head of its response, or to its error.
    pub rtt: Duration,
    /// How many were in flight when it was sent, with it.
    pub in_flight: usize,
    /// What it says about the limit.
    pub verdict: Verdict,
}

/// What a request says about the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The service answered as it should: as soon as it says.
    Success,
    /// The service has too much to do.
    Dropped,
    /// Nothing.
    Ignored,
}

impl Sample {
    /// What is learned of a request.
    pub fn new(sent_at: Duration, rtt: Duration, in_flight: usize, verdict: Verdict) -> Self {
        Self { sent_at, rtt, in_flight, verdict }
    }

    /// When it came to something, from the same moment on.
    pub fn ended_at(&self) -> Duration {
        self.sent_at.saturating_add(self.rtt)
    }

    /// Whether the limit was half used at least when it was sent. If not, the
    /// request says nothing about what lies beyond the limit.
    pub fn reached(&self, limit: usize) -> bool {
        limit <= self.in_flight.saturating_mul(2)
    }
}

impl Verdict {
    /// `Throttled`, `Transient` and `Unsent` say that the service has too much
    /// to do; `Success` that it has not. All else says nothing: an error of the
    /// request's own may be found early, and take no time.
    pub fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::Throttled | Outcome::Transient | Outcome::Unsent => Self::Dropped,
            _ => Self::Ignored,
        }
    }
}

#[cfg(test)]
mod tests {
    use palisade_core::ErrorKind;

    use super::*;

    #[test]
    fn only_what_is_about_load_counts() {
        let refused = Outcome::Refused { kind: ErrorKind::Open, retry_after: None };
        for (outcome, verdict) in [
            (Outcome::Success, Verdict::Success),
            (Outcome::Rejected, Verdict::Ignored),
            (Outcome::Throttled, Verdict::Dropped),
            (Outcome::Transient, Verdict::Dropped),
            (Outcome::Unsent, Verdict::Dropped),
            (Outcome::Failed, Verdict::Ignored),
            (refused, Verdict::Ignored),
            (Outcome::Ignored, Verdict::Ignored),
        ] {
            assert_eq!(Verdict::of(outcome), verdict, "{outcome:?}");
        }
    }

    #[test]
    fn half_a_limit_is_nearly_all_of_it() {
        for (in_flight, limit, reached) in
            [(1, 1, true), (1, 2, true), (1, 3, false), (2, 3, true), (4, 8, true), (3, 8, false)]
        {
            let sample = Sample::new(Duration::ZERO, Duration::ZERO, in_flight, Verdict::Success);
            assert_eq!(sample.reached(limit), reached, "{in_flight} of {limit}");
        }
    }
}
