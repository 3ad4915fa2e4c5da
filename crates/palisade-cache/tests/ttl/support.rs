use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};
use tower::Service;

/// An inner service that counts, and does what it is told. Its answer is the
/// request and the number of the call.
#[derive(Debug, Default)]
pub(crate) struct Api {
    state: Arc<State>,
    // As tower asks: each instance is asked before each call.
    ready: bool,
}

#[derive(Debug, Default)]
struct State {
    calls: AtomicUsize,
    polls: AtomicUsize,
    alive: AtomicUsize,
    plan: Mutex<Plan>,
}

/// What comes of the calls to come.
#[derive(Clone, Copy, Debug)]
struct Plan {
    takes: Duration,
    end: End,
    ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Answers,
    Fails,
    Panics,
}

impl Default for Plan {
    fn default() -> Self {
        Self { takes: Duration::from_millis(100), end: End::Answers, ready: true }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("down")
    }
}

impl std::error::Error for Down {}

impl Api {
    /// The same service, to look at and to tell.
    pub(crate) fn watch(&self) -> Self {
        self.clone()
    }

    pub(crate) fn end(&self, end: End) {
        lock(&self.state.plan).end = end;
    }

    pub(crate) fn takes(&self, takes: Duration) {
        lock(&self.state.plan).takes = takes;
    }

    pub(crate) fn never_ready(&self) {
        lock(&self.state.plan).ready = false;
    }

    pub(crate) fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// How often its futures were polled.
    pub(crate) fn polls(&self) -> usize {
        self.state.polls.load(Ordering::SeqCst)
    }

    /// How many of its futures there are.
    pub(crate) fn alive(&self) -> usize {
        self.state.alive.load(Ordering::SeqCst)
    }
}

impl Clone for Api {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), ready: false }
    }
}

impl Service<u64> for Api {
    type Response = (u64, usize);
    type Error = Down;
    type Future = ApiFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Down>> {
        self.ready = lock(&self.state.plan).ready;
        match self.ready {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, request: u64) -> ApiFuture {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let call = self.state.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.state.alive.fetch_add(1, Ordering::SeqCst);
        let takes = lock(&self.state.plan).takes;
        ApiFuture { api: self.watch(), answer: (request, call), sleep: Box::pin(sleep(takes)) }
    }
}

#[derive(Debug)]
pub(crate) struct ApiFuture {
    api: Api,
    answer: (u64, usize),
    sleep: Pin<Box<Sleep>>,
}

impl Future for ApiFuture {
    type Output = Result<(u64, usize), Down>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.api.state.polls.fetch_add(1, Ordering::SeqCst);
        ready!(self.sleep.as_mut().poll(cx));
        let end = lock(&self.api.state.plan).end;
        match end {
            End::Answers => Poll::Ready(Ok(self.answer)),
            End::Fails => Poll::Ready(Err(Down)),
            End::Panics => std::panic::resume_unwind(Box::new("scripted")),
        }
    }
}

impl Drop for ApiFuture {
    fn drop(&mut self) {
        self.api.state.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Polls once, for nobody.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
