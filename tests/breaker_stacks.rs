//! The circuit breaker among other layers, in the orders that users try.

use std::{fmt::Debug, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use palisade_circuit_breaker::{OpenReason, State};
use palisade_core::{BoxError, ErrorKind, HttpClassify, Observer};
use palisade_retry::{Backoff, Hints, Jitter, RetryLayer, Rules, Stop};
use palisade_testkit::{FlakyApi, RecordingObserver, Reply, Script};
use tokio::time::{Instant, advance};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt,
    steer::Steer,
    util::{BoxCloneSyncService, option_layer},
};

use crate::support::{MS, OPEN_FOR, breaker, get, http1, http2, info, put, read, refusal, retry};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Sends requests to a server that is down for three of them: the fourth does not arrive, and the
/// others find it well.
async fn check<S, ResB>(client: S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<ResB>, Error: Into<BoxError> + Debug>
        + Clone,
    ResB: Debug,
{
    let down = || Reply::status(503);
    let script = Script::new().route("/", [down(), down(), down(), Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let call = || client.clone().oneshot(put(api.url("/")));
    for _ in 0..3 {
        assert_eq!(call().await.unwrap().status(), 503);
    }
    assert_eq!(refusal(call().await).unwrap().reason(), OpenReason::Tripped);
    assert_eq!(api.stats().requests(), 3);
    advance(OPEN_FOR).await;
    for _ in 0..9 {
        assert_eq!(call().await.unwrap().status(), 200);
    }
    assert_eq!(api.stats().requests(), 12);
}

#[tokio::test(start_paused = true)]
async fn around_a_client_of_any_kind() {
    check(breaker().layer(http1())).await;
    check(breaker().layer(http2())).await;
    check(breaker().layer(http1().map_err(BoxError::from))).await;
    check(breaker().layer(BoxCloneSyncService::new(http1()))).await;
    check(BoxCloneSyncService::new(breaker().layer(http1()))).await;
    check(BoxCloneSyncService::new(breaker().at_body_end().layer(http1()))).await;
}

#[tokio::test(start_paused = true)]
async fn inside_and_outside_of_a_buffer() {
    let stack = ServiceBuilder::new;
    check(stack().layer(breaker()).buffer(1).service(http1())).await;
    check(stack().buffer(1).layer(breaker()).service(http1())).await;
    check(stack().buffer(1).layer(breaker()).buffer(1).service(http1())).await;
}

#[tokio::test(start_paused = true)]
async fn inside_and_outside_of_limits() {
    let stack = ServiceBuilder::new;
    check(stack().layer(breaker()).concurrency_limit(1).service(http1())).await;
    check(stack().concurrency_limit(1).layer(breaker()).service(http1())).await;
    check(stack().layer(breaker()).load_shed().service(http1())).await;
    check(stack().load_shed().layer(breaker()).service(http1())).await;
}

#[tokio::test(start_paused = true)]
async fn as_an_option() {
    // Without the breaker the error would be another.
    let client = || http1().map_err(BoxError::from);
    check(option_layer(Some(breaker())).layer(client())).await;
    check(ServiceBuilder::new().option_layer(Some(breaker())).service(client())).await;

    let api = FlakyApi::start(Script::new().route("/", Reply::status(503))).await;
    let client = option_layer(Some(breaker()).filter(|_| false)).layer(client());
    for _ in 0..9 {
        assert_eq!(client.clone().oneshot(get(api.url("/"))).await.unwrap().status(), 503);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_inside_sheds_is_no_failure() {
    let api = FlakyApi::start(Script::new().route("/", Reply::never())).await;
    let layer = breaker();
    let client = ServiceBuilder::new()
        .layer(layer.clone())
        .load_shed()
        .concurrency_limit(1)
        .service(http1());
    let call = || client.clone().oneshot(get(api.url("/")));
    tokio::select! {
        result = call() => panic!("{result:?}"),
        () = async {
            api.wait_for(|stats| stats.in_flight() == 1).await;
            for _ in 0..9 {
                let error = call().await.unwrap_err();
                assert_eq!(ErrorKind::of(&*error), ErrorKind::Limited);
            }
        } => {}
    }
    assert_eq!(layer.handle().state(), State::Closed);
    assert_eq!(layer.handle().snapshot().failures_in_row, 0);
}

#[tokio::test(start_paused = true)]
async fn several_under_one_steer() {
    let down = FlakyApi::start(Script::new().route("/down", Reply::status(503))).await;
    let up = FlakyApi::start(Script::new().route("/up", Reply::ok("hello"))).await;
    let layer = breaker();
    let services = [layer.clone(), layer.separate()].map(|layer| layer.layer(http1()));
    let pick = |request: &Request<_>, _: &[_]| usize::from(request.uri().path() == "/up");
    let client = Steer::new(services, pick);

    for _ in 0..3 {
        let response = client.clone().oneshot(get(down.url("/down"))).await.unwrap();
        assert_eq!(response.status(), 503);
    }
    let refused = client.clone().oneshot(get(down.url("/down"))).await;
    assert_eq!(refusal(refused).unwrap().retry_after(), Some(OPEN_FOR));
    let response = client.clone().oneshot(get(up.url("/up"))).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(down.stats().requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_open_holds_up_no_others() {
    let api = FlakyApi::start(Script::new().route("/", Reply::never())).await;
    let layer = breaker();
    let services = [layer.clone(), layer.separate()]
        .map(|layer| ServiceBuilder::new().layer(layer).concurrency_limit(1).service(http1()));
    let client = Steer::new(services, |_: &Request<_>, _: &[_]| 0);
    let is_ready = async || {
        let mut client = client.clone();
        tokio::select! {
            biased;
            ready = client.ready() => ready.is_ok(),
            () = async {} => false,
        }
    };
    tokio::select! {
        result = client.clone().oneshot(get(api.url("/"))) => panic!("{result:?}"),
        () = async {
            api.wait_for(|stats| stats.in_flight() == 1).await;
            assert!(!is_ready().await, "the limit is reached");
            layer.handle().force_open();
            assert!(is_ready().await);
        } => {}
    }
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_breaker() {
    let api = FlakyApi::start(Script::new().route("/", Reply::status(503))).await;
    let layer = breaker();
    let client = layer.layer(http1());
    for _ in 0..3 {
        assert_eq!(client.clone().oneshot(get(api.url("/"))).await.unwrap().status(), 503);
    }
    for (name, other, shares) in [
        ("the service", client.clone(), true),
        ("a service made by the layer", layer.layer(http1()), true),
        ("one over HTTP/2", layer.layer(http2()), true),
        ("one made by a clone of the layer", layer.clone().layer(http1()), true),
        ("a separate one", layer.separate().layer(http1()), false),
        ("one of other settings", layer.clone().ramp_up(LONG).layer(http1()), false),
    ] {
        let result = other.oneshot(get(api.url("/"))).await;
        assert_eq!(refusal(result).is_some(), shares, "{name}");
    }
    // The strategies are no settings of a breaker.
    let other = layer.clone().at_body_end().layer(http1());
    assert!(refusal(other.oneshot(get(api.url("/"))).await).is_some());
    assert_eq!(api.stats().requests(), 3 + 2);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_it_instead_of_being_refused() {
    let down = || Reply::status(503);
    let script = Script::new().route("/", [down(), down(), down(), Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let layer = breaker().backpressure();
    // The error is still that of the client.
    let client = layer.layer(http1()).map_err(|error: hyper_util::client::legacy::Error| error);
    let start = Instant::now();
    for status in [503, 503, 503, 200, 200] {
        assert_eq!(client.clone().oneshot(get(api.url("/"))).await.unwrap().status(), status);
        let waited = if status == 503 { Duration::ZERO } else { OPEN_FOR };
        assert_eq!(start.elapsed(), waited);
    }
    assert_eq!(layer.handle().state(), State::Closed);
    assert_eq!(api.stats().requests(), 5);
}

// Where retry waits, that is the only timer: paused time jumps to its end, and not before all else
// waits as well.

/// Retries four times over, and may wait as long as this for what refuses.
fn patient<M>(max: Duration) -> RetryLayer<Rules<HttpClassify<M>>> {
    retry().attempts(5).hints(Hints::new().max(max))
}

#[tokio::test(start_paused = true)]
async fn retry_outside_waits_until_it_may_be_closed() {
    let down = || Reply::status(503);
    let script = Script::new().route("/", [down(), down(), down(), Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let layer = breaker();
    let client = ServiceBuilder::new().layer(patient(LONG)).layer(layer.clone()).service(http1());

    let start = Instant::now();
    let response = client.clone().oneshot(put(api.url("/"))).await.unwrap();
    assert_eq!(response.status(), 200);
    // Three answers and the probe: what was refused was not sent.
    assert_eq!(info(&response), (4, None));
    assert_eq!(api.stats().requests(), 4);
    // Not too early, nor much too late.
    let waited = start.elapsed().div_duration_f64(OPEN_FOR);
    assert!((1.0..1.51).contains(&waited), "{waited}");
    assert_eq!(layer.handle().state(), State::HalfOpen);
    assert_eq!(client.oneshot(put(api.url("/"))).await.unwrap().status(), 200);
    assert_eq!(layer.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn retry_outside_gives_up_what_it_cannot_wait_for() {
    let api = FlakyApi::start(Script::new().route("/", Reply::status(503))).await;
    for (name, retry, forced, stop) in [
        ("too long", patient(OPEN_FOR - MS), false, Stop::Hint),
        ("too late", patient(LONG).deadline(OPEN_FOR - MS), false, Stop::Deadline),
        ("for ever", patient(LONG), true, Stop::Refused),
    ] {
        let recorder = Arc::new(RecordingObserver::new());
        let observer: Arc<dyn Observer> = recorder.clone();
        let layer = breaker();
        let client = ServiceBuilder::new()
            .layer(retry.observer(observer))
            .layer(layer.clone())
            .service(http1());
        let plain = layer.layer(http1());
        for _ in 0..3 {
            assert_eq!(plain.clone().oneshot(get(api.url("/"))).await.unwrap().status(), 503);
        }
        if forced {
            layer.handle().force_open();
        }
        let requests = api.stats().requests();

        let start = Instant::now();
        let open = refusal(client.oneshot(get(api.url("/"))).await).expect(name);
        assert_eq!(open.retry_after(), (!forced).then_some(OPEN_FOR), "{name}");
        assert_eq!(start.elapsed(), Duration::ZERO, "{name}");
        assert_eq!(api.stats().requests(), requests, "{name}");
        let told = recorder.take().pop().expect(name).event;
        let reason = format!("attempts: 0, delay: 0ns, reason: \"{stop}\"");
        assert!(told.starts_with("GaveUp") && told.contains(&reason), "{name}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_outside_never_hammers() {
    let api = FlakyApi::start(Script::new().route("/", Reply::status(503))).await;
    let client = ServiceBuilder::new()
        .layer(patient(LONG).attempts(3 + 4))
        .layer(breaker())
        .service(http1());
    let start = Instant::now();
    let response = client.oneshot(get(api.url("/"))).await.unwrap();
    assert_eq!(response.status(), 503);
    // After the third answer, one probe every five seconds, or a little later.
    assert_eq!(info(&response), (3 + 4, Some(Stop::Attempts)));
    assert_eq!(api.stats().requests(), 3 + 4);
    let waited = start.elapsed().div_duration_f64(OPEN_FOR);
    assert!((4.0..6.04).contains(&waited), "{waited}");
}

// They need not wait until all probes are late.
#[tokio::test(start_paused = true)]
async fn retry_outside_comes_back_soon_beside_probes() {
    let down = Reply::status(503);
    let script = Script::new().route("/", [down.clone(), down.clone(), down, Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let layer = breaker();
    let plain = layer.layer(http1());
    for _ in 0..3 {
        assert_eq!(plain.clone().oneshot(get(api.url("/"))).await.unwrap().status(), 503);
    }
    advance(OPEN_FOR).await;
    let client = ServiceBuilder::new().layer(patient(LONG)).layer(layer.clone()).service(http1());
    let call = || client.clone().oneshot(get(api.url("/")));
    let start = Instant::now();
    let (one, two, three, four) = tokio::join!(call(), call(), call(), call());
    for response in [one, two, three, four] {
        assert_eq!(response.unwrap().status(), 200);
    }
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_inside_makes_one_call_of_all_attempts() {
    let script = Script::new()
        .route("/fails", Reply::status(503))
        .route("/recovers", [Reply::status(503), Reply::status(503), Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let layer = breaker();
    let handle = layer.handle();
    let client = ServiceBuilder::new().layer(layer).layer(retry()).service(http1());
    let call = |path| client.clone().oneshot(get(api.url(path)));

    for failures in 1..=2 {
        assert_eq!(info(&call("/fails").await.unwrap()), (3, Some(Stop::Attempts)));
        assert_eq!(handle.snapshot().failures_in_row, failures);
    }
    assert_eq!(info(&call("/recovers").await.unwrap()), (3, None));
    assert_eq!(handle.snapshot().failures_in_row, 0);
    for _ in 0..3 {
        assert_eq!(handle.state(), State::Closed);
        assert_eq!(call("/fails").await.unwrap().status(), 503);
    }
    assert_eq!(handle.state(), State::Open);
    assert!(refusal(call("/fails").await).is_some());
    assert_eq!(api.stats().requests_on("/fails"), 5 * 3);
}

// Here paused time would jump past the timeouts.
#[tokio::test]
async fn between_two_timeouts_and_under_retry() {
    let client = ServiceBuilder::new()
        .layer(BoxCloneSyncService::layer())
        .timeout(LONG)
        .layer(patient(LONG))
        .layer(breaker().open_for(Backoff::constant(2 * MS).jitter(Jitter::None)))
        .timeout(LONG)
        .service(http1());
    let down = || Reply::status(503);
    let script = Script::new().route("/", [down(), down(), down(), Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let response = client.oneshot(get(api.url("/"))).await.unwrap();
    assert_eq!(info(&response), (4, None));
    assert_eq!(api.stats().requests(), 4);
    assert_eq!(read(response).await.unwrap(), "hello");
}
