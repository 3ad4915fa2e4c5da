//! A limiter whose tokens are kept elsewhere, and take a while to ask for.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use palisade_core::find_cause;
use palisade_rate_limit::{
    Assign, Begin, Found, Limit, Limited, LimitedReason, Quota, RateLimitLayer, Scope, Template,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

const LATENCY: Duration = Duration::from_millis(5);

/// As a store would: when each key has its next token, and how often it was asked.
#[derive(Debug)]
struct Store {
    interval: Duration,
    next: Instant,
    asked: usize,
    given_back: u32,
}

#[derive(Clone)]
struct Remote {
    store: Arc<Mutex<Store>>,
    longest: Duration,
}

impl Limit for Remote {
    type Acquire = Pin<Box<dyn Future<Output = Result<(), Limited>> + Send>>;

    fn begin(&self, _: u32) -> Begin {
        // Nothing is known here.
        Begin::Wait
    }

    fn acquire(&self, cost: u32, deadline: Option<std::time::Instant>) -> Self::Acquire {
        let (store, longest) = (self.store.clone(), self.longest);
        Box::pin(async move {
            sleep(LATENCY).await;
            let at = {
                let mut store = store.lock().unwrap();
                store.asked += 1;
                let at = store.next.max(Instant::now());
                let late = deadline.is_some_and(|deadline| deadline < at.into_std());
                if late || longest < at - Instant::now() {
                    let delay = at - Instant::now();
                    return Err(Limited::new(LimitedReason::TooLong, Some(delay)));
                }
                store.next = at + store.interval * cost;
                at
            };
            sleep_until(at).await;
            Ok(())
        })
    }

    fn give_back(&self, cost: u32) {
        self.store.lock().unwrap().given_back += cost;
    }
}

/// The layer keeps what it renewed: this is how the test looks into it.
#[derive(Clone)]
struct Watched(Arc<Mutex<Option<Remote>>>, Option<Remote>);

impl Scope for Watched {
    type Limiter = Remote;

    fn renew(self, template: &Template) -> Self {
        let interval = template.quotas().next().unwrap().interval();
        let store = Store { interval, next: Instant::now(), asked: 0, given_back: 0 };
        let remote = Remote { store: Arc::new(Mutex::new(store)), longest: Duration::from_secs(1) };
        *self.0.lock().unwrap() = Some(remote.clone());
        Self(self.0, Some(remote))
    }
}

impl<Req> Assign<Req> for Watched {
    fn limiter<'a>(&'a self, _: &Req) -> Found<'a, Remote> {
        Found::One(self.1.as_ref().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_may_be_kept_elsewhere() {
    let seen = Arc::new(Mutex::new(None));
    let layer = RateLimitLayer::new(Quota::per_second(10)).scope(Watched(seen.clone(), None));
    let mut service = layer.layer(service_fn(|_: u32| async { Ok::<_, Infallible>(()) }));
    let start = Instant::now();
    for call in 0..11 {
        timeout(Duration::from_secs(10), service.ready().await.unwrap().call(call))
            .await
            .unwrap()
            .unwrap();
    }
    assert!(
        Duration::from_secs(1) <= start.elapsed() && start.elapsed() < Duration::from_millis(1100)
    );

    // Who would wait for too long is refused, and says so.
    let calls: Vec<_> = (0..20).map(|call| tokio::spawn(service.clone().oneshot(call))).collect();
    let mut refused = 0;
    for call in calls {
        if let Err(error) = call.await.unwrap() {
            assert_eq!(find_cause::<Limited>(&*error).unwrap().reason(), LimitedReason::TooLong);
            refused += 1;
        }
    }
    assert!((8..=10).contains(&refused), "{refused}");
    let remote = seen.lock().unwrap().clone().unwrap();
    assert_eq!(remote.store.lock().unwrap().asked, 31);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sent_is_given_back_wherever_it_is_kept() {
    let seen = Arc::new(Mutex::new(None));
    let layer = RateLimitLayer::new(Quota::per_second(10))
        .cost(palisade_rate_limit::cost_fn(|cost: &u32| *cost))
        .scope(Watched(seen.clone(), None));
    let open = Arc::new(AtomicBool::new(true));
    let mut service = layer.layer(Gate(open.clone()));
    let call = service.ready().await.unwrap().call(3);
    open.store(false, Ordering::Relaxed);
    // Granted, and held up by the inner service: dropped, it gives its tokens back.
    assert!(timeout(Duration::from_secs(5), call).await.is_err());
    let remote = seen.lock().unwrap().clone().unwrap();
    assert_eq!(remote.store.lock().unwrap().given_back, 3);

    open.store(true, Ordering::Relaxed);
    service.ready().await.unwrap().call(2).await.unwrap();
    drop(service.ready().await.unwrap().call(4));
    assert_eq!(remote.store.lock().unwrap().given_back, 3, "sent, or never granted");
}

/// Is ready as long as it is open.
#[derive(Clone)]
struct Gate(Arc<AtomicBool>);

impl Service<u32> for Gate {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match self.0.load(Ordering::Relaxed) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, _: u32) -> Self::Future {
        ready(Ok(()))
    }
}
