//! The server as a whole: its connections and its end.

use palisade_testkit::{FlakyApi, Reply, Script};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::client::{fetch, get, http1, http2, raw, read_until};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn start() -> FlakyApi {
    let script = Script::new().route("/", Reply::ok("hello")).route("/never", Reply::never());
    FlakyApi::start(script).await
}

#[tokio::test]
async fn counts_connections() {
    let api = start().await;
    let mut streams = [raw(api.addr(), "").await, raw(api.addr(), "").await];
    for turn in 0..4 {
        let stream = &mut streams[turn % 2];
        stream.write_all(REQUEST.as_bytes()).await.unwrap();
        read_until(stream, "hello").await;
    }
    let stats = api.stats();
    assert_eq!((stats.connections(), stats.open_connections()), (2, 2));
    let [one, two] = streams;
    drop(one);
    api.wait_for(|stats| stats.open_connections() == 1).await;
    drop(two);
    let stats = api.wait_for(|stats| stats.open_connections() == 0).await;
    assert_eq!(stats.connections(), 2);
}

#[tokio::test]
async fn carries_many_streams_on_one_connection() {
    let api = start().await;
    let client = http2();
    fetch(&client, api.url("/")).await.unwrap();
    let call = || fetch(&client, api.url("/"));
    let (one, two, three) = tokio::join!(call(), call(), call());
    for response in [one, two, three] {
        assert_eq!(response.unwrap().body(), "hello");
    }
    assert_eq!(api.stats().connections(), 1);
}

/// The connection is over, in whatever way.
async fn ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_drop_closes_everything() {
    let api = start().await;
    let (addr, uri) = (api.addr(), api.url("/never"));
    let mut idle = raw(addr, REQUEST).await;
    read_until(&mut idle, "hello").await;
    let mut busy = raw(addr, "GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let client = http2();
    let streams =
        async { tokio::join!(client.request(get(uri.clone())), client.request(get(uri))) };
    let drop_server = async {
        api.wait_for(|stats| stats.in_flight() == 3).await;
        drop(api);
    };
    let ((one, two), ()) = tokio::join!(streams, drop_server);
    one.unwrap_err();
    two.unwrap_err();
    ended(&mut idle).await;
    ended(&mut busy).await;
}

#[tokio::test]
async fn is_gone_once_stopped() {
    let api = start().await;
    let addr = api.addr();
    let mut busy = raw(addr, "GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let client = http2();
    let call = client.request(get(api.url("/never")));
    let ((), answer) = tokio::join!(
        async {
            api.wait_for(|stats| stats.in_flight() == 2).await;
            assert!(3 <= tasks());
            api.stop().await;
        },
        call
    );
    answer.unwrap_err();
    TcpStream::connect(addr).await.unwrap_err();
    ended(&mut busy).await;
    drop(client);
    // What is left are the tasks of the client, which end with it.
    while tasks() != 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn survives_its_clients() {
    let api = start().await;
    for rubbish in
        ["", "GET", "\r\n\r\n", "rubbish\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish"]
    {
        drop(raw(api.addr(), rubbish).await);
    }
    api.wait_for(|stats| stats.connections() == 5 && stats.open_connections() == 0).await;
    assert_eq!(fetch(&http1(), api.url("/")).await.unwrap().body(), "hello");
}
