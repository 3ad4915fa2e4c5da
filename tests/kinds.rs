//! What real failures are taken for.

use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    io, mem,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::{Full, channel::Channel};
use hyper::client::conn;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use palisade_body::ReplayBody;
use palisade_core::{BoxError, Classify, ErrorKind, HttpClassify, Outcome, is_unsent};
use palisade_testkit::{FaultServer, FlakyApi, Reply, Script, Steps, refused_addr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tower::{Service, ServiceBuilder, ServiceExt, buffer::Buffer, service_fn};

use crate::support::{get, http1, http2, post, read};

/// The kind of an error, and what the layers make of it.
fn verdict(error: impl Into<BoxError>) -> (ErrorKind, Outcome) {
    let error = error.into();
    let outcome = HttpClassify::new().classify(Err::<&Response<()>, _>(&error));
    let unsent = matches!(outcome, Outcome::Unsent | Outcome::Refused { .. });
    assert_eq!(is_unsent(&*error), unsent, "{error:?}");
    (ErrorKind::of(&*error), outcome)
}

const CLOSED: (ErrorKind, Outcome) = (ErrorKind::Closed, Outcome::Transient);
const UNSENT: (ErrorKind, Outcome) = (ErrorKind::Closed, Outcome::Unsent);
const PROTOCOL: (ErrorKind, Outcome) = (ErrorKind::Protocol, Outcome::Failed);
const BODY: (ErrorKind, Outcome) = (ErrorKind::Body, Outcome::Ignored);

/// A name that no resolver is asked for: a label has at most 63 bytes.
fn no_such_host() -> String {
    format!("{}.invalid", "x".repeat(64))
}

#[tokio::test]
async fn a_refused_port_is_unsent() {
    let addr = refused_addr();
    let uri: Uri = format!("http://{addr}/").parse().unwrap();
    let expected = (ErrorKind::Connect, Outcome::Unsent);

    for error in [
        http1().request(post(uri.clone())).await.unwrap_err(),
        http2().request(post(uri)).await.unwrap_err(),
    ] {
        assert_eq!(verdict(error), expected);
    }
    assert_eq!(verdict(TcpStream::connect(addr).await.unwrap_err()), expected);
    assert_eq!(verdict(std::net::TcpStream::connect(addr).unwrap_err()), expected);
}

#[tokio::test]
async fn a_name_that_is_not_resolved_is_unsent() {
    let host = no_such_host();
    let uri: Uri = format!("http://{host}/").parse().unwrap();
    let expected = (ErrorKind::Dns, Outcome::Unsent);

    assert_eq!(verdict(http1().request(post(uri)).await.unwrap_err()), expected);
    let address = (host.as_str(), 80);
    assert_eq!(verdict(TcpStream::connect(address).await.unwrap_err()), expected);
    assert_eq!(verdict(std::net::TcpStream::connect(address).unwrap_err()), expected);
}

// What a full backlog does is up to the system: Linux says nothing.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_connect_timeout_is_unsent() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let _fills_the_backlog = std::net::TcpStream::connect(addr).unwrap();

    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_secs(3)));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let error = client.request(post(format!("http://{addr}/").parse().unwrap())).await.unwrap_err();
    assert_eq!(verdict(error), (ErrorKind::Connect, Outcome::Unsent));
}

#[tokio::test]
async fn no_answer_over_http1() {
    // hyper says no more than that bytes were written, never how many of them arrived: whatever
    // ends the connection then may have been processed.
    for (name, steps, expected) in [
        ("close", Steps::new().read_head(), CLOSED),
        ("reset", Steps::new().read_head().reset(), CLOSED),
        ("half a head", Steps::half_head(), CLOSED),
        ("reset in the head", Steps::reset_in_head(), CLOSED),
        ("garbage", Steps::garbage(), PROTOCOL),
        ("endless head", Steps::endless_headers(), PROTOCOL),
    ] {
        let server = FaultServer::start(move |_| steps.clone()).await;
        let error = http1().request(post(server.url("/"))).await.unwrap_err();
        assert_eq!(verdict(error), expected, "{name}");
        assert_eq!(server.stats().connections(), 1, "{name}");
    }
}

#[tokio::test]
async fn no_answer_over_http2() {
    for (name, steps, expected) in [
        ("GOAWAY", Steps::h2_go_away(), UNSENT),
        ("GOAWAY on request", Steps::h2_go_away_on_request(), UNSENT),
        ("REFUSED_STREAM", Steps::h2_refused_stream(), UNSENT),
        ("HTTP/1.1", Steps::ok("hello"), PROTOCOL),
    ] {
        let server = FaultServer::start(move |_| steps.clone()).await;
        let error = http2().request(post(server.url("/"))).await.unwrap_err();
        assert_eq!(verdict(error), expected, "{name}");
    }

    let api = FlakyApi::start(Script::new().route("/", Reply::never())).await;
    let client = http2();
    let (result, ()) = tokio::join!(client.request(post(api.url("/"))), async {
        api.wait_for(|stats| stats.in_flight() == 1).await;
        api.stop().await;
    });
    assert_eq!(verdict(result.unwrap_err()), CLOSED, "the server went away");
}

