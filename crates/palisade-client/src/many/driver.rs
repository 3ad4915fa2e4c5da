use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;
use pin_project_lite::pin_project;

use super::Progress;
use crate::Error;

pin_project! {
    /// The results of many requests, in the order of the requests.
    ///
    /// A result that has to wait for an earlier one takes the place of a
    /// request under way. An error knows its [`index`](Error::index), and does
    /// not end the rest.
    #[must_use = "a stream does nothing unless it is polled"]
    pub struct Fetched<Q: Stream, F, T, P> {
        #[pin]
        driver: Driver<Q, F, P>,
        // Of each request begun and not handed out: its result, once it is there.
        // The first of them is of this index.
        first: usize,
        results: VecDeque<Option<Result<T, Error>>>,
    }
}

pin_project! {
    /// The results of many requests as they come, each with the index of its
    /// request, counted from 0.
    #[must_use = "a stream does nothing unless it is polled"]
    pub struct FetchedUnordered<Q: Stream, F, T, P> {
        #[pin]
        fetched: Fetched<Q, F, T, P>,
    }
}

impl<Q: Stream, F, T, P> Fetched<Q, F, T, P> {
    pub(crate) fn new(source: Q, make: fn(Q::Item) -> F, concurrency: usize, progress: P) -> Self {
        let driver = Driver {
            source,
            make,
            ended: false,
            concurrency,
            running: FuturesUnordered::new(),
            state: Progress::default(),
            progress,
        };
        Self { driver, first: 0, results: VecDeque::new() }
    }

    /// Hands out results as they come.
    pub fn unordered(self) -> FetchedUnordered<Q, F, T, P> {
        FetchedUnordered { fetched: self }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.driver.state
    }
}

impl<Q, F, T, P> Stream for Fetched<Q, F, T, P>
where
    Q: Stream,
    F: Future<Output = Result<T, Error>>,
    P: FnMut(Progress),
{
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(result) = this.results.front_mut().and_then(Option::take) {
                this.results.pop_front();
                *this.first += 1;
                return Poll::Ready(Some(result));
            }
            let waiting = this.results.len() - this.driver.running.len();
            let next = this.driver.as_mut().poll_any(waiting, cx);
            this.results.resize_with(this.driver.state.begun - *this.first, || None);
            let Some((index, result)) = ready!(next) else { return Poll::Ready(None) };
            // Kept first: who is told may panic.
            this.results[index - *this.first] = Some(result);
            this.driver.as_mut().tell();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.driver.size_hint(self.results.len())
    }
}

impl<Q: Stream, F, T, P> FetchedUnordered<Q, F, T, P> {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.fetched.progress()
    }
}

impl<Q, F, T, P> Stream for FetchedUnordered<Q, F, T, P>
where
    Q: Stream,
    F: Future<Output = Result<T, Error>>,
    P: FnMut(Progress),
{
    type Item = (usize, Result<T, Error>);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project().fetched.project();
        // What came before order ceased to matter.
        while let Some(result) = this.results.pop_front() {
            let index = *this.first;
            *this.first += 1;
            if let Some(result) = result {
                return Poll::Ready(Some((index, result)));
            }
        }
        let next = ready!(this.driver.as_mut().poll_any(0, cx));
        if next.is_some() {
            this.driver.tell();
        }
        Poll::Ready(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fetched.driver.size_hint(self.fetched.driver.running.len())
    }
}

pin_project! {
    /// Begins requests while there is room, and tells of each that is done.
    struct Driver<Q: Stream, F, P> {
        #[pin]
        source: Q,
        make: fn(Q::Item) -> F,
        ended: bool,
        concurrency: usize,
        running: FuturesUnordered<Numbered<F>>,
        state: Progress,
        progress: P,
    }
}

impl<Q, F, P> Driver<Q, F, P>
where
    Q: Stream,
{
    fn size_hint(&self, begun: usize) -> (usize, Option<usize>) {
        let (least, most) = if self.ended { (0, Some(0)) } else { self.source.size_hint() };
        (least.saturating_add(begun), most.and_then(|most| most.checked_add(begun)))
    }

    /// The next request that is done, while so many results wait outside.
    fn poll_any<T>(
        self: Pin<&mut Self>,
        held: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(usize, F::Output)>>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut this = self.project();
        // Its result would be waited for without end.
        let lost = this.state.begun - this.state.done - this.running.len();
        assert!(lost == 0, "polled after a request has panicked");
        while !*this.ended && this.running.len() + held < *this.concurrency {
            let Poll::Ready(request) = this.source.as_mut().poll_next(cx) else { break };
            let Some(request) = request else {
                *this.ended = true;
                break;
            };
            let index = this.state.begun;
            this.running.push(Numbered { index, future: (this.make)(request) });
            this.state.begun += 1;
        }
        let Some((index, result)) = ready!(Pin::new(&mut *this.running).poll_next(cx)) else {
            return if *this.ended { Poll::Ready(None) } else { Poll::Pending };
        };
        this.state.done += 1;
        this.state.failed += usize::from(result.is_err());
        let more = if *this.ended { (0, Some(0)) } else { this.source.size_hint() };
        this.state.total =
            more.1.filter(|most| *most == more.0).map(|more| this.state.begun + more);
        Poll::Ready(Some((index, result.map_err(|error| error.at(index)))))
    }

    /// Tells how far it is.
    fn tell(self: Pin<&mut Self>)
    where
        P: FnMut(Progress),
    {
        let this = self.project();
        (this.progress)(*this.state);
    }
}

pin_project! {
    /// A request that knows which one it is.
    struct Numbered<F> {
        index: usize,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Numbered<F> {
    type Output = (usize, F::Output);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = ready!(this.future.poll(cx));
        Poll::Ready((*this.index, output))
    }
}

impl<Q: Stream, F, T, P> fmt::Debug for Fetched<Q, F, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").field("progress", &self.driver.state).finish_non_exhaustive()
    }
}

impl<Q: Stream, F, T, P> fmt::Debug for FetchedUnordered<Q, F, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = &self.fetched.driver.state;
        f.debug_struct("FetchedUnordered").field("progress", progress).finish_non_exhaustive()
    }
}
