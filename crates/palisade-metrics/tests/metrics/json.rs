//! Snapshots as JSON: what was stored by one version is read by the next.

use std::time::Duration;

use http_body_util::BodyExt;
use palisade_core::{Cause, Endpoint, ErrorKind, Event, Observer, Outcome, Target};
use palisade_metrics::{Snapshot, Times};
use palisade_testkit::{ProbePlan, probe_request};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    support::{Api, SECOND},
    text::filled,
};

static GET_USER: Endpoint = Endpoint::new(http::Method::GET, "/users/{id}");

#[tokio::test(start_paused = true)]
async fn a_snapshot_survives_json() {
    let snapshot = filled().await.snapshot();
    let json = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
}

/// What a version wrote. New fields may come; none of these may go, or change what it says.
fn stored() -> Value {
    let times = |place: &str, nanos: u64| json!({ "counts": { place: 1 }, "sum": nanos, "range": [nanos, nanos] });
    json!({
        "calls": { "groups": [], "unready": 0 },
        "attempts": {
            "groups": [{
                "endpoint": "/users/{id}",
                "method": "GET",
                "authority": "probe.test",
                "port": 80,
                "in_flight": 0,
                "streams": 0,
                "sent": 0,
                "received": 8,
                "unread": 0,
                "outcomes": { "success": 1 },
                "results": [{
                    "status": 200,
                    "error": null,
                    "times": times("678", 1_000_000_000),
                    "head_times": times("0", 0),
                }],
            }],
            "unready": 0,
        },
        "events": [{
            "event": "retry",
            "reason": "",
            "from": "",
            "cause": "timeout",
            "method": "GET",
            "endpoint": "/users/{id}",
            "authority": null,
            "port": null,
            "count": 1,
            "times": { "counts": {}, "sum": 0, "range": null },
        }, {
            "event": "transition",
            "reason": "open",
            "from": "closed",
            "cause": null,
            "method": "GET",
            "endpoint": "/users/{id}",
            "authority": null,
            "port": null,
            "count": 1,
            "times": { "counts": {}, "sum": 0, "range": null },
        }],
        "breakers": [{
            "method": "GET",
            "endpoint": "/users/{id}",
            "authority": null,
            "port": null,
            "state": "open",
        }],
        "served": { "groups": [], "unready": 0 },
        "folded": { "endpoints": 0, "methods": 0, "authorities": 0, "groups": 0, "events": 0 },
    })
}

#[tokio::test(start_paused = true)]
async fn fields_are_called_what_they_are_called() {
    let api = Api::new(ProbePlan::default());
    let mut request = probe_request(1);
    GET_USER.put_into(request.extensions_mut());
    let response = api.client.clone().oneshot(request).await.unwrap();
    tokio::time::advance(SECOND).await;
    response.into_body().collect().await.unwrap();
    let (observer, target) = (api.metrics.observer(), Target::new(Some(&GET_USER), None, None));
    let cause = Cause::new(Outcome::Transient, Err(ErrorKind::Timeout));
    for event in [
        Event::Retry { attempt: 1, delay: Duration::ZERO, cause },
        Event::Breaker { from: "closed", to: "open", reason: "failure_rate", generation: 1 },
    ] {
        observer.on_event(target, &event);
    }
    let snapshot = api.metrics.snapshot();
    assert_eq!(serde_json::to_value(&snapshot).unwrap(), stored());
    assert_eq!(serde_json::from_value::<Snapshot>(stored()).unwrap(), snapshot);
}

// What was stored may be damaged, or of a version that counts otherwise.
#[test]
fn what_cannot_have_been_counted_is_no_snapshot() {
    for times in [
        json!({ "counts": { "65535": 1 }, "sum": 1, "range": [1, 1] }),
        json!({ "counts": { "1088": 1 }, "sum": 1, "range": [1, 1] }),
        json!({ "counts": { "5": 1 }, "sum": 1, "range": [2, 1] }),
        json!({ "counts": { "5": u64::MAX, "6": 1 }, "sum": 1, "range": [1, 1] }),
    ] {
        assert!(serde_json::from_value::<Times>(times.clone()).is_err(), "{times}");
    }
    let times = json!({ "counts": { "1087": 1 }, "sum": 1, "range": [1, 1] });
    let times = serde_json::from_value::<Times>(times).unwrap();
    assert_eq!((times.count(), times.count_within(Duration::MAX)), (1, 0));
    assert_eq!(times.p50(), Some(Duration::from_nanos(1)));
    assert_eq!(times.exponential().len(), 1);
}
