//! A source of tokens and an API, both of which do what they are told.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use palisade_auth::TokioClock;
use palisade_auth::{AuthError, Reason, Recovery, Token, TokenFuture, TokenSource, Tokens, Wanted};
use palisade_testkit::PausedClock;
use tokio::time::sleep;
use tower::Service;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const URI: &str = "https://api.example/users";

/// Gives `t1`, `t2` and so on, unless it is told otherwise.
#[derive(Clone, Default)]
pub(crate) struct Source {
    state: Arc<Mutex<SourceState>>,
}

#[derive(Default)]
struct SourceState {
    name: String,
    script: VecDeque<Answer>,
    answer: Answer,
    asked: Vec<Reason>,
    now: usize,
    most: usize,
    finished: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) after: Duration,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) result: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Token,
    Fails(Recovery),
    Panics,
}

impl Default for Answer {
    fn default() -> Self {
        Self { after: 100 * MS, lifetime: Some(3600 * SECOND), result: Outcome::Token }
    }
}

impl Answer {
    pub(crate) fn lifetime(lifetime: Duration) -> Self {
        Self { lifetime: Some(lifetime), ..Self::default() }
    }

    pub(crate) fn fails(recovery: Recovery) -> Self {
        Self { result: Outcome::Fails(recovery), ..Self::default() }
    }

    pub(crate) fn transient() -> Self {
        Self::fails(Recovery::Retry { after: None })
    }

    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

impl Source {
    /// All tokens of it begin with this.
    pub(crate) fn named(name: &str) -> Self {
        let source = Self::default();
        name.clone_into(&mut source.state.lock().unwrap().name);
        source
    }

    pub(crate) fn answering(answer: Answer) -> Self {
        let source = Self::default();
        source.answer(answer);
        source
    }

    /// What it answers from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    /// What it answers next, once.
    pub(crate) fn then(&self, answer: Answer) {
        self.state.lock().unwrap().script.push_back(answer);
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }

    pub(crate) fn reasons(&self) -> Vec<Reason> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How many were at work at the same time.
    pub(crate) fn most(&self) -> usize {
        self.state.lock().unwrap().most
    }

    /// How many ended, and were not dropped before.
    pub(crate) fn finished(&self) -> usize {
        self.state.lock().unwrap().finished
    }

    pub(crate) fn tokens(&self) -> Tokens {
        Tokens::new(self.clone()).clock(clock())
    }
}

pub(crate) fn clock() -> TokioClock<PausedClock> {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    TokioClock::new(PausedClock::starting_at(start))
}

struct AtWork(Arc<Mutex<SourceState>>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.lock().unwrap().now -= 1;
    }
}

impl TokenSource for Source {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(async move {
            let (answer, text) = {
                let mut state = self.state.lock().unwrap();
                state.asked.push(wanted.reason);
                state.now += 1;
                state.most = state.most.max(state.now);
                let answer = state.script.pop_front().unwrap_or_else(|| state.answer.clone());
                let scope = wanted.scope.unwrap_or_default();
                (answer, format!("{}t{}{scope}", state.name, state.asked.len()))
            };
            let _at_work = AtWork(Arc::clone(&self.state));
            // Several steps, so that it can be dropped at each.
            for _ in 0..4 {
                sleep(answer.after / 4).await;
            }
            self.state.lock().unwrap().finished += 1;
            match answer.result {
                Outcome::Token => {
                    let token = Token::bearer(text).unwrap();
                    Ok(match answer.lifetime {
                        Some(lifetime) => token.expires_in(lifetime, wanted.now),
                        None => token,
                    })
                }
                Outcome::Fails(recovery) => Err(AuthError::new("no token", recovery)),
                Outcome::Panics => std::panic::resume_unwind(Box::new("scripted")),
            }
        })
    }
}

/// Takes some tokens, and refuses others. Panics if it is called unready.
pub(crate) struct Api {
    state: Arc<Mutex<ApiState>>,
    ready: bool,
}

#[derive(Default)]
struct ApiState {
    valid: Vec<String>,
    challenge: Option<&'static str>,
    status: Option<StatusCode>,
    delays: VecDeque<Duration>,
    refusal: String,
    received: Vec<Received>,
}

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) resends: u32,
}

impl Received {
    pub(crate) fn token(&self) -> Option<&str> {
        self.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap())
    }
}

impl Api {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), ready: false }
    }

    /// Takes this token from now on, and no other.
    pub(crate) fn accept(&self, tokens: &[&str]) {
        let valid = tokens.iter().map(|token| format!("Bearer {token}")).collect();
        self.state.lock().unwrap().valid = valid;
    }

    pub(crate) fn challenge(&self, challenge: &'static str) {
        self.state.lock().unwrap().challenge = Some(challenge);
    }

    /// The status of a refusal.
    pub(crate) fn status(&self, status: StatusCode) {
        self.state.lock().unwrap().status = Some(status);
    }

    pub(crate) fn refusal(&self, body: &str) {
        body.clone_into(&mut self.state.lock().unwrap().refusal);
    }

    /// Answers the next calls after these.
    pub(crate) fn delays(&self, delays: impl IntoIterator<Item = Duration>) {
        self.state.lock().unwrap().delays.extend(delays);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().received.len()
    }

    /// The tokens that were sent.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let received = self.received();
        let token = |received: &Received| {
            received.token().unwrap_or("none").trim_start_matches("Bearer ").to_owned()
        };
        received.iter().map(token).collect()
    }
}

impl Clone for Api {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), ready: false }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

impl<B> Service<Request<B>> for Api
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        assert!(std::mem::take(&mut self.ready), "it was called without being polled");
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap();
            let received = Received {
                uri: parts.uri.to_string(),
                headers: parts.headers,
                trailers: body.trailers().cloned(),
                body: body.to_bytes(),
                resends: palisade_core::Attempt::of(&parts.extensions).resends(),
            };
            let (delay, response) = {
                let mut state = state.lock().unwrap();
                let token = received.token().unwrap_or_default();
                let valid = state.valid.iter().any(|valid| valid == token);
                let mut response = Response::new(Full::default());
                if !valid {
                    *response.status_mut() = state.status.unwrap_or(StatusCode::UNAUTHORIZED);
                    *response.body_mut() = Full::from(state.refusal.clone());
                    if let Some(challenge) = state.challenge {
                        let challenge = challenge.parse().unwrap();
                        response.headers_mut().insert("www-authenticate", challenge);
                    }
                }
                state.received.push(received);
                (state.delays.pop_front().unwrap_or_default(), response)
            };
            sleep(delay).await;
            Ok(response)
        })
    }
}

pub(crate) fn get() -> Request<Full<Bytes>> {
    Request::get(URI).body(Full::default()).unwrap()
}

pub(crate) fn post(body: &'static str) -> Request<Full<Bytes>> {
    Request::post(URI).body(Full::from(body)).unwrap()
}