/// An HTTP/2 server for one connection, which gives each request to `answer`, until that breaks off.
async fn h2_server<F>(answer: F) -> (Uri, JoinSet<()>)
where
    F: Fn(&mut h2::server::Connection<TcpStream, Bytes>, h2::server::SendResponse<Bytes>)
        + Send
        + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            answer(&mut connection, respond);
        }
    });
    (uri.parse().unwrap(), tasks)
}

#[tokio::test]
async fn a_reset_stream() {
    for (reason, expected) in [
        // RFC 9113, section 8.7: the one code that says so.
        (Reason::REFUSED_STREAM, UNSENT),
        (Reason::INTERNAL_ERROR, CLOSED),
        (Reason::CANCEL, CLOSED),
        (Reason::NO_ERROR, CLOSED),
        (Reason::PROTOCOL_ERROR, PROTOCOL),
        (Reason::HTTP_1_1_REQUIRED, PROTOCOL),
    ] {
        let (uri, _tasks) = h2_server(move |_, mut respond| respond.send_reset(reason)).await;
        let error = http2().request(post(uri)).await.unwrap_err();
        assert_eq!(verdict(error), expected, "{reason:?}");
    }
}

#[tokio::test]
async fn a_goaway_that_counts_the_request_in() {
    // RFC 9113, section 6.8: the request has a stream that the server took, so it may have been
    // processed, although the GOAWAY says NO_ERROR.
    for reason in [Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let (uri, _tasks) = h2_server(move |connection, respond| {
            // Dropped, it would say CANCEL.
            mem::forget(respond);
            connection.abrupt_shutdown(reason);
        })
        .await;
        let error = http2().request(post(uri)).await.unwrap_err();
        assert_eq!(verdict(error), CLOSED, "{reason:?}");
    }
}

#[tokio::test]
async fn a_response_that_breaks_off() {
    for (name, steps, expected) in [
        ("too short", Steps::content_length_too_long(), CLOSED),
        ("bad chunk", Steps::bad_chunk(), PROTOCOL),
    ] {
        let server = FaultServer::start(move |_| steps.clone()).await;
        let response = http1().request(get(server.url("/"))).await.unwrap();
        let error = read(response).await.unwrap_err();
        assert_eq!(verdict(error), expected, "{name}");
    }

    let whole = || Reply::ok("hello");
    for (name, reply, over_http1, over_http2) in [
        // RFC 9113, section 8.1.1: END_STREAM before the Content-Length is malformed.
        ("truncated", whole().truncated(2), CLOSED, PROTOCOL),
        ("reset", whole().reset_after(2), CLOSED, CLOSED),
        ("reset in chunks", whole().chunked().reset_after(2), CLOSED, CLOSED),
    ] {
        let api = FlakyApi::start(Script::new().route("/", reply)).await;
        for (client, expected) in [(http1(), over_http1), (http2(), over_http2)] {
            let response = client.request(get(api.url("/"))).await.unwrap();
            let error = read(response).await.unwrap_err();
            assert_eq!(verdict(error), expected, "{name}");
        }
    }
}

/// A body that breaks off after its first piece.
fn failing_body() -> Channel<Bytes, io::Error> {
    let (mut sender, body) = Channel::new(2);
    sender.try_send(Frame::data(Bytes::from("the b"))).unwrap();
    // A kind of its own, which is not the connection's.
    sender.abort(io::ErrorKind::UnexpectedEof.into());
    body
}

#[tokio::test]
async fn a_request_body_that_fails_is_the_callers() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok(""))).await;
    let upload = |body| Request::post(api.url("/")).body(body).unwrap();
    for client in [http1(), http2()] {
        let error = client.request(upload(failing_body())).await.unwrap_err();
        assert_eq!(verdict(error), BODY);
    }
    for client in [http1(), http2()] {
        let (body, _replay) = ReplayBody::new(failing_body(), 1024);
        let request = Request::post(api.url("/")).body(body).unwrap();
        let error = client.request(request).await.unwrap_err();
        assert_eq!(verdict(error), BODY, "of a body that is kept");
    }
    assert_eq!(api.stats().bodies_whole(), 0);
}

