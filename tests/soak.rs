//! A client under load that is given up, fails and panics at random, over sockets: what its metrics
//! say is what its callers, its connector and its server have counted.
//!
//! `cargo test` does a short one; `cargo xtask soak` goes on for minutes.

use std::{
    collections::BTreeMap,
    env,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Error;
use palisade_core::ErrorKind;
use palisade_metrics::{Format, Registry, Requests, Snapshot, Window};
use palisade_testkit::{FlakyApi, Plan, Random, Reply, Script};
use tokio::{task::JoinSet, time::Instant};
use tower::{Service, ServiceBuilder};

use crate::support::{get, http1, retry};

const CALLERS: u64 = 16;
const CALLS_A_ROUND: u64 = 300;

/// What a caller that waits for the head is answered with: each of these statuses arrives.
const PATIENT: &str = "/patient";
const PATIENT_STATUSES: [u16; 6] = [200, 204, 208, 226, 404, 503];
/// What a caller that may go away at any time is answered with.
const HASTY: &str = "/hasty";
const HASTY_STATUSES: [u16; 3] = [201, 206, 500];

fn script() -> Script {
    let patient = [
        (30, Reply::ok("hello")),
        (10, Reply::ok("hello, hello").chunked().slow_body(5, Duration::ZERO)),
        (5, Reply::status(204)),
        (5, Reply::status(208).body("hello").truncated(2)),
        (5, Reply::status(226).header("content-type", "text/event-stream").body("data: 1\n\n")),
        (5, Reply::status(404).body("not there")),
        (5, Reply::status(503).body("later")),
        (5, Reply::reset()),
    ];
    let hasty = [
        (30, Reply::status(201).body("hello")),
        (10, Reply::status(201).body("hello").latency(Duration::from_millis(1))),
        (10, Reply::status(206).body("hello").chunked().reset_after(3)),
        (5, Reply::status(500).body("oh")),
        (5, Reply::reset()),
    ];
    let script = Script::new().seed(7).max_requests(0);
    script.route(PATIENT, Plan::random(patient)).route(HASTY, Plan::random(hasty))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counts_what_was_done_whatever_becomes_of_it() {
    let seconds = env::var("PALISADE_SOAK_SECONDS").map_or(0, |text| text.parse().unwrap());
    let api = Arc::new(FlakyApi::start(script()).await);
    let (metrics, counted) = (Registry::new(), Arc::new(Counted::default()));
    let client = ServiceBuilder::new()
        .layer(metrics.calls())
        .layer(retry())
        .layer(metrics.attempts())
        .layer_fn(|inner| Unruly { inner, counted: Arc::clone(&counted) })
        .service(http1());

    let start = Instant::now();
    for round in 0.. {
        let over = Arc::new(AtomicBool::new(false));
        let mut reader = JoinSet::new();
        reader.spawn(read_on(metrics.snapshot(), metrics.window(), Arc::clone(&over)));
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let random = Random::seeded(round * CALLERS + caller);
            let client = client.clone();
            let urls = [api.url(PATIENT), api.url(HASTY)];
            callers.spawn(calls(client, urls, random, Arc::clone(&counted)));
        }
        callers.join_all().await;
        over.store(true, Ordering::Relaxed);
        let read = reader.join_all().await;
        let all = metrics.snapshot().since(&read[0].0);
        assert_eq!(read[0].1, Sums::of(&all));
        check(&metrics, &counted, &api).await;
        if Duration::from_secs(seconds) <= start.elapsed() {
            break;
        }
    }
    report(&metrics, start.elapsed());
}

/// What was seen outside of the metrics.
#[derive(Debug, Default)]
struct Counted {
    calls: AtomicU64,
    attempts: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    panicked: AtomicU64,
    broken: AtomicU64,
    unread: AtomicU64,
    heads: Mutex<BTreeMap<u16, u64>>,
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

async fn check(metrics: &Registry, counted: &Counted, api: &FlakyApi) {
    let is = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let snapshot = metrics.snapshot();
    for requests in [&snapshot.calls, &snapshot.attempts] {
        assert_eq!((requests.in_flight(), requests.streams(), requests.unready), (0, 0, 0));
        assert_eq!(
            requests.outcomes().iter().map(|(_, count)| count).sum::<u64>(),
            requests.count()
        );
    }

    // Callers know what became of their calls.
    let calls = &snapshot.calls;
    assert_eq!(calls.count(), is(&counted.calls));
    assert_eq!(calls.received(), is(&counted.bytes));
    assert_eq!(calls.errors(ErrorKind::Cancelled), is(&counted.given_up));
    assert_eq!(calls.errors(ErrorKind::Panic), is(&counted.panicked));
    assert_eq!(calls.errors(ErrorKind::Body), is(&counted.broken));
    assert_eq!(calls.groups.iter().map(|group| group.unread).sum::<u64>(), is(&counted.unread));
    let known = [ErrorKind::Cancelled, ErrorKind::Panic].map(Some);
    assert_eq!(headless(calls, |kind| !known.contains(&kind)), is(&counted.failed));
    let heads = counted.heads.lock().unwrap().clone();
    for (status, seen) in heads {
        assert_eq!(calls.status(status), seen, "{status}");
    }

    // Each attempt that began has ended.
    let attempts = &snapshot.attempts;
    assert_eq!(attempts.count(), is(&counted.attempts));
    let stats = api.wait_for(|stats| stats.in_flight() == 0).await;
    assert!(stats.requests() <= attempts.count());
    // An answer that somebody waits for arrives.
    for status in PATIENT_STATUSES {
        assert_eq!(attempts.status(status), stats.answered(status), "{status}");
    }
    // Of the others, those are missing whose attempt has ended without a head.
    let mut missing = 0;
    for status in HASTY_STATUSES {
        let (arrived, answered) = (attempts.status(status), stats.answered(status));
        assert!(arrived <= answered, "{status}: {arrived} of {answered}");
        missing += answered - arrived;
    }
    assert!(missing <= headless(attempts, |_| true), "{missing}");
}

/// How many ended with such an error before their head.
fn headless(requests: &Requests, is: impl Fn(Option<ErrorKind>) -> bool) -> u64 {
    let kinds = [ErrorKind::Cancelled, ErrorKind::Panic];
    let results = requests.groups.iter().flat_map(|group| &group.results);
    let counts = results.filter(|result| result.status.is_none()).filter(|result| {
        let name = result.error.as_deref();
        is(kinds.into_iter().find(|kind| name == Some(kind.as_str())))
    });
    counts.map(|result| result.times.count()).sum()
}

fn report(metrics: &Registry, took: Duration) {
    let snapshot = metrics.snapshot();
    let (calls, attempts) = (&snapshot.calls, &snapshot.attempts);
    let rate = calls.count() as f64 / took.as_secs_f64();
    println!("{took:.1?}: {} calls ({rate:.0}/s), {} attempts", calls.count(), attempts.count());
    for (name, requests) in [("calls", calls), ("attempts", attempts)] {
        let results = requests.groups.iter().flat_map(|group| &group.results);
        for result in results {
            let (status, error) = (result.status.unwrap_or_default(), result.error.as_deref());
            println!("{name} {status:>3} {:<9} {}", error.unwrap_or(""), result.times.count());
        }
    }
    println!("{} bytes of text", snapshot.render(Format::Prometheus).len());
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    memory.lines().filter(|line| line.starts_with("VmRSS")).for_each(|line| println!("{line}"));
}

/// What all intervals come to.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    calls: u64,
    outcomes: u64,
    bytes: u64,
}

impl Sums {
    fn of(snapshot: &Snapshot) -> Self {
        let outcomes = snapshot.attempts.outcomes().iter().map(|(_, count)| count).sum();
        let (calls, bytes) = (snapshot.calls.count(), snapshot.attempts.received());
        Self { calls, outcomes, bytes }
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.outcomes += other.outcomes;
        self.bytes += other.bytes;
    }
}

/// Reads while others count, and returns what it started with and what came then.
async fn read_on(before: Snapshot, mut window: Window, over: Arc<AtomicBool>) -> (Snapshot, Sums) {
    let mut sums = Sums::default();
    loop {
        let last = over.load(Ordering::Relaxed);
        let interval = window.tick();
        // Not of one moment, and yet never negative.
        assert!(interval.calls.in_flight() < 10 * CALLERS, "{}", interval.calls.in_flight());
        sums.add(&Sums::of(&interval));
        if last {
            return (before, sums);
        }
        tokio::task::yield_now().await;
    }
}

type ClientBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// Lets some requests panic, as they say, and counts all.
#[derive(Clone)]
struct Unruly<S> {
    inner: S,
    counted: Arc<Counted>,
}

/// Where a request panics.
#[derive(Clone, Copy, PartialEq)]
enum Panics {
    InCall,
    InPoll,
    AfterHead,
    InBody,
}

impl<S> Service<Request<Full<Bytes>>> for Unruly<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error = Error>,
    S::Future: Send + 'static,
{
    type Response = Response<ClientBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ClientBody>, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        one_more(&self.counted.attempts);
        let panics = request.extensions().get().copied();
        let panic_if = move |place| {
            if panics == Some(place) {
                // Without the hook: it is no news for the log.
                resume_unwind(Box::new(()));
            }
        };
        panic_if(Panics::InCall);
        let future = self.inner.call(request);
        Box::pin(async move {
            panic_if(Panics::InPoll);
            let response = future.await?;
            panic_if(Panics::AfterHead);
            Ok(response.map(|body| {
                let body = body.map_frame(move |frame| {
                    panic_if(Panics::InBody);
                    frame
                });
                body.boxed_unsync()
            }))
        })
    }
}

