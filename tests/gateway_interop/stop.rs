//! How the gateway ends.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{Scenario, gateway::Gateway};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("SIGTERM finishes a response that streams", finishes),
        Scenario::new("SIGTERM does not wait for ever", is_bounded),
        Scenario::new("a second SIGTERM waits for nothing", is_hurried),
        Scenario::new("SIGTERM ends an idle gateway at once", idle),
    ]
}

/// A gateway, and a response of which the upstream has sent half.
async fn streaming(name: &str, server: &str) -> (Gateway, TcpStream, Incoming) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let route = format!("[[routes]]\nprefix = \"/\"\nupstream = \"http://{upstream}\"\n");
    let gateway = Gateway::with(name, server, &route, &[]).await;
    let half = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await.unwrap();
        stream
    };
    let request = Request::get(gateway.url("/a")).body(Full::<Bytes>::default()).unwrap();
    let (stream, response) = tokio::join!(half, gateway.begin(request));
    let mut body = response.into_body();
    // It does not wait for the rest.
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    (gateway, stream, body)
}

async fn finishes(name: &str) {
    let (mut gateway, mut upstream, body) = streaming(name, "").await;
    gateway.terminate().await;
    assert!(gateway.line().await.contains("stopping; 1 connections have 30s to finish"));
    assert!(TcpStream::connect(gateway.address).await.is_err());
    assert_eq!(gateway.admin("/healthz").await.status, 503);

    upstream.write_all(b"rest").await.unwrap();
    assert_eq!(body.collect().await.expect("it is finished").to_bytes(), "rest");
    assert!(gateway.line().await.ends_with("stopped; all that had begun is finished"));
    assert_eq!(gateway.end().await, Some(0));
}

async fn is_bounded(name: &str) {
    let (mut gateway, _upstream, body) = streaming(name, "shutdown_timeout = \"50ms\"").await;
    gateway.terminate().await;
    assert!(gateway.line().await.contains("stopping; 1 connections have 50ms"));
    assert!(gateway.line().await.ends_with("stopped; 1 connections were cut off"));
    assert_eq!(gateway.end().await, Some(0));
    assert!(body.collect().await.is_err());
}

async fn is_hurried(name: &str) {
    let (mut gateway, _upstream, _body) = streaming(name, "").await;
    gateway.terminate().await;
    assert!(gateway.line().await.contains("stopping"));
    gateway.terminate().await;
    assert!(gateway.line().await.ends_with("stopped; 1 connections were cut off"));
    assert_eq!(gateway.end().await, Some(0));
}

async fn idle(name: &str) {
    let (mut gateway, mut upstream, body) = streaming(name, "").await;
    upstream.write_all(b"rest").await.unwrap();
    body.collect().await.unwrap();
    // The connection of its caller is kept for another request.
    gateway.terminate().await;
    assert!(gateway.line().await.contains("stopping"));
    assert!(gateway.line().await.ends_with("stopped; all that had begun is finished"));
    assert_eq!(gateway.end().await, Some(0));
}