#[tokio::test]
async fn a_request_that_hyper_still_holds_is_unsent() {
    // Over a pipe, where the end is seen before anything is written. hyper-util sends such a
    // request again by itself, if its connection was used before.
    let (ours, theirs) = duplex(1024);
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
    drop(theirs);
    let request = sender.send_request(post("/".parse().unwrap()));
    let (error, _) = tokio::join!(request, connection);
    assert_eq!(verdict(error.unwrap_err()), UNSENT, "the peer had closed");

    let (ours, _theirs) = duplex(1024);
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
    drop(connection);
    let error = sender.send_request(post("/".parse().unwrap())).await;
    assert_eq!(verdict(error.unwrap_err()), UNSENT, "its task was gone");
    let error = sender.ready().await.unwrap_err();
    assert_eq!(verdict(error), UNSENT, "its task was gone");
}

#[tokio::test]
async fn a_connection_that_is_dropped_with_the_request_in_it() {
    let (ours, mut theirs) = duplex(1024);
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
    let mut connection = Box::pin(connection);
    let mut request = pin!(sender.send_request(post("/".parse().unwrap())));
    poll_fn(|cx| {
        assert!(request.as_mut().poll(cx).is_pending());
        assert!(connection.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_ne!(theirs.read(&mut [0; 1024]).await.unwrap(), 0);
    drop(connection);
    assert_eq!(verdict(request.await.unwrap_err()), CLOSED);
}

#[tokio::test]
async fn a_request_body_that_panics() {
    struct Panics;

    impl Body for Panics {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("as the test wants it");
        }
    }

    let api = FlakyApi::start(Script::new().route("/", Reply::ok(""))).await;
    let request = Request::post(api.url("/")).body(Panics).unwrap();
    let error = http1().request(request).await.unwrap_err();
    assert_eq!(verdict(error), (ErrorKind::Panic, Outcome::Failed));
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let client = http1();

    // One exchange, on a connection that is kept.
    let answer = async || {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let (response, stream) = tokio::join!(client.request(post(uri.clone())), answer());
    assert_eq!(read(response.unwrap()).await.unwrap(), "");

    // The FIN is under way when the request is written, as if the server had died of it: hyper
    // cannot tell, so a POST stays where it is.
    drop(stream);
    let error = client.request(post(uri.clone())).await.unwrap_err();
    assert_eq!(verdict(error), CLOSED);

    // Had the client seen it, it would have made another connection, as it does now.
    let (response, _) = tokio::join!(client.request(post(uri)), answer());
    assert_eq!(read(response.unwrap()).await.unwrap(), "");
}

/// Reads the head and the eight bytes of a [`post`].
async fn read_request(stream: &mut TcpStream) {
    let mut received = Vec::new();
    while !received.ends_with(b"the body") {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_idle_connection_that_is_seen_to_close_is_not_used() {
    let server = FaultServer::start(|_| {
        // Not `Connection: close`: the client is to find out by itself.
        Steps::new()
            .read_head()
            .read_exact("the body".len())
            .write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    })
    .await;
    let client = http1();
    for connections in 1..=3 {
        let response = client.request(post(server.url("/"))).await.unwrap();
        assert_eq!(read(response).await.unwrap(), "");
        let stats = server.wait_for(|stats| stats.open_connections() == 0).await;
        assert_eq!(stats.connections(), connections);
    }
}

#[tokio::test]
async fn errors_of_layers_of_tower() {
    type Response = http::Response<Full<Bytes>>;

    let timeout = (ErrorKind::Timeout, Outcome::Transient);
    let api = FlakyApi::start(Script::new().route("/", Reply::never())).await;
    let client = ServiceBuilder::new().timeout(Duration::from_millis(2)).service(http1());
    let error = client.oneshot(get(api.url("/"))).await.unwrap_err();
    assert_eq!(verdict(error), timeout);

    let error = tokio::time::timeout(Duration::ZERO, pending::<()>()).await;
    assert_eq!(verdict(error.unwrap_err()), timeout);

    let busy = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .service(service_fn(|()| pending::<Result<Response, BoxError>>()));
    let mut busy = [busy.clone(), busy];
    let _holds_the_permit = busy[0].ready().await.unwrap().call(());
    let error = busy[1].ready().await.unwrap().call(()).await.unwrap_err();
    let limited = Outcome::Refused { kind: ErrorKind::Limited, retry_after: None };
    assert_eq!(verdict(error), (ErrorKind::Limited, limited));

    let service = service_fn(|()| async { Ok::<_, BoxError>(Response::default()) });
    let (mut buffer, worker) = Buffer::pair(service, 1);
    drop(worker);
    let error = buffer.ready().await.err().unwrap();
    assert_eq!(verdict(error), CLOSED, "a buffer without its worker");
}
