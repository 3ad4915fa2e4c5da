use std::{io, sync::mpsc, thread, time::Duration};

use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider, Temporality,
    data::{AggregatedMetrics, MetricData, ResourceMetrics},
    reader::MetricReader,
};
use opentelemetry_semantic_conventions::{attribute, metric};
use palisade_core::{Cause, Endpoint, ErrorKind, Event, Outcome, Target};
use palisade_metrics::Registry;
use palisade_otel::register_instruments;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::{
    exported::{Exported, Reader},
    support::{Call, Frames, Next, request, response},
};

static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");

/// A registry whose counts these readers read.
fn registry<const N: usize>(temporality: Temporality) -> (Registry, SdkMeterProvider, [Reader; N]) {
    let readers: [Reader; N] = std::array::from_fn(|_| Reader::new(temporality));
    let provider = SdkMeterProvider::builder();
    let provider =
        readers.iter().fold(provider, |provider, reader| provider.with_reader(reader.clone()));
    let (registry, provider) = (Registry::new(), provider.build());
    register_instruments(&registry, &provider.meter_with_scope(palisade_otel::scope()));
    (registry, provider, readers)
}

fn api()
-> impl Service<Call, Response = Response<Frames>, Error = io::Error, Future: Send> + Clone + Send {
    service_fn(async |request: Call| match request.uri().path() {
        "/refused" => Err(io::ErrorKind::ConnectionRefused.into()),
        "/panic" => panic!("the service panics"),
        "/hang" => std::future::pending().await,
        "/broken" => Ok(Response::new(Frames::new([Next::Data("a"), Next::Fail]))),
        path => {
            tokio::time::sleep(Duration::from_millis(7)).await;
            Ok(response(path[1..].parse().unwrap_or(200)))
        }
    })
}

async fn call(registry: &Registry, method: &str, uri: &str) {
    let service = registry.calls().layer(registry.attempts().layer(api()));
    let mut request = request(method, uri);
    GET_USER.put_into(request.extensions_mut());
    if let Ok(response) = service.oneshot(request).await {
        let _ = response.into_body().collect().await;
    }
}

/// All that there is to count.
async fn everything(registry: &Registry) {
    for uri in ["https://a.example/200", "http://b.example:8080/404", "http://b.example:8080/503"] {
        call(registry, "GET", uri).await;
    }
    for uri in ["https://a.example/refused", "https://a.example/broken"] {
        call(registry, "POST", uri).await;
    }
    call(registry, "BREW", "/200").await;
    let served = registry.served().layer(api());
    for uri in ["/404", "/500"] {
        drop(served.clone().oneshot(request("GET", uri)).await.unwrap());
    }

    let observer = registry.observer();
    let target = Target::new(Some(&GET_USER), Some(&Method::GET), Some("a.example:8443"));
    let delay = Duration::from_millis(30);
    let cause = Cause::new(Outcome::Transient, Ok(StatusCode::BAD_GATEWAY));
    let breaker =
        |from, to, generation| Event::Breaker { from, to, reason: "failures", generation };
    let refused = |enforced| Event::Refused {
        kind: ErrorKind::Limited,
        reason: "quota",
        retry_after: None,
        enforced,
    };
    for event in [
        Event::Retry { attempt: 1, delay, cause },
        Event::Settled { attempts: 2, delay, cause },
        Event::GaveUp { attempts: 3, delay, reason: "attempts", cause },
        breaker("closed", "open", 1),
        breaker("open", "half_open", 2),
        refused(true),
        refused(false),
        Event::Waited { kind: ErrorKind::Limited, waited: delay },
        Event::Paused { kind: ErrorKind::Limited, reason: "server", delay },
        Event::Cache { status: "hit" },
        Event::Refreshed { result: "fetched", took: delay },
        Event::Login { change: "renewed" },
    ] {
        observer.on_event(target, &event);
        observer.on_event(Target::default(), &event);
    }
}

