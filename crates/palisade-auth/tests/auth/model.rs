//! Random histories against a naive model: which request may carry which token when,
//! and when a token may be asked for.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use palisade_auth::{
    AuthError, AuthLayer, Clock, Moment, Reason, Recovery, Token, TokenFuture, TokenSource, Tokens,
    TokioClock, Wanted,
};
use palisade_core::Origins;
use palisade_testkit::PausedClock;
use proptest::prelude::*;
use tokio::{
    task::{JoinHandle, yield_now},
    time::{sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{MS, SECOND, clock, get};

#[derive(Clone, Debug)]
enum Step {
    Wait(Duration),
    Call,
    /// A call that is dropped after it was polled so often.
    Leave(usize),
    /// The API takes none of the tokens there are any more.
    Revoke,
    Answer(Answer),
    Prime(Duration),
    Reset,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    after: Duration,
    result: Result<Duration, Recovery>,
}

/// What is known of a token.
#[derive(Clone, Copy, Debug)]
struct Known {
    epoch: u32,
    asked: Moment,
    lifetime: Duration,
    // In place of one that was refused, since then.
    replaced: Option<Moment>,
}

#[derive(Default)]
struct World {
    script: VecDeque<Answer>,
    // Counts what makes all tokens worthless.
    epoch: u32,
    known: HashMap<String, Known>,
    current: Option<String>,
    refused: HashSet<String>,
    revoked: HashSet<String>,
    failed: Option<(Moment, Recovery)>,
    // In which epoch a token is being asked for.
    at_work: Vec<u32>,
    sent: HashMap<String, usize>,
    asked: usize,
    // What must not have happened.
    wrong: Vec<String>,
}

#[derive(Clone)]
struct Model {
    clock: TokioClock<PausedClock>,
    world: Arc<Mutex<World>>,
}

impl Model {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn hold(&self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.world().wrong.push(what());
        }
    }

    /// Whether a token may be asked for now.
    fn check_asked(&self, wanted: &Wanted<'_>) {
        let now = self.clock.now();
        let world = self.world();
        let known = wanted.previous.map(|token| world.known[token.secret().expose()]);
        let right = match (wanted.reason, known) {
            (Reason::Missing, None) => world.current.is_none(),
            (Reason::Expiring, Some(known)) => {
                known.lifetime.mul_f64(0.39) <= now.since(known.asked)
            }
            (Reason::Refused, Some(known)) => {
                let text = wanted.previous.unwrap().secret().expose();
                world.refused.contains(text)
                    && known.replaced.is_none_or(|at| 10 * SECOND <= now.since(at))
            }
            _ => false,
        };
        let rested = world.failed.is_none_or(|(at, recovery)| {
            let rest = match recovery {
                Recovery::Retry { .. } => 50 * MS,
                _ => 60 * SECOND,
            };
            rest <= now.since(at)
        });
        let alone = !world.at_work.contains(&world.epoch);
        drop(world);
        self.hold(right, || format!("asked for a token: {:?} {known:?}", wanted.reason));
        self.hold(rested, || "asked again at once".to_owned());
        self.hold(alone, || "asked twice at a time".to_owned());
    }

    /// Whether a request may carry this token now.
    fn check_sent(&self, text: &str) {
        let now = self.clock.now();
        let world = self.world();
        let known = world.known.get(text).copied();
        let epoch = world.epoch;
        drop(world);
        let alive = known.is_some_and(|known| now.since(known.asked) < known.lifetime);
        self.hold(alive, || format!("`{text}` has expired, or never was: {known:?}"));
        let wanted = known.is_some_and(|known| known.epoch == epoch);
        self.hold(wanted, || format!("`{text}` was forgotten"));
    }

    /// One that came a moment ago in place of another that was refused is left alone.
    fn refuse(&self, text: String) {
        let now = self.clock.now();
        let mut world = self.world();
        let replaced = world.known[&text].replaced;
        if replaced.is_none_or(|at| 10 * SECOND <= now.since(at)) {
            world.refused.insert(text);
        }
    }

    fn landed(&self, token: &Token) {
        let now = self.clock.now();
        let mut world = self.world();
        let text = token.secret().expose().to_owned();
        let before = world.current.take();
        if before.is_some_and(|before| world.refused.contains(&before)) {
            world.known.get_mut(&text).unwrap().replaced = Some(now);
        }
        world.current = Some(text);
        world.failed = None;
    }

    /// Whether a call now must be answered at once.
    fn is_sure(&self) -> bool {
        let now = self.clock.now();
        let world = self.world();
        world.current.as_ref().is_some_and(|text| {
            let known = world.known[text];
            let fresh = now.since(known.asked) < known.lifetime.mul_f64(0.39);
            fresh && !world.revoked.contains(text) && !world.refused.contains(text)
        })
    }

    fn replace(&self, tokens: &Tokens, lifetime: Option<Duration>) {
        let now = self.clock.now();
        let mut world = self.world();
        let text = lifetime.map(|lifetime| {
            let text = format!("p{}", world.known.len());
            let epoch = world.epoch + 1;
            let known = Known { epoch, asked: now, lifetime, replaced: None };
            world.known.insert(text.clone(), known);
            text
        });
        drop(world);
        match (&text, lifetime) {
            (Some(text), Some(lifetime)) => {
                let token = Token::bearer(text.clone()).unwrap().expires_in(lifetime, now);
                if tokens.prime(token).is_err() {
                    return self.hold(lifetime.is_zero(), || format!("`{text}` was alive"));
                }
            }
            _ => tokens.reset(),
        }
        let mut world = self.world();
        world.epoch += 1;
        (world.current, world.failed) = (text, None);
    }
}

/// Ends with what asks for a token, however that ends.
struct AtWork {
    model: Model,
    epoch: u32,
    failed: Option<Recovery>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let now = self.model.clock.now();
        let mut world = self.model.world();
        let place = world.at_work.iter().position(|epoch| *epoch == self.epoch).unwrap();
        world.at_work.swap_remove(place);
        if let (Some(recovery), true) = (self.failed, world.epoch == self.epoch) {
            world.failed = Some((now, recovery));
        }
    }
}

