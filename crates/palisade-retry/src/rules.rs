use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Request, Response};
use palisade_core::{
    Cause, Classify, Deadline, Event, Head, HttpClassify, ObserverSlot, Outcome, Target, Trailers,
};
use palisade_settings::{Backoff, InvalidSetting, Random, Schedule};
use tokio::time::Instant;

use crate::{
    ByMethod, CloneBody, Hints, NoTimeout, Repeatable, Requests, RetryInfo, RetryOverride, Stop,
    TokenBudget,
    hints::Hint,
    plan::{Delay, Plan, Progress},
    requests::IDEMPOTENCY_KEY,
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
    pub(crate) outer_deadline: Option<Duration>,
    pub(crate) hints: Hints,
    pub(crate) drain: usize,
    pub(crate) unready: WhenUnready,
    pub(crate) attempt_header: Option<HeaderName>,
    pub(crate) idempotency_key: Option<fn(Head<'_>) -> HeaderValue>,
    pub(crate) random: Arc<Random>,
    pub(crate) observer: ObserverSlot,
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
                outer_deadline: None,
                hints: Hints::new(),
                drain: 16 * 1024,
                unready: WhenUnready::Wait,
                attempt_header: None,
                idempotency_key: None,
                random: Arc::new(Random::from_entropy()),
                observer: ObserverSlot::default(),
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
        let told = Deadline::of(request.extensions()).map(|told| Instant::from_std(told.0));
        let outer = settings.outer_deadline.filter(|_| told.is_none());
        let after = wish.deadline.or(settings.deadline).into_iter().chain(outer).min();
        // A deadline past the end of time is none.
        let own = after.and_then(|after| now().checked_add(after));
        Some(Plan { attempts, deadline: own.into_iter().chain(told).min(), repeatable })
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
        let (longest, random) = (hints.longest(), random.unit());
        if let Outcome::Refused { retry_after, .. } = outcome {
            let asked = retry_after.unwrap_or_default();
            return plan.hold(progress, asked, longest, &self.backoff, random, Instant::now);
        }
        let hint = match result {
            Ok(response) => heard(hints, response, outcome),
            Err(_) => Hint::None,
        };
        plan.delay(progress, hint, longest, &self.backoff, random, Instant::now)
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
        if *progress == Progress::default() && stop.is_none() {
            return;
        }
        let (attempts, delay) = (progress.sent(outcome), progress.delay);
        self.report(result, outcome, target, |cause| match stop {
            Some(stop) => Event::GaveUp { attempts, delay, reason: stop.as_str(), cause },
            None => Event::Settled { attempts, delay, cause },
        });
        if let Ok(response) = result {
            response.extensions_mut().insert(RetryInfo { attempts, delay, stop });
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
        let Some(observer) = self.settings.observer.get() else {
            return;
        };
        let result = match result {
            Ok(response) => Ok(response.status()),
            Err(error) => Err(self.classify.kind(error)),
        };
        observer.on_event(target(), &event(Cause::new(outcome, result)));
    }
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
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_earliest_deadline_counts() {
        let now = Instant::now();
        for (own, outer, told, expected) in [
            (None, None, None, None),
            (Some(5), None, None, Some(5)),
            (None, Some(4), None, Some(4)),
            (Some(5), Some(4), None, Some(4)),
            (Some(3), Some(4), None, Some(3)),
            (None, None, Some(3), Some(3)),
            (Some(5), None, Some(3), Some(3)),
            (Some(2), None, Some(3), Some(2)),
            // Who tells a request knows better.
            (None, Some(4), Some(9), Some(9)),
            (Some(5), Some(4), Some(9), Some(5)),
        ] {
            let mut rules = Rules::new(HttpClassify::<palisade_core::Typed>::new());
            rules.settings.deadline = own.map(Duration::from_secs);
            rules.settings.outer_deadline = outer.map(Duration::from_secs);
            let mut request = Request::new(());
            if let Some(told) = told {
                request.extensions_mut().insert(Deadline((now + told * SECOND).into_std()));
            }
            let plan = rules.plan(&request, || now).unwrap();
            assert_eq!(plan.deadline, expected.map(|seconds| now + seconds * SECOND));
        }
    }
}
