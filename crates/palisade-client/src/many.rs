//! Many requests at once.

mod driver;
mod fetch;
mod source;

use std::fmt;

use futures_core::Stream;
use http::{Request, Response as HttpResponse};
use serde::de::DeserializeOwned;
use tower_service::Service;

pub use self::{
    driver::{Fetched, FetchedUnordered},
    fetch::FetchJson,
    source::IterSource,
};
use crate::{Body, ClientOf, RequestBuilder, Response, ResponseFuture};

/// Many requests, of which some are under way at once.
///
/// What it becomes, [`json`](Self::json) or [`responses`](Self::responses), is
/// a [`Stream`] that does nothing unless it is polled: the next request is
/// asked for when there is room for it, so a source is not read ahead. Who
/// drops it drops what is under way.
#[must_use = "it does nothing until it becomes a stream"]
pub struct FetchAll<Q, P = fn(Progress)> {
    source: Q,
    concurrency: usize,
    progress: P,
}

/// How far many requests are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many requests were begun.
    pub begun: usize,
    /// How many have an answer, or failed.
    pub done: usize,
    /// How many failed.
    pub failed: usize,
    /// How many there are in all, if the source knows.
    pub total: Option<usize>,
}

impl<S: Service<Request<Body>>> ClientOf<S> {
    /// Sends many requests, at most so many at once, and at least one.
    ///
    /// Each waits for a clone of the service of its own to be ready, so one
    /// that fails says nothing of the rest.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use http::Response;
    /// # use palisade_client::{Body, ClientOf, Error};
    /// # use tower::service_fn;
    /// use futures_util::TryStreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let service = service_fn(|request: http::Request<Body>| async move {
    /// #     Ok::<_, Infallible>(Response::new(Body::from(request.uri().path()[9..].to_owned())))
    /// # });
    /// # let client = ClientOf::from_service(service).base_url("https://api.example");
    /// let requests = (1..=100).map(|id| client.get("/squares/{id}").path("id", id));
    /// let ids: Vec<u32> = client.fetch_all(requests, 16).json::<u32>().try_collect().await?;
    /// assert_eq!(ids, Vec::from_iter(1..=100));
    /// # Ok(())
    /// # }
    /// ```
    pub fn fetch_all<I>(&self, requests: I, concurrency: usize) -> FetchAll<IterSource<I::IntoIter>>
    where
        I: IntoIterator<Item = RequestBuilder<S>>,
    {
        FetchAll::new(IterSource::new(requests.into_iter()), concurrency)
    }

    /// Sends the requests of a stream, as [`fetch_all`](Self::fetch_all) does.
    pub fn fetch_stream<Q>(&self, requests: Q, concurrency: usize) -> FetchAll<Q>
    where
        Q: Stream<Item = RequestBuilder<S>>,
    {
        FetchAll::new(requests, concurrency)
    }
}

impl<Q> FetchAll<Q> {
    pub(crate) fn new(source: Q, concurrency: usize) -> Self {
        Self { source, concurrency: concurrency.max(1), progress: |_| () }
    }
}

impl<Q, P> FetchAll<Q, P> {
    /// Sets who is told each time a request is done. Defaults to nobody.
    pub fn on_progress<N: FnMut(Progress)>(self, progress: N) -> FetchAll<Q, N> {
        FetchAll { source: self.source, concurrency: self.concurrency, progress }
    }
}

impl<Q: Stream, P> FetchAll<Q, P> {
    /// The results of what is made of the requests.
    pub(crate) fn fetched<F, T>(self, make: fn(Q::Item) -> F) -> Fetched<Q, F, T, P> {
        Fetched::new(self.source, make, self.concurrency, self.progress)
    }
}

impl<Q, P, S, R> FetchAll<Q, P>
where
    Q: Stream<Item = RequestBuilder<S>>,
    S: Service<Request<Body>, Response = HttpResponse<R>>,
{
    /// Reads each answer as JSON, while others are under way: see
    /// [`Response::json`].
    pub fn json<T: DeserializeOwned>(self) -> Fetched<Q, FetchJson<S, S::Future, T, R>, T, P> {
        self.fetched(|request| FetchJson::new(request.send()))
    }

    /// Hands out the answers. Their bodies are read by who takes them, one
    /// after the other.
    pub fn responses(self) -> Fetched<Q, ResponseFuture<S, S::Future>, Response<R>, P> {
        self.fetched(|request| request.send())
    }
}

impl<Q, P> fmt::Debug for FetchAll<Q, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchAll").field("concurrency", &self.concurrency).finish_non_exhaustive()
    }
}
