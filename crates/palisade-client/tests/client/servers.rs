use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade_client::{Body, ClientBuilder, ResponseBody};
use palisade_core::BoxError;
use palisade_retry::{Backoff, RetryLayer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

pub(crate) type Reply = Response<Full<Bytes>>;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A server on loopback that keeps what it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers by this.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { addr: listener.local_addr().unwrap(), seen: Arc::default() };
        let (served, answer) = (server.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream, Arc::clone(&answer)));
            }
        });
        server
    }

    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr, seen: Arc::default() }
    }

    pub(crate) async fn serve<T, A>(self, stream: T, answer: Arc<A>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        A: Fn(&Seen) -> Reply + Send + Sync + 'static,
    {
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, answer) = (self.clone(), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes);
                let seen = Seen {
                    method: head.method,
                    uri: head.uri,
                    headers: head.headers,
                    body: body.unwrap_or_default(),
                };
                let reply = answer(&seen);
                server.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
                Ok::<_, Infallible>(reply)
            }
        });
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) fn reply(status: u16, body: &'static str) -> Reply {
    Response::builder().status(status).body(Full::from(body)).unwrap()
}

pub(crate) fn redirect(status: u16, to: &str) -> Reply {
    Response::builder().status(status).header("location", to).body(Full::default()).unwrap()
}

/// Retries that do not keep a test waiting.
pub(crate) fn hasty(client: ClientBuilder) -> ClientBuilder {
    client.retry(RetryLayer::http().backoff(Backoff::constant(Duration::from_millis(1))))
}

pub(crate) fn get(uri: impl AsRef<str>) -> Request<Body> {
    Request::get(uri.as_ref()).body(Body::empty()).unwrap()
}

pub(crate) async fn text(response: Response<ResponseBody>) -> Result<String, BoxError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec())?)
}
