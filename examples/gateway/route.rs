//! The part to copy: the layers of a route. Those of a server are put together by
//! [`ServiceBuilder`], those of a client by [`Client::builder`].

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header::AUTHORIZATION};
use palisade::{
    Client,
    auth::{
        ApiKey, AuthLayer, Authenticator, Bearer, ClientAuth, ClientCredentials, TokenEndpoint,
        Tokens,
    },
    cache::{self, BoxTask, HttpCacheLayer, MemoryStore, RouteTtl, background_fn},
    circuit_breaker::{Backoff, CircuitBreakerLayer, Jitter, Open, Trip, respond_fn},
    client::{Body, ClientBuilder},
    core::{BoxError, Endpoint, Head, Origins},
    metrics::{FindEndpoint, Registry},
    rate_limit::{self, ByClient, Limited, Quota, RateLimitLayer, Wait},
    retry::{RetryLayer, TokenBudget},
};
use tower::{
    ServiceBuilder, ServiceExt,
    layer::layer_fn,
    util::{BoxCloneSyncService, MapResponse},
};

use crate::{
    config::{self, Auth, By, Config, ConfigError},
    problem::{Problem, chain},
    proxy::{self, Rules},
};

type Handler = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// How metrics know requests: any other method counts as another.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::OPTIONS,
    Method::PATCH,
];

/// All routes, the longest prefix first.
#[derive(Clone)]
pub(crate) struct Routes(Arc<[Route]>);

struct Route {
    rules: Rules,
    endpoints: Vec<&'static Endpoint>,
    handler: Handler,
}

impl Routes {
    pub(crate) fn new(config: &Config, metrics: &Registry) -> Result<Self, ConfigError> {
        let routes = 0..config.routes.len();
        let mut routes: Vec<Route> =
            routes.map(|index| Route::new(config, index, metrics)).collect::<Result<_, _>>()?;
        routes.sort_by_key(|route| std::cmp::Reverse(route.rules.prefix.as_str().len()));
        Ok(Self(routes.into()))
    }

    /// Answers a request, whatever becomes of it.
    pub(crate) async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let Some(route) = self.find(request.uri().path()) else {
            let problem = Problem::new(StatusCode::NOT_FOUND, "no route begins like this path");
            return Ok(problem.response());
        };
        let endpoint = route.endpoint(request.method());
        match route.rules.forward(request) {
            Err(problem) => Ok(problem.response()),
            Ok(mut request) => {
                if let Some(endpoint) = endpoint {
                    endpoint.put_into(request.extensions_mut());
                }
                let answer = route.handler.clone().oneshot(request).await;
                Ok(answer.unwrap_or_else(|error| {
                    // Whoever runs the gateway is told more than its callers.
                    eprintln!("gateway: {}: {}", route.rules.prefix.as_str(), chain(&error));
                    Problem::of(&error).response()
                }))
            }
        }
    }

    fn find(&self, path: &str) -> Option<&Route> {
        self.0.iter().find(|route| route.rules.prefix.strip(path).is_some())
    }
}

impl FindEndpoint for Routes {
    fn endpoint(&self, head: Head<'_>) -> Option<&'static Endpoint> {
        self.find(head.uri.path())?.endpoint(head.method)
    }
}

impl Route {
    fn new(config: &Config, index: usize, metrics: &Registry) -> Result<Self, ConfigError> {
        let route = &config.routes[index];
        let prefix = route.prefix.get_ref();
        let credentials = route.auth.as_ref().map(|auth| match auth.get_ref() {
            Auth::ApiKey { header, .. } => header.0.clone(),
            Auth::Bearer { .. } | Auth::ClientCredentials { .. } => AUTHORIZATION,
        });
        let rules = Rules {
            prefix: prefix.clone(),
            upstream: route.upstream.get_ref().clone(),
            max_body: route.max_body.0,
            behind_proxy: config.server.trusted_hops != 0,
            credentials,
        };
        // There are as many as the configuration names, and they last as long as the program.
        let template = format!("{}/{{*path}}", prefix.as_str().trim_end_matches('/'));
        let template: &'static str = template.leak();
        let endpoint = |method| &*Box::leak(Box::new(Endpoint::new(method, template)));
        Ok(Self {
            handler: handler(config, index, metrics)?,
            endpoints: METHODS.map(endpoint).to_vec(),
            rules,
        })
    }