impl TokenSource for Model {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(async move {
            self.check_asked(&wanted);
            let (answer, mut at_work, text) = {
                let mut world = self.world();
                world.asked += 1;
                let epoch = world.epoch;
                world.at_work.push(epoch);
                let usual = Answer { after: 20 * MS, result: Ok(60 * SECOND) };
                let answer = world.script.pop_front().unwrap_or(usual);
                // Dropped, it has not come in time.
                let failed = Some(Recovery::Retry { after: None });
                let text = format!("t{}", world.asked);
                (answer, AtWork { model: self.clone(), epoch, failed }, text)
            };
            sleep(answer.after).await;
            let lifetime = match answer.result {
                Ok(lifetime) => lifetime,
                Err(recovery) => {
                    at_work.failed = Some(recovery);
                    return Err(AuthError::new("no token", recovery));
                }
            };
            if self.clock.now().since(wanted.now) < lifetime {
                at_work.failed = None;
            }
            let (epoch, asked) = (at_work.epoch, wanted.now);
            let known = Known { epoch, asked, lifetime, replaced: None };
            self.world().known.insert(text.clone(), known);
            Ok(Token::bearer(text).unwrap().expires_in(lifetime, wanted.now))
        })
    }
}

type Call = JoinHandle<Result<StatusCode, tower::BoxError>>;

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

