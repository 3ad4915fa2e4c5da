//! A layer that passes everything on, except for one fault.

#![expect(clippy::unwrap_used, reason = "a faulty layer may panic")]

mod shared;

use std::{
    future::{Future, poll_fn},
    hint::black_box,
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker, ready},
    thread,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use palisade_core::BoxError;
use palisade_testkit::{ProbeBody, ProbeRequest};
use tower_layer::Layer;
use tower_service::Service;

use self::shared::Shared;

const NUMBER: &str = "x-probe-number";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    Nothing,

    CallsAClone,
    CallsTwice,
    PollsOneAndCallsAnother,
    HoldsOneAndPollsAnother,

    SwallowsPending,
    SwallowsReadinessError,
    NeverPolls,

    LosesReadinessWaker,
    LosesFutureWaker,
    KeepsFirstWaker,
    LosesBodyWaker,

    ForgetsFutureOnDrop,
    ForgetsBodyOnDrop,
    ForgetsServiceOnDrop,
    KeepsPermitOnDrop,
    KeepsPermitOnUnpolledDrop,

    LocksInReady,
    LocksInCall,
    LocksInPoll,
    LocksInBody,

    PoisonsInCall,
    PoisonsInPoll,
    PoisonsInBody,
    KeepsPermitOnPanic,

    MakesStateInLayer,
    CopiesStateInClone,

    ReplacesError,
    ReplacesReadinessError,
    ReplacesBodyError,

    AllocatesInCall,
    AllocatesInBody,

    DropsBody,
    TruncatesBody,
    DropsTrailers,
    HidesSize,
    KeepsFirstSize,
    EndsEarly,
    HidesEnd,

    ForgetsWaiters,
    MixesAnswers,
}

use Fault::*;

pub(super) struct FaultyLayer {
    fault: Fault,
    shared: Arc<Shared>,
}

impl FaultyLayer {
    pub(super) fn new(fault: Fault) -> Self {
        let shared = Arc::default();
        Self { fault, shared }
    }
}

impl<S> Layer<S> for FaultyLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        let (shared, copied) = match self.fault {
            MakesStateInLayer => (Arc::default(), Vec::new()),
            CopiesStateInClone => (Arc::clone(&self.shared), vec![1]),
            _ => (Arc::clone(&self.shared), Vec::new()),
        };
        let fault = self.fault;
        Faulty { inner: Some(inner), fault, shared, copied }
    }
}

pub(super) struct Faulty<S> {
    inner: Option<S>,
    fault: Fault,
    shared: Arc<Shared>,
    copied: Vec<u8>,
}

impl<S: Clone> Clone for Faulty<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            fault: self.fault,
            shared: Arc::clone(&self.shared),
            copied: self.copied.clone(),
        }
    }
}

impl<S, M> Service<ProbeRequest> for Faulty<S>
where
    S: Service<ProbeRequest, Response = Response<ProbeBody<M>>, Error: Into<BoxError>> + Clone,
    S::Future: Unpin,
    M: Unpin,
{
    type Response = Response<FaultyBody<M>>;
    type Error = BoxError;
    type Future = FaultyFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let kept = self.shared.kept.load(Ordering::Relaxed);
        if kept != 0 || self.shared.busy.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let _guard = self.shared.locked(self.fault, LocksInReady);
        let inner = self.inner.as_mut().unwrap();
        let noop = &mut Context::from_waker(Waker::noop());
        let poll = match self.fault {
            NeverPolls => return Poll::Ready(Ok(())),
            LosesReadinessWaker => inner.poll_ready(noop),
            _ => inner.poll_ready(cx),
        };
        match (self.fault, poll) {
            (SwallowsPending, Poll::Pending) => Poll::Ready(Ok(())),
            (SwallowsReadinessError, Poll::Ready(Err(_))) => Poll::Ready(Ok(())),
            (ReplacesReadinessError, Poll::Ready(Err(_))) => Poll::Ready(Err("not ready".into())),
            (_, poll) => poll.map_err(Into::into),
        }
    }

    fn call(&mut self, request: ProbeRequest) -> FaultyFuture<S> {
        let _guard = self.shared.locked(self.fault, LocksInCall);
        let _poison = self.shared.poisoned(self.fault, PoisonsInCall);
        let inner = self.inner.as_mut().unwrap();
        match self.fault {
            AllocatesInCall => drop(black_box(Box::new(1))),
            CallsTwice => drop(inner.call(request.clone())),
            MixesAnswers => {
                let number = request.headers()[NUMBER].clone();
                *self.shared.last.lock().unwrap() = Some(number);
            }
            _ => {}
        }
        let spare =
            (self.fault == HoldsOneAndPollsAnother).then(|| Box::new((inner.clone(), None)));
        let stage = match self.fault {
            CallsAClone => Stage::Called(inner.clone().call(request)),
            PollsOneAndCallsAnother => Stage::Polling(Box::new((inner.clone(), Some(request)))),
            _ => Stage::Called(inner.call(request)),
        };
        let busy = self.fault == ForgetsWaiters;
        self.shared.busy.store(busy, Ordering::Relaxed);
        FaultyFuture {
            stage,
            spare,
            fault: self.fault,
            shared: Arc::clone(&self.shared),
            waker: None,
            polled: false,
        }
    }
}

impl<S> Drop for Faulty<S> {
    fn drop(&mut self) {
        if self.fault == ForgetsServiceOnDrop {
            mem::forget(self.inner.take());
        }
    }
}

