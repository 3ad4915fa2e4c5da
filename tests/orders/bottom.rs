//! What is below all layers: two servers in memory, or over sockets.

use std::{
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use palisade_auth::{AuthError, Recovery, Token, TokenSource, token_fn};
use palisade_core::{BoxError, Origins};
use palisade_testkit::{FlakyApi, PausedClock, Plan};
use tokio::{
    sync::Barrier,
    time::{Sleep, sleep},
};
use tower::{Service, ServiceExt};

use super::{
    reply::{Answer, Fate, Script},
    tap::{Body, Boxed},
};
use crate::support::{http1, http2};

/// Resources are named by letters.
pub(crate) const LETTERS: [&str; 4] = ["a", "b", "c", "d"];

/// Two servers, and how long things take there.
pub(crate) struct World {
    unit: Duration,
    clock: PausedClock,
    script: Arc<Script>,
    gate: Gate,
    sockets: Option<Sockets>,
}

struct Sockets {
    apis: [FlakyApi; 2],
    http2: bool,
}

impl World {
    /// In memory, under paused time.
    pub(crate) fn in_memory(seed: u64, panics: bool, demands: bool) -> Self {
        let script = Script::new(seed, panics, true, demands);
        script.place(["https://api.example", "https://other.example"].map(ToOwned::to_owned));
        Self::of(script, Duration::from_secs(1))
    }

    /// Over sockets, in a time of milliseconds.
    pub(crate) async fn over_sockets(seed: u64, demands: bool, http2: bool) -> Self {
        let script = Script::new(seed, false, false, demands);
        let mut world = Self::of(script, Duration::from_millis(1));
        let apis = [world.api(false).await, world.api(true).await];
        world.script.place([&apis[0], &apis[1]].map(|api| format!("http://{}", api.addr())));
        world.sockets = Some(Sockets { apis, http2 });
        world
    }

    fn of(script: Script, unit: Duration) -> Self {
        let clock = PausedClock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
        Self { unit, clock, script: Arc::new(script), gate: Gate::default(), sockets: None }
    }

    async fn api(&self, foreign: bool) -> FlakyApi {
        let routes = LETTERS.iter().fold(palisade_testkit::Script::new(), |routes, letter| {
            let (script, unit) = (Arc::clone(&self.script), self.unit);
            let plan = Plan::with(move |call| {
                let (method, uri, headers) = (call.method(), call.uri(), call.headers());
                script.answer(foreign, method, uri, headers).reply(unit)
            });
            routes.route(&format!("/{letter}"), plan)
        });
        FlakyApi::start(routes).await
    }

    pub(crate) fn unit(&self) -> Duration {
        self.unit
    }

    pub(crate) fn clock(&self) -> PausedClock {
        self.clock
    }

    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.sockets.is_none()
    }

    /// How long is waited for what takes so many units. Time that is not paused is not what a
    /// test goes by.
    pub(crate) fn patience(&self, units: u32) -> Duration {
        match self.is_in_memory() {
            true => self.unit * units,
            false => Duration::from_secs(60),
        }
    }

    /// The origin that credentials are for.
    pub(crate) fn origins(&self) -> Origins {
        Origins::new([self.script.uri(false, "/").to_string()])
    }

    /// Where tokens come from: it takes its time, and fails now and then.
    pub(crate) fn token_source(&self) -> impl TokenSource + use<> {
        let (script, unit, fails) = (Arc::clone(&self.script), self.unit, self.is_in_memory());
        token_fn(move |wanted| {
            let (script, now) = (Arc::clone(&script), wanted.now);
            async move {
                sleep(unit / 10).await;
                if fails && script.is_storm() && script.draw(8) == 0 {
                    return Err(AuthError::new("no token today", Recovery::Retry { after: None }));
                }
                Ok(Token::bearer(script.token())?
                    .expires_in(30 * unit.max(Duration::from_secs(1)), now))
            }
        })
    }

    /// The innermost service.
    pub(crate) fn bottom(&self) -> Boxed {
        let service = match &self.sockets {
            None => Boxed::new(Server {
                script: Arc::clone(&self.script),
                unit: self.unit,
                ready: Ready::No,
            }),
            Some(sockets) => {
                let client = if sockets.http2 { http2::<Body>() } else { http1::<Body>() };
                Boxed::new(
                    client
                        .map_response(|response| {
                            response
                                .map(|body| BodyExt::map_err(body, BoxError::from).boxed_unsync())
                        })
                        .map_err(BoxError::from),
                )
            }
        };
        Boxed::new(Gated { inner: service, gate: self.gate.clone() })
    }

    pub(crate) fn uri(&self, foreign: bool, path: &str) -> Uri {
        self.script.uri(foreign, path)
    }

    /// Looks at what has arrived over sockets.
    pub(crate) fn check_uploads(&self) {
        for received in
            self.sockets.iter().flat_map(|sockets| &sockets.apis).flat_map(FlakyApi::requests)
        {
            if received.is_complete() {
                self.script.check_upload(received.method(), received.headers(), received.body());
            }
        }
    }
}

