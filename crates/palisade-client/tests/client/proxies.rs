//! Proxies, which stand on loopback and write down what they are sent.

use std::{net::SocketAddr, sync::mpsc};

use http::Version;
use palisade_client::{Client, ClientBuilder, HttpVersions};
use palisade_core::{BoxError, ErrorKind, causes, is_unsent};
use palisade_testkit::refused_addr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;

use crate::servers::{Server, get, hasty, redirect, reply, text};

fn through(proxy: SocketAddr) -> ClientBuilder {
    Client::builder().no_retry().proxy(format!("http://user:s3cret@{proxy}"))
}

#[tokio::test]
async fn plain_http_is_sent_to_the_proxy_whole() {
    let proxy = Server::start(|_| reply(200, "by proxy")).await;
    let client = through(proxy.addr).build().unwrap();
    let response = client.oneshot(get("http://api.example/users?page=2")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "by proxy");
    let seen = &proxy.seen()[0];
    assert_eq!(seen.uri, "http://api.example/users?page=2");
    assert_eq!(seen.headers["host"], "api.example");
    assert_eq!(seen.headers["proxy-authorization"], "Basic dXNlcjpzM2NyZXQ=");
}

#[tokio::test]
async fn each_hop_of_a_redirect_is_told_to_the_proxy() {
    let proxy = Server::start(|seen| match seen.uri.host() {
        Some("api.example") => redirect(302, "http://other.example/landed"),
        _ => reply(200, "there"),
    });
    let proxy = proxy.await;
    let client = through(proxy.addr).build().unwrap();
    let response = client.oneshot(get("http://api.example/")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "there");
    let seen = &proxy.seen()[1];
    assert_eq!(seen.uri, "http://other.example/landed");
    assert!(seen.headers.contains_key("proxy-authorization"));
}

#[tokio::test]
async fn without_a_proxy_its_credentials_go_nowhere() {
    let server = Server::start(|_| reply(200, "")).await;
    let client = through(refused_addr()).no_proxy().build().unwrap();
    client.oneshot(get(server.url("/"))).await.unwrap();
    assert!(!server.seen()[0].headers.contains_key("proxy-authorization"));
}

/// A proxy that answers this, and lets through to one address if it is to; what it was
/// sent first.
async fn tunnel(
    answer: &'static [u8],
    to: Option<SocketAddr>,
) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            tell.send(String::from_utf8(head).unwrap()).unwrap();
            stream.write_all(answer).await.unwrap();
            if let Some(to) = to {
                let mut through = TcpStream::connect(to).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut stream, &mut through).await });
            }
        }
    });
    (addr, told)
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    // No TLS behind it: the tunnel is what counts.
    let server = Server::start(|_| reply(200, "")).await;
    for answer in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"HTTP/1.0 204 Fine\r\nvia: x\r\n\r\n"] {
        let (proxy, told) = tunnel(answer, Some(server.addr)).await;
        let client = through(proxy).build().unwrap();
        let error = client.oneshot(get("https://api.example/users")).await.unwrap_err();
        assert_eq!(ErrorKind::of(&*error), ErrorKind::Tls, "{error:?}");
        assert_eq!(
            told.recv().unwrap(),
            "CONNECT api.example:443 HTTP/1.1\r\nhost: api.example:443\r\n\
             proxy-authorization: Basic dXNlcjpzM2NyZXQ=\r\n\r\n"
        );
    }
}

// A proxy would read HTTP/1.1, so it is asked for a way to who does not.
#[tokio::test]
async fn http_2_without_tls_goes_through_a_tunnel() {
    let server = Server::start(|_| reply(200, "hello")).await;
    for (url, authority) in
        [("http://api.example/", "api.example:80"), ("http://[::1]:8080/", "[::1]:8080")]
    {
        let (proxy, told) = tunnel(b"HTTP/1.1 200 OK\r\n\r\n", Some(server.addr)).await;
        let client = through(proxy).http_versions(HttpVersions::Http2).build().unwrap();
        let response = client.oneshot(get(url)).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(text(response).await.unwrap(), "hello");
        let asked = format!(
            "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\
             proxy-authorization: Basic dXNlcjpzM2NyZXQ=\r\n\r\n"
        );
        assert_eq!(told.recv().unwrap(), asked);
        // Its password is for the proxy alone.
        let seen = server.seen().pop().unwrap();
        assert!(!seen.headers.contains_key("proxy-authorization"), "{seen:?}");
        assert_eq!(seen.uri, url);
    }
}

fn texts(error: &BoxError) -> String {
    let texts: Vec<_> = causes(&**error).map(ToString::to_string).collect();
    texts.join("; ")
}

/// The error names the proxy, says what to do, and tells no password.
fn check(error: &BoxError, proxy: SocketAddr, says: &str) {
    assert!(is_unsent(&**error), "{error:?}");
    assert_eq!(ErrorKind::of(&**error), ErrorKind::Connect, "{error:?}");
    let told = texts(error);
    assert!(told.contains(&format!("the proxy `http://{proxy}` {says}")), "{told}");
    let all = format!("{told} {error:?}");
    assert!(!all.contains("s3cret") && !all.contains("dXNlcjpzM2NyZXQ"), "{all}");
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_is_named() {
    static LONG: [u8; 20_000] = [b'x'; 20_000];
    for (answer, says) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n"[..],
            "wants other credentials: give them as in `http://user:password@proxy.example`",
        ),
        (
            b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\noops",
            "refuses the host with status 502 Bad Gateway: allow it there, or do without: by `no_proxy`, or NO_PROXY in the environment",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses the host with status 403 Forbidden"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP: check where it is"),
        (&LONG, "does not speak HTTP: check where it is"),
        (b"", "has closed the connection: check that it allows the host"),
        (b"HTTP/1.1 200", "has closed the connection: check that it allows the host"),
    ] {
        let (proxy, _told) = tunnel(answer, None).await;
        let client = through(proxy).build().unwrap();
        let error = client.oneshot(get("https://api.example/")).await.unwrap_err();
        check(&error, proxy, says);
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    for url in ["http://api.example/", "https://api.example/"] {
        let proxy = refused_addr();
        let client = through(proxy).build().unwrap();
        let error = client.oneshot(get(url)).await.unwrap_err();
        let says = "cannot be reached: check where it is, or do without it: by `no_proxy`, or NO_PROXY in the environment";
        check(&error, proxy, says);
        assert!(texts(&error).contains("refused"), "{error:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_would_refuse_again_is_asked_once() {
    for (answer, attempts) in [
        (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], 1),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", 1),
        (b"HTTP/1.1 302 Found\r\nlocation: /login\r\n\r\n", 1),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 1),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", 3),
        (b"HTTP/1.1 408 Request Timeout\r\n\r\n", 3),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", 3),
        (b"", 3),
    ] {
        let (proxy, told) = tunnel(answer, None).await;
        let client = hasty(through(proxy)).build().unwrap();
        let error = client.post("https://api.example/".to_owned()).send().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert_eq!(told.try_iter().count(), attempts, "{}", answer.escape_ascii());
    }
}

#[test]
fn no_password_is_shown() {
    for proxy in
        ["http://user:s3cret@proxy.example", "user:s3cret@", "ftp://user:s3cret@proxy.example"]
    {
        let builder = Client::builder().proxy(proxy);
        assert!(!format!("{builder:?}").contains("s3cret"));
        let told = match builder.build() {
            Ok(client) => format!("{client:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!told.contains("s3cret"), "{told}");
    }
}
