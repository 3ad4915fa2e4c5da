use std::sync::Arc;

use palisade_core::Observer;

use crate::{ClientBuilder, HttpLayer, stack::Slot};

/// Layers.
impl ClientBuilder {
    /// Adds a layer around each call, outside of all others. The first one that is
    /// added is outermost.
    pub fn layer(mut self, layer: impl HttpLayer) -> Self {
        self.layers.around.push(Arc::new(layer));
        self
    }

    /// Adds a layer around each attempt, where credentials and time limits are outside
    /// of it. The first one that is added is outermost.
    ///
    /// What [a redirect](Self::redirects) leads to another origin does not pass through it:
    /// nobody knows what a layer puts on a request, and where.
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
    /// Where one leads is a request of its own: it is cached, retried, limited, judged by
    /// a breaker and given credentials by itself, within the time of the call. So a `POST`
    /// that led elsewhere is not sent again because of what became of that. The answer
    /// [says](crate::Response::uri) where it comes from.
    ///
    /// Another origin is told nothing but what kind of answer is wanted, and cookies that
    /// are its own: no credentials, although [`auth`](Self::auth) may name it, and no fields
    /// of your own. A body is not sent there either, nor a method that changes something:
    /// the redirect is the answer then. One that leads back from there is told no more. What
    /// is answered so is cached apart from what is asked with credentials.
    ///
    /// What is read there is asked for without `If-None-Match`, `If-Modified-Since` and
    /// `If-Range`: they are about what was asked for first.
    pub fn redirects(mut self, most: usize) -> Self {
        self.layers.redirects = most;
        self
    }

    /// Sends the cookies of a jar, and keeps there what servers set: with each attempt,
    /// and with each hop of a redirect those of its own origin. What a request has in its
    /// own `Cookie` comes before them, and in place of those of the same names. Defaults
    /// to no cookies.
    ///
    /// The cache does not see them, so an answer that varies by `Cookie` gets
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
    /// is told the [time of the call](Self::total_timeout). What is refused is an
    /// error, unless the layer answers:
    ///
    /// ```
    /// use palisade_client::Client;
    /// use palisade_rate_limit::{Limited, Quota, RateLimitLayer, Wait, respond_fn};
    ///
    /// let limit = RateLimitLayer::new(Quota::per_second(50))
    ///     .wait(Wait::reject())
    ///     .on_refusal(respond_fn(Limited::problem));
    /// let client = Client::builder().rate_limit(limit).build()?;
    /// # let _ = client;
    /// # Ok::<_, palisade_client::InvalidClient>(())
    /// ```
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
    /// decompressed by default, but for parts (206), which are left as they come: they
    /// are parts of what is compressed. So a request with `Range` asks for none that is,
    /// and one that comes all the same says `Vary: *`, so that no cache joins it to others.
    /// An answer to `HEAD`, and a 304, says of the body what the server does: its
    /// `Content-Length` is that of what would be sent, compressed if `Content-Encoding` says so.
    #[cfg(feature = "decompression")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "decompression")))]
    pub fn no_decompression(mut self) -> Self {
        self.layers.decompression = false;
        self
    }
}
