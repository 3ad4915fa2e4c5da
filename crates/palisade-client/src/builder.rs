use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::USER_AGENT};
use palisade_core::{BoxError, Observer};

use crate::{
    ClientOf, HttpLayer, HttpService, HttpVersions, InvalidClient, defaults,
    erased::BoxedService,
    stack::{Layers, Slot},
    transport::{Proxies, Settings, Transport},
    wire::Wire,
};

/// A client for an API that survives what real APIs do: the layers of this workspace
/// as one service, over connections of its own.
///
/// Clones are cheap, and share connections, breakers, limits and budgets.
pub type Client = ClientOf<BoxedService>;

impl Client {
    /// A client with the [defaults](crate#defaults), for an API at a base URL.
    ///
    /// # Errors
    ///
    /// If it is no base URL.
    pub fn new(base_url: impl Into<String>) -> Result<Self, InvalidClient> {
        Self::builder().base_url(base_url).build()
    }

    /// Sets what is to be other than [by default](crate#defaults).
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }
}

/// Makes a [`Client`]. What is on by default stands [in the crate
/// documentation](crate#defaults).
///
/// ```
/// use std::time::Duration;
/// use palisade_client::Client;
///
/// let client = Client::builder()
///     .base_url("https://api.example/v1")
///     .header("accept", "application/json")
///     .total_timeout(Duration::from_secs(20))
///     .build()?;
/// # let _ = client;
/// # Ok::<_, palisade_client::InvalidClient>(())
/// ```
#[must_use]
pub struct ClientBuilder {
    base: Option<String>,
    headers: HeaderMap,
    // The first thing that was wrong, told by `build`.
    invalid: Option<InvalidClient>,
    layers: Layers,
    transport: Settings,
    observer: Option<Arc<dyn Observer>>,
    // Whether these are made by `build`, when it is known what is set beside them.
    #[cfg(feature = "retry")]
    default_retry: bool,
    #[cfg(feature = "circuit-breaker")]
    default_breaker: bool,
}

impl ClientBuilder {
    fn new() -> Self {
        let layers = Layers {
            total: Some(defaults::TOTAL),
            attempt: Some(defaults::ATTEMPT),
            redirects: defaults::REDIRECTS,
            #[cfg(feature = "decompression")]
            decompression: true,
            body_idle: Some(defaults::BODY_IDLE),
            ..Layers::default()
        };
        let user_agent = HeaderValue::from_static(defaults::USER_AGENT);
        Self {
            base: None,
            headers: HeaderMap::from_iter([(USER_AGENT, user_agent)]),
            invalid: None,
            layers,
            transport: Settings::default(),
            observer: None,
            #[cfg(feature = "retry")]
            default_retry: true,
            #[cfg(feature = "circuit-breaker")]
            default_breaker: true,
        }
    }

    /// The client, over connections of its own.
    ///
    /// # Errors
    ///
    /// Names the first thing that was set and makes no sense.
    pub fn build(self) -> Result<Client, InvalidClient> {
        let transport = Transport::new(&self.transport)?;
        self.finish(Wire::Own(transport))
    }

