//! Request bodies that stream, through the retry layer and over sockets.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Uri, header};
use http_body::{Body, Frame};
use http_body_util::{
    BodyExt, Full,
    channel::{Channel, Sender},
};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use palisade_core::ErrorKind;
use palisade_retry::Stop;
use palisade_testkit::{FaultServer, FlakyApi, Plan, Reply, Script, Steps};
use tower::{Layer, ServiceExt};

use crate::support::{http1, http2, info, read, retry};

/// A body of unknown length, and who sends it.
fn channel() -> (Sender<Bytes>, Channel<Bytes>) {
    Channel::new(8)
}

/// A body of three pieces and unknown length.
fn pieces() -> Channel<Bytes> {
    let (mut sender, body) = channel();
    for piece in ["in ", "three ", "pieces"] {
        sender.try_send(Frame::data(piece.into())).unwrap();
    }
    body
}

fn upload<B>(uri: Uri, body: B) -> Request<B> {
    Request::put(uri).body(body).unwrap()
}

fn clients<B>() -> [Client<HttpConnector, B>; 2]
where
    B: Body<Data: Send> + Send,
{
    [http1(), http2()]
}

#[tokio::test]
async fn a_body_arrives_whole_in_every_attempt() {
    for client in clients() {
        let script = Script::new().route("/", [Reply::status(503), Reply::reset(), Reply::ok("")]);
        let api = FlakyApi::start(script).await;
        let client = retry().replay(64).layer(client);
        let response = client.oneshot(upload(api.url("/"), pieces())).await.unwrap();
        assert_eq!(info(&response), (3, None));

        for request in api.requests() {
            assert_eq!(request.body(), b"in three pieces");
            assert!(request.is_complete());
            let headers = request.headers();
            assert!(!headers.contains_key(header::CONTENT_LENGTH));
            let chunked = headers.get(header::TRANSFER_ENCODING);
            let expected = (request.version() < http::Version::HTTP_2).then_some("chunked");
            assert_eq!(chunked.map(|value| value.to_str().unwrap()), expected);
        }
    }
}

#[tokio::test]
async fn a_length_that_is_known_stays_known() {
    for client in clients() {
        let script = Script::new().route("/", [Reply::status(503), Reply::reset(), Reply::ok("")]);
        let api = FlakyApi::start(script).await;
        let client = retry().replay(64).layer(client);
        // Of a known length, but one that does not clone.
        let body = Full::new(Bytes::from("the body")).boxed_unsync();
        let response = client.oneshot(upload(api.url("/"), body)).await.unwrap();
        assert_eq!(info(&response), (3, None));

        for request in api.requests() {
            assert_eq!(request.body(), b"the body");
            assert_eq!(request.headers()[header::CONTENT_LENGTH], "8");
            assert!(!request.headers().contains_key(header::TRANSFER_ENCODING));
        }
    }
}

#[tokio::test]
async fn trailers_arrive_in_every_attempt() {
    let script = Script::new().route("/", [Reply::status(503), Reply::reset(), Reply::ok("")]);
    let api = FlakyApi::start(script).await;
    let (mut sender, body) = channel();
    sender.try_send(Frame::data("the body".into())).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("c0ffee"));
    sender.try_send(Frame::trailers(trailers.clone())).unwrap();
    drop(sender);

    let client = retry().replay(64).layer(http2());
    let response = client.oneshot(upload(api.url("/"), body)).await.unwrap();
    assert_eq!(info(&response), (3, None));
    for request in api.requests() {
        assert_eq!(request.body(), b"the body");
        assert_eq!(request.trailers(), Some(&trailers));
    }
}

