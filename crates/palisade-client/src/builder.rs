mod connections;
mod time;

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, header::USER_AGENT};
use palisade_core::{BoxError, Observer};

use crate::{
    ClientOf, HttpLayer, HttpService, InvalidClient,
    around::{Around, Put},
    defaults,
    erased::BoxedService,
    invalid::Invalid,
    stack::{Layers, Slot},
    transport::{Settings, Transport},
    url::{check_base, is_https},
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
    // Done by `build`, when it is known what is set beside the layers. The last one that is put
    // into a place stands.
    puts: Vec<Put>,
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
        let builder = Self {
            base: None,
            headers: HeaderMap::from_iter([(USER_AGENT, user_agent)]),
            invalid: None,
            layers,
            transport: Settings::default(),
            observer: None,
            puts: Vec::new(),
        };
        #[cfg(feature = "retry")]
        let builder = builder.put(|layers, around| {
            layers.retry = Slot::On(around.retry(defaults::retry()));
        });
        #[cfg(feature = "circuit-breaker")]
        let builder = builder.put(|layers, around| {
            let breaker = defaults::circuit_breaker(around.attempt);
            layers.guard(around.observed(breaker));
        });
        builder
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

    fn finish(mut self, wire: Wire) -> Result<Client, InvalidClient> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let own = matches!(wire, Wire::Own(_));
        let check = |base: &String| match check_base(base) {
            Ok(url) if own && is_https(&url) && cfg!(not(feature = "tls")) => {
                Err(InvalidClient::base(base, Invalid::new("the feature `tls` is off")))
            }
            checked => checked.map_err(|invalid| InvalidClient::base(base, invalid)),
        };
        let base = self.base.as_ref().map(check).transpose()?;
        let (total, attempt) = (self.layers.total, self.layers.attempt);
        let around = Around { observer: self.observer, total, attempt };
        for put in self.puts {
            put(&mut self.layers, &around);
        }
        let mut client = Client::from_service(self.layers.over(wire));
        Arc::make_mut(&mut client.settings).base = base;
        let named = |(name, value): (&HeaderName, &HeaderValue)| (name.clone(), value.clone());
        let fields = self.headers.iter().map(named);
        Ok(fields.fold(client, |client, (name, value)| client.default_header(name, value)))
    }

    fn put(mut self, put: impl FnOnce(&mut Layers, &Around) + Send + Sync + 'static) -> Self {
        self.puts.push(Box::new(put));
        self
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

    /// Sets whom all layers of this workspace tell what they do that tell nobody
    /// yet. Defaults to [the registry](Self::metrics), if there is one, and else to
    /// nobody.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sets how many redirects are followed for one request; zero for none. Defaults
    /// to 10.
    ///
    /// Another origin is told nothing but what kind of answer is wanted: no
    /// credentials, no fields of your own. What has a body, or may change
    /// something, is not sent there: the redirect is the answer then.
    pub fn redirects(mut self, most: usize) -> Self {
        self.layers.redirects = most;
        self
    }

    /// Sends the cookies of a jar, and keeps there what servers set: with each attempt,
    /// and with each hop of a redirect those of its own origin. A request that has a
    /// `Cookie` field of its own is sent with that alone. Defaults to no cookies.
    ///
    /// A cache further out does not see them, so an answer that varies by `Cookie` gets
    /// `Vary: *`, and is not stored.
    #[cfg(feature = "cookies")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "cookies")))]
    pub fn cookies(mut self, jar: crate::CookieJar) -> Self {
        self.layers.cookies = Some(jar);
        self
    }

    /// Counts and times calls and attempts in a registry, which is told as well what
    /// layers do that tell [nobody else](Self::observer).
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
    pub fn cache<T, P, K>(self, cache: palisade_cache::HttpCacheLayer<T, P, K>) -> Self
    where
        palisade_cache::HttpCacheLayer<T, P, K>: HttpLayer,
    {
        self.put(|layers, around| layers.cache = Slot::of(around.observed(cache)))
    }

    /// Sets how failed requests are sent again. Defaults to `RetryLayer::http()`: up
    /// to three attempts. Whatever its own deadline, it starts nothing past the [time
    /// of the call](Self::total_timeout). Bodies are kept in [a way of the
    /// client's](crate::KeepBody), whatever the layer says.
    #[cfg(feature = "retry")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "retry")))]
    pub fn retry<C, Q, K, G, M, T>(
        self,
        retry: palisade_retry::RetryLayer<palisade_retry::Rules<C, Q, K, G, M, T>>,
    ) -> Self
    where
        palisade_retry::Rules<C, Q, K, G, M, T>: Clone,
        palisade_retry::Rules<C, Q, K, G, crate::KeepBody, T>: Clone,
        palisade_retry::RetryLayer<palisade_retry::Rules<C, Q, K, G, crate::KeepBody, T>>:
            HttpLayer,
    {
        let retry = retry.bodies(crate::KeepBody::default());
        self.put(|layers, around| layers.retry = Slot::of(around.retry(retry)))
    }

    /// Sends each request once.
    #[cfg(feature = "retry")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "retry")))]
    pub fn no_retry(self) -> Self {
        self.put(|layers, _| layers.retry = Slot::Off)
    }

    /// Sets when a host that fails is left alone. Defaults to
    /// `CircuitBreakerLayer::http().keyed(ByAuthority)`, to which a call that was
    /// dropped is a failure if it had taken as long as an attempt may.
    #[cfg(feature = "circuit-breaker")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "circuit-breaker")))]
    pub fn circuit_breaker<C, K, R, P>(
        self,
        breaker: palisade_circuit_breaker::CircuitBreakerLayer<C, K, R, P>,
    ) -> Self
    where
        palisade_circuit_breaker::CircuitBreakerLayer<C, K, R, P>: HttpLayer,
        palisade_circuit_breaker::GateLayer<C, K, R, P>: HttpLayer,
    {
        self.put(|layers, around| layers.guard(around.observed(breaker)))
    }

    /// Calls hosts however they fail.
    #[cfg(feature = "circuit-breaker")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "circuit-breaker")))]
    pub fn no_circuit_breaker(self) -> Self {
        self.put(|layers, _| layers.unguard())
    }

    /// Limits how many requests are sent in a time. Defaults to no limit.
    ///
    /// One that goes by [deadlines](palisade_rate_limit::RateLimitLayer::until_deadline)
    /// is told the [time of the call](Self::total_timeout).
    #[cfg(feature = "rate-limit")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "rate-limit")))]
    pub fn rate_limit<K, C, R, A, D>(
        self,
        limit: palisade_rate_limit::RateLimitLayer<K, C, R, A, D>,
    ) -> Self
    where
        D: palisade_rate_limit::DeadlineOf<http::Request<crate::Body>>,
        palisade_rate_limit::RateLimitLayer<K, C, R, A, D>: HttpLayer,
    {
        self.put(|layers, around| {
            layers.tells_deadline |= D::ANY;
            layers.rate_limit = Slot::of(around.observed(limit));
        })
    }

    /// Limits how many requests are in flight. Defaults to no limit.
    ///
    /// One that goes by
    /// [deadlines](palisade_rate_limit::ConcurrencyLimitLayer::until_deadline) is told
    /// the [time of the call](Self::total_timeout).
    #[cfg(feature = "rate-limit")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "rate-limit")))]
    pub fn concurrency_limit<A, K, C, R, H, U>(
        self,
        limit: palisade_rate_limit::ConcurrencyLimitLayer<A, K, C, R, H, U>,
    ) -> Self
    where
        A: palisade_rate_limit::LimitAlgorithm,
        U: palisade_rate_limit::DeadlineOf<http::Request<crate::Body>>,
        palisade_rate_limit::ConcurrencyLimitLayer<A, K, C, R, H, U>: HttpLayer,
    {
        self.put(|layers, around| {
            layers.tells_deadline |= U::ANY;
            layers.concurrency_limit = Slot::of(around.observed(limit));
        })
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
    pub fn auth_layer<A, M>(self, auth: palisade_auth::AuthLayer<A, M>) -> Self
    where
        A: palisade_auth::Authenticator,
        M: Clone,
    {
        let auth = auth.bodies(crate::KeepBody::default());
        self.put(|layers, around| layers.auth = Slot::auth(around.observed(auth)))
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

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}