async fn calls<S, B>(
    client: S,
    [patient, hasty]: [Uri; 2],
    mut random: Random,
    counted: Arc<Counted>,
) where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes> + Unpin,
{
    for _ in 0..CALLS_A_ROUND {
        let mut draw = |of: u64| random.number() % of;
        let is_patient = draw(2) == 0;
        let mut request = get(if is_patient { patient.clone() } else { hasty.clone() });
        let mut panic_at = |place| request.extensions_mut().insert(place);
        let polls = match (is_patient, draw(10)) {
            (true, 0) => {
                panic_at(Panics::InBody);
                u64::MAX
            }
            (false, 0) => {
                panic_at([Panics::InCall, Panics::InPoll, Panics::AfterHead][draw(3) as usize]);
                u64::MAX
            }
            (true, _) => u64::MAX,
            (false, _) => draw(8),
        };
        let frames = if draw(3) == 0 { draw(3) } else { u64::MAX };
        call(client.clone(), request, polls, frames, &counted).await;
    }
}

/// Calls, polls so often for the head, and reads so many frames.
async fn call<S, B>(
    mut client: S,
    request: Request<Full<Bytes>>,
    polls: u64,
    frames: u64,
    counted: &Counted,
) where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    B: Body<Data = Bytes> + Unpin,
{
    assert!(poll_fn(|cx| client.poll_ready(cx)).await.is_ok());
    one_more(&counted.calls);
    let Ok(future) = catch_unwind(AssertUnwindSafe(|| client.call(request))) else {
        return one_more(&counted.panicked);
    };
    let (mut body, is_stream) = match drive(future, polls).await {
        End::Ready(Ok(response)) => {
            let status = response.status().as_u16();
            *counted.heads.lock().unwrap().entry(status).or_default() += 1;
            let is_stream = response.headers().get("content-type").is_some();
            (response.into_body(), is_stream)
        }
        End::Ready(Err(_)) => return one_more(&counted.failed),
        End::GivenUp => return one_more(&counted.given_up),
        End::Panicked => return one_more(&counted.panicked),
    };
    for _ in 0..frames {
        match drive(body.frame(), u64::MAX).await {
            End::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                counted.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            End::Ready(Some(Err(_))) if !is_stream => return one_more(&counted.broken),
            End::Panicked if !is_stream => return one_more(&counted.panicked),
            _ => return,
        }
    }
    if !body.is_end_stream() && !is_stream {
        one_more(&counted.unread);
    }
}

enum End<T> {
    Ready(T),
    GivenUp,
    Panicked,
}

/// Polls no more than so often.
async fn drive<F: Future>(future: F, mut polls: u64) -> End<F::Output> {
    let mut future = Box::pin(future);
    poll_fn(|cx| {
        if polls == 0 {
            return Poll::Ready(End::GivenUp);
        }
        polls -= 1;
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Err(_) => Poll::Ready(End::Panicked),
            Ok(Poll::Pending) if polls == 0 => Poll::Ready(End::GivenUp),
            Ok(polled) => polled.map(End::Ready),
        }
    })
    .await
}
