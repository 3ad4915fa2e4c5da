use std::{
    cell::RefCell,
    future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::{Request, Response};
use palisade_client::{Body, ClientOf, Kind, Progress, RequestBuilder};
use palisade_core::BoxError;
use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tower::{
    ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn, util::BoxCloneSyncService,
};
use tower_service::Service;

type Erased = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// Counts how many are under way, and how many were at most.
#[derive(Clone, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gauge {
    fn enter(&self) -> Ticket {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Ticket(Arc::clone(&self.now))
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

struct Ticket(Arc<AtomicUsize>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers `/n` with n after n milliseconds; 404 for what is over 1000.
fn echo(gauge: &Gauge) -> ClientOf<Erased> {
    let gauge = gauge.clone();
    let service = service_fn(move |request: Request<Body>| {
        let ticket = gauge.enter();
        async move {
            let number: u64 = request.uri().path()[1..].parse()?;
            sleep(Duration::from_millis(number)).await;
            drop(ticket);
            let mut response = Response::new(Body::from(number.to_string()));
            if 1000 < number {
                *response.status_mut() = http::StatusCode::NOT_FOUND;
            }
            Ok::<_, BoxError>(response)
        }
    });
    ClientOf::from_service(BoxCloneSyncService::new(service)).base_url("https://api.example")
}

fn requests<S: Clone>(
    client: &ClientOf<S>,
    numbers: impl IntoIterator<Item = u64>,
) -> impl Iterator<Item = RequestBuilder<S>> {
    numbers.into_iter().map(|number| client.get("/{n}").path("n", number))
}

#[tokio::test(start_paused = true)]
async fn results_come_in_order_or_as_they_are_there() {
    let gauge = Gauge::default();
    let client = echo(&gauge);
    let numbers = [50, 10, 40, 20, 30];
    let start = Instant::now();
    let results = client.fetch_all(requests(&client, numbers), 3).json::<u64>();
    assert_eq!(results.try_collect::<Vec<_>>().await.unwrap(), numbers);
    // 50 first, 10 and 20 wait; 40 and then 30 beside it.
    assert_eq!(start.elapsed(), Duration::from_millis(80));
    assert_eq!(gauge.most(), 3);

    let results = client.fetch_all(requests(&client, numbers), 3).json::<u64>().unordered();
    let results: Vec<_> = results.map(|(index, result)| (index, result.unwrap())).collect().await;
    assert_eq!(results, [(1, 10), (3, 20), (2, 40), (0, 50), (4, 30)]);
}

#[tokio::test(start_paused = true)]
async fn an_error_knows_its_request_and_ends_nothing() {
    let client = echo(&Gauge::default());
    let numbers = [1, 2000, 3];
    let results = client.fetch_all(requests(&client, numbers), 2).json::<u64>();
    let results: Vec<_> = results.collect().await;
    let error = results[1].as_ref().unwrap_err();
    assert_eq!((error.index(), error.kind()), (Some(1), Kind::Status));
    assert_eq!((results[0].as_ref().unwrap(), results[2].as_ref().unwrap()), (&1, &3));
}

/// A service that must be polled before each call, and fails to be ready for
/// each third clone that is polled.
struct Picky {
    clones: Arc<AtomicUsize>,
    ready: bool,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self { clones: Arc::clone(&self.clones), ready: false }
    }
}

impl Service<Request<Body>> for Picky {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = future::Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.clones.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            return Poll::Ready(Err("not this one".into()));
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been polled");
        future::ready(Ok(Response::new(Body::from("1"))))
    }
}

#[tokio::test]
async fn one_that_is_not_ready_does_not_end_the_rest() {
    let picky = Picky { clones: Arc::default(), ready: false };
    let client = ClientOf::from_service(picky).base_url("https://api.example");
    let results = client.fetch_all(requests(&client, 0..9), 4).json::<u64>();
    let failed: Vec<_> =
        results.filter_map(|result| async { result.err()?.index() }).collect().await;
    assert_eq!(failed, [2, 5, 8]);
}

#[tokio::test]
async fn a_client_whose_service_holds_a_place_lets_the_others_have_theirs() {
    let inner =
        service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(Body::from("1"))) });
    let service = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(2)).service(inner);
    let mut client = ClientOf::from_service(service).base_url("https://api.example");
    // It is ready, and keeps its permit for as long as it lives.
    ServiceExt::<Request<Body>>::ready(&mut client).await.unwrap();
    let results = client.fetch_all(requests(&client, 0..20), 8).json::<u64>();
    assert_eq!(results.try_collect::<Vec<_>>().await.unwrap().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_source_may_be_slower_than_the_answers() {
    let client = echo(&Gauge::default());
    let slow = stream::unfold(0, |number| async move {
        sleep(Duration::from_millis(100)).await;
        (number < 5).then_some((number, number + 1))
    });
    let source = slow.map(|number: u64| client.get("/{n}").path("n", number));
    let start = Instant::now();
    let mut results = pin!(client.fetch_stream(source, 4).json::<u64>());
    for number in 0..5 {
        assert_eq!(results.next().await.unwrap().unwrap(), number);
        assert_eq!(start.elapsed(), Duration::from_millis(100 * (number + 1) + number));
    }
    assert!(results.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_source_is_asked_only_when_there_is_room() {
    let gauge = Gauge::default();
    let client = echo(&gauge);
    let asked = RefCell::new(0);
    let source = (0..).inspect(|_| *asked.borrow_mut() += 1);
    let mut results = pin!(client.fetch_all(requests(&client, source), 4).json::<u64>());
    assert_eq!(*asked.borrow(), 0);
    for taken in 0..10 {
        assert_eq!(results.next().await.unwrap().unwrap(), taken);
        assert!(*asked.borrow() <= taken + 4, "{} after {taken}", asked.borrow());
    }
    assert!(gauge.most() <= 4);
}

#[tokio::test(start_paused = true)]
async fn a_drop_leaves_nothing_behind() {
    let gauge = Gauge::default();
    let client = echo(&gauge);
    {
        let mut results = pin!(client.fetch_all(requests(&client, 100..), 5).responses());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(results.as_mut().poll_next(&mut cx).is_pending());
        assert_eq!(gauge.now(), 5);
        // Whoever gives up waiting for the next one loses none.
        assert!(tokio::time::timeout(Duration::from_millis(50), results.next()).await.is_err());
        assert_eq!(results.next().await.unwrap().unwrap().text().await.unwrap(), "100");
    }
    assert_eq!(gauge.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn progress_is_told() {
    let client = echo(&Gauge::default());
    let told = RefCell::new(Vec::new());
    let results = client
        .fetch_all(requests(&client, [1, 2000, 3]), 2)
        .on_progress(|Progress { begun, done, failed, total, .. }| {
            told.borrow_mut().push((begun, done, failed, total));
        })
        .json::<u64>();
    assert_eq!(results.size_hint(), (3, Some(3)));
    results.for_each(|_| future::ready(())).await;
    assert_eq!(*told.borrow(), [(2, 1, 0, Some(3)), (3, 2, 0, Some(3)), (3, 3, 1, Some(3))]);
}

#[tokio::test(start_paused = true)]
async fn results_that_were_kept_for_order_are_not_lost_without_it() {
    let client = echo(&Gauge::default());
    let mut results = client.fetch_all(requests(&client, [90, 10, 20, 30]), 3).json::<u64>();
    assert!(tokio::time::timeout(Duration::from_millis(50), results.next()).await.is_err());
    let results: Vec<_> =
        results.unordered().map(|(index, result)| (index, result.unwrap())).collect().await;
    assert_eq!(results, [(1, 10), (2, 20), (3, 30), (0, 90)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn all_are_fetched_once_and_in_order(
        numbers in prop::collection::vec(0..50_u64, 0..40),
        concurrency in 1..10_usize,
        ordered in 0..40_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let gauge = Gauge::default();
            let client = echo(&gauge);
            let source = requests(&client, numbers.clone());
            let mut results = client.fetch_all(source, concurrency).json::<u64>();
            // Some in order, and the rest as they come.
            let mut fetched = Vec::new();
            while fetched.len() < ordered.min(numbers.len()) {
                fetched.push((fetched.len(), results.next().await.unwrap().unwrap()));
            }
            let mut rest = results.unordered();
            while let Some((index, result)) = rest.next().await {
                fetched.push((index, result.unwrap()));
            }
            fetched.sort_unstable();
            assert_eq!(fetched, Vec::from_iter(numbers.iter().copied().enumerate()));
            assert!(gauge.most() <= concurrency);
            assert_eq!(gauge.most() == 0, numbers.is_empty());
            assert_eq!(rest.progress().done, numbers.len());
        });
    }
}

#[tokio::test]
async fn nothing_is_at_once_at_its_end() {
    let client = echo(&Gauge::default());
    let mut results = client.fetch_all(requests(&client, []), 0).json::<u64>();
    assert!(results.next().await.is_none());
    assert!(results.next().await.is_none());
}

#[test]
fn streams_can_be_sent_to_other_threads() {
    fn check<T: Send>(_: &T) {}
    let client = echo(&Gauge::default());
    let source: Vec<RequestBuilder<_>> = requests(&client, [1]).collect();
    check(&client.fetch_all(source, 1).json::<Option<u64>>());
    check(&client.get("/").send());
    check(&async { client.get("/").send().await?.json_or::<u64, String>().await.map(drop) });
}
