use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use http::{Request, Response, header::CONTENT_LENGTH};
use http_body::Body;
use palisade_core::{Classify, Head, HttpClassify};
use tower_service::Service;

use crate::{
    FindEndpoint, InExtensions, ResponseBody, ResponseFuture,
    call::Call,
    store::{Place, Store},
    stripes::Pointers,
};

/// Counts and times the requests that a service answers.
///
/// Made by [`MetricsLayer`](crate::MetricsLayer).
#[derive(Clone)]
pub struct Metered<S, C = HttpClassify, N = InExtensions> {
    inner: S,
    place: Place,
    classify: C,
    endpoints: N,
    stores: Pointers<Store>,
}

impl<S, C, N> Metered<S, C, N> {
    pub(crate) fn new(
        inner: S,
        place: Place,
        classify: C,
        endpoints: N,
        stores: Pointers<Store>,
    ) -> Self {
        Self { inner, place, classify, endpoints, stores }
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

impl<S: fmt::Debug, C, N> fmt::Debug for Metered<S, C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, A, B, C, N> Service<Request<A>> for Metered<S, C, N>
where
    S: Service<Request<A>, Response = Response<B>>,
    A: Body,
    B: Body,
    C: Classify<Response<B>, S::Error> + Clone,
    N: FindEndpoint,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let ready = ready!(self.inner.poll_ready(cx));
        if ready.is_err() {
            self.stores.mine().side(self.place).unready.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(ready)
    }

    #[inline]
    fn call(&mut self, request: Request<A>) -> Self::Future {
        let store = self.stores.mine();
        let head = Head::of(&request);
        let endpoint = self.endpoints.endpoint(head);
        let authority = self.place.authority(head);
        let group = store.group(self.place, endpoint, head.method, authority, head.uri.scheme());
        let sent = length_of(&request);
        let mut call = Call::begin(Arc::clone(store), self.place, group, head.method, sent);
        let future = call.work(|| self.inner.call(request));
        ResponseFuture::new(future, self.classify.clone(), call)
    }
}

/// No body is longer: 2^40 bytes. Some who call a server say so, to spoil a sum.
const LONGEST: u64 = 1 << 40;

/// How long the request's body says it is; zero, if it does not say, or nobody
/// would believe it.
fn length_of<B: Body>(request: &Request<B>) -> u64 {
    let declared = || request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let length = request.body().size_hint().exact().or_else(declared);
    length.filter(|length| *length <= LONGEST).unwrap_or_default()
}