    fn endpoint(&self, method: &Method) -> Option<&'static Endpoint> {
        self.endpoints.iter().copied().find(|endpoint| endpoint.method() == method)
    }
}

/// What callers of a route meet, from the outside in.
fn handler(config: &Config, index: usize, metrics: &Registry) -> Result<Handler, ConfigError> {
    let route = &config.routes[index];
    let client = client(config, index, metrics)?;
    let limit = route.rate_limit.as_ref().map(|limit| rate_limit(config, index, limit, metrics));
    let limit = limit.transpose()?;
    let of = |by| limit.clone().filter(|(of, _)| *of == by).map(|(_, limit)| limit);
    let has_credentials = route.auth.is_some();
    let service = ServiceBuilder::new()
        .map_response(move |response: Response<Body>| match response.status() {
            // It is the gateway that was refused, and its caller can do nothing about it.
            StatusCode::UNAUTHORIZED if has_credentials => Problem::NOT_ADMITTED.response(),
            _ => response,
        })
        .option_layer(of(By::Client).map(|limit| {
            // The gateway has appended the address that it was asked by itself.
            let by_client = ByClient::new().trusted_hops(config.server.trusted_hops as usize + 1);
            limit.keyed(by_client).on_refusal(rate_limit::respond_fn(Limited::problem)).advertise()
        }))
        .option_layer(
            of(By::Route).map(|limit| {
                limit.on_refusal(rate_limit::respond_fn(Limited::problem)).advertise()
            }),
        )
        .option_layer(route.cache.as_ref().map(|cache| {
            let stream = layer_fn(|cached| MapResponse::new(cached, stream));
            (stream, http_cache(cache, metrics))
        }))
        .option_layer(route.circuit_breaker.as_ref().map(|breaker| {
            // Full jitter, which is that of retries, would let calls in at once now and then.
            let first = breaker.open_for.0;
            let open_for = Backoff::exponential(first).max(8 * first).jitter(Jitter::Equal);
            CircuitBreakerLayer::http()
                .trip(Trip::consecutive(breaker.failures.0))
                .open_for(open_for)
                .observer(metrics.observer())
                .on_refusal(respond_fn(Open::problem))
        }))
        .map_result(|result: Result<_, BoxError>| proxy::back(result?))
        .service(client);
    Ok(BoxCloneSyncService::new(service))
}

fn rate_limit(
    config: &Config,
    index: usize,
    limit: &config::RateLimit,
    metrics: &Registry,
) -> Result<(By, RateLimitLayer), ConfigError> {
    let burst = &limit.burst;
    let quota = Quota::try_new(limit.requests.0, limit.per.0);
    let quota = quota.and_then(|quota| quota.try_burst(burst.get_ref().0)).map_err(|error| {
        config.error(burst.span(), &format!("routes[{index}].rate_limit.burst"), error)
    })?;
    let layer = RateLimitLayer::new(quota).wait(Wait::reject()).observer(metrics.observer());
    Ok((limit.by, layer))
}

fn http_cache(
    cache: &config::Cache,
    metrics: &Registry,
) -> HttpCacheLayer<MemoryStore, cache::OnePartition> {
    // The upstream is told these, and may answer by them without saying so.
    let all =
        cache::Route::prefix("/").add_vary([proxy::X_FORWARDED_HOST, proxy::X_FORWARDED_PROTO]);
    let all = match cache.default_ttl {
        Some(ttl) => all.ttl(RouteTtl::Default(ttl.0)),
        None => all,
    };
    let time = |time: Option<config::Time>| time.map_or(Duration::ZERO, |time| time.0);
    HttpCacheLayer::shared(MemoryStore::new(cache.size.0 as u64))
        .route(all)
        .stale_while_revalidate(time(cache.stale_while_revalidate))
        .stale_if_error(time(cache.stale_if_error))
        .background(background_fn(spawn))
        .cache_status("gateway")
        .observer(metrics.observer())
}

