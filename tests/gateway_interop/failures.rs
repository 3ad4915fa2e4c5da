//! What callers see of an upstream that fails, and upstreams of callers that leave.

use http::Request;
use http_body_util::Full;
use palisade_testkit::{FaultServer, FlakyApi, Reply, Script, Steps};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    Scenario,
    gateway::{Gateway, command},
};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("an upstream that is down is 502 and then 503", down),
        Scenario::new("an upstream that is silent is 504", silent),
        Scenario::new("an upstream that speaks no HTTP is 502", garbage),
        Scenario::new("a body that breaks off breaks off", truncated),
        Scenario::new("a caller that leaves cancels its call", cancelled),
        Scenario::new("a caller that says nothing is left", wordless),
        Scenario::new("a wrong configuration is told", misconfigured),
    ]
}

/// What tells a caller where the upstream is, or how the gateway is made.
fn check_discreet(text: &str) {
    for internal in ["127.0.0.1", "os error", "hyper", "connect", "refused"] {
        assert!(!text.to_lowercase().contains(internal), "{text}");
    }
}

async fn down(name: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gateway = Gateway::start(
        name,
        &format!(
            "[[routes]]\nprefix = \"/\"\nupstream = \"http://{address}\"\n\
             [routes.circuit_breaker]\nfailures = 2\nopen_for = \"1h\"\n"
        ),
    )
    .await;
    for status in [502, 502, 503, 503] {
        let answer = gateway.get("/a").await;
        answer.problem(status);
        check_discreet(&answer.body);
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
    }
}

async fn silent(name: &str) {
    let upstream = FaultServer::start(|_| Steps::new().read_head().stall()).await;
    let times = "attempt_timeout = \"50ms\"\ntimeout = \"100ms\"";
    let route =
        format!("[[routes]]\nprefix = \"/\"\nupstream = \"http://{}\"\n{times}\n", upstream.addr());
    let gateway = Gateway::start(name, &route).await;
    let answer = gateway.get("/a").await;
    answer.problem(504);
    check_discreet(&answer.body);
}

async fn garbage(name: &str) {
    for steps in [Steps::garbage as fn() -> Steps, Steps::half_head, Steps::reset_in_head] {
        let upstream = FaultServer::start(move |_| steps()).await;
        let route =
            format!("[[routes]]\nprefix = \"/\"\nupstream = \"http://{}\"\n", upstream.addr());
        let gateway = Gateway::start(name, &route).await;
        let answer = gateway.get("/a").await;
        answer.problem(502);
        check_discreet(&answer.body);
    }
}

async fn truncated(name: &str) {
    let api =
        FlakyApi::start(Script::new().route("/a", Reply::ok("hello, world").truncated(5))).await;
    let route = format!(
        "[[routes]]\nprefix = \"/\"\nupstream = \"http://{}\"\n[routes.cache]\n",
        api.addr()
    );
    let gateway = Gateway::start(name, &route).await;
    let response =
        gateway.begin(Request::get(gateway.url("/a")).body(Full::default()).unwrap()).await;
    assert_eq!(response.status(), 200);
    let read = http_body_util::BodyExt::collect(response.into_body()).await;
    assert!(read.is_err(), "{read:?}");
}

async fn cancelled(name: &str) {
    let api = FlakyApi::start(Script::new().route("/a", Reply::never())).await;
    let route = format!("[[routes]]\nprefix = \"/\"\nupstream = \"http://{}\"\n", api.addr());
    let gateway = Gateway::start(name, &route).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    api.wait_for(|stats| stats.in_flight() == 1).await;
    drop(stream);
    api.wait_for(|stats| stats.in_flight() == 0 && stats.open_connections() == 0).await;
}

async fn wordless(name: &str) {
    let route = "[[routes]]\nprefix = \"/\"\nupstream = \"http://127.0.0.1:1\"\n";
    let gateway = Gateway::with(name, "header_timeout = \"50ms\"", route, &[]).await;
    for (begun, answer) in [
        ("", ""),
        // The beginning of HTTP/2, or of nothing.
        ("PRI * HTTP/2.0\r\n", ""),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: ", ""),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut received = String::new();
        // Told with an end, or with a reset.
        let _ = stream.read_to_string(&mut received).await;
        assert_eq!(received, answer, "{begun:?}");
    }
}

async fn misconfigured(name: &str) {
    let mut command = command(name, "[server]\nlisten = \"here\"\n").await;
    let output = command.stderr(std::process::Stdio::piped()).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(".toml:2:10: server.listen: "), "{error}");
    assert_eq!(error.lines().count(), 1);
}
