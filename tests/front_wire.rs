//! The front of the proxy that the cache tests go through, byte by byte: what it gets wrong would be
//! taken for a fault of the cache.

use std::{convert::Infallible, future::ready};

use bytes::Bytes;
use http::{Request, Response, uri::Authority};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use palisade_core::BoxError;
use palisade_testkit::{FaultServer, Steps};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::{Service, service_fn, timeout::error::Elapsed};

use crate::{front, support::http1};

/// What the front sends to a client that sends this, and then nothing more.
async fn converse<S, B>(service: S, origin: Authority, sent: &str) -> String
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Body<Data: Send, Error: Send> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut server = JoinSet::new();
    server.spawn(front::serve(listener, origin, service));

    client.write_all(sent.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    received
}

/// Answers with what it was asked.
async fn echo(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let text = format!("{} {} {:?} {body:?}", head.method, head.uri, head.headers);
    Ok(Response::new(Full::from(text)))
}

#[tokio::test]
async fn reads_one_request_after_the_other() {
    for (sent, read) in [
        ("GET /a?b HTTP/1.1\r\nhost: c\r\n\r\n", "GET http://o/a?b {} b\"\""),
        ("GET http://c/a HTTP/1.1\r\nx:  y \r\n\r\n", "GET http://o/a {\"x\": \"y\"} b\"\""),
        ("PUT /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nab\r\n", "PUT http://o/a {} b\"ab\\r\\n\""),
        (
            "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
             2;x=y\r\nab\r\n0a\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
            "PUT http://o/a {} b\"ab0123456789\"",
        ),
        (
            "M-X /a HTTP/1.1\r\nkeep-alive: 3\r\nte: a\r\nproxy-connection: b\r\nupgrade: c\r\n\r\n",
            "M-X http://o/a {} b\"\"",
        ),
    ] {
        let received = converse(service_fn(echo), "o".parse().unwrap(), &sent.repeat(3)).await;

        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{read}", read.len());
        assert_eq!(received, response.repeat(3), "{sent}");
    }
}

#[tokio::test]
async fn closes_when_asked() {
    let sent = "GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

    let received = converse(service_fn(echo), "o".parse().unwrap(), &sent.repeat(2)).await;

    assert_eq!(received.matches("HTTP/1.1").count(), 1);
    assert!(received.contains("\r\nconnection: close\r\n"), "{received}");
}

#[tokio::test]
async fn does_not_answer_what_it_cannot_read() {
    for sent in [
        "",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET /  HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "PUT / HTTP/1.1\r\ncontent-length: 2\r\n\r\na",
        "PUT / HTTP/1.1\r\ncontent-length: -2\r\n\r\nab",
        "PUT / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ] {
        let received = converse(service_fn(echo), "o".parse().unwrap(), sent).await;
        assert_eq!(received, "", "{sent}");
    }
}

/// What the front makes of what an origin sends before it closes the connection.
async fn forward(method: &str, sent: &'static str) -> String {
    let origin = FaultServer::start(move |_| Steps::new().read_head().write(sent)).await;
    let request = format!("{method} / HTTP/1.1\r\n\r\n");
    let authority = origin.url("/").into_parts().authority.unwrap();
    converse(http1(), authority, &request).await
}

#[tokio::test]
async fn forwards_what_comes_before_the_response() {
    let sent = "HTTP/1.1 102 Processing\r\n\r\n\
                HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n\
                HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na";

    assert_eq!(forward("GET", sent).await, sent);
}

#[tokio::test]
async fn tells_where_a_body_ends() {
    for (method, sent, received) in [
        ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nab", None),
        ("GET", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", None),
        ("GET", "404 Not Found\r\ncontent-length: 0\r\n\r\n", None),
        ("GET", "204 No Content\r\n\r\n", None),
        ("GET", "304 Not Modified\r\ncontent-length: 2\r\n\r\n", None),
        ("HEAD", "200 OK\r\ncontent-length: 2\r\n\r\n", None),
        ("HEAD", "200 OK\r\n\r\n", None),
        (
            "GET",
            "999 Odd\r\n\r\nab",
            Some("999 \r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        ),
        // What the connection to the origin is like is between the two.
        (
            "GET",
            "200 OK\r\nconnection: close, x\r\nkeep-alive: 1\r\nx: y\r\ncontent-length: 0\r\n\r\n",
            Some("200 OK\r\ncontent-length: 0\r\nx: y\r\n\r\n"),
        ),
    ] {
        let answer: &str = format!("HTTP/1.1 {sent}").leak();
        let expected = format!("HTTP/1.1 {}", received.unwrap_or(sent));
        assert_eq!(forward(method, answer).await, expected, "{method} {sent}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_never_looks_whole() {
    for sent in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ] {
        assert_eq!(forward("GET", sent).await, sent);
    }
}

#[tokio::test]
async fn a_body_is_as_long_as_its_response_says() {
    // A cache that does not hold to it must not be taken for one that does.
    let respond = |length: &'static str| {
        service_fn(move |_| {
            let response = Response::builder().header("content-length", length);
            ready(response.body("ab".to_owned()).map_err(BoxError::from))
        })
    };
    let sent = "GET / HTTP/1.1\r\n\r\n";
    for (length, body) in [("1", ""), ("3", "ab")] {
        let received = converse(respond(length), "o".parse().unwrap(), &sent.repeat(2)).await;
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        assert_eq!(received, response);
    }
}

#[tokio::test]
async fn answers_for_an_origin_that_does_not() {
    let received = forward("GET", "").await;
    assert!(received.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{received}");

    let stuck = service_fn(|_| ready(Err::<Response<String>, _>(BoxError::from(Elapsed::new()))));
    let received = converse(stuck, "o".parse().unwrap(), "GET / HTTP/1.1\r\n\r\n").await;
    assert!(received.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{received}");
}