/// What goes to the upstream of a route.
fn client(config: &Config, index: usize, metrics: &Registry) -> Result<Client, ConfigError> {
    let route = &config.routes[index];
    let builder = Client::builder()
        .metrics(metrics)
        .total_timeout(route.timeout.0)
        .attempt_timeout(route.attempt_timeout.0)
        .body_idle_timeout(route.idle_timeout.0)
        // The breaker is one of the server's layers.
        .no_circuit_breaker()
        // What the upstream says is for the caller.
        .redirects(0)
        .no_decompression()
        .no_proxy();
    let builder = match &route.retry {
        None => builder.no_retry(),
        Some(retry) => builder.retry(
            RetryLayer::http()
                .attempts(retry.attempts.0)
                .budget(TokenBudget::new(retry.budget.0, retry.reserve.0))
                .deadline(route.timeout.0)
                .observer(metrics.observer()),
        ),
    };
    let builder = match &route.auth {
        None => builder,
        Some(auth) => authorized(builder, config, index, auth, metrics)?,
    };
    let key = format!("routes[{index}]");
    builder.build().map_err(|error| config.error(route.upstream.span(), &key, error))
}

fn authorized(
    builder: ClientBuilder,
    config: &Config,
    index: usize,
    auth: &toml::Spanned<Auth>,
    metrics: &Registry,
) -> Result<ClientBuilder, ConfigError> {
    let upstream = &config.routes[index].upstream;
    let key = |name: &str| format!("routes[{index}].auth.{name}");
    let origins = Origins::try_new([upstream.get_ref().origin()]).map_err(|error| {
        config.error(upstream.span(), &format!("routes[{index}].upstream"), error)
    })?;
    Ok(match auth.get_ref() {
        Auth::Bearer { token } => {
            let key = key("bearer.token");
            let bearer = Bearer::new(config.secret(token, &key)?)
                .map_err(|error| config.error(token.span(), &key, error))?;
            builder.auth_layer(layer(bearer, origins, metrics))
        }
        Auth::ApiKey { header, key: secret } => {
            let key = key("api_key.key");
            let api_key = ApiKey::header(header.0.clone(), config.secret(secret, &key)?)
                .map_err(|error| config.error(secret.span(), &key, error))?;
            builder.auth_layer(layer(api_key, origins, metrics))
        }
        Auth::ClientCredentials { token_url, client_id, client_secret, scope } => {
            let secret = config.secret(client_secret, &key("client_credentials.client_secret"))?;
            let url = |error: &dyn std::fmt::Display| {
                config.error(token_url.span(), &key("client_credentials.token_url"), error)
            };
            let http =
                Client::builder().redirects(0).no_proxy().build().map_err(|error| url(&error))?;
            let endpoint =
                TokenEndpoint::try_new(token_url.get_ref(), http).map_err(|error| url(&error))?;
            let login = ClientCredentials::new(endpoint, ClientAuth::basic(client_id, secret));
            let login = match scope {
                Some(scope) => login.scope(scope),
                None => login,
            };
            let tokens = Tokens::new(login).observer(metrics.observer());
            builder.auth_layer(layer(tokens, origins, metrics))
        }
    })
}

fn layer<A: Authenticator>(authenticator: A, origins: Origins, metrics: &Registry) -> AuthLayer<A> {
    AuthLayer::new(authenticator, origins).replace_own().observer(metrics.observer())
}

fn stream<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
{
    response.map(Body::stream)
}

#[allow(clippy::disallowed_methods, reason = "it is not a layer")]
fn spawn(work: BoxTask) {
    tokio::spawn(work);
}
