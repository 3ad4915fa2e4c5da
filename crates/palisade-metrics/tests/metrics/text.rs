use std::collections::{BTreeMap, BTreeSet};

use http::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use palisade_core::{Cause, Endpoint, ErrorKind, Event, Observer, Outcome, Target};
use palisade_metrics::{Format, Registry};
use palisade_testkit::ProbeHandle;
use tower::{Layer, ServiceExt};

pub(crate) static ODD: Endpoint = Endpoint::new(Method::GET, "/\"odd\"\\\n{id}");

/// A registry in which there is something of everything.
pub(crate) async fn filled() -> Registry {
    let metrics = Registry::new();
    let probe = ProbeHandle::new();
    for status in [200, 200, 404, 503] {
        let status = http::StatusCode::from_u16(status).unwrap();
        let answer = palisade_testkit::Answer::Status(status);
        probe.set(palisade_testkit::ProbePlan { answer, ..Default::default() });
        let client = metrics.attempts().layer(probe.probe::<palisade_testkit::ProbeError, ()>());
        let client = metrics.calls().layer(client);
        let mut request = Request::get("https://api.example:8443/x").body(Full::default()).unwrap();
        ODD.put_into(request.extensions_mut());
        client.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    }
    let server = metrics.served().endpoints(&ODD);
    let server = server.layer(probe.probe::<palisade_testkit::ProbeError, ()>());
    let response = server.oneshot(Request::new(Full::default())).await.unwrap();
    response.into_body().collect().await.unwrap();
    tell(&*metrics.observer(), Target::new(None, None, Some("api.example:8443")));
    metrics
}

/// Each event once.
pub(crate) fn tell(observer: &dyn Observer, target: Target<'_>) {
    let cause = Cause::new(Outcome::Transient, Err(ErrorKind::Timeout));
    let delay = std::time::Duration::ZERO;
    let (kind, reason) = (ErrorKind::Open, "tripped");
    for event in [
        Event::Retry { attempt: 1, delay, cause },
        Event::Settled { attempts: 2, delay, cause },
        Event::GaveUp { attempts: 3, delay, reason: "attempts", cause },
        Event::Breaker { from: "closed", to: "open", reason: "failure_rate", generation: 1 },
        Event::Refused { kind, reason, retry_after: None, enforced: true },
        Event::Refused { kind, reason, retry_after: None, enforced: false },
        Event::Waited { kind: ErrorKind::Limited, waited: delay },
        Event::Paused { kind: ErrorKind::Limited, reason: "retry_after", delay },
        Event::Cache { status: "hit" },
        Event::Refreshed { result: "fetched", took: delay },
        Event::Login { change: "renewed" },
    ] {
        observer.on_event(target, &event);
    }
}

/// Reads text as strictly as its specification has it: each family once, its samples after it,
/// buckets that grow, no series twice.
pub(crate) fn read(text: &str, open_metrics: bool) -> BTreeMap<String, f64> {
    let mut families = BTreeMap::new();
    let mut family = String::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            name.clone_into(&mut family);
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(!series.contains("=\"\""), "{line}: the same as without the label");
        let name = series.split('{').next().unwrap();
        let suffix =
            name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{name} in {family}"));
        let allowed: &[_] = match (&*families[&family], open_metrics) {
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            ("counter", true) => &["_total"],
            _ => &[""],
        };
        assert!(allowed.contains(&suffix), "{line}");
        assert!(
            samples.insert(series.to_owned(), value.parse().unwrap()).is_none(),
            "{series} twice"
        );
    }
    let buckets = samples.iter().filter_map(|(series, value)| {
        let (series, bound) = series.split_once("_bucket{")?;
        let (labels, bound) = bound.rsplit_once("le=\"")?;
        let bound = bound.trim_end_matches("\"}").replace("+Inf", "inf").parse::<f64>().unwrap();
        Some((format!("{series}{{{}", labels.trim_end_matches(',')), bound, *value))
    });
    let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (series, bound, count) in buckets {
        histograms.entry(series).or_default().push((bound, count));
    }
    for (series, mut counts) in histograms {
        counts.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert_eq!(counts.len(), 15, "{series}");
        assert!(counts.is_sorted_by(|one, other| one.1 <= other.1), "{series}");
        let name = series.replacen('{', "_count{", 1);
        let total = samples[&format!("{name}}}")];
        assert_eq!(counts.last().unwrap().1, total, "{series}");
    }
    samples
}

#[tokio::test(start_paused = true)]
async fn is_what_prometheus_reads() {
    let snapshot = filled().await.snapshot();
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = snapshot.render(format);
        let open_metrics = format == Format::OpenMetrics;
        assert_eq!(text.ends_with("# EOF\n"), open_metrics);
        let samples = read(&text, open_metrics);
        let names: BTreeSet<_> =
            samples.keys().filter_map(|series| series.split('{').next()).collect();
        for name in [
            "http_client_request_duration_seconds_count",
            "http_client_active_requests",
            "palisade_response_head_duration_seconds_sum",
            "palisade_call_duration_seconds_bucket",
            "palisade_call_outcomes_total",
            "palisade_response_body_bytes_total",
            "palisade_retries_total",
            "palisade_retries_given_up_total",
            "palisade_breaker_state",
            "palisade_refusals_total",
            "palisade_labels_folded_total",
        ] {
            assert!(names.contains(name), "{name} in {names:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn says_what_was_counted() {
    let text = filled().await.snapshot().render(Format::Prometheus);
    let template = r#"url_template="/\"odd\"\\\n{id}""#;
    let target = format!(
        r#"http_request_method="GET",server_address="api.example",server_port="8443",{template}"#
    );
    let duration = "http_client_request_duration_seconds_count";
    for line in [
        format!(r#"{duration}{{{target},http_response_status_code="200"}} 2"#),
        format!(r#"{duration}{{{target},http_response_status_code="404",error_type="404"}} 1"#),
        format!(r#"{duration}{{{target},http_response_status_code="503",error_type="503"}} 1"#),
        format!("http_client_active_requests{{{target}}} 0"),
        format!(r#"palisade_attempt_outcomes_total{{{target},outcome="rejected"}} 1"#),
        format!("palisade_response_body_bytes_total{{{target}}} 32"),
        r#"palisade_retries_total{server_address="api.example",server_port="8443",cause="timeout"} 1"#
            .to_owned(),
        r#"palisade_breaker_state{server_address="api.example",server_port="8443",state="open"} 1"#
            .to_owned(),
        r#"palisade_breaker_state{server_address="api.example",server_port="8443",state="closed"} 0"#
            .to_owned(),
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\nin\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scrape_is_answered_in_the_format_that_is_accepted() {
    let metrics = Registry::new();
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let plain = "text/plain; version=0.0.4; charset=utf-8";
    for (accept, content_type) in [
        (None, plain),
        (Some("text/plain"), plain),
        (Some("*/*"), plain),
        (Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), open),
        (Some("text/plain, Application/OpenMetrics-Text"), open),
        (Some("application/openmetrics-text;q=0, text/plain"), plain),
        (Some("application/openmetrics-text; version=1.0.0; Q=0.000, text/plain"), plain),
        (Some("application/openmetrics-text;q=0.001"), open),
    ] {
        let mut request = Request::new(());
        if let Some(accept) = accept {
            request.headers_mut().insert(ACCEPT, accept.parse().unwrap());
        }
        let response = metrics.scrape().oneshot(request).await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{accept:?}");
        read(response.body(), content_type == open);
    }
}