    /// The client, over a service in place of connections: of another client, or of
    /// a test. What is set of connections is of no use then.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use palisade_client::{Body, Client};
    /// use tower::{BoxError, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let api = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(Body::from("hello"))) });
    /// let client = Client::builder().build_over(api)?;
    /// let request = Request::get("https://api.example/users").body(Body::empty())?;
    /// assert_eq!(client.oneshot(request).await?.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_over(self, service: impl HttpService) -> Result<Client, InvalidClient> {
        self.finish(Wire::Other(BoxedService::new(service)))
    }

    #[cfg_attr(not(any(feature = "circuit-breaker", feature = "retry")), expect(unused_mut))]
    fn finish(mut self, wire: Wire) -> Result<Client, InvalidClient> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let base = self.base.as_deref().map(base_url).transpose()?;
        #[cfg(feature = "retry")]
        if self.default_retry {
            self.layers.retry = Slot::On(defaults::retry(self.layers.total, self.observer.clone()));
        }
        #[cfg(feature = "circuit-breaker")]
        if self.default_breaker {
            self.layers.circuit_breaker =
                Slot::On(defaults::circuit_breaker(self.layers.attempt, self.observer.clone()));
        }
        let mut client = Client::from_service(self.layers.over(wire));
        Arc::make_mut(&mut client.settings).base = base;
        let named = |(name, value): (&HeaderName, &HeaderValue)| (name.clone(), value.clone());
        let fields = self.headers.iter().map(named);
        Ok(fields.fold(client, |client, (name, value)| client.default_header(name, value)))
    }

    fn fail(mut self, invalid: InvalidClient) -> Self {
        self.invalid.get_or_insert(invalid);
        self
    }
}

/// Requests.
impl ClientBuilder {
    /// Sets what the paths of requests follow on: scheme, host, and a path if there
    /// is one. Defaults to none; requests then name all of it.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base = Some(url.into());
        self
    }

    /// Sets a field that all requests have which do not set it themselves. Defaults
    /// to `user-agent` alone.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<BoxError>>,
        V: TryInto<HeaderValue, Error: Into<BoxError>>,
    {
        let name = match name.try_into() {
            Ok(name) => name,
            Err(error) => return self.fail(InvalidClient::header("what was given", error)),
        };
        match value.try_into() {
            Ok(value) => drop(self.headers.insert(name, value)),
            Err(error) => return self.fail(InvalidClient::header(name.as_str(), error)),
        }
        self
    }

    /// Sets who says to ask. Defaults to `palisade/` and the version.
    pub fn user_agent<V>(self, value: V) -> Self
    where
        V: TryInto<HeaderValue, Error: Into<BoxError>>,
    {
        self.header(USER_AGENT, value)
    }
}

/// Time. Each of these can be [another](crate::Timeouts) for one request.
impl ClientBuilder {
    /// Sets how long a call may take with all its attempts, to the head of the
    /// response. Defaults to 60 seconds.
    pub fn total_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.layers.total = limit.into();
        self
    }

    /// Sets how long each attempt may take, to the head of the response. Defaults to
    /// 30 seconds.
    pub fn attempt_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.layers.attempt = limit.into();
        self
    }

    /// Sets for how long nothing may come of a response's body. Defaults to 30
    /// seconds.
    pub fn body_idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.layers.body_idle = limit.into();
        self
    }
}

/// Layers.
impl ClientBuilder {
    /// Adds a layer around each call, outside of all others. The first one that is
    /// added is outermost.
    pub fn layer(mut self, layer: impl HttpLayer) -> Self {
        self.layers.around.push(Arc::new(layer));
        self
    }

    /// Adds a layer around each attempt, where credentials and time limits are
    /// outside of it, and redirects inside. The first one that is added is
    /// outermost.
    pub fn attempt_layer(mut self, layer: impl HttpLayer) -> Self {
        self.layers.near.push(Arc::new(layer));
        self
    }

    /// Sets whom the layers tell what they do that are there by default. Defaults to
    /// [the registry](Self::metrics), if there is one, and else to nobody. A layer
    /// that is given has an observer of its own.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sets how many redirects are followed for one request; zero for none. Defaults
    /// to 10.
    ///
    /// Another origin is told nothing but what kind of answer is wanted: no
    /// credentials, no fields of your own. A body is not sent there either: the
    /// redirect is the answer then.
    pub fn redirects(mut self, most: usize) -> Self {
        self.layers.redirects = most;
        self
    }

    /// Counts and times calls and attempts in a registry, which is told as well what
    /// layers do that are there by default.
    #[cfg(feature = "metrics")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "metrics")))]
    pub fn metrics(mut self, registry: &palisade_metrics::Registry) -> Self {
        self.layers.calls = Slot::On(registry.calls());
        self.layers.attempts = Slot::On(registry.attempts());
        self.observer.get_or_insert_with(|| registry.observer());
        self
    }

