//! What servers say on when to retry. The input: answers with an empty line between them, each a
//! status and its fields.

#![no_main]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use palisade_core::{RetryAfter, WallClock};
use palisade_fuzz::{Upstream, fields};
use palisade_retry::{Backoff, Hints, RetryInfo, RetryLayer, Stop, Unlimited};
use tokio::{runtime, time::Instant};
use tower_layer::Layer;
use tower_service::Service;

const ATTEMPTS: u32 = 4;
/// The longest that is waited at a time, be it for a hint or by the back-off.
const LONGEST: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(40);
/// What tokio's timers know.
const TICK: Duration = Duration::from_millis(1);

fuzz_target!(|data: &[u8]| {
    let lines: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    let answers: Vec<_> = lines.split(|line| line.is_empty()).map(answer).collect();
    run(&answers, None);
    run(&answers, Some(DEADLINE));
});

fn answer(lines: &[&[u8]]) -> Response<()> {
    let mut lines = lines.iter().copied();
    let status = lines.next().map(StatusCode::from_bytes);
    let mut response = Response::new(());
    *response.status_mut() = match status {
        Some(Ok(status)) => status,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    *response.headers_mut() = fields(lines);
    response
}

fn run(answers: &[Response<()>], deadline: Option<Duration>) {
    let hints = Hints::new().max(LONGEST).clock(Arc::new(Stopped));
    let backoff = Backoff::exponential(Duration::from_millis(50)).max(LONGEST);
    let mut layer = RetryLayer::http()
        .attempts(ATTEMPTS)
        .hints(hints)
        .backoff(backoff)
        .budget(Unlimited)
        .seed(0);
    if let Some(deadline) = deadline {
        layer = layer.deadline(deadline);
    }

    let upstream = Upstream::new(answers.iter().cloned());
    let mut service = layer.layer(upstream.clone());
    let runtime =
        runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (response, elapsed) = runtime.block_on(async {
        let start = Instant::now();
        let Ok(response) = service.call(Request::new(Full::<Bytes>::default())).await;
        (response, start.elapsed())
    });

    let calls = upstream.calls();
    let retries = calls.len() as u32 - 1;
    assert!(retries < ATTEMPTS);
    let info = response.extensions().get::<RetryInfo>();
    let delay = info.map_or(Duration::ZERO, RetryInfo::delay);
    assert_eq!(info.map_or(1, RetryInfo::attempts), retries + 1);
    assert!(delay <= LONGEST * retries);
    assert!(delay <= elapsed && elapsed <= delay + TICK * retries);
    assert!(deadline.is_none_or(|deadline| elapsed < deadline));

    let waits = calls.windows(2).map(|pair| pair[1].0 - pair[0].0);
    for (answer, wait) in answers.iter().zip(waits) {
        assert!(asked(answer).is_none_or(|asked| asked <= wait), "came too soon");
    }
    let last = answers.get(retries as usize).and_then(asked);
    match info.and_then(RetryInfo::stop) {
        None => {}
        Some(Stop::Attempts) => assert_eq!(retries + 1, ATTEMPTS),
        Some(Stop::Hint | Stop::Pushback) => assert!(retries + 1 < ATTEMPTS),
        Some(Stop::Deadline) => {
            assert!(deadline.is_some() && last.is_none_or(|asked| asked <= LONGEST));
        }
        Some(stop) => panic!("stopped by {stop}"),
    }
}

/// What an answer asks for, if that is in `Retry-After` and no field goes before it.
fn asked(answer: &Response<()>) -> Option<Duration> {
    const BEFORE: [&str; 3] = ["grpc-retry-pushback-ms", "retry-after-ms", "x-ms-retry-after-ms"];
    let headers = answer.headers();
    if BEFORE.iter().any(|name| headers.contains_key(*name)) {
        return None;
    }
    RetryAfter::delay_of(headers, || Stopped.now())
}

#[derive(Debug)]
struct Stopped;

impl WallClock for Stopped {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }
}
