use std::{
    convert::identity,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::{
    Client, RequestBuilder, Response, ResponseBody,
    runtime::{Waiter, drop_within},
};
use crate::{
    BoxedFuture, BoxedService, Error, FetchJson, IterSource, Progress, ResponseFuture, many,
};

type Json<T> = FetchJson<BoxedService, BoxedFuture, T, crate::ResponseBody>;

/// For code that blocks.
impl Client {
    /// Sends many requests, at most so many at once, and at least one: as
    /// [its like](crate::ClientOf::fetch_all) of the other client.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use http::Response;
    /// # use palisade_client::{Body, Client, blocking};
    /// # use tower::service_fn;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let service = service_fn(|request: http::Request<Body>| async move {
    /// #     Ok::<_, Infallible>(Response::new(Body::from(request.uri().path()[9..].to_owned())))
    /// # });
    /// # let client = blocking::Client::of(
    /// #     Client::builder().base_url("https://api.example").build_over(service)?.lenient(),
    /// # );
    /// let requests = (1..=100).map(|id| client.get("/squares/{id}").path("id", id));
    /// let ids: Vec<u32> = client.fetch_all(requests, 16).json::<u32>().collect::<Result<_, _>>()?;
    /// assert_eq!(ids, Vec::from_iter(1..=100));
    /// # Ok(())
    /// # }
    /// ```
    pub fn fetch_all<I>(&self, requests: I, concurrency: usize) -> FetchAll<I::IntoIter>
    where
        I: IntoIterator<Item = RequestBuilder>,
    {
        let source = IterSource::new(requests.into_iter());
        FetchAll { inner: crate::FetchAll::new(source, concurrency) }
    }
}

/// Many requests, of which some are under way at once.
///
/// What it becomes, [`json`](Self::json) or [`responses`](Self::responses), is an
/// [`Iterator`]. The next request is asked for, by the thread that iterates, when there
/// is room for it. Who drops the iterator drops what is under way.
#[derive(Debug)]
#[must_use = "it does nothing until it becomes an iterator"]
pub struct FetchAll<I, P = fn(Progress)> {
    inner: crate::FetchAll<IterSource<I>, P>,
}

impl<I, P> FetchAll<I, P> {
    /// Sets who is told each time a request is done. Defaults to nobody.
    pub fn on_progress<N: FnMut(Progress)>(self, progress: N) -> FetchAll<I, N> {
        FetchAll { inner: self.inner.on_progress(progress) }
    }
}

impl<I, P> FetchAll<I, P>
where
    I: Iterator<Item = RequestBuilder>,
{
    /// Reads each answer as JSON, while others are under way.
    pub fn json<T: DeserializeOwned>(self) -> Fetched<IterSource<I>, Json<T>, T, P> {
        let make = |request: RequestBuilder| FetchJson::new(request.begin());
        Fetched { waiting: Waiting::new(self.inner.fetched(make)) }
    }

    /// Hands out the answers. Their bodies are read by who takes them, one after the
    /// other.
    pub fn responses(self) -> Fetched<IterSource<I>, FetchResponse, Response, P> {
        let make = |request: RequestBuilder| FetchResponse { future: request.begin() };
        Fetched { waiting: Waiting::new(self.inner.fetched(make)) }
    }
}

/// The results of many requests, in the order of the requests.
///
/// It is as [its like](crate::Fetched) that is a stream. Where a thread must not wait,
/// an error of [`Kind::Blocking`](crate::Kind::Blocking) is the last result.
#[must_use = "it sends nothing unless it is iterated"]
pub struct Fetched<Q: Stream, F, T, P> {
    waiting: Waiting<many::Fetched<Q, F, T, P>>,
}

/// The results of many requests as they come, each with the index of its request, counted
/// from 0.
///
/// Where a thread must not wait, an error of [`Kind::Blocking`](crate::Kind::Blocking)
/// is the last result, with the index of the request that would have been next.
#[must_use = "it sends nothing unless it is iterated"]
pub struct FetchedUnordered<Q: Stream, F, T, P> {
    waiting: Waiting<many::FetchedUnordered<Q, F, T, P>>,
}

impl<Q: Stream, F, T, P> Fetched<Q, F, T, P> {
    /// Hands out results as they come.
    pub fn unordered(self) -> FetchedUnordered<Q, F, T, P> {
        FetchedUnordered { waiting: self.waiting.map(many::Fetched::unordered) }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.waiting.stream.as_ref().map(many::Fetched::progress).unwrap_or_default()
    }
}

impl<Q: Stream, F, T, P> FetchedUnordered<Q, F, T, P> {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.waiting.stream.as_ref().map(many::FetchedUnordered::progress).unwrap_or_default()
    }
}

impl<Q, F, T, P> Iterator for Fetched<Q, F, T, P>
where
    Q: Stream + Unpin,
    F: Future<Output = Result<T, Error>>,
    P: FnMut(Progress),
{
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.waiting.next()?.and_then(identity))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.waiting.size_hint()
    }
}

impl<Q, F, T, P> Iterator for FetchedUnordered<Q, F, T, P>
where
    Q: Stream + Unpin,
    F: Future<Output = Result<T, Error>>,
    P: FnMut(Progress),
{
    type Item = (usize, Result<T, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.waiting.next()?.unwrap_or_else(|error| (self.progress().begun, Err(error))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.waiting.size_hint()
    }
}

/// A stream that is waited for.
struct Waiting<S> {
    // Until it is dropped.
    stream: Option<S>,
    refused: bool,
}

impl<S> Waiting<S> {
    fn new(stream: S) -> Self {
        Self { stream: Some(stream), refused: false }
    }

    fn map<N>(mut self, map: impl FnOnce(S) -> N) -> Waiting<N> {
        Waiting { stream: self.stream.take().map(map), refused: self.refused }
    }
}

impl<S: Stream + Unpin> Waiting<S> {
    fn next(&mut self) -> Option<Result<S::Item, Error>> {
        let stream = self.stream.as_mut().filter(|_| !self.refused)?;
        match Waiter::new() {
            Ok(waiter) => waiter.wait(stream.next()).map(Ok),
            Err(cannot) => {
                // It would be so for ever.
                self.refused = true;
                Some(Err(cannot.at(None)))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The least is not certain: a thread may be refused.
        let most = self.stream.as_ref().and_then(|stream| stream.size_hint().1);
        (0, most)
    }
}

impl<S> Drop for Waiting<S> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            drop_within(stream);
        }
    }
}

/// The future of one of many answers.
pub struct FetchResponse {
    future: ResponseFuture<BoxedService, BoxedFuture>,
}

impl Future for FetchResponse {
    type Output = Result<Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.future).poll(cx))?;
        Poll::Ready(Ok(response.map_body(ResponseBody::new)))
    }
}

impl<Q: Stream, F, T, P> fmt::Debug for Fetched<Q, F, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").field("progress", &self.progress()).finish_non_exhaustive()
    }
}

impl<Q: Stream, F, T, P> fmt::Debug for FetchedUnordered<Q, F, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedUnordered")
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FetchResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchResponse").finish_non_exhaustive()
    }
}