async fn live(steps: Vec<Step>) -> Vec<String> {
    let model = Model { clock: clock(), world: Arc::default() };
    let tokens =
        Tokens::new(model.clone()).clock(model.clock).load_timeout(2 * SECOND).on_change({
            let model = model.clone();
            move |token| model.landed(token)
        });
    let api = service_fn({
        let model = model.clone();
        move |request: Request<Full<Bytes>>| {
            let value = request.headers()[AUTHORIZATION].to_str().unwrap();
            let text = value.strip_prefix("Bearer ").unwrap().to_owned();
            model.check_sent(&text);
            let id = request.headers()["x-id"].to_str().unwrap().to_owned();
            let model = model.clone();
            async move {
                *model.world().sent.entry(id).or_default() += 1;
                let refused = model.world().revoked.contains(&text);
                if refused {
                    // The answer takes a while: others may come meanwhile.
                    sleep(5 * MS).await;
                    model.refuse(text);
                }
                let mut response = Response::new(Full::<Bytes>::default());
                if refused {
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                }
                Ok::<_, Infallible>(response)
            }
        }
    });
    let service = AuthLayer::new(tokens.clone(), Origins::any()).layer(api);
    let mut calls: Vec<Call> = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Wait(wait) => sleep(wait).await,
            Step::Call | Step::Leave(_) => {
                let mut request = get();
                request.headers_mut().insert("x-id", number.into());
                let sure = model.is_sure();
                let call = service.clone().oneshot(request);
                let call: Call = tokio::spawn(async { call.await.map(|done| done.status()) });
                if let Step::Leave(after) = step {
                    for _ in 0..after {
                        yield_now().await;
                    }
                    call.abort();
                } else {
                    settle().await;
                    let done = call.is_finished();
                    model.hold(done || !sure, || format!("call {number} waits"));
                    calls.push(call);
                }
            }
            Step::Revoke => {
                let mut world = model.world();
                let all: Vec<_> = world.known.keys().cloned().collect();
                world.revoked.extend(all);
            }
            Step::Answer(answer) => model.world().script.push_back(answer),
            Step::Prime(lifetime) => model.replace(&tokens, Some(lifetime)),
            Step::Reset => model.replace(&tokens, None),
        }
        settle().await;
    }
    for call in calls {
        let ended = timeout(60 * SECOND, call).await;
        model.hold(ended.is_ok_and(|call| call.is_ok()), || "a call never ended".to_owned());
    }
    let mut world = model.world();
    if let Some(most) = world.sent.values().max().filter(|most| 2 < **most) {
        let wrong = format!("a request was sent {most} times");
        world.wrong.push(wrong);
    }
    std::mem::take(&mut world.wrong)
}

fn lifetime() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::from_nanos(1)),
        Just(25 * MS),
        Just(SECOND),
        Just(5 * SECOND),
        Just(60 * SECOND),
        Just(Duration::from_secs(u64::MAX)),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let after = prop_oneof![
        Just(Duration::ZERO),
        Just(20 * MS),
        Just(900 * MS),
        // Too late.
        Just(10 * SECOND),
    ];
    let recovery = prop_oneof![
        Just(Recovery::Retry { after: None }),
        Just(Recovery::Retry { after: Some(Duration::ZERO) }),
        Just(Recovery::Retry { after: Some(3 * SECOND) }),
        Just(Recovery::Reauthenticate),
    ];
    let result = prop_oneof![3 => lifetime().prop_map(Ok), 2 => recovery.prop_map(Err)];
    (after, result).prop_map(|(after, result)| Answer { after, result })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2000_u32).prop_map(|wait| Step::Wait(wait * MS)),
        1 => (1..90_u32).prop_map(|wait| Step::Wait(wait * SECOND)),
        8 => Just(Step::Call),
        2 => (0..4_usize).prop_map(Step::Leave),
        2 => Just(Step::Revoke),
        3 => answer().prop_map(Step::Answer),
        1 => lifetime().prop_map(Step::Prime),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128)
    ) })]

    #[test]
    fn every_request_carries_what_it_may(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let wrong = runtime.block_on(live(steps));
        prop_assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
