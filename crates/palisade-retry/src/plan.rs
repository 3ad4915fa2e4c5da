//! What may be done for one request, and when.

use std::time::Duration;

use palisade_core::{ErrorKind, Outcome};
use palisade_settings::{Schedule, Step};
use tokio::time::Instant;

use crate::{Repeatable, Stop, hints::Hint};

/// What may be done for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) attempts: u32,
    pub(crate) deadline: Option<Instant>,
    pub(crate) repeatable: Repeatable,
}

/// What was done for it until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The number of the attempt, from 1. One that was refused on this side is
    /// made again, with the same number.
    pub(crate) attempt: u32,
    /// How often an attempt was refused on this side.
    pub(crate) refusals: u16,
    /// The last one was.
    pub(crate) refused: bool,
    /// All delays.
    pub(crate) delay: Duration,
    /// The last delay that the schedule gave.
    pub(crate) scheduled: Duration,
}

/// The first attempt is under way.
impl Default for Progress {
    fn default() -> Self {
        let (delay, scheduled) = Default::default();
        Self { attempt: 1, refusals: 0, refused: false, delay, scheduled }
    }
}

impl Progress {
    /// How many attempts there were that the service may have seen, when the
    /// last one has come to this.
    pub(crate) fn sent(&self, outcome: Outcome) -> u32 {
        self.attempt - u32::from(is_refusal(outcome))
    }
}

/// Whether an attempt never left this side.
pub(crate) fn is_refusal(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Refused { .. })
}

/// What a result calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Nothing: it is what the caller gets.
    Return,
    /// Another attempt.
    Retry,
    /// Another attempt, which this request may not have.
    Stop(Stop),
}

impl Plan {
    /// What this outcome calls for.
    pub(crate) fn call(&self, outcome: Outcome) -> Call {
        match outcome {
            Outcome::Throttled | Outcome::Unsent => Call::Retry,
            Outcome::Transient if self.repeatable == Repeatable::Always => Call::Retry,
            Outcome::Transient => Call::Stop(Stop::NotIdempotent),
            // A limiter has room sooner or later.
            Outcome::Refused { retry_after: Some(_), .. }
            | Outcome::Refused { kind: ErrorKind::Limited, .. } => Call::Retry,
            Outcome::Refused { .. } => Call::Stop(Stop::Refused),
            _ => Call::Return,
        }
    }

    /// How long to wait before an attempt is made again that was refused on this
    /// side, which asks for so long.
    ///
    /// It has cost the service nothing, so neither attempts nor budget bound how
    /// often that is: the deadline does, or, if there is none, the longest hint,
    /// which all delays together may take then.
    pub(crate) fn hold(
        &self,
        progress: &Progress,
        asked: Duration,
        longest: Duration,
        schedule: &impl Schedule,
        random: f64,
        now: impl FnOnce() -> Instant,
    ) -> Result<Delay, Stop> {
        if longest < asked {
            return Err(Stop::Hint);
        }
        let (left, stop) = match self.deadline {
            Some(deadline) => (deadline.saturating_duration_since(now()), Stop::Deadline),
            None => (longest.saturating_sub(progress.delay), Stop::Hint),
        };
        // The last half of what is left is for the attempt.
        let spare = left.saturating_sub(asked) / 2;
        if spare < MOMENT {
            return Err(stop);
        }
        // All who wait were told the same moment: half as long again spreads them out.
        let spread = (asked / 2).mul_f64(random);
        let step = Step::new(u32::from(progress.refusals) + 1, progress.scheduled, random);
        let scheduled = schedule.delay(&step);
        let more = scheduled.saturating_sub(asked).max(spread).clamp(MOMENT, spare);
        Ok(Delay { scheduled, total: asked + more })
    }

    /// How long to wait before the next attempt.
    pub(crate) fn delay(
        &self,
        progress: &Progress,
        hint: Hint,
        longest: Duration,
        schedule: &impl Schedule,
        random: f64,
        now: impl FnOnce() -> Instant,
    ) -> Result<Delay, Stop> {
        if progress.attempt >= self.attempts {
            return Err(Stop::Attempts);
        }
        let scheduled = || schedule.delay(&Step::new(progress.attempt, progress.scheduled, random));
        let delay = match hint {
            Hint::Never => return Err(Stop::Pushback),
            Hint::After(asked) | Hint::Exactly(asked) if longest < asked => return Err(Stop::Hint),
            Hint::Exactly(asked) => Delay { scheduled: progress.scheduled, total: asked },
            // Clients that were told the same time do not come all at once.
            Hint::After(asked) => {
                Delay::of(scheduled()).at_least(stretch(asked, random).min(longest))
            }
            Hint::None => Delay::of(scheduled()),
        };
        match self.deadline {
            Some(deadline)
                if now().checked_add(delay.total).is_none_or(|next| deadline <= next) =>
            {
                Err(Stop::Deadline)
            }
            _ => Ok(delay),
        }
    }
}

