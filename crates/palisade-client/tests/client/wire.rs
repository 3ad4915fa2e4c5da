use std::time::Duration;

use http::{
    Request, Response, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body_util::Full;
use palisade_client::{Body, Client, HttpVersions};
use palisade_core::{ErrorKind, is_unsent};
use palisade_testkit::refused_addr;
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::servers::{Server, get, reply, text};

#[tokio::test]
async fn speaks_http_1_and_2_as_it_is_told() {
    let server = Server::start(|_| reply(200, "hello")).await;
    for (versions, version) in [
        (HttpVersions::Negotiated, Version::HTTP_11),
        (HttpVersions::Http1, Version::HTTP_11),
        (HttpVersions::Http2, Version::HTTP_2),
    ] {
        let client = Client::builder().no_proxy().http_versions(versions).build().unwrap();
        let response = client.oneshot(get(server.url("/"))).await.unwrap();
        assert_eq!(response.version(), version);
        assert_eq!(text(response).await.unwrap(), "hello");
    }
}

// RFC 9110, section 8.6: some servers want it, and answer 411.
#[tokio::test]
async fn a_body_that_could_be_there_and_is_empty_has_a_length() {
    let server = Server::start(|_| reply(200, "")).await;
    for versions in [HttpVersions::Http1, HttpVersions::Http2] {
        let client = Client::builder().no_proxy().http_versions(versions).build().unwrap();
        for (method, given, sent) in [
            ("POST", None, Some("0")),
            ("PUT", None, Some("0")),
            ("PATCH", None, Some("0")),
            ("POST", Some((CONTENT_LENGTH, "0")), Some("0")),
            ("POST", Some((TRANSFER_ENCODING, "chunked")), None),
            ("GET", None, None),
            ("HEAD", None, None),
            ("DELETE", None, None),
        ] {
            let mut request = Request::builder().method(method).uri(server.url("/"));
            if let Some((name, value)) = &given {
                request = request.header(name, *value);
            }
            client.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let seen = server.seen().pop().unwrap();
            assert_eq!(seen.method, method);
            let lengths: Vec<_> = seen.headers.get_all(CONTENT_LENGTH).iter().collect();
            let sent = match versions {
                // There are no chunks.
                HttpVersions::Http2 if given.is_some() => Some("0"),
                _ => sent,
            };
            assert_eq!(lengths, Vec::from_iter(sent), "{method} {given:?} {versions:?}");
        }
    }
}

// A server would take the next request for the rest, or the rest for the next request.
#[tokio::test]
async fn a_length_that_is_not_that_of_the_body_is_put_right() {
    let server = Server::start(|_| reply(200, "")).await;
    for versions in [HttpVersions::Http1, HttpVersions::Http2] {
        let client = Client::builder().no_proxy().http_versions(versions).build().unwrap();
        for (method, said, body) in
            [("POST", "50", ""), ("GET", "50", ""), ("POST", "2", "hello"), ("PUT", "5,6", "hello")]
        {
            let mut request = Request::builder().method(method).uri(server.url("/"));
            for line in said.split(',') {
                request = request.header(CONTENT_LENGTH, line);
            }
            let request = request.body(Body::from(body)).unwrap();
            client.clone().oneshot(request).await.unwrap();
            client.clone().oneshot(get(server.url("/next"))).await.unwrap();
            let [.., seen, next] = &server.seen()[..] else { panic!("two are seen") };
            assert_eq!((seen.method.as_str(), &*seen.body), (method, body.as_bytes()));
            let said: Vec<_> = seen.headers.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(said, [&*body.len().to_string()]);
            assert_eq!(next.uri.path(), "/next");
        }
    }
}

// RFC 9110, section 9.3.2.
#[tokio::test]
async fn an_answer_to_head_is_empty_however_long_it_would_be() {
    const LENGTH: &str = "5000000000";
    let server = Server::start(|_| {
        Response::builder().header(CONTENT_LENGTH, LENGTH).body(Full::default()).unwrap()
    });
    let url = server.await.url("/");
    for versions in [HttpVersions::Http1, HttpVersions::Http2] {
        let client = Client::builder().no_proxy().http_versions(versions).build().unwrap();
        let response = client.head(url.clone()).send().await.unwrap();
        assert_eq!(response.headers()[CONTENT_LENGTH], LENGTH);
        assert_eq!(response.bytes().await.unwrap(), "", "{versions:?}");
    }
}

// Of a request that came by another connection, as to a gateway.
#[tokio::test]
async fn the_connection_decides_what_http_is_spoken() {
    let server = Server::start(|_| reply(200, "hello")).await;
    for (versions, spoken) in
        [(HttpVersions::Http1, Version::HTTP_11), (HttpVersions::Http2, Version::HTTP_2)]
    {
        let client = Client::builder().no_proxy().http_versions(versions).build().unwrap();
        for version in [Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
            let mut request = get(server.url("/"));
            *request.version_mut() = version;
            let response = client.clone().oneshot(request).await.unwrap();
            assert_eq!(response.version(), spoken, "{version:?}");
            assert_eq!(text(response).await.unwrap(), "hello");
        }
    }
}

#[tokio::test]
async fn bodies_are_decompressed_unless_told_otherwise() {
    // "hello", by gzip.
    const ZIPPED: [u8; 25] = [
        31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 203, 72, 205, 201, 201, 7, 0, 134, 166, 16, 54, 5, 0, 0, 0,
    ];
    let server = Server::start(|_| {
        let zipped = Full::from(&ZIPPED[..]);
        Response::builder().header("content-encoding", "gzip").body(zipped).unwrap()
    });
    let server = server.await;
    let client = Client::builder().no_proxy().build().unwrap();
    let response = client.oneshot(get(server.url("/"))).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");

    let client = Client::builder().no_proxy().no_decompression().build().unwrap();
    let response = client.oneshot(get(server.url("/"))).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let asked = server.seen().into_iter().map(|seen| seen.headers.contains_key("accept-encoding"));
    assert_eq!(asked.collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_host_is_where_it_is_said_to_be() {
    let server = Server::start(|_| reply(200, "hello")).await;
    let url = format!("http://api.invalid:{}/", server.addr.port());
    let client = Client::builder().no_proxy().resolve("api.invalid", [server.addr.ip()]);
    let response = client.build().unwrap().oneshot(get(&url)).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
    assert_eq!(server.seen()[0].headers["host"], url["http://".len()..url.len() - 1]);
}

#[tokio::test]
async fn a_host_that_refuses_is_known_as_that() {
    let client = Client::builder().no_proxy().no_retry().build().unwrap();
    let url = format!("http://{}/", refused_addr());
    let error = client.oneshot(get(url)).await.unwrap_err();
    assert_eq!(ErrorKind::of(&*error), ErrorKind::Connect);
    assert!(is_unsent(&*error));
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let limit = Duration::from_millis(50);
    let client = Client::builder().no_proxy().no_retry().connect_timeout(limit).build().unwrap();
    let error = client.oneshot(get(url)).await.unwrap_err();
    assert!(is_unsent(&*error), "{error:?}");
    let told: Vec<_> = palisade_core::causes(&*error).map(ToString::to_string).collect();
    assert!(told.iter().any(|text| text == "no connection within 50ms"), "{told:?}");
}

#[test]
fn what_makes_no_sense_is_named() {
    let plain = Client::builder().base_url("http://api.example").https_only().build();
    let proxy = Client::builder().proxy("proxy.example").build();
    let header = Client::builder().header("x", "a\nb").build();
    let pem = Client::builder().trust_pem("nonsense").build();
    for (made, says) in [
        (
            Client::new("api.example"),
            "`api.example` is no base URL: the URL needs `http://` or `https://`, as in `https://api.example/v1`",
        ),
        (
            Client::new("ftp://api.example"),
            "`ftp://api.example` is no base URL: the URL needs `http://` or `https://`, as in `https://api.example/v1`",
        ),
        (
            Client::new("https://user:s3cret@api.example"),
            "`what was given` is no base URL: the URL holds credentials: take them out, and give them to a layer",
        ),
        (
            Client::new("https://api.example/?key=s3cret"),
            "`https://api.example/` is no base URL: a base URL has neither query nor fragment: leave out what follows the path",
        ),
        (Client::new("not a url"), "`not a url` is no base URL: this is no URL"),
        (plain, "`http://api.example` is no base URL: `https_only` is set"),
        (proxy, "`proxy.example` is no proxy: name it as in `http://proxy.example:3128`"),
        (header, "`x` cannot be a field of all requests"),
        (pem, "a certificate that should be trusted cannot be read"),
    ] {
        assert_eq!(made.unwrap_err().to_string(), says);
    }
    let builder = Client::builder;
    for (builder, name) in [
        (builder().total_timeout(Duration::ZERO), "total_timeout"),
        (builder().attempt_timeout(Duration::ZERO), "attempt_timeout"),
        (builder().body_idle_timeout(Duration::ZERO), "body_idle_timeout"),
        (builder().connect_timeout(Duration::ZERO), "connect_timeout"),
        (builder().http2_keep_alive(Duration::ZERO), "http2_keep_alive"),
        (builder().tcp_keep_alive(Duration::ZERO), "tcp_keep_alive"),
    ] {
        let says = format!("a `{name}` of zero lets nothing succeed: `None` is for no limit");
        assert_eq!(builder.build().unwrap_err().to_string(), says);
    }
}