/// A body in memory.
pub(crate) fn bytes_body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Holds requests, if it is closed, until there are so many.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Arc<Barrier>>>>);

impl Gate {
    pub(crate) fn close(&self, requests: usize) {
        *self.0.lock().unwrap() = Some(Arc::new(Barrier::new(requests)));
    }

    pub(crate) fn open(&self) {
        *self.0.lock().unwrap() = None;
    }
}

#[derive(Clone)]
struct Gated {
    inner: Boxed,
    gate: Gate,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

impl Service<Request<Body>> for Gated {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let barrier = self.gate.0.lock().unwrap().clone();
        let future = self.inner.call(request);
        Box::pin(async move {
            if let Some(barrier) = barrier {
                barrier.wait().await;
            }
            future.await
        })
    }
}

/// Both servers, in memory: not always ready, and called only if it is.
struct Server {
    script: Arc<Script>,
    unit: Duration,
    ready: Ready,
}

enum Ready {
    No,
    Soon(Pin<Box<Sleep>>),
    Yes,
}

impl Clone for Server {
    fn clone(&self) -> Self {
        Self { script: Arc::clone(&self.script), unit: self.unit, ready: Ready::No }
    }
}

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            match &mut self.ready {
                Ready::No if self.script.is_storm() && self.script.draw(4) == 0 => {
                    self.ready = Ready::Soon(Box::pin(sleep(self.unit / 10)));
                }
                Ready::No | Ready::Yes => break,
                Ready::Soon(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    break;
                }
            }
        }
        self.ready = Ready::Yes;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        if !matches!(self.ready, Ready::Yes) {
            self.script.offends("it was called without being ready".to_owned());
        }
        self.ready = Ready::No;
        Box::pin(answer(Arc::clone(&self.script), self.unit, request))
    }
}

async fn answer(
    script: Arc<Script>,
    unit: Duration,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let foreign = parts.uri.host() != Some("api.example");
    let answer = script.answer(foreign, &parts.method, &parts.uri, &parts.headers);
    let broken = |kind: std::io::ErrorKind| BoxError::from(std::io::Error::from(kind));
    if answer.fate == Fate::Unsent {
        return Err(broken(std::io::ErrorKind::ConnectionRefused));
    }
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err(broken(std::io::ErrorKind::ConnectionReset)),
    };
    script.check_upload(&parts.method, &parts.headers, &body);
    sleep(unit * answer.latency / 100).await;
    match answer.fate {
        Fate::Reset => return Err(broken(std::io::ErrorKind::ConnectionReset)),
        // At the head, or in the body.
        Fate::Panics if answer.latency.is_multiple_of(2) => panic(),
        _ => {}
    }
    Ok(respond(&answer, unit))
}

fn respond(answer: &Answer, unit: Duration) -> Response<Body> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.fields {
        response = response.header(*name, value);
    }
    let length = answer.body.len().div_ceil(answer.pieces.max(1)).max(1);
    let mut pieces: Vec<_> =
        answer.body.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    if let Fate::Broken | Fate::Panics = answer.fate {
        pieces.truncate(1);
        pieces.push(Err(answer.fate));
    }
    let gap = if answer.pieces > 1 { unit / 20 } else { Duration::ZERO };
    response.body(pieces_body(pieces, gap)).unwrap()
}

/// Without the hook: it is no news for the log.
fn panic() -> ! {
    resume_unwind(Box::new(()))
}

/// A body of these pieces, with a gap before each but the first one.
pub(crate) fn pieces_body(pieces: Vec<Result<Bytes, Fate>>, gap: Duration) -> Body {
    Pieces { pieces: pieces.into_iter(), gap, waits: None, first: true }.boxed_unsync()
}

struct Pieces {
    pieces: std::vec::IntoIter<Result<Bytes, Fate>>,
    gap: Duration,
    waits: Option<Pin<Box<Sleep>>>,
    first: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        if !self.first && !self.gap.is_zero() {
            let gap = self.gap;
            ready!(self.waits.get_or_insert_with(|| Box::pin(sleep(gap))).as_mut().poll(cx));
            self.waits = None;
        }
        self.first = false;
        Poll::Ready(match self.pieces.next() {
            None => None,
            Some(Ok(piece)) => Some(Ok(Frame::data(piece))),
            Some(Err(Fate::Panics)) => panic(),
            Some(Err(_)) => {
                Some(Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.as_slice().is_empty()
    }
}

/// Waits for a while, so that timers go on.
pub(crate) async fn pass(time: Duration) {
    sleep(time).await;
}
