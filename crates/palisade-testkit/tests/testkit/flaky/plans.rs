//! Which request gets which reply.

use std::sync::Mutex;

use palisade_testkit::{FlakyApi, Plan, Reply, Script};
use tower::ServiceExt;

use crate::client::{both, collect, fetch, get, http1, http2, post};

async fn statuses(api: &FlakyApi, path: &str, requests: usize) -> Vec<u16> {
    let client = http1();
    let mut statuses = Vec::new();
    for _ in 0..requests {
        let response = fetch(&client, api.url(path)).await.unwrap();
        statuses.push(response.status().as_u16());
    }
    statuses
}

fn coin() -> Plan {
    Plan::random([(3, Reply::ok("")), (1, Reply::status(503))])
}

#[tokio::test]
async fn finds_the_route() {
    let script = Script::new()
        .route("/a", Reply::ok("any"))
        .route("POST /a", Reply::ok("post"))
        .route("DELETE /b", Reply::status(204));
    let api = FlakyApi::start(script).await;
    let uri = |path| api.url(path);
    for (name, client) in both() {
        for (request, status, body) in [
            (get(uri("/a")), 200, "any"),
            (get(uri("/a?page=2")), 200, "any"),
            (post(uri("/a"), "x"), 200, "post"),
            (get(uri("/b")), 404, ""),
            (get(uri("/a/")), 404, ""),
        ] {
            let response = client.request(request).await.unwrap();
            let response = collect(response).await.unwrap();
            assert_eq!(response.status(), status, "{name}");
            assert_eq!(response.body(), body, "{name}");
        }
    }
    let stats = api.stats();
    assert_eq!(stats.requests(), 10);
    assert_eq!(stats.requests_on("/a"), 4);
    assert_eq!(stats.requests_on("POST /a"), 2);
    assert_eq!(stats.requests_on("DELETE /b"), 0);
    assert_eq!((stats.answered(200), stats.answered(404), stats.answered(500)), (6, 4, 0));
}

#[tokio::test]
async fn goes_through_replies() {
    let replies = || [503, 429, 200].map(Reply::status);
    let script = Script::new()
        .route("/sequence", replies())
        .route("/cycle", Plan::cycle(replies()))
        .route("/always", Reply::status(418));
    let api = FlakyApi::start(script).await;
    for (path, expected) in [
        ("/sequence", [503, 429, 200, 200, 200]),
        ("/cycle", [503, 429, 200, 503, 429]),
        ("/always", [418; 5]),
    ] {
        assert_eq!(statuses(&api, path, 5).await, expected, "{path}");
    }
}

#[tokio::test]
async fn asks_a_function() {
    let plan = Plan::with(|call| {
        let attempt = call.headers().get("attempt").map_or("none", |value| value.to_str().unwrap());
        let Some(query) = call.uri().query() else {
            return Reply::status(400);
        };
        Reply::ok(format!("{} {} {query} {attempt} {}", call.method(), call.path(), call.number()))
    });
    let api = FlakyApi::start(Script::new().route("/f", plan)).await;
    let client = http1();
    for number in 1..=2 {
        let mut request = get(api.url("/f?q"));
        request.headers_mut().insert("attempt", number.into());
        let response = collect(client.request(request).await.unwrap()).await.unwrap();
        assert_eq!(response.body(), &format!("GET /f q {number} {number}"));
    }
    assert_eq!(statuses(&api, "/f", 1).await, [400]);
}

#[tokio::test]
async fn draws_the_same_for_the_same_seed() {
    let start = async |seed| {
        let script = Script::new().seed(seed).route("/a", coin()).route("/b", coin());
        FlakyApi::start(script).await
    };
    let (one, same, other) = (start(1).await, start(1).await, start(2).await);

    let drawn = statuses(&one, "/a", 64).await;
    // Requests on another route, and after these instead of between them, change nothing.
    assert_ne!(statuses(&same, "/b", 64).await, drawn);
    assert_eq!(statuses(&same, "/a", 64).await, drawn);
    assert_ne!(statuses(&other, "/a", 64).await, drawn);

    let failures = drawn.iter().filter(|status| **status == 503).count();
    assert!((4..32).contains(&failures), "{failures} of 64 at odds of one in four");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draws_the_same_in_any_interleaving() {
    let script = || Script::new().seed(9).route("/a", coin());
    let alone = FlakyApi::start(script()).await;
    let mut expected = statuses(&alone, "/a", 40).await;

    let crowded = FlakyApi::start(script()).await;
    let drawn = Mutex::new(Vec::new());
    let client = http2();
    let worker = async || {
        for _ in 0..10 {
            let response = client.clone().oneshot(get(crowded.url("/a"))).await.unwrap();
            drawn.lock().unwrap().push(response.status().as_u16());
        }
    };
    tokio::join!(worker(), worker(), worker(), worker());
    // Who is first is open, but not what the first gets.
    let mut drawn = drawn.into_inner().unwrap();
    drawn.sort_unstable();
    expected.sort_unstable();
    assert_eq!(drawn, expected);
}

#[test]
fn refuses_nonsense() {
    let panics = |build: fn() -> Script| std::panic::catch_unwind(build).is_err();
    assert!(panics(|| Script::new().route("a", Reply::ok(""))));
    assert!(panics(|| Script::new().route("G=T /a", Reply::ok(""))));
    assert!(panics(|| Script::new().route("/a", Reply::ok("")).route("/a", Reply::ok(""))));
    assert!(panics(|| Script::new().route("/a", Vec::new())));
    assert!(panics(|| Script::new().route("/a", Plan::random([(0, Reply::ok(""))]))));
    assert!(panics(|| Script::new().limit("/a", 1, std::time::Duration::ZERO)));
    assert!(panics(|| Script::new().limit("*", 1, std::time::Duration::ZERO)));
    assert!(panics(|| Script::new().route("/a", Reply::status(100))));
}
