//! An origin that says what a test tells it to, and a client of it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use palisade_cache::{CacheStatus, CachedBody, HttpCacheLayer, MemoryStore};
use palisade_core::BoxError;
use palisade_testkit::PausedClock;
use tower::{Layer, Service, ServiceExt};

pub(crate) type Ask = Request<Empty<Bytes>>;
pub(crate) type Fields<'f> = &'f [(&'f str, &'f str)];

/// What the origin answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<Step>,
    pub(crate) delay: Duration,
    pub(crate) fails: bool,
    pub(crate) panics: bool,
}

/// What its body does next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Chunk(Bytes),
    Wait(Duration),
    Trailers(HeaderMap),
    Fail,
}

pub(crate) fn reply(status: u16, fields: Fields<'_>, body: &str) -> Reply {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Reply {
        status,
        headers: fields.iter().map(own).collect(),
        body: vec![Step::Chunk(Bytes::copy_from_slice(body.as_bytes()))],
        delay: Duration::ZERO,
        fails: false,
        panics: false,
    }
}

pub(crate) fn failure() -> Reply {
    Reply { fails: true, ..reply(200, &[], "") }
}

impl Reply {
    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(crate) fn body(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.body = steps.into_iter().collect();
        self
    }
}

pub(crate) fn chunk(text: &str) -> Step {
    Step::Chunk(Bytes::copy_from_slice(text.as_bytes()))
}

type Script = dyn FnMut(&Ask) -> Reply + Send;

/// The inner service.
#[derive(Clone)]
pub(crate) struct Origin {
    script: Arc<Mutex<Box<Script>>>,
    seen: Arc<Mutex<Vec<Ask>>>,
    alive: Arc<AtomicUsize>,
}

impl Origin {
    pub(crate) fn new(script: impl FnMut(&Ask) -> Reply + Send + 'static) -> Self {
        let script = Arc::new(Mutex::new(Box::new(script) as Box<Script>));
        Self { script, seen: Arc::default(), alive: Arc::default() }
    }

    /// Answers with these, one after the other, and with the last one for ever.
    pub(crate) fn of(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: VecDeque<_> = replies.into_iter().collect();
        Self::new(move |_| match replies.len() {
            0 | 1 => replies.front().expect("there is one").clone(),
            _ => replies.pop_front().expect("there are two"),
        })
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The header fields of the last request.
    pub(crate) fn last(&self) -> HeaderMap {
        self.seen.lock().unwrap().last().expect("there was one").headers().clone()
    }

    /// How many calls and bodies of responses are alive.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }
}

/// Counts what is alive.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service<Ask> for Origin {
    type Response = Response<OriginBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Ask) -> Self::Future {
        let reply = (self.script.lock().unwrap())(&request);
        self.seen.lock().unwrap().push(request);
        let alive = Alive::new(&self.alive);
        Box::pin(async move {
            if reply.panics {
                panic!("the origin panics");
            }
            if !reply.delay.is_zero() {
                tokio::time::sleep(reply.delay).await;
            }
            if reply.fails {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into());
            }
            let mut response = Response::builder().status(reply.status);
            for (name, value) in &reply.headers {
                response = response.header(name, value);
            }
            let steps = reply.body.into();
            Ok(response.body(OriginBody { steps, sleep: None, _alive: alive }).unwrap())
        })
    }
}

/// A body that does what its steps say.
pub(crate) struct OriginBody {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    _alive: Alive,
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(sleep) = self.sleep.as_mut() {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            return Poll::Ready(match self.steps.pop_front() {
                None => None,
                Some(Step::Chunk(chunk)) if chunk.is_empty() => continue,
                Some(Step::Chunk(chunk)) => Some(Ok(Frame::data(chunk))),
                Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Some(Step::Fail) => Some(Err("the body broke off".into())),
                Some(Step::Wait(delay)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(delay)));
                    continue;
                }
            });
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

pub(crate) const START: u64 = 1_800_000_000;

/// A private cache with a clock that is paused.
pub(crate) fn private() -> HttpCacheLayer<MemoryStore> {
    HttpCacheLayer::private(MemoryStore::new(16 << 20)).clock(clock())
}

pub(crate) fn clock() -> Arc<PausedClock> {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(START);
    Arc::new(PausedClock::starting_at(start))
}

/// A client with a cache between it and the origin.
#[derive(Clone)]
pub(crate) struct Client<S> {
    pub(crate) service: S,
}

pub(crate) fn client<L: Layer<Origin>>(layer: &L, origin: &Origin) -> Client<L::Service> {
    Client { service: layer.layer(origin.clone()) }
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<String, String>,
    pub(crate) cache: CacheStatus,
}

impl Got {
    pub(crate) fn text(&self) -> &str {
        self.body.as_ref().unwrap()
    }
}

pub(crate) fn ask(method: &str, uri: &str, fields: Fields<'_>) -> Ask {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.uri(format!("http://a.example{uri}")).body(Empty::new()).unwrap()
}

impl<S, B> Client<S>
where
    S: Service<Ask, Response = Response<CachedBody<B>>, Error = BoxError> + Clone,
    B: Body<Error: Into<BoxError>>,
{
    pub(crate) async fn try_send(&self, request: Ask) -> Result<Got, BoxError> {
        let response = self.service.clone().oneshot(request).await?;
        let (parts, body) = response.into_parts();
        let cache = body.cache_status();
        let body = body.collect().await.map_err(|error| error.to_string());
        let body = body.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
        Ok(Got { status: parts.status, headers: parts.headers, body, cache })
    }

    pub(crate) async fn send(&self, request: Ask) -> Got {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn get(&self, uri: &str, fields: Fields<'_>) -> Got {
        self.send(ask("GET", uri, fields)).await
    }
}

pub(crate) async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}