/// Whatever palisade-metrics learns to count must be exported as well.
#[tokio::test(start_paused = true)]
async fn exports_what_prometheus_is_told() {
    let (registry, _provider, [reader]) = registry(Temporality::Cumulative);
    everything(&registry).await;
    let (exported, rendered) = (reader.read(), Exported::rendered(&registry));
    assert_eq!(exported.kinds, rendered.kinds);
    assert_eq!(exported.series, rendered.series);
    assert_eq!(exported.seconds.len(), rendered.seconds.len());
    for (series, exact) in rendered.seconds {
        let told = exported.seconds[&series];
        assert!((told - exact).abs() <= exact * 0.011 + 1e-6, "{series}: {told}, not {exact}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_units_are_those_of_the_semantic_conventions() {
    let (registry, provider, [reader]) = registry(Temporality::Cumulative);
    everything(&registry).await;
    let mut metrics = ResourceMetrics::default();
    reader.collect(&mut metrics).unwrap();
    let scope = metrics.scope_metrics().next().unwrap();
    let find = |name| scope.metrics().find(|metric| metric.name() == name).unwrap();
    for (name, unit) in [
        (metric::HTTP_CLIENT_REQUEST_DURATION, "s"),
        (metric::HTTP_CLIENT_ACTIVE_REQUESTS, "{request}"),
        (metric::HTTP_SERVER_REQUEST_DURATION, "s"),
        (metric::HTTP_SERVER_ACTIVE_REQUESTS, "{request}"),
    ] {
        assert_eq!(find(name).unit(), unit);
    }

    let AggregatedMetrics::F64(MetricData::Histogram(histogram)) =
        find(metric::HTTP_CLIENT_REQUEST_DURATION).data()
    else {
        panic!("it is a histogram")
    };
    let advised = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    let not_found = histogram.data_points().find(|point| {
        let status = KeyValue::new(attribute::HTTP_RESPONSE_STATUS_CODE, 404_i64);
        point.attributes().any(|attribute| *attribute == status)
    });
    let not_found = not_found.unwrap();
    assert!(not_found.bounds().eq(advised));
    let mut attributes: Vec<_> = not_found.attributes().cloned().collect();
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    let expected = [
        KeyValue::new(attribute::ERROR_TYPE, "404"),
        KeyValue::new(attribute::HTTP_REQUEST_METHOD, "GET"),
        KeyValue::new(attribute::HTTP_RESPONSE_STATUS_CODE, 404_i64),
        KeyValue::new(attribute::SERVER_ADDRESS, "b.example"),
        KeyValue::new(attribute::SERVER_PORT, 8080_i64),
        KeyValue::new(attribute::URL_TEMPLATE, "/users/{id}"),
    ];
    assert_eq!(attributes, expected);
    provider.shutdown().unwrap();
}

const DURATION: &str = "http_client_request_duration_seconds_count";
const ACTIVE: &str = "http_client_active_requests";

#[tokio::test(start_paused = true)]
async fn each_reader_is_told_each_request_once() {
    for (temporality, sums) in
        [(Temporality::Cumulative, [3, 5, 5, 5]), (Temporality::Delta, [3, 2, 0, 5])]
    {
        let (registry, _provider, [one, other]) = registry(temporality);
        for _ in 0..3 {
            call(&registry, "GET", "https://a.example/200").await;
        }
        let first = one.read();
        for _ in 0..2 {
            call(&registry, "GET", "https://a.example/200").await;
        }
        let read = [first, one.read(), one.read(), other.read()];
        assert_eq!(read.each_ref().map(|read| read.sum(DURATION)), sums);
        let outcomes = read.each_ref().map(|read| read.sum("palisade_attempt_outcomes_total"));
        assert_eq!(outcomes, sums);
        let again = other.read().sum(DURATION);
        assert_eq!(again, if temporality == Temporality::Delta { 0 } else { 5 });
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_server_has_nothing_to_say_of_one() {
    let (registry, _provider, [reader]) = registry(Temporality::Cumulative);
    call(&registry, "GET", "https://a.example/200").await;
    let exported = reader.read();
    assert!(exported.kinds.contains_key("palisade_attempt_unready_total"));
    let of_servers = |name: &&String| name.contains("served") || name.contains("http_server");
    assert_eq!(exported.kinds.keys().find(of_servers), None);
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_before_is_told_too() {
    let registry = Registry::new();
    call(&registry, "GET", "https://a.example/200").await;
    let reader = Reader::new(Temporality::Cumulative);
    let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
    register_instruments(&registry, &provider.meter_with_scope(palisade_otel::scope()));
    assert_eq!(reader.read().sum(DURATION), 1);
}

#[tokio::test(start_paused = true)]
async fn what_ends_is_active_no_more_however_it_ends() {
    let (registry, _provider, [reader]) = registry(Temporality::Cumulative);
    let started = |path: &str| {
        let registry = registry.clone();
        let path = format!("https://a.example{path}");
        tokio::spawn(async move { call(&registry, "GET", &path).await })
    };
    let calls = ["/200", "/404", "/refused", "/broken", "/panic", "/hang"].map(started);
    tokio::task::yield_now().await;
    let active = |reader: &Reader| {
        let exported = reader.read();
        [ACTIVE, "palisade_active_calls"].map(|name| exported.sum(name))
    };
    // Two sleep, and one hangs.
    assert_eq!(active(&reader), [3, 3]);
    let [.., hangs] = &calls;
    hangs.abort();
    for call in calls {
        let _ = call.await;
    }
    assert_eq!(active(&reader), [0, 0]);
    assert_eq!(reader.read().sum(DURATION), 6);
    let of = |error: &str| {
        let exported = reader.read();
        let named = format!("error_type=\"{error}\"");
        let found = exported
            .series
            .iter()
            .find(|(series, _)| series.starts_with(DURATION) && series.contains(&named));
        found.map(|(_, count)| *count)
    };
    for error in ["404", "connect", "body", "panic", "cancelled"] {
        assert_eq!(of(error), Some(1), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_over_is_zero() {
    let (registry, _provider, [reader]) = registry(Temporality::Cumulative);
    let observer = registry.observer();
    let states = [("closed", "open"), ("open", "half_open"), ("half_open", "closed")];
    for (generation, (from, to)) in (1..).zip(states) {
        let event = Event::Breaker { from, to, reason: "any", generation };
        observer.on_event(Target::default(), &event);
        let exported = reader.read();
        for state in ["closed", "open", "half_open"] {
            let series = format!("palisade_breaker_state{{state=\"{state}\"}}");
            assert_eq!(exported.get(&series), Some(u64::from(state == to)), "{state} after {to}");
        }
    }
}

#[test]
fn readers_at_once_miss_nothing_and_wait_for_nothing() {
    let (registry, provider, readers) = registry::<2>(Temporality::Delta);
    let (done, wait) = mpsc::channel::<()>();
    let told = thread::scope(|scope| {
        let reading = readers.each_ref().map(|reader| {
            scope.spawn(move || {
                let mut told = 0;
                for _ in 0..200 {
                    told += reader.read().sum(DURATION);
                }
                told
            })
        });
        let registry = registry.clone();
        scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime.unwrap();
            for _ in 0..500 {
                runtime.block_on(call(&registry, "GET", "https://a.example/refused"));
            }
            drop(done);
        });
        wait.recv().unwrap_err();
        reading.map(|reading| reading.join().unwrap())
    });
    let rest = readers.each_ref().map(|reader| reader.read().sum(DURATION));
    assert_eq!([told[0] + rest[0], told[1] + rest[1]], [500, 500]);
    provider.shutdown().unwrap();
}

#[tokio::test]
async fn a_periodic_reader_does_as_well() {
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let registry = Registry::new();
    register_instruments(&registry, &provider.meter_with_scope(palisade_otel::scope()));
    call(&registry, "GET", "https://a.example/refused").await;
    provider.force_flush().unwrap();
    let exported = exporter.get_finished_metrics().unwrap();
    assert_eq!(Exported::of(exported.last().unwrap()).sum(DURATION), 1);
    provider.shutdown().unwrap();
}
