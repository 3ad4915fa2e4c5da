use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use palisade_retry::{Backoff, Hints, Jitter, RetryInfo, RetryLayer, Stop, schedule_fn};
use palisade_testkit::PausedClock;
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::upstream::{Answer, MS, SECOND, Upstream, request, status, with};

fn steady() -> Backoff {
    Backoff::constant(100 * MS).jitter(Jitter::None)
}

#[tokio::test(start_paused = true)]
async fn waits_by_the_schedule() {
    for (backoff, expected) in [
        (steady(), [0, 100, 200, 300, 400]),
        (Backoff::exponential(100 * MS).jitter(Jitter::None), [0, 100, 300, 700, 1500]),
        (Backoff::fibonacci(100 * MS).jitter(Jitter::None), [0, 100, 200, 400, 700]),
        (Backoff::constant(Duration::ZERO), [0, 0, 0, 0, 0]),
    ] {
        let upstream = Upstream::new((0..4).map(|_| status(503)));
        let client = RetryLayer::http().attempts(5).backoff(backoff).layer(upstream.clone());
        let response = client.oneshot(request("GET")).await.unwrap();
        assert_eq!(upstream.times(), expected, "{backoff:?}");
        let info: &RetryInfo = response.extensions().get().unwrap();
        assert_eq!(
            (info.attempts(), info.delay().as_millis(), info.stop()),
            (5, expected[4], None)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_fixes_the_delays() {
    let times = async |seed| {
        let upstream = Upstream::new((0..4).map(|_| status(503)));
        let client = RetryLayer::http().attempts(5).seed(seed).layer(upstream.clone());
        client.oneshot(request("GET")).await.unwrap();
        upstream.times()
    };
    assert_eq!(times(1).await, times(1).await);
    assert_ne!(times(1).await, times(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_function_is_told_the_step() {
    let upstream = Upstream::new((0..3).map(|_| status(503)));
    let backoff = schedule_fn(|step| step.previous + 10 * MS * step.retry);
    let client = RetryLayer::http().attempts(4).backoff(backoff).layer(upstream.clone());
    client.oneshot(request("GET")).await.unwrap();
    assert_eq!(upstream.times(), [0, 10, 40, 100]);
}

/// How long the client waits after an answer, and why it does not retry.
async fn after(answer: Answer) -> (Option<Duration>, Option<Stop>) {
    let upstream = Upstream::new([answer]);
    let clock =
        PausedClock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let hints = Hints::new().clock(Arc::new(clock));
    let layer = RetryLayer::http().attempts(2).backoff(steady()).hints(hints);
    let start = Instant::now();
    let response = layer.layer(upstream.clone()).oneshot(request("GET")).await.unwrap();
    let stop = response.extensions().get().and_then(RetryInfo::stop);
    ((upstream.count() == 2).then(|| start.elapsed()), stop)
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_the_server_asks() {
    for (field, least) in [
        (("retry-after", "0"), 100),
        (("retry-after", "7"), 7_000),
        (("retry-after", "junk"), 100),
        (("retry-after", "-7"), 100),
        (("retry-after", "Fri, 15 Jan 2027 08:00:07 GMT"), 7_000),
        (("retry-after", "Friday, 15-Jan-27 08:00:07 GMT"), 7_000),
        (("retry-after", "Fri Jan 15 08:00:07 2027"), 7_000),
        (("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), 100),
        (("retry-after-ms", "7000"), 7_000),
        (("x-ratelimit-reset", "1800000007"), 7_000),
        (("ratelimit", "\"a\";r=0;t=7"), 7_000),
        (("grpc-retry-pushback-ms", "7"), 7),
    ] {
        let (waited, stop) = after(with(429, &[field])).await;
        let waited = waited.unwrap().as_millis();
        // Up to a tenth is added, and a timer is exact to the millisecond.
        assert!((least..=least + least / 10 + 1).contains(&waited), "{field:?}: {waited}");
        assert_eq!(stop, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_date_counts_from_the_date_of_the_answer() {
    let fields = [
        ("date", "Sun, 06 Nov 1994 12:00:00 GMT"),
        ("retry-after", "Sun, 06 Nov 1994 12:00:07 GMT"),
    ];
    let (waited, _) = after(with(503, &fields)).await;
    assert_eq!(waited.unwrap().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn returns_at_once_when_the_server_asks_too_much() {
    for (field, expected) in [
        (("retry-after", "31"), Stop::Hint),
        (("retry-after", "100000000000000000000"), Stop::Hint),
        (("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"), Stop::Hint),
        (("retry-after-ms", "18446744073709551615"), Stop::Hint),
        (("grpc-retry-pushback-ms", "-1"), Stop::Pushback),
    ] {
        let (waited, stop) = after(with(503, &[field])).await;
        assert_eq!((waited, stop), (None, Some(expected)), "{field:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn never_waits_past_the_deadline() {
    for (deadline, attempts, stop) in [
        (150, 2, Some(Stop::Deadline)),
        (200, 2, Some(Stop::Deadline)),
        (201, 3, Some(Stop::Deadline)),
        (10_000, 5, None),
    ] {
        let upstream = Upstream::new((0..4).map(|_| status(503)));
        let layer = RetryLayer::http().attempts(5).backoff(steady()).deadline(deadline * MS);
        let start = Instant::now();
        let response = layer.layer(upstream.clone()).oneshot(request("GET")).await.unwrap();
        assert_eq!(upstream.count(), attempts, "{deadline}");
        assert_eq!(response.extensions().get().and_then(RetryInfo::stop), stop);
        assert!(start.elapsed() < deadline * MS);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_past_the_deadline_is_not_waited_for() {
    let upstream = Upstream::new([with(503, &[("retry-after", "7")])]);
    let client = RetryLayer::http().deadline(5 * SECOND).layer(upstream.clone());
    let start = Instant::now();
    let response = client.oneshot(request("GET")).await.unwrap();
    assert_eq!(response.extensions().get().and_then(RetryInfo::stop), Some(Stop::Deadline));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_pushback_leaves_the_schedule_where_it_was() {
    let answers = [status(503), with(503, &[("grpc-retry-pushback-ms", "7")]), status(503)];
    let upstream = Upstream::new(answers);
    let backoff = schedule_fn(|step| step.previous + 10 * MS);
    let client = RetryLayer::http().attempts(4).backoff(backoff).layer(upstream.clone());
    client.oneshot(request("GET")).await.unwrap();
    assert_eq!(upstream.times(), [0, 10, 17, 37]);
}
