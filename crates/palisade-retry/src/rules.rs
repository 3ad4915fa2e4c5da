use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Request, Response};
use palisade_core::{
    Cause, Classify, ErrorKind, Event, Head, HttpClassify, Observer, Outcome, Target, Trailers,
};
use palisade_settings::{Backoff, InvalidSetting, Random, Schedule, Step};
use tokio::time::Instant;

use crate::{
    ByMethod, CloneBody, Hints, NoTimeout, Repeatable, Requests, RetryInfo, RetryOverride, Stop,
    TokenBudget, hints::Hint, requests::IDEMPOTENCY_KEY,
};

/// The rules by which a retry layer goes: the type parameter of
/// [`RetryLayer`](crate::RetryLayer) and [`Retry`](crate::Retry).
///
/// | parameter | decides | default | setter |
/// |---|---|---|---|
/// | `C` | what a result means | [`HttpClassify`] | `classify` |
/// | `Q` | which requests may be sent again | [`ByMethod`] | `requests` |
/// | `K` | how long to wait | [`Backoff`] | `backoff` |
/// | `G` | how many retries there may be | [`TokenBudget`] | `budget` |
/// | `M` | how request bodies are kept | [`CloneBody`] | `replay`, `bodies` |
/// | `T` | how long an attempt may take | [`NoTimeout`] | `attempt_timeout` |
#[derive(Clone, Debug)]
pub struct Rules<
    C = HttpClassify,
    Q = ByMethod,
    K = Backoff,
    G = TokenBudget,
    M = CloneBody,
    T = NoTimeout,
> {
    pub(crate) classify: C,
    pub(crate) requests: Q,
    pub(crate) backoff: K,
    pub(crate) budget: G,
    pub(crate) bodies: M,
    pub(crate) timeout: T,
    pub(crate) settings: Settings,
}

/// The rules that are plain values.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) attempts: u32,
    pub(crate) deadline: Option<Duration>,
    pub(crate) hints: Hints,
    pub(crate) drain: usize,
    pub(crate) unready: WhenUnready,
    pub(crate) attempt_header: Option<HeaderName>,
    pub(crate) idempotency_key: Option<fn(Head<'_>) -> HeaderValue>,
    pub(crate) random: Arc<Random>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// What to do when the wait is over and the inner service is not ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenUnready {
    /// Wait until it is.
    #[default]
    Wait,
    /// Return what the last attempt came to. The response is kept for this
    /// during the wait, so its body is not drained.
    ReturnOriginal,
}

impl<C> Rules<C> {
    pub(crate) fn new(classify: C) -> Self {
        Self {
            classify,
            requests: ByMethod,
            backoff: Backoff::default(),
            budget: TokenBudget::default(),
            bodies: CloneBody,
            timeout: NoTimeout,
            settings: Settings {
                attempts: 3,
                deadline: None,
                hints: Hints::new(),
                drain: 16 * 1024,
                unready: WhenUnready::Wait,
                attempt_header: None,
                idempotency_key: None,
                random: Arc::new(Random::from_entropy()),
                observer: None,
            },
        }
    }
}

/// What is decided by a request.
impl<C, Q, K, G, M, T> Rules<C, Q, K, G, M, T> {
    /// What may be done for this request; `None`, if it is sent once.
    pub(crate) fn plan<B>(
        &self,
        request: &Request<B>,
        now: impl FnOnce() -> Instant,
    ) -> Option<Plan>
    where
        Q: Requests,
    {
        let settings = &self.settings;
        let wish = request.extensions().get::<RetryOverride>().copied().unwrap_or_default();
        let attempts = wish.attempts.unwrap_or(settings.attempts);
        if attempts <= 1 {
            return None;
        }
        let repeatable = match wish.repeatable {
            Some(repeatable) => repeatable,
            None => self.requests.repeatable(Head::of(request)),
        };
        if repeatable == Repeatable::Never {
            return None;
        }
        let deadline = wish.deadline.or(settings.deadline);
        Some(Plan {
            attempts,
            // A deadline past the end of time is none.
            deadline: deadline.and_then(|deadline| now().checked_add(deadline)),
            repeatable,
        })
    }

    /// Makes the request repeatable by a key, if it is to have one.
    pub(crate) fn mark<B>(&self, request: &mut Request<B>, plan: &mut Plan) {
        let Some(generate) = self.settings.idempotency_key else {
            return;
        };
        let wish = request.extensions().get().and_then(|wish: &RetryOverride| wish.repeatable);
        if plan.repeatable == Repeatable::IfUnsent && wish.is_none() {
            if !request.headers().contains_key(IDEMPOTENCY_KEY) {
                let key = generate(Head::of(request));
                if request.headers_mut().try_insert(IDEMPOTENCY_KEY, key).is_err() {
                    return;
                }
            }
            plan.repeatable = Repeatable::Always;
        }
    }
}