    /// Puts a cache around all that costs something. Defaults to none.
    #[cfg(feature = "cache")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "cache")))]
    pub fn cache<T, P, K>(mut self, cache: palisade_cache::HttpCacheLayer<T, P, K>) -> Self
    where
        palisade_cache::HttpCacheLayer<T, P, K>: HttpLayer,
    {
        self.layers.cache = Slot::of(cache);
        self
    }

    /// Sets how failed requests are sent again. Defaults to
    /// `RetryLayer::http().deadline(total_timeout)`: up to three attempts. Bodies are
    /// kept in [a way of the client's](crate::KeepBody), whatever the layer says.
    #[cfg(feature = "retry")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "retry")))]
    pub fn retry<C, Q, K, G, M, T>(
        mut self,
        retry: palisade_retry::RetryLayer<palisade_retry::Rules<C, Q, K, G, M, T>>,
    ) -> Self
    where
        palisade_retry::Rules<C, Q, K, G, M, T>: Clone,
        palisade_retry::RetryLayer<palisade_retry::Rules<C, Q, K, G, crate::KeepBody, T>>:
            HttpLayer,
    {
        self.layers.retry = Slot::of(retry.bodies(crate::KeepBody::default()));
        self.default_retry = false;
        self
    }

    /// Sends each request once.
    #[cfg(feature = "retry")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "retry")))]
    pub fn no_retry(mut self) -> Self {
        self.layers.retry = Slot::Off;
        self.default_retry = false;
        self
    }

    /// Sets when a host that fails is left alone. Defaults to
    /// `CircuitBreakerLayer::http().keyed(ByAuthority)`, to which a call that was
    /// dropped is a failure if it had taken as long as an attempt may.
    #[cfg(feature = "circuit-breaker")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "circuit-breaker")))]
    pub fn circuit_breaker<C, K, R, P>(
        mut self,
        breaker: palisade_circuit_breaker::CircuitBreakerLayer<C, K, R, P>,
    ) -> Self
    where
        palisade_circuit_breaker::CircuitBreakerLayer<C, K, R, P>: HttpLayer,
    {
        self.layers.circuit_breaker = Slot::of(breaker);
        self.default_breaker = false;
        self
    }

    /// Calls hosts however they fail.
    #[cfg(feature = "circuit-breaker")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "circuit-breaker")))]
    pub fn no_circuit_breaker(mut self) -> Self {
        self.layers.circuit_breaker = Slot::Off;
        self.default_breaker = false;
        self
    }

    /// Limits how many requests are sent in a time. Defaults to no limit.
    #[cfg(feature = "rate-limit")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "rate-limit")))]
    pub fn rate_limit<K, C, R, A, D>(
        mut self,
        limit: palisade_rate_limit::RateLimitLayer<K, C, R, A, D>,
    ) -> Self
    where
        palisade_rate_limit::RateLimitLayer<K, C, R, A, D>: HttpLayer,
    {
        self.layers.rate_limit = Slot::of(limit);
        self
    }

    /// Limits how many requests are in flight. Defaults to no limit.
    #[cfg(feature = "rate-limit")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "rate-limit")))]
    pub fn concurrency_limit<A, K, C, R, H, U>(
        mut self,
        limit: palisade_rate_limit::ConcurrencyLimitLayer<A, K, C, R, H, U>,
    ) -> Self
    where
        A: palisade_rate_limit::LimitAlgorithm,
        palisade_rate_limit::ConcurrencyLimitLayer<A, K, C, R, H, U>: HttpLayer,
    {
        self.layers.concurrency_limit = Slot::of(limit);
        self
    }