#[tokio::test]
async fn an_attempt_takes_over_a_body_in_mid_upload() {
    for client in clients() {
        // The head and the first piece, then a reset.
        let script = Script::new().route("/", [Reply::reset().early(), Reply::ok("")]);
        let api = FlakyApi::start(script).await;
        let (mut sender, body) = channel();
        sender.try_send(Frame::data("first, ".into())).unwrap();
        let client = retry().replay(64).layer(client);

        let call = client.oneshot(upload(api.url("/"), body));
        let (response, ()) = tokio::join!(call, async {
            api.wait_for(|stats| stats.requests() == 2).await;
            sender.send_data("second, ".into()).await.unwrap();
            sender.send_data("third".into()).await.unwrap();
            drop(sender);
        });
        assert_eq!(info(&response.unwrap()), (2, None));
        assert_eq!(api.requests()[1].body(), b"first, second, third");
        assert!(api.requests()[1].is_complete());
    }
}

#[tokio::test]
async fn a_body_over_the_cap_is_sent_once() {
    for client in clients() {
        let api = FlakyApi::start(Script::new().route("/", Reply::status(503))).await;
        let client = retry().replay(8).layer(client);
        let response = client.oneshot(upload(api.url("/"), pieces())).await.unwrap();
        assert_eq!(info(&response), (1, Some(Stop::BodyTooLarge)));
        assert_eq!(api.requests().len(), 1);
        assert_eq!(api.requests()[0].body(), b"in three pieces");
    }
    for (len, expected) in [(8, (3, Some(Stop::Attempts))), (9, (1, Some(Stop::BodyTooLarge)))] {
        let api = FlakyApi::start(Script::new().route("/", Reply::status(503))).await;
        let client = retry().replay(8).layer(http1());
        let body = Full::new(Bytes::from(vec![b'x'; len]));
        let response = client.oneshot(upload(api.url("/"), body)).await.unwrap();
        assert_eq!(info(&response), expected, "{len} bytes");
        assert_eq!(api.requests()[0].body_len(), len as u64);
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_stands() {
    for (status, expected) in [(413, (1, None)), (503, (1, Some(Stop::BodyUnsent)))] {
        for client in clients() {
            let plan = Plan::with(move |_| Reply::status(status).body("enough").early());
            let api = FlakyApi::start(Script::new().route("/", plan)).await;
            let (mut sender, body) = channel();
            sender.try_send(Frame::data("the b".into())).unwrap();
            let client = retry().replay(64).layer(client);

            let response = client.oneshot(upload(api.url("/"), body)).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(info(&response), expected);
            assert_eq!(read(response).await.unwrap(), "enough");
            // The upload is over, with nobody to read it.
            drop(sender);
            let stats = api.wait_for(|stats| stats.open_connections() == 0).await;
            assert_eq!((stats.requests(), stats.connections()), (1, 1));
        }
    }
}

#[tokio::test]
async fn an_answer_on_a_connection_that_stays_open_stands() {
    let unavailable = Steps::new()
        .read_head()
        .write("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nhello")
        .read_to_end();
    for (steps, status, expected) in [
        (Steps::answer_before_body(), 413, (1, None)),
        (unavailable, 503, (1, Some(Stop::BodyUnsent))),
    ] {
        let server = FaultServer::start(move |_| steps.clone()).await;
        let (mut sender, body) = channel();
        sender.try_send(Frame::data("the b".into())).unwrap();
        let client = retry().replay(64).layer(http1());

        let call = client.clone().oneshot(upload(server.url("/"), body));
        let response = call.await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(info(&response), expected);
        assert_eq!(read(response).await.unwrap(), "hello");
        // The upload goes on, as the caller has not asked for its end.
        sender.send_data("ody".into()).await.unwrap();
        drop(sender);
        drop(client);
        assert_eq!(server.stats().connections(), 1);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_body_that_fails_is_not_sent_again() {
    for client in clients() {
        let api = FlakyApi::start(Script::new().route("/", Reply::ok(""))).await;
        let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(8);
        sender.try_send(Frame::data("the b".into())).unwrap();
        sender.abort(std::io::ErrorKind::ConnectionReset.into());
        let client = retry().replay(64).layer(client);
        let error = client.oneshot(upload(api.url("/"), body)).await.unwrap_err();
        assert_eq!(ErrorKind::of(&error), ErrorKind::Body);
        assert!(api.stats().requests() <= 1);
    }
}