/// What is decided by a result, and told of it.
impl<C, Q, K, G, M, T> Rules<C, Q, K, G, M, T> {
    /// How long to wait before the next attempt.
    pub(crate) fn delay<ResB, E>(
        &self,
        plan: &Plan,
        progress: &Progress,
        result: &Result<Response<ResB>, E>,
        outcome: Outcome,
    ) -> Result<Delay, Stop>
    where
        K: Schedule,
    {
        let Settings { hints, random, .. } = &self.settings;
        let hint = match (result, outcome) {
            (Ok(response), _) => heard(hints, response, outcome),
            (Err(_), Outcome::Refused { retry_after, .. }) => {
                retry_after.map_or(Hint::None, Hint::After)
            }
            (Err(_), _) => Hint::None,
        };
        plan.delay(progress, hint, hints.longest(), &self.backoff, random.unit(), Instant::now)
    }

    /// Tells what was done for a result, if anything was.
    pub(crate) fn finish<'t, ResB, E>(
        &self,
        progress: &Progress,
        result: &mut Result<Response<ResB>, E>,
        outcome: Outcome,
        stop: Option<Stop>,
        target: impl FnOnce() -> Target<'t>,
    ) where
        C: Classify<Response<ResB>, E>,
    {
        let Progress { attempt, delay, .. } = *progress;
        if attempt == 1 && stop.is_none() {
            return;
        }
        self.report(result, outcome, target, |cause| match stop {
            Some(stop) => Event::GaveUp { attempts: attempt, delay, reason: stop.as_str(), cause },
            None => Event::Settled { attempts: attempt, delay, cause },
        });
        if let Ok(response) = result {
            response.extensions_mut().insert(RetryInfo { attempts: attempt, delay, stop });
        }
    }

    pub(crate) fn report<'t, ResB, E>(
        &self,
        result: &Result<Response<ResB>, E>,
        outcome: Outcome,
        target: impl FnOnce() -> Target<'t>,
        event: impl FnOnce(Cause) -> Event,
    ) where
        C: Classify<Response<ResB>, E>,
    {
        let Some(observer) = &self.settings.observer else {
            return;
        };
        let result = match result {
            Ok(response) => Ok(response.status()),
            Err(error) => Err(self.classify.kind(error)),
        };
        observer.on_event(target(), &event(Cause::new(outcome, result)));
    }
}

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
    /// The number of the attempt, from 1.
    pub(crate) attempt: u32,
    /// All delays.
    pub(crate) delay: Duration,
    /// The last delay that the schedule gave.
    pub(crate) scheduled: Duration,
}

/// The first attempt is under way.
impl Default for Progress {
    fn default() -> Self {
        Self { attempt: 1, delay: Duration::ZERO, scheduled: Duration::ZERO }
    }
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
            Outcome::Refused { retry_after: Some(_), .. }
            | Outcome::Refused { kind: ErrorKind::Limited, .. } => Call::Retry,
            Outcome::Refused { .. } => Call::Stop(Stop::Refused),
            _ => Call::Return,
        }
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

/// What a response says in its head or, as gRPC does, in its trailers.
fn heard<B>(hints: &Hints, response: &Response<B>, outcome: Outcome) -> Hint {
    let trailers = response.extensions().get::<Trailers>();
    match (hints.of(response.headers(), outcome), trailers) {
        (Hint::None, Some(trailers)) => hints.of(&trailers.0, outcome),
        (hint, _) => hint,
    }
}

pub(crate) fn check_attempts(attempts: u32) -> Result<u32, InvalidSetting> {
    match attempts {
        0 => Err(InvalidSetting::new(
            "a request is sent at least once: write `attempts(1)` for no retry",
        )),
        attempts => Ok(attempts),
    }
}

pub(crate) fn check_deadline(deadline: Duration) -> Result<Duration, InvalidSetting> {
    match deadline {
        Duration::ZERO => Err(InvalidSetting::new(
            "a deadline of zero leaves no time: write `attempts(1)` for no retry",
        )),
        deadline => Ok(deadline),
    }
}

pub(crate) fn check_timeout(timeout: Duration) -> Result<Duration, InvalidSetting> {
    match timeout {
        Duration::ZERO => Err(InvalidSetting::new(
            "an attempt needs time: leave the attempt timeout out for no limit",
        )),
        timeout => Ok(timeout),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Jitter;

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
    }
}