    /// Puts credentials on requests to these origins, and on no others. Defaults to
    /// none.
    #[cfg(feature = "auth")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "auth")))]
    pub fn auth<A: palisade_auth::Authenticator>(
        self,
        authenticator: A,
        origins: palisade_core::Origins,
    ) -> Self {
        self.auth_layer(palisade_auth::AuthLayer::new(authenticator, origins))
    }

    /// As [`auth`](Self::auth), with what else a layer sets. Bodies are kept in [a way
    /// of the client's](crate::KeepBody), whatever the layer says.
    #[cfg(feature = "auth")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "auth")))]
    pub fn auth_layer<A, M>(mut self, auth: palisade_auth::AuthLayer<A, M>) -> Self
    where
        A: palisade_auth::Authenticator,
        M: Clone,
    {
        self.layers.auth = Slot::auth(auth.bodies(crate::KeepBody::default()));
        self
    }

    /// Leaves bodies as they come, and does not ask for smaller ones. They are
    /// decompressed by default.
    #[cfg(feature = "decompression")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "decompression")))]
    pub fn no_decompression(mut self) -> Self {
        self.layers.decompression = false;
        self
    }
}

/// Connections.
impl ClientBuilder {
    /// Sets what HTTP is spoken. Defaults to [`HttpVersions::Negotiated`].
    pub fn http_versions(mut self, versions: HttpVersions) -> Self {
        self.transport.versions = versions;
        self
    }

    /// Sets how long a look-up, a connection and its handshake may take together.
    /// Defaults to 5 seconds.
    pub fn connect_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.transport.connect_timeout = limit.into();
        self
    }

    /// Sets how long a connection that nobody uses stays open. Defaults to 90
    /// seconds.
    pub fn pool_idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.transport.pool_idle_timeout = limit.into();
        self
    }

    /// Sets how many connections that nobody uses stay open for each host. Defaults
    /// to 32.
    pub fn pool_max_idle_per_host(mut self, most: usize) -> Self {
        self.transport.pool_max_idle = most;
        self
    }

    /// Sets a proxy for all hosts, in place of those that the environment names:
    /// `http://proxy.example:3128`, with user and password before the host if it
    /// wants them. Defaults to what `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
    /// `NO_PROXY` say, as curl reads them.
    pub fn proxy(mut self, uri: impl Into<String>) -> Self {
        let uri = uri.into();
        let parsed = uri.parse::<Uri>().ok();
        let fits = |uri: Uri| uri.scheme_str() == Some("http") && uri.authority().is_some();
        if !parsed.is_some_and(fits) {
            return self.fail(InvalidClient::proxy(&uri));
        }
        self.transport.proxies = Proxies::All(uri);
        self
    }

    /// Connects to hosts themselves, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        self.transport.proxies = Proxies::Off;
        self
    }

    /// Trusts these certificates, in PEM, beside those of Mozilla.
    #[cfg(feature = "tls")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "tls")))]
    pub fn trust_pem(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.transport.tls.trusted.push(certificates.into());
        self
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}

/// What paths of requests follow on, if it is that.
fn base_url(text: &str) -> Result<Uri, InvalidClient> {
    let fail = |reason| InvalidClient::base(text, reason);
    let url: Uri = text.parse().map_err(|_| fail("it is no URL"))?;
    let authority = url.authority().filter(|authority| !authority.host().is_empty());
    let Some(authority) = authority.filter(|_| url.scheme().is_some()) else {
        return Err(fail("name scheme and host, as in `https://api.example/v1`"));
    };
    if authority.as_str().contains('@') {
        return Err(fail("leave out what stands before the `@`, and set credentials"));
    }
    match url.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "tls") => {}
        Some("https") => return Err(fail("the feature `tls` is off")),
        _ => return Err(fail("its scheme is neither `http` nor `https`")),
    }
    if url.query().is_some() || text.contains('#') {
        return Err(fail("leave out what follows the path"));
    }
    Ok(url)
}
