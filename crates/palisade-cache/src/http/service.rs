use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Method, Request, Response, Uri, header,
    uri::{Authority, Scheme},
};
use http_body::Body;
use palisade_core::{BoxError, Endpoint, Head, is_safe};
use tower_service::Service;

use super::{
    ask::{Ask, Decision, Found, is_plain},
    body::CachedBody,
    body_key::{BodyKey, Unread},
    entry::compacted,
    future::{By, ResponseFuture},
    key::CacheKeyRef,
    mode::CacheMode,
    partition::{ByCredentials, CachePartition, PartitionBy},
    pending::Pending,
    respond,
    settings::Core,
    status::CacheStatus,
    store::Store,
    write::Write,
};
use crate::rules::{
    cache_status::{Forward, Handled},
    conditional,
    lookup::Demand,
};

/// Answers requests with what is stored, and stores what others are answered
/// with.
///
/// Made by [`HttpCacheLayer`](crate::HttpCacheLayer). It is always ready: a
/// request that has to go to the inner service waits for a clone of that. So
/// what is stored is served while a limiter, a breaker or the network below is
/// closed; what is outside of the cache does not see that they are.
pub struct HttpCache<S, T, P = ByCredentials, K = Unread> {
    inner: S,
    core: Arc<Core<T>>,
    partition: P,
    bodies: K,
}

