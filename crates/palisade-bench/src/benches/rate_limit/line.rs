use std::{
    future::poll_fn,
    num::NonZeroU32,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use palisade_rate_limit::{Limiter, Quota, Wait};
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tower::Layer;
use tower_resilience_ratelimiter::RateLimiterLayer;
use tower_service::Service;

use crate::{
    inner::{Body, Healthy},
    request,
    row::Row,
};

const BURST: u32 = 10;

/// 64 tasks that ask again and again, at 100 a second for 6 seconds: how many were let go in a second,
/// and how many of the task with the fewest and of that with the most.
pub(in crate::benches) fn fairness(bench: &'static str) -> Vec<Row> {
    play(bench, 64, 100, Duration::from_secs(6))
}

/// 1,000 tasks at 500 a second: how often they are polled for each that is let go.
pub(in crate::benches) fn waiters(bench: &'static str) -> Vec<Row> {
    play(bench, 1000, 500, Duration::from_secs(4))
}

fn play(bench: &'static str, tasks: usize, rate: u32, length: Duration) -> Vec<Row> {
    let palisade =
        Limiter::new(Quota::per_second(rate).burst(BURST)).wait(Wait::forever().max_waiting(tasks));
    let per_second = |count| NonZeroU32::new(count).expect("not zero");
    let quota = governor::Quota::per_second(per_second(rate)).allow_burst(per_second(BURST));
    let governor = Arc::new(governor::RateLimiter::direct(quota));
    let leaky = leaky_bucket::RateLimiter::builder()
        .max(BURST as usize)
        .initial(BURST as usize)
        .refill(1)
        .interval(Duration::from_secs(1) / rate)
        .fair(true)
        .build();
    let leaky = Arc::new(leaky);
    let resilience = RateLimiterLayer::builder()
        .limit_for_period(1)
        .refresh_period(Duration::from_secs(1) / rate)
        .burst_size(BURST as usize - 1)
        .timeout_duration(Duration::from_secs(60))
        .build()
        .expect("a valid limiter")
        .layer(Healthy);
    vec![
        row(bench, "palisade", tasks, length, move || {
            let limiter = palisade.clone();
            async move { limiter.acquire(1).await.expect("it waits") }
        }),
        row(bench, "governor", tasks, length, move || {
            let limiter = Arc::clone(&governor);
            async move { limiter.until_ready().await }
        }),
        row(bench, "leaky-bucket", tasks, length, move || {
            let limiter = Arc::clone(&leaky);
            async move { limiter.acquire_one().await }
        }),
        row(bench, "tower-resilience", tasks, length, move || {
            let mut service = resilience.clone();
            async move {
                poll_fn(|cx| Service::<http::Request<Body>>::poll_ready(&mut service, cx))
                    .await
                    .expect("ready");
                service.call(request::get()).await.expect("it waits");
            }
        }),
    ]
}

fn row<F: Future<Output = ()> + Send + 'static>(
    bench: &'static str,
    subject: &'static str,
    tasks: usize,
    length: Duration,
    acquire: impl Fn() -> F + Clone + Send + 'static,
) -> Row {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("the system has two threads for us");
    let polls = Arc::new(AtomicU64::new(0));
    let end = Arc::clone(&polls);
    let granted = runtime.block_on(async move {
        // Or the first task would have all of that for itself.
        for _ in 0..BURST {
            acquire().await;
        }
        let until = Instant::now() + length;
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            let (acquire, polls) = (acquire.clone(), Arc::clone(&end));
            set.spawn(async move {
                let mut granted = 0_u32;
                loop {
                    let mut acquire = pin!(acquire());
                    let counted = poll_fn(|cx| {
                        // At the end all are polled once more.
                        polls.fetch_add(u64::from(Instant::now() < until), Ordering::Relaxed);
                        acquire.as_mut().poll(cx)
                    });
                    match timeout_at(until, counted).await {
                        Ok(()) => granted += 1,
                        Err(_) => break granted,
                    }
                }
            });
        }
        set.join_all().await
    });
    let all: u32 = granted.iter().sum();
    let fewest = granted.iter().min().copied().unwrap_or_default();
    let most = granted.iter().max().copied().unwrap_or_default();
    Row {
        bench,
        subject,
        figures: vec![
            ("polls", polls.load(Ordering::Relaxed) as f64 / f64::from(all.max(1))),
            ("per_second", f64::from(all) / length.as_secs_f64()),
            ("fewest", fewest.into()),
            ("most", most.into()),
        ],
    }
}
