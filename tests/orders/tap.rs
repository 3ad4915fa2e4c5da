//! What is counted between two layers.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use palisade_core::{BoxError, ErrorKind, find_cause};
use tower::{Service, load_shed::error::Overloaded, util::BoxCloneSyncService};

/// The one type of bodies: of requests as well, so that none of them clones.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The one type of services, so that layers can be put around it in any order.
pub(crate) type Boxed = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// What has passed between two layers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// How often the lower one was called.
    pub(crate) calls: u64,
    /// Calls that were dropped before their head.
    pub(crate) dropped: u64,
    /// Calls that panicked before their head.
    pub(crate) panicked: u64,
    /// Calls that failed, by kind.
    pub(crate) failed: BTreeMap<ErrorKind, u64>,
    /// Those of them that were shed by tower.
    pub(crate) shed: u64,
    /// Calls that were answered, by status.
    pub(crate) answered: BTreeMap<u16, u64>,
    /// Bytes of bodies that came.
    pub(crate) received: u64,
    /// Futures and bodies that there are.
    pub(crate) open: u64,
}

impl Counts {
    pub(crate) fn errors(&self) -> u64 {
        self.failed.values().sum()
    }

    pub(crate) fn status(&self, status: u16) -> u64 {
        self.answered.get(&status).copied().unwrap_or_default()
    }

    /// Whether each call was followed to its head.
    pub(crate) fn is_calm(&self) -> bool {
        self.dropped == 0 && self.panicked == 0
    }
}

/// Counts what passes.
#[derive(Clone)]
pub(crate) struct Tap {
    inner: Boxed,
    counts: Arc<Mutex<Counts>>,
}

impl Tap {
    pub(crate) fn around(inner: Boxed) -> (Boxed, Arc<Mutex<Counts>>) {
        let counts = Arc::default();
        (Boxed::new(Self { inner, counts: Arc::clone(&counts) }), counts)
    }
}

impl Service<Request<Body>> for Tap {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut ticket = Ticket::new(Arc::clone(&self.counts));
        let mut future = self.inner.call(request);
        ticket.works = false;
        Box::pin(async move {
            let result = poll_fn(|cx| {
                ticket.works = true;
                let polled = future.as_mut().poll(cx);
                ticket.works = false;
                polled
            });
            let result = result.await;
            // What it holds is nothing that the answer needs.
            drop(future);
            ticket.ended(&result);
            Ok(result?.map(|body| TappedBody { body, ticket }.boxed_unsync()))
        })
    }
}

/// A call, or the body that came of it.
struct Ticket {
    counts: Arc<Mutex<Counts>>,
    // The lower one is at work: what ends now has panicked.
    works: bool,
    ended: bool,
}

impl Ticket {
    fn new(counts: Arc<Mutex<Counts>>) -> Self {
        {
            let mut counts = counts.lock().unwrap();
            counts.calls += 1;
            counts.open += 1;
        }
        Self { counts, works: true, ended: false }
    }

    fn ended(&mut self, result: &Result<Response<Body>, BoxError>) {
        self.ended = true;
        let mut counts = self.counts.lock().unwrap();
        match result {
            Ok(response) => {
                *counts.answered.entry(response.status().as_u16()).or_default() += 1;
            }
            Err(error) => {
                *counts.failed.entry(ErrorKind::of(&**error)).or_default() += 1;
                counts.shed += u64::from(find_cause::<Overloaded>(&**error).is_some());
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap();
        counts.open -= 1;
        match (self.ended, self.works) {
            (true, _) => {}
            (false, true) => counts.panicked += 1,
            (false, false) => counts.dropped += 1,
        }
    }
}

struct TappedBody {
    body: Body,
    ticket: Ticket,
}

impl http_body::Body for TappedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.ticket.counts.lock().unwrap().received += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
