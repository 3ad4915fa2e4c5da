use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Response;
use palisade_testkit::{FlakyApi, PausedClock, Plan, Reply, Script};
use tokio::time::advance;

use crate::client::{HttpClient, fetch, http1};

const WINDOW: Duration = Duration::from_secs(60);

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn check(
    client: &HttpClient,
    api: &FlakyApi,
    status: u16,
    remaining: u64,
    reset: u64,
    unix: u64,
) {
    let response = fetch(client, api.url("/limited")).await.unwrap();
    assert_eq!(response.status(), status);
    let retry_after = (status == 429).then(|| reset.to_string());
    assert_eq!(header(&response, "retry-after"), retry_after.as_deref());
    for (name, value) in [
        ("ratelimit-policy", "\"default\";q=2;w=60".to_owned()),
        ("ratelimit", format!("\"default\";r={remaining};t={reset}")),
        ("x-ratelimit-limit", "2".to_owned()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset", unix.to_string()),
    ] {
        assert_eq!(header(&response, name), Some(value.as_str()), "{name}");
    }
}

// Nothing here waits on a timer, so paused time stands still until it is advanced.
#[tokio::test(start_paused = true)]
async fn refuses_over_the_quota_until_the_window_ends() {
    let clock = PausedClock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
    let script = Script::new()
        .clock(clock)
        .route("/limited", Reply::ok("hello"))
        .route("/free", Reply::ok("hello"))
        .limit("/limited", 2, WINDOW);
    let api = FlakyApi::start(script).await;
    let client = http1();

    check(&client, &api, 200, 1, 60, 1_060).await;
    advance(Duration::from_millis(10_500)).await;
    check(&client, &api, 200, 0, 50, 1_060).await;
    check(&client, &api, 429, 0, 50, 1_060).await;
    advance(Duration::from_millis(49_499)).await;
    check(&client, &api, 429, 0, 1, 1_060).await;
    advance(Duration::from_millis(1)).await;
    check(&client, &api, 200, 1, 60, 1_120).await;

    let free = fetch(&client, api.url("/free")).await.unwrap();
    assert_eq!(header(&free, "ratelimit"), None);
    let stats = api.stats();
    assert_eq!((stats.answered(200), stats.answered(429)), (4, 2));
    assert_eq!(stats.requests_on("/limited"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_move_the_plan_on() {
    let plan = Plan::with(|call| Reply::ok(call.number().to_string()));
    let script = Script::new().route("/", plan).limit("/", 1, WINDOW);
    let api = FlakyApi::start(script).await;
    let client = http1();

    for (status, body) in [(200, "1"), (429, ""), (429, "")] {
        let response = fetch(&client, api.url("/")).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.body(), body);
    }
    advance(WINDOW).await;
    assert_eq!(fetch(&client, api.url("/")).await.unwrap().body(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_limit_may_be_that_of_many_routes() {
    let script = Script::new()
        .route("/users/1", Reply::ok("one"))
        .route("/users/2", Reply::ok("two"))
        .route("/else", Reply::ok("else"))
        .limit("GET /users/*", 2, WINDOW)
        .limit("/*", 4, WINDOW);
    let api = FlakyApi::start(script).await;
    let client = http1();

    for (path, status, quota, remaining) in [
        ("/users/1", 200, "2", "1"),
        ("/users/2", 200, "2", "0"),
        // What one limit has refused, another one further down has not seen.
        ("/users/1", 429, "2", "0"),
        ("/users", 404, "4", "1"),
        ("/else", 200, "4", "0"),
        ("/else", 429, "4", "0"),
        ("/nowhere", 429, "4", "0"),
    ] {
        let response = fetch(&client, api.url(path)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(header(&response, "x-ratelimit-limit"), Some(quota), "{path}");
        assert_eq!(header(&response, "x-ratelimit-remaining"), Some(remaining), "{path}");
    }
    advance(WINDOW).await;
    assert_eq!(fetch(&client, api.url("/users/1")).await.unwrap().status(), 200);
}
