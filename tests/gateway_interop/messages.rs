//! What becomes of messages on their way (RFC 9110, section 7.6).

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade_testkit::{FaultServer, FlakyApi, Received, Reply, Script, Steps};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{Scenario, gateway::Gateway};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("a request is passed on", passed_on),
        Scenario::new("what is between neighbours stays there", hop_by_hop),
        Scenario::new("what a caller claims is not believed", claims),
        Scenario::new("HTTP 2 becomes HTTP 1.1", http2),
        Scenario::new("HEAD has a length and no body", head),
        Scenario::new("interim answers are not the answer", interim),
        Scenario::new("what is no plain request is refused", refused),
        Scenario::new("a body that is expected is asked for", expected),
        Scenario::new("a body is passed on as it comes", uploaded),
    ]
}

fn route(upstream: impl std::fmt::Display) -> String {
    format!(
        "[[routes]]\nprefix = \"/a\"\nupstream = \"http://{upstream}/base\"\nmax_body = \"1KiB\"\n"
    )
}

/// An upstream that says yes, and a gateway before it.
async fn pair(name: &str) -> (FlakyApi, Gateway) {
    let ok = || Reply::ok("hello").header("keep-alive", "timeout=5").header("x-own", "1");
    let api = FlakyApi::start(Script::new().route("/base/b", ok()).route("/base", ok())).await;
    let gateway = Gateway::start(name, &route(api.addr())).await;
    (api, gateway)
}

/// What the upstream was sent last.
fn last(api: &FlakyApi) -> Received {
    api.requests().pop().expect("there was a request")
}

fn value<'r>(received: &'r Received, name: &str) -> Vec<&'r str> {
    received.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// What the gateway answers to these bytes, up to the end of the connection.
async fn raw(gateway: &Gateway, sent: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut received = String::new();
    stream.read_to_string(&mut received).await.unwrap();
    received
}

async fn passed_on(name: &str) {
    let (api, gateway) = pair(name).await;
    let request = Request::post(gateway.url("/a/b?c=d%20e")).header("content-type", "text/plain");
    let answer = gateway.send(request.body(Full::from("some text")).unwrap()).await;

    assert_eq!((answer.status, &*answer.body, answer.header("x-own")), (200, "hello", "1"));
    assert_eq!(answer.header("via"), "1.1 gateway");
    let received = last(&api);
    assert_eq!(*received.method(), Method::POST);
    assert_eq!(received.uri(), "/base/b?c=d%20e");
    assert_eq!(received.body(), b"some text");
    assert_eq!(value(&received, "content-type"), ["text/plain"]);
    assert_eq!(value(&received, "content-length"), ["9"]);
    assert_eq!(value(&received, "host"), [api.addr().to_string()]);
    assert_eq!(value(&received, "via"), ["1.1 gateway"]);

    assert_eq!(gateway.get("/a").await.status, 200);
    assert_eq!(last(&api).uri(), "/base");
    gateway.get("/ab").await.problem(404);
}

async fn hop_by_hop(name: &str) {
    let (api, gateway) = pair(name).await;
    let answer = raw(
        &gateway,
        "GET /a HTTP/1.1\r\nhost: g\r\nconnection: close, x-one, Upgrade\r\nx-one: 1\r\nx-two: 2\r\n\
         keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nte: trailers\r\n\
         proxy-authorization: Basic YTpi\r\nupgrade: websocket\r\n\r\n",
    )
    .await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.contains("keep-alive"), "{answer}");
    let received = last(&api);
    let names = ["connection", "x-one", "keep-alive", "proxy-connection", "te", "upgrade"];
    for name in names.into_iter().chain(["proxy-authorization"]) {
        assert_eq!(value(&received, name), [""; 0], "{name}");
    }
    assert_eq!(value(&received, "x-two"), ["2"]);
}

