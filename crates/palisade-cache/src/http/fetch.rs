//! The work of a fill: a call, what becomes of its response, and the body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Request, Response, StatusCode, response::Parts};
use http_body::{Body, SizeHint};
use palisade_core::{BoxError, is_stream};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::CachedBody,
    fill::{Head, Work},
    outcome::{Heard, Lead},
    pieces::Pieces,
    plan::{Judged, Plan},
    respond,
    seat::Polled,
    splice::Splice,
    status::CacheStatus,
    store::Store,
    upstream::Upstream,
};
use crate::rules::{admission::Unstorable, cache_status::Handled};

pin_project! {
    pub(crate) struct Fetch<S, Q, B, T>
    where
        S: Service<Request<Q>>,
        T: Store,
    {
        #[pin]
        upstream: Upstream<S, Q, S::Future, B>,
        plan: Plan<T>,
        splice: Option<Splice>,
    }
}

impl<S, Q, B, T> Fetch<S, Q, B, T>
where
    S: Service<Request<Q>, Response = Response<B>>,
    T: Store,
{
    pub(crate) fn new(service: S, request: Request<Q>, plan: Plan<T>) -> Self {
        Self { upstream: Upstream::new(service, request), plan, splice: None }
    }
}

impl<S, Q, B, T> Work for Fetch<S, Q, B, T>
where
    S: Service<Request<Q>, Response = Response<B>, Error: Send, Future: Send> + Send + 'static,
    Q: Send + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
    T: Store,
{
    type Heard = Heard;
    type Lead = Lead<B, S::Error>;

    fn poll_head(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Head<Self>> {
        let mut this = self.project();
        if let Some(variant) = this.plan.start() {
            return Poll::Ready(answered(
                this.plan,
                &Judged::Answer(variant, CacheStatus::Hit),
                None,
            ));
        }
        let response = match ready!(this.upstream.as_mut().poll_response(cx)) {
            Ok(response) => response,
            Err(error) => {
                let judged = this.plan.fail();
                if let Judged::Answer(..) = judged {
                    return Poll::Ready(answered(this.plan, &judged, None));
                }
                this.plan.tell(this.plan.status());
                let lead = Some(Lead::Done(Err(error)));
                return Poll::Ready(Head { heard: Heard::Failed, lead, body: None });
            }
        };
        let stream = is_stream(&response, false);
        let (mut parts, body) = response.into_parts();
        let came = parts.status;
        let judged = this.plan.judge(&mut parts, &body.size_hint(), stream);
        let status = match judged {
            Judged::Answer(..) | Judged::Confused => {
                return Poll::Ready(answered(this.plan, &judged, Some(came)));
            }
            Judged::Pass => this.plan.status(),
            Judged::Store(_) => CacheStatus::Miss,
        };
        this.plan.tell(status);
        sign(this.plan, &mut parts, came, &judged);
        let Judged::Store(head) = judged else {
            let response = Response::from_parts(parts, CachedBody::inner(body, status));
            return Poll::Ready(released(Lead::Done(Ok(response))));
        };
        this.upstream.set(Upstream::Body { body });
        *this.splice = this.plan.take_splice();
        let most = this.plan.core.store.max_body();
        let (heard, lead) = (Heard::Streams(head), Some(Lead::Parts(parts)));
        Poll::Ready(Head { heard, lead, body: Some(most) })
    }

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.project();
        match this.splice {
            None => this.upstream.poll_frame(cx),
            Some(splice) => splice.poll_frame(|| this.upstream.poll_frame(cx)),
        }
    }

    fn hint(&self) -> (bool, SizeHint) {
        match &self.splice {
            None => self.upstream.hint(),
            // Its end is known once it has been reached.
            Some(splice) => (false, splice.size()),
        }
    }

    fn finish(self: Pin<&mut Self>, pieces: Option<&Pieces>, trailers: Option<&HeaderMap>) -> bool {
        self.project().plan.finish(pieces, trailers)
    }

    fn close(self: Pin<&mut Self>) {
        self.project().plan.land();
    }
}

/// Nobody else gets it.
fn released<W: Work<Heard = Heard>>(lead: W::Lead) -> Head<W> {
    Head { heard: Heard::Released, lead: Some(lead), body: None }
}

/// What is stored is the answer, for all whom it is for, in place of what came.
fn answered<W, B, E, T>(plan: &Plan<T>, judged: &Judged, came: Option<StatusCode>) -> Head<W>
where
    W: Work<Heard = Heard, Lead = Lead<B, E>>,
    T: Store,
{
    let settings = &plan.core.settings;
    let Judged::Answer(variant, status) = judged else {
        plan.tell(CacheStatus::Miss);
        return released(Lead::Done(Ok(respond::confused())));
    };
    plan.tell(*status);
    let (now, policy) = (settings.now(), &variant.head.policy);
    let answer = plan.ask.answer(variant);
    let mut response = respond::stored(variant, &plan.ask.method, answer, policy.age(now), *status);
    let handled = match status {
        CacheStatus::Hit => Handled::Hit,
        _ => Handled::Forwarded {
            why: plan.why,
            status: came.map(|came| came.as_u16()),
            stored: *status == CacheStatus::Revalidated,
            collapsed: false,
        },
    };
    let ttl = Some(policy.ttl(now));
    respond::sign(response.headers_mut(), settings.name.as_deref(), handled, ttl, None);
    let lead = Some(Lead::Done(Ok(response)));
    Head { heard: Heard::Stored(variant.clone(), *status), lead, body: None }
}

fn sign<T: Store>(plan: &Plan<T>, parts: &mut Parts, came: StatusCode, judged: &Judged) {
    let stored = match judged {
        Judged::Store(head) => Some(head),
        _ => None,
    };
    let status = (came != parts.status).then(|| came.as_u16());
    let handled =
        Handled::Forwarded { why: plan.why, status, stored: stored.is_some(), collapsed: false };
    let ttl = stored.map(|head| head.policy.ttl(head.received));
    let name = plan.core.settings.name.as_deref();
    respond::sign(&mut parts.headers, name, handled, ttl, plan.unstored().map(Unstorable::as_str));
}
