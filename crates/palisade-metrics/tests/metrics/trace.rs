use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, StatusCode};
use palisade_core::{Cause, Endpoint, ErrorKind, Event, Head, Observer, Outcome, Target};
use palisade_metrics::{Both, Registry, TraceEvents};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");

/// Writes each event as a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = self.0.lock().unwrap();
        let metadata = event.metadata();
        write!(text, "{} {}", metadata.level(), metadata.target()).unwrap();
        event.record(&mut Line(&mut text));
        text.push('\n');
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn logged(observer: &dyn Observer, target: Target<'_>, event: &Event) -> String {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || observer.on_event(target, event));
    let text = lines.0.lock().unwrap();
    text.clone()
}

fn retry() -> Event {
    let cause = Cause::new(Outcome::Transient, Ok(StatusCode::SERVICE_UNAVAILABLE));
    Event::Retry { attempt: 1, delay: Duration::from_millis(250), cause }
}

#[test]
fn each_event_is_logged_with_its_fields() {
    let (attempts, delay) = (3, Duration::from_secs(2));
    let cause = Cause::new(Outcome::Unsent, Err(ErrorKind::Connect));
    let (kind, reason, generation) = (ErrorKind::Open, "tripped", 7);
    let retry_after = Some(Duration::from_secs(5));
    for (event, line) in [
        (
            retry(),
            r#"DEBUG palisade message=retry attempt=1 delay_ms=250 cause="503" outcome="transient""#,
        ),
        (
            Event::Settled { attempts, delay, cause },
            r#"DEBUG palisade message=settled attempts=3 delay_ms=2000 cause="connect" outcome="unsent""#,
        ),
        (
            Event::GaveUp { attempts, delay, reason: "budget", cause },
            r#"WARN palisade message=gave_up attempts=3 delay_ms=2000 reason="budget" cause="connect" outcome="unsent""#,
        ),
        (
            Event::Breaker { from: "closed", to: "open", reason, generation },
            r#"WARN palisade message=transition from="closed" to="open" reason="tripped" generation=7"#,
        ),
        (
            Event::Refused { kind, reason, retry_after, enforced: true },
            r#"WARN palisade message=refused kind="open" reason="tripped" retry_after_ms=5000 enforced=true"#,
        ),
        (
            Event::Refused { kind, reason, retry_after: None, enforced: false },
            r#"INFO palisade message=would_refuse kind="open" reason="tripped" enforced=false"#,
        ),
        (
            Event::Waited { kind, waited: delay },
            r#"DEBUG palisade message=waited kind="open" waited_ms=2000"#,
        ),
        (
            Event::Paused { kind, reason, delay },
            r#"WARN palisade message=paused kind="open" reason="tripped" delay_ms=2000"#,
        ),
        (Event::Cache { status: "hit" }, r#"DEBUG palisade message=cache status="hit""#),
        (
            Event::Refreshed { result: "fetched", took: delay },
            r#"INFO palisade message=refreshed result="fetched" took_ms=2000"#,
        ),
        (Event::Login { change: "lost" }, r#"INFO palisade message=login change="lost""#),
    ] {
        assert_eq!(logged(&TraceEvents, Target::default(), &event), format!("{line}\n"));
    }
}

#[test]
fn says_what_it_is_about_and_no_more() {
    let uri = "https://user:password@api.example:8443/users/4711?token=secret";
    let mut request = Request::put(uri).header("authorization", "Bearer secret").body(()).unwrap();
    let told =
        |request: &Request<()>| logged(&TraceEvents, Target::of(Head::of(request)), &retry());
    let rest = r#"attempt=1 delay_ms=250 cause="503" outcome="transient""#;
    let without =
        format!(r#"DEBUG palisade message=retry method="PUT" authority="api.example:8443" {rest}"#);
    assert_eq!(told(&request), without + "\n");
    GET_USER.put_into(request.extensions_mut());
    let with = format!(
        r#"DEBUG palisade message=retry method="PUT" template="/users/{{id}}" authority="api.example:8443" {rest}"#
    );
    assert_eq!(told(&request), with + "\n");
    let breaker = logged(&TraceEvents, Target::new(Some(&GET_USER), None, None), &retry());
    assert!(breaker.contains(r#"method="GET" template="/users/{id}""#), "{breaker}");
}

#[test]
fn what_is_logged_can_be_counted_as_well() {
    let metrics = Registry::new();
    let both = Both(metrics.observer(), TraceEvents);
    assert_ne!(logged(&both, Target::default(), &retry()), "");
    assert_eq!(metrics.snapshot().events[0].count, 1);
}