pub(super) struct FaultyFuture<S: Service<ProbeRequest>> {
    stage: Stage<S>,
    spare: Option<Box<Spare<S>>>,
    fault: Fault,
    shared: Arc<Shared>,
    waker: Option<Waker>,
    polled: bool,
}

// What is polled next, and the answer that waits for it.
type Spare<S> = (
    S,
    Option<Result<<S as Service<ProbeRequest>>::Response, <S as Service<ProbeRequest>>::Error>>,
);

enum Stage<S: Service<ProbeRequest>> {
    Polling(Box<(S, Option<ProbeRequest>)>),
    Called(S::Future),
    Done,
}

impl<S: Service<ProbeRequest, Future: Unpin>> Unpin for FaultyFuture<S> {}

impl<S, M> Future for FaultyFuture<S>
where
    S: Service<ProbeRequest, Response = Response<ProbeBody<M>>, Error: Into<BoxError>>,
    S::Future: Unpin,
    M: Unpin,
{
    type Output = Result<Response<FaultyBody<M>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let _guard = this.shared.locked(this.fault, LocksInPoll);
        let _poison = this.shared.poisoned(this.fault, PoisonsInPoll);
        this.polled = true;
        if let Stage::Polling(waiting) = &mut this.stage {
            let (service, request) = &mut **waiting;
            ready!(service.poll_ready(cx)).map_err(Into::into)?;
            let future = service.call(request.take().unwrap());
            this.stage = Stage::Called(future);
        }
        let waker = match this.fault {
            LosesFutureWaker => Waker::noop(),
            KeepsFirstWaker => this.waker.get_or_insert_with(|| cx.waker().clone()),
            _ => cx.waker(),
        };
        let Stage::Called(future) = &mut this.stage else {
            unreachable!("polled after its end");
        };
        let cx = &mut Context::from_waker(waker);
        let outcome = match &mut this.spare {
            None => ready!(Pin::new(future).poll(cx)),
            Some(spare) => {
                if spare.1.is_none() {
                    spare.1 = Some(ready!(Pin::new(future).poll(cx)));
                }
                // Waits for ever, if the future holds the only permit.
                ready!(spare.0.poll_ready(cx)).map_err(Into::into)?;
                spare.1.take().unwrap()
            }
        };
        this.stage = Stage::Done;
        let mut response = match outcome {
            Ok(response) => response,
            Err(_) if this.fault == ReplacesError => return Poll::Ready(Err("failed".into())),
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        if this.fault == MixesAnswers {
            let last = this.shared.last.lock().unwrap().clone().unwrap();
            response.headers_mut().insert(NUMBER, last);
        }
        Poll::Ready(Ok(response.map(|inner| FaultyBody {
            first: inner.size_hint(),
            inner: (this.fault != DropsBody).then_some(inner),
            fault: this.fault,
            shared: Arc::clone(&this.shared),
            frames: 0,
        })))
    }
}

impl<S: Service<ProbeRequest>> Drop for FaultyFuture<S> {
    fn drop(&mut self) {
        self.shared.busy.store(false, Ordering::Relaxed);
        let stage = mem::replace(&mut self.stage, Stage::Done);
        if matches!(stage, Stage::Done) {
            return;
        }
        match self.fault {
            ForgetsFutureOnDrop => mem::forget(stage),
            KeepsPermitOnDrop => self.keep(),
            KeepsPermitOnUnpolledDrop if !self.polled => self.keep(),
            KeepsPermitOnPanic if thread::panicking() => self.keep(),
            _ => {}
        }
    }
}

impl<S: Service<ProbeRequest>> FaultyFuture<S> {
    fn keep(&self) {
        self.shared.kept.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) struct FaultyBody<M> {
    inner: Option<ProbeBody<M>>,
    first: SizeHint,
    fault: Fault,
    shared: Arc<Shared>,
    frames: usize,
}

impl<M: Unpin> Body for FaultyBody<M> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let _guard = this.shared.locked(this.fault, LocksInBody);
        let _poison = this.shared.poisoned(this.fault, PoisonsInBody);
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let waker = match this.fault {
            LosesBodyWaker => Waker::noop(),
            _ => cx.waker(),
        };
        let frame = ready!(Pin::new(inner).poll_frame(&mut Context::from_waker(waker)));
        this.frames += 1;
        if this.fault == AllocatesInBody {
            drop(black_box(Box::new(1)));
        }
        Poll::Ready(match (this.fault, frame) {
            (TruncatesBody, _) if 1 < this.frames => None,
            (DropsTrailers, Some(Ok(frame))) if frame.is_trailers() => None,
            (ReplacesBodyError, Some(Err(_))) => Some(Err("broken".into())),
            (_, frame) => frame.map(|frame| frame.map_err(Into::into)),
        })
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.inner.as_ref();
        match self.fault {
            EndsEarly => 0 < self.frames || inner.is_none_or(Body::is_end_stream),
            HidesEnd => false,
            _ => inner.is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (self.fault, &self.inner) {
            (HidesSize, _) => SizeHint::default(),
            (KeepsFirstSize, _) => self.first,
            (_, Some(inner)) => inner.size_hint(),
            (_, None) => SizeHint::with_exact(0),
        }
    }
}

impl<M> Drop for FaultyBody<M> {
    fn drop(&mut self) {
        if self.fault == ForgetsBodyOnDrop {
            mem::forget(self.inner.take());
        }
    }
}

/// Readiness, as an `await`.
pub(super) async fn ready<S: Service<ProbeRequest>>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}