/// The least wait for a layer on this side, so that no schedule makes it a loop.
const MOMENT: Duration = Duration::from_millis(1);

/// A delay, and what part of it the schedule gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delay {
    pub(crate) scheduled: Duration,
    pub(crate) total: Duration,
}

impl Delay {
    fn of(scheduled: Duration) -> Self {
        Self { scheduled, total: scheduled }
    }

    fn at_least(self, least: Duration) -> Self {
        Self { total: self.total.max(least), ..self }
    }
}

/// Up to a tenth longer.
fn stretch(delay: Duration, random: f64) -> Duration {
    let tenth = Duration::try_from_secs_f64(delay.as_secs_f64() * random / 10.0);
    delay.saturating_add(tenth.unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Backoff, Jitter};

    const SECOND: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);

    fn plan() -> Plan {
        Plan { attempts: 3, deadline: None, repeatable: Repeatable::Always }
    }

    fn progress(attempt: u32) -> Progress {
        Progress { attempt, ..Progress::default() }
    }

    fn never() -> Instant {
        panic!("the clock was read")
    }

    #[test]
    fn an_outcome_calls_for_a_retry_or_not() {
        let refused = |kind, retry_after| Outcome::Refused { kind, retry_after };
        for (outcome, always, if_unsent) in [
            (Outcome::Success, Call::Return, Call::Return),
            (Outcome::Rejected, Call::Return, Call::Return),
            (Outcome::Failed, Call::Return, Call::Return),
            (Outcome::Ignored, Call::Return, Call::Return),
            (Outcome::Throttled, Call::Retry, Call::Retry),
            (Outcome::Unsent, Call::Retry, Call::Retry),
            (Outcome::Transient, Call::Retry, Call::Stop(Stop::NotIdempotent)),
            (refused(ErrorKind::Open, Some(SECOND)), Call::Retry, Call::Retry),
            (refused(ErrorKind::Limited, None), Call::Retry, Call::Retry),
            (refused(ErrorKind::Open, None), Call::Stop(Stop::Refused), Call::Stop(Stop::Refused)),
        ] {
            let careful = Plan { repeatable: Repeatable::IfUnsent, ..plan() };
            assert_eq!(plan().call(outcome), always, "{outcome:?}");
            assert_eq!(careful.call(outcome), if_unsent, "{outcome:?}");
        }
    }

    #[test]
    fn the_delay_heeds_the_hint() {
        let schedule = Backoff::constant(2 * SECOND).jitter(Jitter::None);
        for (hint, random, expected) in [
            (Hint::None, 0.0, Ok(2 * SECOND)),
            (Hint::After(SECOND), 0.0, Ok(2 * SECOND)),
            (Hint::After(10 * SECOND), 0.0, Ok(10 * SECOND)),
            (Hint::After(10 * SECOND), 0.5, Ok(Duration::from_millis(10_500))),
            (Hint::After(LONGEST), 0.5, Ok(LONGEST)),
            (Hint::After(31 * SECOND), 0.0, Err(Stop::Hint)),
            (Hint::After(Duration::MAX), 0.9, Err(Stop::Hint)),
            (Hint::Exactly(SECOND), 0.5, Ok(SECOND)),
            (Hint::Exactly(31 * SECOND), 0.5, Err(Stop::Hint)),
            (Hint::Never, 0.5, Err(Stop::Pushback)),
        ] {
            let delay = plan().delay(&progress(1), hint, LONGEST, &schedule, random, never);
            assert_eq!(delay.map(|delay| delay.total), expected, "{hint:?}");
        }
        let last = plan().delay(&progress(3), Hint::None, LONGEST, &schedule, 0.0, never);
        assert_eq!(last, Err(Stop::Attempts));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_waited_for_within_what_is_left() {
        let now = Instant::now();
        let schedule = Backoff::constant(2 * SECOND).jitter(Jitter::None);
        let ms = Duration::from_millis;
        for (asked, left, random, expected) in [
            // As long as was asked, and up to half as long again.
            (4 * SECOND, 60 * SECOND, 0.0, Ok(ms(4_001))),
            (4 * SECOND, 60 * SECOND, 0.5, Ok(ms(5_000))),
            // The schedule, where that is longer.
            (Duration::ZERO, 60 * SECOND, 0.5, Ok(2 * SECOND)),
            (SECOND, 60 * SECOND, 0.9, Ok(2 * SECOND)),
            // Half of the rest is for the attempt.
            (4 * SECOND, 5 * SECOND, 0.9, Ok(ms(4_500))),
            (Duration::ZERO, SECOND, 0.5, Ok(ms(500))),
            (4 * SECOND, ms(4_001), 0.0, Err(Stop::Deadline)),
            (4 * SECOND, 4 * SECOND, 0.0, Err(Stop::Deadline)),
            (4 * SECOND, SECOND, 0.0, Err(Stop::Deadline)),
            (LONGEST, 60 * SECOND, 0.0, Ok(LONGEST + MOMENT)),
            (LONGEST + MOMENT, 60 * SECOND, 0.0, Err(Stop::Hint)),
        ] {
            let plan = Plan { deadline: Some(now + left), ..plan() };
            // After the last attempt, too.
            let delay = plan.hold(&progress(3), asked, LONGEST, &schedule, random, || now);
            assert_eq!(delay.map(|delay| delay.total), expected, "{asked:?} {left:?}");
        }
    }

    #[test]
    fn without_a_deadline_refusals_are_waited_for_as_long_as_one_hint() {
        let zero = Backoff::constant(Duration::ZERO).jitter(Jitter::None);
        for (delay, asked, expected) in [
            (Duration::ZERO, 10 * SECOND, Ok(10 * SECOND + MOMENT)),
            (20 * SECOND, 9 * SECOND, Ok(9 * SECOND + MOMENT)),
            (20 * SECOND, 10 * SECOND, Err(Stop::Hint)),
            // No schedule makes it a loop without an end.
            (Duration::ZERO, Duration::ZERO, Ok(MOMENT)),
            (LONGEST - MOMENT, Duration::ZERO, Err(Stop::Hint)),
        ] {
            let progress = Progress { delay, ..progress(1) };
            let next = plan().hold(&progress, asked, LONGEST, &zero, 0.0, never);
            assert_eq!(next.map(|next| next.total), expected, "{delay:?} {asked:?}");
        }
    }

    #[test]
    fn refusals_are_waited_for_ever_longer() {
        let schedule = Backoff::exponential(SECOND).jitter(Jitter::None);
        let delays = [0, 1, 2].map(|refusals| {
            let progress = Progress { refusals, ..progress(1) };
            plan().hold(&progress, Duration::ZERO, LONGEST, &schedule, 0.0, never)
        });
        assert_eq!(delays.map(|delay| delay.unwrap().total), [1, 2, 4].map(|n| n * SECOND));
    }

    #[test]
    fn an_attempt_that_was_refused_was_not_sent() {
        let refused = Outcome::Refused { kind: ErrorKind::Open, retry_after: None };
        for (outcome, sent) in [(refused, 1), (Outcome::Transient, 2), (Outcome::Success, 2)] {
            assert_eq!(progress(2).sent(outcome), sent);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_attempt_starts_before_the_deadline() {
        let now = Instant::now();
        for (deadline, delay, ok) in
            [(10, 9, true), (10, 10, false), (10, 11, false), (10, u64::MAX, false)]
        {
            let plan = Plan { deadline: Some(now + deadline * SECOND), ..plan() };
            let delay = Duration::from_secs(delay);
            let schedule = Backoff::constant(delay).jitter(Jitter::None);
            let found = plan.delay(&progress(1), Hint::None, LONGEST, &schedule, 0.0, || now);
            assert_eq!(found.is_ok(), ok, "{delay:?}");
        }
    }

    proptest! {
        // Whatever a server sends, the wait is no longer than what is allowed.
        #[test]
        fn no_hint_makes_the_wait_too_long(
            asked in any::<Duration>(), longest in any::<Duration>(), random in 0.0..1.0, exactly in any::<bool>(),
        ) {
            let hint = if exactly { Hint::Exactly(asked) } else { Hint::After(asked) };
            let schedule = Backoff::default();
            match plan().delay(&progress(1), hint, longest, &schedule, random, never) {
                Ok(delay) => prop_assert!(delay.total <= longest.max(Duration::from_secs(10)) && asked <= longest),
                Err(stop) => prop_assert!(stop == Stop::Hint && longest < asked),
            }
        }

        // Whatever layers say, all waits for them end, and within their bound.
        #[test]
        fn no_refusals_hold_a_request_up_for_ever(
            asked in prop::collection::vec(0..3_000_u64, 1..20), random in 0.0..1.0,
        ) {
            let (longest, schedule) = (SECOND, Backoff::default());
            let mut progress = progress(1);
            for asked in asked.iter().cycle() {
                let asked = Duration::from_micros(asked * 100);
                match plan().hold(&progress, asked, longest, &schedule, random, never) {
                    Ok(delay) => {
                        prop_assert!(asked + MOMENT <= delay.total);
                        progress.delay += delay.total;
                        progress.refusals += 1;
                    }
                    Err(stop) => {
                        prop_assert_eq!(stop, Stop::Hint);
                        break;
                    }
                }
                prop_assert!(progress.delay <= longest);
            }
        }
    }
}
