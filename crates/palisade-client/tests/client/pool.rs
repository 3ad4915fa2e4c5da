use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use palisade_client::Client;
use tokio::{net::TcpListener, sync::Barrier, task::JoinSet};
use tower::ServiceExt;

use crate::servers::{get, text};

const AT_ONCE: usize = 64;

/// Answers when as many ask as there are calls at once. What is counted are connections that
/// have ended.
async fn listen(listener: TcpListener, ended: Arc<AtomicUsize>) {
    let all = Arc::new(Barrier::new(AT_ONCE));
    while let Ok((stream, _)) = listener.accept().await {
        let (all, ended) = (Arc::clone(&all), Arc::clone(&ended));
        let service = service_fn(move |_| {
            let all = Arc::clone(&all);
            async move {
                all.wait().await;
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
            }
        });
        tokio::spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }
}

// A pool that closes what many calls at once have opened opens it anew all the time.
#[tokio::test]
async fn connections_of_many_calls_at_once_are_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let ended = Arc::<AtomicUsize>::default();
    tokio::spawn(listen(listener, Arc::clone(&ended)));

    let client = Client::builder().no_proxy().build().unwrap();
    for _ in 0..3 {
        let mut calls = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (client, request) = (client.clone(), get(&url));
            calls.spawn(async { text(client.oneshot(request).await.unwrap()).await.unwrap() });
        }
        assert!(calls.join_all().await.iter().all(|answer| answer == "hello"));
    }
    assert_eq!(ended.load(Ordering::Relaxed), 0);
}
