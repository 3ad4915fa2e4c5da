use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    ask::Found,
    body::CachedBody,
    flights::Passed,
    outcome::{Heard, Lead},
    pending::Pending,
    respond,
    seat::{Begin, Seat},
    settings::Core,
    status::CacheStatus,
    store::Store,
    upstream::Upstream,
    write::Write,
};
use crate::rules::{admission::is_for_some, cache_status::Forward};

pin_project! {
    /// The future of [`HttpCache`](crate::HttpCache).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it takes nothing from other requests that wait for the same
    /// response; the last one of them ends the call.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Q, B, T>
    where
        S: Service<Request<Q>>,
        T: Store,
    {
        #[pin]
        stage: Stage<S, Q, B, T>,
    }
}

pin_project! {
    #[project = StageProj]
    pub(crate) enum Stage<S, Q, B, T>
    where
        S: Service<Request<Q>>,
        T: Store,
    {
        // The answer is there.
        Answered { response: Option<Response<CachedBody<B>>> },
        // Who waits is boxed, as it is large. The store is asked: for the partition of the request, and then for that of all.
        Looks { #[pin] get: T::Get, own: Option<Found>, pending: Option<Box<Pending<S, Q, T>>> },
        // Another request fetches it.
        Follows { seat: Option<Seat<Heard>>, pending: Option<Box<Pending<S, Q, T>>> },
        // This one fetches it.
        Leads { began: Began<B, S::Error>, seat: Option<Seat<Heard>> },
        // Nothing is stored of it: not boxed, so that it costs no more than without a cache.
        Passes {
            #[pin]
            upstream: Upstream<S, Q, S::Future, B>,
            core: Arc<Core<T>>,
            why: Forward,
            by: By,
        },
    }
}

/// What passes by.
pub(crate) enum By {
    /// What a cache has nothing to do with.
    Nothing,
    /// What may make invalid what is stored. Boxed, as most requests only read, and all are moved.
    Write(Box<Write>),
    /// What is most likely not stored.
    Known(Passed),
}

/// What this one gets for itself, of the fill that it began.
pub(crate) type Began<B, E> = Arc<dyn Begin<Lead<B, E>>>;

impl<S, Q, B, T> ResponseFuture<S, Q, B, T>
where
    S: Service<Request<Q>, Response = Response<B>>,
    T: Store,
{
    pub(crate) fn answered(response: Response<CachedBody<B>>) -> Self {
        Self { stage: Stage::Answered { response: Some(response) } }
    }

    pub(crate) fn passes(
        core: Arc<Core<T>>,
        service: S,
        request: Request<Q>,
        why: Forward,
        by: By,
    ) -> Self {
        let upstream = Upstream::new(service, request);
        Self { stage: Stage::Passes { upstream, core, why, by } }
    }

    pub(crate) fn looks(pending: Pending<S, Q, T>) -> Self {
        let get = pending.core.store.get(&pending.ask.key);
        Self { stage: Stage::Looks { get, own: None, pending: Some(Box::new(pending)) } }
    }

    pub(crate) fn of(stage: Stage<S, Q, B, T>) -> Self {
        Self { stage }
    }
}

impl<S, Q, B, T> Future for ResponseFuture<S, Q, B, T>
where
    S: Service<Request<Q>, Response = Response<B>, Error: Send, Future: Send> + Send + 'static,
    Q: Send + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
    T: Store,
{
    type Output = Result<Response<CachedBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            let next = match stage.as_mut().project() {
                StageProj::Answered { response } => {
                    let response = response.take().expect("it is polled until it is ready");
                    return Poll::Ready(Ok(response));
                }
                StageProj::Looks { get, own, pending } => {
                    let entry = match (get.poll(cx), pending.as_mut()) {
                        (Poll::Ready(entry), _) => Some(entry),
                        (Poll::Pending, Some(waits)) => {
                            ready!(waits.poll_lookup(cx));
                            None
                        }
                        (Poll::Pending, None) => return Poll::Pending,
                    };
                    let waits = pending.take().expect("it is asked once");
                    let found = match (own.take(), entry) {
                        (Some(own), Some(entry)) => Found { common: entry, looked: true, ..own },
                        (None, Some(entry)) => Found { own: entry, ..Found::default() },
                        // It has waited for long enough.
                        (own, None) => Found { looked: true, ..own.unwrap_or_default() },
                    };
                    match waits.second_look(&found) {
                        Some(get) => Stage::Looks { get, own: Some(found), pending: Some(waits) },
                        None => waits.decide(found),
                    }
                }
                StageProj::Follows { seat, pending } => {
                    let (Some(sits), Some(waits)) = (seat.as_ref(), pending.as_mut()) else {
                        return Poll::Pending;
                    };
                    let heard = match sits.poll_head(cx) {
                        Poll::Ready(heard) => Some(heard),
                        Poll::Pending => {
                            ready!(waits.poll_patience(cx));
                            None
                        }
                    };
                    let (sits, waits) = (seat.take(), pending.take());
                    match (heard, sits, waits) {
                        (Some(heard), Some(sits), Some(waits)) => waits.hear(heard, sits),
                        // It has waited for long enough.
                        (_, _, Some(waits)) => waits.alone(),
                        _ => return Poll::Pending,
                    }
                }
                StageProj::Leads { began, seat } => {
                    let Some(sits) = seat.as_ref() else {
                        return Poll::Pending;
                    };
                    ready!(sits.poll_head(cx));
                    return Poll::Ready(match (began.take_lead(), seat.take()) {
                        (Some(Lead::Done(result)), _) => result,
                        (Some(Lead::Parts(parts)), Some(seat)) => {
                            let body = CachedBody::shared(seat, CacheStatus::Miss);
                            Ok(Response::from_parts(parts, body))
                        }
                        // Another one polled the inner service, which panicked.
                        _ => Ok(respond::confused()),
                    });
                }
                StageProj::Passes { upstream, core, why, by } => {
                    let mut response = ready!(upstream.poll_response(cx))?;
                    let (answered, headers) = (response.status(), response.headers());
                    let status = match by {
                        By::Nothing => CacheStatus::Bypass,
                        By::Write(write) => {
                            write.answered(core, answered, headers);
                            CacheStatus::Bypass
                        }
                        By::Known(passed) => {
                            let options = core.settings.options(None, false);
                            let now = || core.settings.now();
                            if is_for_some(answered, headers, &options, now) {
                                core.flights.mix(*passed);
                            }
                            CacheStatus::Miss
                        }
                    };
                    let (name, handled) =
                        (core.settings.name.as_deref(), respond::forwarded(*why, false, false));
                    respond::sign(response.headers_mut(), name, handled, None, None);
                    return Poll::Ready(Ok(response.map(|body| CachedBody::inner(body, status))));
                }
            };
            stage.set(next);
        }
    }
}

impl<S, Q, B, T> fmt::Debug for ResponseFuture<S, Q, B, T>
where
    S: Service<Request<Q>>,
    T: Store,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
