use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use palisade_cache::CacheLayer;
use tower::{Layer, service_fn};
use tower_service::Service;

use crate::subject::Subject;

const CALLERS: usize = 1000;

/// A thousand who ask for the same thing before it is there: from the first of them to the last
/// answer. Only one calls.
pub(in crate::benches) fn thousand() -> Vec<Subject> {
    let gate = Gate::default();
    let inner = gate.clone();
    let layer = CacheLayer::new(Duration::from_secs(3600));
    let mut service = layer.layer(service_fn(move |_: u64| inner.call()));
    let mut key = 0;
    vec![Subject::work("palisade", move || {
        key += 1;
        let calls = (0..CALLERS).map(|_| service.call(key)).collect();
        gate.pass(calls);
    })]
}

/// Lets calls wait until all are there.
#[derive(Clone, Debug, Default)]
struct Gate {
    calls: Rc<Cell<usize>>,
    open: Rc<Cell<bool>>,
    waker: Rc<RefCell<Option<Waker>>>,
}

impl Gate {
    fn call(&self) -> Call {
        Call { gate: self.clone(), begun: false }
    }

    fn pass<F>(&self, mut calls: Vec<F>)
    where
        F: Future<Output = Result<Bytes, Infallible>> + Unpin,
    {
        let mut cx = Context::from_waker(Waker::noop());
        self.calls.set(0);
        self.open.set(false);
        for call in &mut calls {
            assert!(Pin::new(call).poll(&mut cx).is_pending(), "nothing is there yet");
        }
        self.open.set(true);
        let waker = self.waker.borrow_mut().take();
        waker.expect("one call waits").wake();
        for call in &mut calls {
            assert!(Pin::new(call).poll(&mut cx).is_ready(), "it is there");
        }
        assert_eq!(self.calls.get(), 1, "one call for all");
    }
}

#[derive(Debug)]
struct Call {
    gate: Gate,
    begun: bool,
}

impl Future for Call {
    type Output = Result<Bytes, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.begun {
            self.begun = true;
            self.gate.calls.set(self.gate.calls.get() + 1);
        }
        if self.gate.open.get() {
            return Poll::Ready(Ok(Bytes::from_static(br#"{"items":[]}"#)));
        }
        *self.gate.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}
