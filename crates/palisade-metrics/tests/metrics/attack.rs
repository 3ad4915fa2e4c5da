//! Attempts to break it.

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::Full;
use palisade_metrics::Registry;
use palisade_testkit::{ProbeHandle, ProbePlan};
use tower::{Layer, ServiceExt};

use crate::support::{Api, Call, request};

fn with_host(host: &str) -> Call {
    Request::get("/").header(HOST, host).body(Full::<Bytes>::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn ways_to_write_an_authority_are_one_group_and_show_no_password() {
    let api = Api::new(ProbePlan::default());
    for _ in 0..3 {
        for request in [
            request("GET", "http://user:secret@api.example/"),
            request("GET", "http://us@er:sec@ret@api.example/"),
            request("GET", "http://api.example:/"),
            request("GET", "http://api.example/"),
            with_host("user:secret@api.example"),
            with_host("api.example:"),
            with_host("api.example"),
        ] {
            drop(api.client.clone().oneshot(request).await.unwrap());
        }
    }
    let attempts = api.attempts();
    let names: Vec<_> = attempts.groups.iter().map(|group| group.authority.clone()).collect();
    assert_eq!(names, [Some("api.example".to_owned())]);
    assert_eq!((attempts.count(), attempts.in_flight()), (21, 0));
    let text = format!("{:?}{:?}", api.metrics, api.metrics.snapshot());
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn hosts_that_are_no_names_are_counted() {
    let api = Api::new(ProbePlan::default());
    let long = "h".repeat(60_000);
    let hosts = [
        "",
        "@",
        ":",
        "@:",
        "a@",
        "_OTHER",
        "_OTHER:",
        "\"quoted\"",
        "back\\slash",
        &long,
        "[::1]:80",
    ];
    for _ in 0..2 {
        for host in hosts {
            drop(api.client.clone().oneshot(with_host(host)).await.unwrap());
        }
        let mut call = with_host("x");
        call.headers_mut().insert(HOST, http::HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        drop(api.client.clone().oneshot(call).await.unwrap());
    }
    let attempts = api.attempts();
    assert_eq!((attempts.count(), attempts.in_flight()), (24, 0));
    let mut names: Vec<_> = attempts.groups.iter().map(|group| &group.authority).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "two groups with one name");
}

#[test]
fn more_threads_than_stripes_lose_nothing() {
    let metrics = Registry::new();
    let client =
        metrics.attempts().layer(ProbeHandle::new().probe::<palisade_testkit::ProbeError, ()>());
    std::thread::scope(|scope| {
        for thread in 0..64 {
            let client = client.clone();
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                for call in 0..50 {
                    let uri = format!("http://user:{call}@host-{}.example/", (call + thread) % 3);
                    let response = runtime.block_on(client.clone().oneshot(request("GET", &uri)));
                    // Ends on another thread.
                    std::thread::scope(|other| other.spawn(|| drop(response)).join().unwrap());
                }
            });
        }
    });
    let attempts = metrics.snapshot().attempts;
    assert_eq!((attempts.count(), attempts.in_flight(), attempts.groups.len()), (3200, 0, 3));
    assert!(attempts.groups.iter().all(|group| group.streams == 0));
}
