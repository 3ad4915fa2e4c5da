//! Connections: they are taken until the gateway is told to stop, and then finished.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use palisade::{client::Body, core::BoxError};
use tokio::{
    net::TcpListener,
    select,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{Service, ServiceExt};

/// How long nothing is accepted when the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a peer that is silent on HTTP/2 is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// How many bytes the head of a request may take.
const HEAD_SIZE: u32 = 64 << 10;

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, BoxError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| format!("cannot listen on {address}: {error}").into())
}

/// Answers requests, if their heads come within `head_time`, until `stop` is over. Those that have
/// begun are finished then, unless `patience`, which is told how many connections there are, is over
/// before. Says how many are left.
pub(crate) async fn serve<S, B, P>(
    listener: TcpListener,
    service: S,
    head_time: Duration,
    stop: impl Future<Output = ()>,
    patience: impl FnOnce(usize) -> P,
) -> usize
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    P: Future<Output = ()>,
{
    let builder = builder(head_time);
    // Dropped, they are closed.
    let mut connections = JoinSet::new();
    let (graceful, mut stop) = (GracefulShutdown::new(), pin!(stop));
    loop {
        let (stream, peer) = select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    eprintln!("gateway: cannot accept a connection: {error}");
                    sleep(PAUSE).await;
                    continue;
                }
            },
            // Whatever a connection ended with, its client has seen the end.
            Some(_) = connections.join_next() => continue,
        };
        // A small packet that waits for the acknowledgement of another costs 40 milliseconds.
        let _ = stream.set_nodelay(true);
        let (service, has_asked) = (service.clone(), Arc::new(AtomicBool::new(false)));
        let asks = Arc::clone(&has_asked);
        let service = service_fn(move |request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::stream);
            request.extensions_mut().insert(peer);
            service.clone().oneshot(request)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let mut connection = pin!(connection);
            // hyper's limit begins only when it is clear which HTTP is spoken.
            let ended = timeout(head_time, &mut connection).await.is_ok();
            if !ended && has_asked.load(Ordering::Relaxed) {
                let _ = connection.await;
            }
        });
    }
    // Whoever comes now is refused by the system, and may go elsewhere at once.
    drop(listener);
    let patience = patience(graceful.count());
    select! {
        () = graceful.shutdown() => 0,
        () = patience => {
            while connections.try_join_next().is_some() {}
            connections.len()
        }
    }
}

fn builder(head_time: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(HEAD_SIZE as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .max_header_list_size(HEAD_SIZE);
    builder
}