async fn claims(name: &str) {
    let (api, gateway) = pair(name).await;
    let claims = || {
        Request::get("/a")
            .header("host", "shop.example")
            .header("x-forwarded-for", "6.6.6.6")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "https")
            .header("forwarded", "for=6.6.6.6")
            // What is appended cannot be taken away by it.
            .header("connection", "x-forwarded-for")
    };
    let ask = |gateway: &Gateway| {
        let mut request = claims().body(Full::default()).unwrap();
        *request.uri_mut() = gateway.url("/a");
        request
    };
    assert_eq!(gateway.send(ask(&gateway)).await.status, 200);
    let received = last(&api);
    assert_eq!(value(&received, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(value(&received, "x-forwarded-host"), ["shop.example"]);
    assert_eq!(value(&received, "x-forwarded-proto"), ["http"]);
    assert_eq!(value(&received, "forwarded"), [""; 0]);

    let behind = Gateway::with(name, "trusted_hops = 1", &route(api.addr()), &[]).await;
    let mut request = ask(&behind);
    request.headers_mut().remove("connection");
    assert_eq!(behind.send(request).await.status, 200);
    let received = last(&api);
    assert_eq!(value(&received, "x-forwarded-for"), ["6.6.6.6", "127.0.0.1"]);
    assert_eq!(value(&received, "x-forwarded-proto"), ["https"]);
}

async fn http2(name: &str) {
    let (api, gateway) = pair(name).await;
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = Request::post(gateway.url("/a/b"))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::<Bytes>::from("some text"))
        .unwrap();
    let response = http.request(request).await.unwrap();

    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    let received = last(&api);
    assert_eq!(received.body(), b"some text");
    assert_eq!(value(&received, "cookie"), ["a=1; b=2"]);
    assert_eq!(value(&received, "via"), ["2 gateway"]);
    assert_eq!(value(&received, "x-forwarded-host"), [gateway.address.to_string()]);
}

async fn head(name: &str) {
    let (_api, gateway) = pair(name).await;
    let request = Request::head(gateway.url("/a")).body(Full::default()).unwrap();
    let answer = gateway.send(request).await;
    assert_eq!((answer.status, answer.header("content-length"), &*answer.body), (200, "5", ""));
}

async fn interim(name: &str) {
    let upstream = FaultServer::start(|_| Steps::informational()).await;
    let gateway = Gateway::start(name, &route(upstream.addr())).await;
    assert_eq!(gateway.get("/a").await.status, 200);

    let switching = FaultServer::start(|_| {
        Steps::new()
            .read_head()
            .write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
            .stall()
    })
    .await;
    let gateway = Gateway::start(name, &route(switching.addr())).await;
    gateway.get("/a").await.problem(502);
}

async fn refused(name: &str) {
    let (api, gateway) = pair(name).await;
    for (sent, status) in [
        ("GET /a HTTP/1.1\r\n", "400 Bad Request"),
        ("GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n", "400 Bad Request"),
        ("GET /a/../b HTTP/1.1\r\nhost: a\r\n", "400 Bad Request"),
        ("GET /a/%2E%2e%2Fb HTTP/1.1\r\nhost: a\r\n", "400 Bad Request"),
        ("GET /a HTTP/1.1\r\nhost: a\r\nexpect: miracles\r\n", "417 Expectation Failed"),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n", "404 Not Found"),
        ("TRACE /a HTTP/1.1\r\nhost: a\r\n", "501 Not Implemented"),
        ("OPTIONS /a HTTP/1.1\r\nhost: a\r\nmax-forwards: 0\r\n", "204 No Content"),
        ("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\n", "413 Payload Too Large"),
        (
            "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: x\r\n",
            "400 Bad Request",
        ),
    ] {
        let answer = raw(&gateway, &format!("{sent}connection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{sent}: {answer}");
    }
    let large = format!("GET /a HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(70_000));
    assert!(raw(&gateway, &large).await.starts_with("HTTP/1.1 431 "));
    assert_eq!(api.stats().requests(), 0);

    let options = Request::options(gateway.url("/a")).header("max-forwards", "5");
    gateway.send(options.body(Full::default()).unwrap()).await;
    assert_eq!(value(&last(&api), "max-forwards"), ["4"]);

    // Its length is not known before it is there.
    let answer = raw(
        &gateway,
        &format!(
            "POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
             401\r\n{}\r\n0\r\n\r\n",
            "x".repeat(0x401)
        ),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

async fn expected(name: &str) {
    let (api, gateway) = pair(name).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\n\
                content-length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ab").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(last(&api).body(), b"ab");
    assert_eq!(value(&last(&api), "expect"), [""; 0]);
}

async fn uploaded(name: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(name, &route(listener.local_addr().unwrap())).await;
    let mut caller = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 8\r\n\r\nhalf";
    caller.write_all(head.as_bytes()).await.unwrap();

    let (mut upstream, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\nhalf") {
        received.push(upstream.read_u8().await.unwrap());
    }
    caller.write_all(b"rest").await.unwrap();
    let mut rest = [0; 4];
    upstream.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"rest");
    upstream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
}
