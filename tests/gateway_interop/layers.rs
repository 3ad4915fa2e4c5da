//! The layers of a server: rate limit, cache, breaker, metrics.

use std::{process::Stdio, time::Duration};

use http::Request;
use http_body_util::Full;
use palisade_testkit::{FlakyApi, Plan, Reply, Script};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{Scenario, gateway::Gateway};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("a rate limit answers 429", rate_limit),
        Scenario::new("a rate limit is of one client", by_client),
        Scenario::new("an answer is cached", cached),
        Scenario::new("an answer is not cached for another host", by_host),
        Scenario::new("a part of what is cached is served", part),
        Scenario::new("a breaker answers 503", breaker),
        Scenario::new("what fails is asked for again", retried),
        Scenario::new("Prometheus reads the metrics", metrics),
    ]
}

fn route(api: &FlakyApi, more: &str) -> String {
    format!("[[routes]]\nprefix = \"/a\"\nupstream = \"http://{}\"\n{more}\n", api.addr())
}

async fn pair(name: &str, plan: impl Into<Plan>, more: &str) -> (FlakyApi, Gateway) {
    let api = FlakyApi::start(Script::new().route("/b", plan)).await;
    let gateway = Gateway::start(name, &route(&api, more)).await;
    (api, gateway)
}

async fn rate_limit(name: &str) {
    let limit = "[routes.rate_limit]\nrequests = 2\nper = \"1h\"\nburst = 2\nby = \"route\"";
    let (api, gateway) = pair(name, Reply::ok("hello"), limit).await;
    // What there is, and then when there is one again.
    for left in ["r=1;t=1", "r=1;t=1800"] {
        let answer = gateway.get("/a/b").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit"), format!("\"2-in-3600s\";{left}"));
    }
    let refused = gateway.get("/a/b").await;
    refused.problem(429);
    assert_eq!(refused.header("retry-after"), "1800");
    assert_eq!(api.stats().requests(), 2);
}

async fn by_client(name: &str) {
    let api = FlakyApi::start(Script::new().route("/b", Reply::ok("hello"))).await;
    let limit = "[routes.rate_limit]\nrequests = 1\nper = \"1h\"\nburst = 1";
    let gateway = Gateway::with(name, "trusted_hops = 1", &route(&api, limit), &[]).await;
    for (claimed, status) in [
        ("1.1.1.1", 200),
        ("2.2.2.2", 200),
        ("2.2.2.2", 429),
        // What stands further left was made up by the client.
        ("3.3.3.3, 1.1.1.1", 429),
    ] {
        let request = Request::get(gateway.url("/a/b")).header("x-forwarded-for", claimed);
        let answer = gateway.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status, status, "{claimed}");
    }
}

async fn cached(name: &str) {
    let fresh = Reply::ok("hello").header("cache-control", "max-age=600");
    let (api, gateway) = pair(name, fresh, "[routes.cache]").await;
    for status in ["gateway; fwd=uri-miss; stored", "gateway; hit", "gateway; hit"] {
        let answer = gateway.get("/a/b?c").await;
        assert_eq!((answer.status, &*answer.body), (200, "hello"));
        assert!(answer.header("cache-status").starts_with(status), "{answer:?}");
        assert_eq!(answer.header("via"), "1.1 gateway");
    }
    assert_eq!(api.stats().requests(), 1);
}

async fn by_host(name: &str) {
    let fresh = Reply::ok("hello").header("cache-control", "max-age=600");
    let (api, gateway) = pair(name, fresh, "[routes.cache]").await;
    for host in ["one.example", "other.example", "one.example"] {
        let request = Request::get(gateway.url("/a/b")).header("host", host);
        assert_eq!(gateway.send(request.body(Full::default()).unwrap()).await.status, 200);
    }
    assert_eq!(api.stats().requests(), 2);
}

async fn part(name: &str) {
    let fresh = Reply::ok("0123456789")
        .header("cache-control", "max-age=600")
        .header("etag", "\"1\"")
        .header("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT");
    let (api, gateway) = pair(name, fresh, "[routes.cache]").await;
    assert_eq!(gateway.get("/a/b").await.status, 200);

    let ask = |name, value| {
        let request = Request::get(gateway.url("/a/b")).header(name, value);
        gateway.send(request.body(Full::default()).unwrap())
    };
    let part = ask("range", "bytes=2-4").await;
    assert_eq!((part.status, &*part.body), (206, "234"));
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    assert_eq!(ask("if-none-match", "\"1\"").await.status, 304);
    assert_eq!(api.stats().requests(), 1);
}

async fn breaker(name: &str) {
    let more = "[routes.circuit_breaker]\nfailures = 2\nopen_for = \"1h\"";
    let (api, gateway) = pair(name, Reply::status(500).body("internals"), more).await;
    for _ in 0..2 {
        let answer = gateway.get("/a/b").await;
        // What an upstream says of itself is for its callers.
        assert_eq!((answer.status, &*answer.body), (500, "internals"));
    }
    let refused = gateway.get("/a/b").await;
    refused.problem(503);
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1800..=3600).contains(&seconds), "{seconds}");
    assert_eq!(api.stats().requests(), 2);
}

async fn retried(name: &str) {
    let plan = Plan::cycle([Reply::status(503), Reply::ok("hello")]);
    let (api, gateway) = pair(name, plan, "[routes.retry]").await;
    assert_eq!(gateway.get("/a/b").await.status, 200);
    assert_eq!(api.stats().requests(), 2);

    // A POST may have been done.
    let post = Request::post(gateway.url("/a/b")).body(Full::default()).unwrap();
    assert_eq!(gateway.send(post).await.status, 503);
    assert_eq!(api.stats().requests(), 3);
}

async fn metrics(name: &str) {
    let more = "[routes.cache]\n[routes.rate_limit]\nrequests = 4\nper = \"1h\"\nburst = 4\n\
                [routes.circuit_breaker]\n[routes.retry]";
    let plan = Plan::cycle([
        Reply::ok("hello").header("cache-control", "max-age=600").latency(Duration::from_millis(2)),
        Reply::status(503),
    ]);
    let (_api, gateway) = pair(name, plan, more).await;
    for (path, status) in
        [("/a/b", 200), ("/a/b", 200), ("/a/c", 404), ("/a/b?x", 200), ("/a/b", 429)]
    {
        assert_eq!(gateway.get(path).await.status, status, "{path}");
    }
    gateway.get("/elsewhere").await.problem(404);

    assert_eq!(gateway.admin("/healthz").await.body, "ok\n");
    assert_eq!(gateway.admin("/else").await.status, 404);
    let scrape = gateway.admin("/metrics").await;
    let text = &scrape.body;
    // One route, however many paths there are.
    for (name, labels, value) in [
        ("http_server_request_duration_seconds_count", &["/a/{*path}", "\"200\""][..], "3"),
        ("http_server_request_duration_seconds_count", &["/a/{*path}", "\"429\""], "1"),
        ("http_client_request_duration_seconds_count", &["/a/{*path}", "\"404\""], "1"),
    ] {
        let has = |line: &str| labels.iter().all(|label| line.contains(label));
        let line = text.lines().find(|line| line.starts_with(name) && has(line));
        assert_eq!(
            line.and_then(|line| line.split(' ').next_back()),
            Some(value),
            "{name} {labels:?} in\n{text}"
        );
    }
    assert!(!text.contains("/a/b") && !text.contains("/elsewhere"), "{text}");

    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    assert!(promtool.wait().await.unwrap().success());
}
