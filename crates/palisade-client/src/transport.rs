use std::{
    error::Error,
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, PROXY_AUTHORIZATION, TRANSFER_ENCODING},
};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::{
    client::{
        legacy::{Client, ResponseFuture, connect::HttpConnector},
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioTimer},
};
use palisade_core::{BoxError, ErrorKind, Fault, Now};
use tokio::time::timeout;
use tower_service::Service;

use crate::{
    Body, InvalidClient, connect::Connector, defaults, fields, proxy::Proxies, resolve::Resolver,
};

/// What HTTP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpVersions {
    /// HTTP/2 where a server takes it in the handshake of TLS, and HTTP/1.1
    /// elsewhere. The default.
    #[default]
    Negotiated,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone, without TLS as well: for servers that are known to speak it. Through
    /// a proxy it goes by a tunnel, which many allow to port 443 alone.
    Http2,
}

/// What a transport is made of.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) versions: HttpVersions,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) pool_idle_timeout: Option<Duration>,
    pub(crate) pool_max_idle: usize,
    pub(crate) http2_keep_alive: Option<Duration>,
    pub(crate) tcp_keep_alive: Option<Duration>,
    pub(crate) resolved: Vec<(String, Vec<IpAddr>)>,
    pub(crate) proxies: Proxies,
    pub(crate) https_only: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: crate::tls::Tls,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            versions: HttpVersions::default(),
            connect_timeout: Some(defaults::CONNECT),
            pool_idle_timeout: Some(defaults::POOL_IDLE),
            pool_max_idle: defaults::POOL_IDLE_PER_HOST,
            http2_keep_alive: Some(defaults::HTTP2_KEEP_ALIVE),
            tcp_keep_alive: Some(defaults::TCP_KEEP_ALIVE),
            resolved: Vec::new(),
            proxies: Proxies::default(),
            https_only: false,
            #[cfg(feature = "tls")]
            tls: crate::tls::Tls::default(),
        }
    }
}

#[cfg(feature = "tls")]
type Secured = hyper_rustls::HttpsConnector<Connector>;
#[cfg(not(feature = "tls"))]
type Secured = Connector;

/// hyper-util's client, behind one pointer: its value is large.
#[derive(Clone)]
pub(crate) struct Transport {
    client: Arc<Client<InTime<Secured>, Body>>,
    // Those that are sent requests themselves.
    proxies: Option<Arc<Matcher>>,
}

impl Transport {
    pub(crate) fn new(settings: &Settings) -> Result<Self, InvalidClient> {
        let mut http = HttpConnector::new_with_resolver(Resolver::new(&settings.resolved));
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(settings.connect_timeout);
        keep_alive(&mut http, settings.tcp_keep_alive);
        let proxies = settings.proxies.matcher()?.map(Arc::new);
        let tunnels = settings.versions == HttpVersions::Http2;
        let https_only = settings.https_only;
        let connector = Connector { http, proxies: proxies.clone(), tunnels, https_only };
        #[cfg(feature = "tls")]
        let connector = settings.tls.secure(connector, settings.versions)?;
        let connector = InTime { inner: connector, limit: settings.connect_timeout };
        let mut builder = Client::builder(TokioExecutor::new());
        if let Some(after) = settings.http2_keep_alive {
            // Not of one that is idle: servers count such pings, devices wake up for them, and the
            // first request after so long sends one at once.
            let after = after.min(LONGEST);
            builder.http2_keep_alive_interval(after).http2_keep_alive_timeout(after / 2);
        }
        let client = builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(settings.pool_max_idle)
            .http2_only(settings.versions == HttpVersions::Http2)
            .build(connector);
        Ok(Self { client: Arc::new(client), proxies: proxies.filter(|_| !tunnels) })
    }

    #[inline]
    pub(crate) fn send(&self, mut request: Request<Body>) -> Sending {
        if let Some(proxies) = &self.proxies {
            introduce(proxies, &mut request);
        }
        // What a request came by, if it did: the connection decides what this one is sent by, and
        // hyper-util would not send it by HTTP/1.1.
        if Version::HTTP_11 < request.version() {
            *request.version_mut() = Version::HTTP_11;
        }
        tell_length(&mut request);
        Sending { future: self.client.request(request) }
    }
}

/// What is longer is as good as never, and past the end of some clocks.
const LONGEST: Duration = Duration::from_secs(1 << 30);

/// As many times as that, and as far apart.
fn keep_alive(http: &mut HttpConnector<Resolver>, after: Option<Duration>) {
    // The system counts in whole seconds, and takes no zero.
    let after = after.map(|after| after.clamp(Duration::from_secs(1), LONGEST));
    http.set_keepalive(after);
    http.set_keepalive_interval(after);
    http.set_keepalive_retries(after.map(|_| defaults::TCP_PROBES));
}

/// RFC 9110, section 8.6: that there is no body is told where there could be one, as hyper does
/// over HTTP/2 alone. A length that is not that of the body, which hyper would send, is put right:
/// a server would take the next request for the rest.
fn tell_length(request: &mut Request<Body>) {
    let Some(length) = request.body().size_hint().exact() else { return };
    let headers = request.headers();
    let tells = if fields::has(headers, &CONTENT_LENGTH) {
        let mut lines = headers.get_all(CONTENT_LENGTH).iter();
        lines.next().and_then(fields::length) != Some(length) || lines.next().is_some()
    } else {
        let could = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
        could && length == 0 && !fields::has(headers, &TRANSFER_ENCODING)
    };
    if tells {
        // A map that is full does without.
        let _ = request.headers_mut().try_insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// A proxy that is sent the request itself is told who asks with it; that of a
/// tunnel was told when that was made.
#[cold]
fn introduce(proxies: &Matcher, request: &mut Request<Body>) {
    if request.uri().scheme_str() != Some("http") {
        return;
    }
    let proxy = proxies.intercept(request.uri());
    if let Some(auth) = proxy.as_ref().and_then(|proxy| proxy.basic_auth()) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, auth.clone());
    }
}

pub(crate) struct Sending {
    future: ResponseFuture,
}

impl Future for Sending {
    type Output = Result<Response<Incoming>, BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(ready!(Now::elapse(|| Pin::new(&mut self.future).poll(cx)))?))
    }
}

/// Limits the time of a look-up, a connection and a handshake together.
#[derive(Clone)]
struct InTime<C> {
    inner: C,
    limit: Option<Duration>,
}

impl<C> Service<Uri> for InTime<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let Some(limit) = self.limit else {
            return Box::pin(async { connecting.await.map_err(explain) });
        };
        Box::pin(async move {
            match timeout(limit, connecting).await {
                Ok(connected) => connected.map_err(explain),
                Err(_) => Err(Fault::new(ErrorKind::Timeout, TooSlow { limit }).unsent().into()),
            }
        })
    }
}

fn explain(error: impl Into<BoxError>) -> BoxError {
    #[cfg(feature = "tls")]
    return crate::tls::explain(error.into());
    #[cfg(not(feature = "tls"))]
    return error.into();
}

/// A connection did not stand in time.
#[derive(Debug)]
struct TooSlow {
    limit: Duration,
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection within {:?}", self.limit)
    }
}

impl Error for TooSlow {}
