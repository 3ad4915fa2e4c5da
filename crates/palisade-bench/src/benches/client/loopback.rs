use std::{fmt, future::poll_fn, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::ACCEPT};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use palisade_client::{ClientBuilder, HttpVersions};
use tower_service::Service;

use super::full;
use crate::{
    inner::Body,
    loopback::{Caller, Client},
    subject::BARE,
    subjects::{
        http_cache,
        reqwest::{self, To},
        reqwest_retry, tower_resilience,
    },
};

/// palisade's defaults.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(100);
const PLACES: usize = 10_000;

/// A GET of 1 KiB of JSON over HTTP/1.1, 64 in flight: each client is called with one header, and
/// adds its own. The bare client is hyper-util's, which is at the bottom of all of them. Ours is
/// what `Client::new` makes, and once more with every layer there is.
pub(in crate::benches) fn h1_c64(server: SocketAddr) -> Vec<Caller> {
    callers(server, false, 64)
}

/// The same, one after the other.
pub(in crate::benches) fn h1_c1(server: SocketAddr) -> Vec<Caller> {
    callers(server, false, 1)
}

/// The same over one connection of HTTP/2, without TLS, 64 in flight.
pub(in crate::benches) fn h2_c64(server: SocketAddr) -> Vec<Caller> {
    callers(server, true, 64)
}

fn callers(server: SocketAddr, http2: bool, in_flight: u32) -> Vec<Caller> {
    let uri = format!("http://{server}/v1/items?page=2");
    let full = Through {
        service: palisade(full(), http2),
        uri: uri.clone(),
        body: palisade_client::Body::empty,
    };
    let default =
        Through { service: palisade(palisade_client::Client::builder(), http2), ..full.clone() };
    let bare = Through { service: hyper_util(http2), uri: uri.clone(), body: Body::default };
    let five = Through {
        service: tower_resilience::five(ATTEMPTS, BACKOFF, hyper_util(http2)),
        uri: uri.clone(),
        body: Body::default,
    };
    let retry = || reqwest_retry::middleware(ATTEMPTS, BACKOFF);
    let retried = reqwest::builder(http2).with(retry()).build();
    let cached = reqwest::builder(http2).with(http_cache::middleware(PLACES)).with(retry()).build();
    vec![
        Caller::new(BARE, in_flight, bare),
        Caller::new("palisade", in_flight, default),
        Caller::new("palisade-full", in_flight, full),
        Caller::new("tower-resilience", in_flight, five),
        Caller::new("reqwest", in_flight, To { client: reqwest::client(http2), uri: uri.clone() }),
        Caller::new(
            "reqwest-middleware-retry",
            in_flight,
            To { client: retried, uri: uri.clone() },
        ),
        Caller::new("reqwest-middleware-retry-http-cache", in_flight, To { client: cached, uri }),
    ]
}

fn hyper_util(http2: bool) -> legacy::Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    // All others do so.
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new()).http2_only(http2).build(connector)
}

fn palisade(builder: ClientBuilder, http2: bool) -> palisade_client::Client {
    let versions = match http2 {
        true => HttpVersions::Http2,
        false => HttpVersions::Http1,
    };
    builder.http_versions(versions).build().expect("nothing is set that makes no sense")
}

/// A service, and what it is asked for, with an empty body.
struct Through<S, B> {
    service: S,
    uri: String,
    body: fn() -> B,
}

impl<S: Clone, B> Clone for Through<S, B> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), uri: self.uri.clone(), body: self.body }
    }
}

impl<S, B, ResB> Client for Through<S, B>
where
    S: Service<Request<B>, Response = Response<ResB>, Error: fmt::Debug, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Send + 'static,
    ResB: http_body::Body<Data = Bytes, Error: fmt::Debug> + Send,
{
    async fn get(&mut self) -> (StatusCode, Bytes) {
        let mut request = Request::new((self.body)());
        *request.uri_mut() = self.uri.parse().expect("the server's URI is valid");
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        poll_fn(|cx| self.service.poll_ready(cx)).await.expect("a ready client");
        let response = self.service.call(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a whole answer");
        (status, body.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::runtime::Builder;

    use super::*;
    use crate::loopback::{answer, bind};

    #[test]
    fn each_client_gets_its_answers() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(bind()).unwrap();
        let server = listener.local_addr().unwrap();
        thread::spawn(move || runtime.block_on(answer(listener)));

        for callers in [h1_c64, h1_c1, h2_c64] {
            for mut caller in callers(server) {
                assert_eq!(caller.call(67).len(), 67, "{}", caller.name);
            }
        }
    }
}
