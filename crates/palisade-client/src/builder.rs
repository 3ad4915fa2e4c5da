mod connections;
mod layers;
mod time;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::USER_AGENT};
use palisade_core::{BoxError, Observer};

use crate::{
    ClientOf, HttpService, InvalidClient,
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
            Ok(url) if own && self.transport.https_only && !is_https(&url) => {
                Err(InvalidClient::base(base, Invalid::new("`https_only` is set")))
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

    /// Looks whether a limit leaves time.
    fn check_limit(self, name: &'static str, limit: Option<Duration>) -> Self {
        if limit.is_some_and(|limit| limit.is_zero()) {
            return self.fail(InvalidClient::time(name));
        }
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
    /// to `user-agent` alone. A secret goes to the origin of the base URL alone: see
    /// [`default_header`](ClientOf::default_header).
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

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}