impl<S, T, P, K> HttpCache<S, T, P, K> {
    pub(crate) fn new(inner: S, core: Arc<Core<T>>, partition: P, bodies: K) -> Self {
        Self { inner, core, partition, bodies }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, T, P: Clone, K: Clone> Clone for HttpCache<S, T, P, K> {
    fn clone(&self) -> Self {
        let (partition, bodies) = (self.partition.clone(), self.bodies.clone());
        Self::new(self.inner.clone(), Arc::clone(&self.core), partition, bodies)
    }
}

impl<S: fmt::Debug, T, P, K> fmt::Debug for HttpCache<S, T, P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Q, B, T, P, K> Service<Request<Q>> for HttpCache<S, T, P, K>
where
    S: Service<Request<Q>, Response = Response<B>, Error: Send, Future: Send>
        + Clone
        + Send
        + 'static,
    Q: Body + Send + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
    T: Store,
    P: PartitionBy,
    K: BodyKey<Q>,
{
    type Response = Response<CachedBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Q, B, T>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let core = &self.core;
        let head = Head::of(&request);
        let body = match *request.method() {
            Method::GET | Method::HEAD => None,
            ref method if *method == Method::POST || method.as_str() == "QUERY" => {
                self.bodies.key(&request)
            }
            _ => None,
        };
        let with_host = match with_host(&request) {
            Ok(with_host) if !passes(&request, body.is_some()) => with_host,
            _ => {
                core.settings.observe(head, CacheStatus::Bypass.as_str());
                let why = if is_kept(request.method()) { Forward::Bypass } else { Forward::Method };
                let (core, inner) = (Arc::clone(core), self.inner.clone());
                return ResponseFuture::passes(core, inner, request, why, By::Nothing);
            }
        };
        let uri = with_host.as_ref().unwrap_or_else(|| request.uri());
        let mode = request.extensions().get().copied().unwrap_or(CacheMode::Default);
        let demand = Demand::of(mode.rule(), request.headers());
        let said = request.extensions().get::<CachePartition>();
        let partition = || match said {
            Some(said) => Cow::Borrowed(said),
            None => Cow::Owned(self.partition.partition(head)),
        };
        let writes = body.is_none() && !is_safe(request.method());
        // What POST is answered with may be what GET would be.
        let stores = demand.stores() && !(writes && *request.method() != Method::POST);
        if !stores && demand.may_ask() {
            core.settings.observe(head, CacheStatus::Bypass.as_str());
            let by = match writes {
                true => By::Write(Box::new(Write {
                    method: request.method().clone(),
                    uri: uri.clone(),
                    partition: partition().into_owned(),
                })),
                false => By::Nothing,
            };
            let why = demand.why_forwarded(writes);
            demand.tell(request.headers_mut());
            let (core, inner) = (Arc::clone(core), self.inner.clone());
            return ResponseFuture::passes(core, inner, request, why, by);
        }
        let route = core.settings.route(head);
        let partition = &*partition();
        let reduced = route.and_then(|route| core.settings.routes[route].reduce(uri));
        let reduced = reduced.as_ref().unwrap_or(uri);
        let key = CacheKeyRef::new(partition, reduced, body, core.settings.shared);

        let reads = demand.reads() && (body.is_some() || is_safe(request.method()));
        let now = core.settings.now();
        let found = if reads {
            Found::peek(&core.store, key, request.headers(), &demand, now)
        } else {
            Some(Found::default())
        };
        let decide = |found| Decision::of(found, request.method(), request.headers(), &demand, now);
        let decision = found.as_ref().map(decide);
        if let Some(Decision::Answer { variant, answer, age, status }) = &decision {
            core.settings.observe(head, status.as_str());
            let mut response = respond::stored(variant, request.method(), *answer, *age, *status);
            if let Some(name) = core.settings.name.as_deref() {
                let ttl = Some(variant.head.policy.ttl(now));
                respond::sign(response.headers_mut(), Some(name), Handled::Hit, ttl, None);
            }
            return ResponseFuture::answered(response);
        }
        if let Some(Decision::Ask { selected: None, why: why @ Forward::UriMiss }) = decision
            && route.is_none()
            && is_plain(request.method(), request.headers(), key, &demand)
            && let Some(passed) = core.flights.passes(key)
        {
            core.settings.observe(head, CacheStatus::Miss.as_str());
            let (core, inner) = (Arc::clone(core), self.inner.clone());
            return ResponseFuture::passes(core, inner, request, why, By::Known(passed));
        }
        let ask = Ask {
            method: request.method().clone(),
            uri: uri.clone(),
            // A clone of a value costs an allocation for each that is not shared yet.
            headers: compacted(request.headers()),
            endpoint: Endpoint::of(request.extensions()),
            key: key.to_key(),
            demand,
            route,
        };
        let pending = Pending::new(Arc::clone(core), self.inner.clone(), request, ask);
        match (decision, found) {
            (Some(decision), Some(found)) => ResponseFuture::of(pending.act(decision, found)),
            _ => ResponseFuture::looks(pending),
        }
    }
}

/// Whether the cache has nothing to do with a request: neither can its answer be
/// stored, nor does it make invalid what is.
fn passes<Q: Body>(request: &Request<Q>, keyed_by_body: bool) -> bool {
    let method = request.method();
    match *method {
        Method::CONNECT => true,
        _ if request.headers().contains_key(header::UPGRADE) => true,
        // The key knows nothing of a body.
        Method::GET | Method::HEAD => {
            conditional::is_for_the_origin(request.headers()) || has_body(request)
        }
        _ if keyed_by_body => conditional::is_for_the_origin(request.headers()),
        _ => is_safe(method),
    }
}

/// Whether answers to the method are stored.
fn is_kept(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the request has a body, or may have one: most clients write fields that say so only
/// below the cache.
fn has_body<Q: Body>(request: &Request<Q>) -> bool {
    let (headers, body) = (request.headers(), request.body());
    let empty = |length: &HeaderValue| length == "0";
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| !empty(length))
        || !body.is_end_stream() && body.size_hint().exact() != Some(0)
}

/// The URI of a request with the host that only a field tells, if it is so, as
/// on a server. An error, if different ones are told: then nobody knows whether
/// what is answered is for this URI.
fn with_host<Q>(request: &Request<Q>) -> Result<Option<Uri>, OtherHost> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        return Ok(None);
    };
    // RFC 9112, section 3.2: there is one, but who answers may not look.
    if hosts.next().is_some() {
        return Err(OtherHost);
    }
    if let Some(authority) = request.uri().authority() {
        let authority = authority.as_str();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let same = authority.as_bytes().eq_ignore_ascii_case(host.as_bytes());
        return if same { Ok(None) } else { Err(OtherHost) };
    }
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| OtherHost)?);
    Uri::from_parts(parts).map(Some).map_err(|_| OtherHost)
}

/// It is asked of another host than the URI says.
#[derive(Debug)]
struct OtherHost;
