use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use palisade_auth::{AuthLayer, TokenFuture, TokenSource, Tokens, Wanted};
use tower::Layer;
use tower_service::Service;

use super::{ours, secret, token};
use crate::{inner::Healthy, request, subject::Subject, subjects::huskarl};

const CALLERS: usize = 1000;

/// A thousand who come before there is a token: from the first of them to the last answer. One token is
/// asked for.
pub(in crate::benches) fn thousand() -> Vec<Subject> {
    let gate = Gate::default();
    let tokens = Tokens::new(gate.clone());
    let mut service = AuthLayer::new(tokens.clone(), ours()).send_once().layer(Healthy);
    let palisade = Subject::work("palisade", move || {
        tokens.reset();
        let calls = (0..CALLERS).map(|_| Box::pin(service.call(request::anonymous())));
        gate.pass(calls.collect());
    });
    let gate = Gate::default();
    let authorizer = huskarl::Authorizer::gated(&secret(), gate.clone());
    let huskarl = Subject::work("huskarl", move || {
        authorizer.invalidate();
        let calls = (0..CALLERS).map(|_| Box::pin(authorizer.call(request::anonymous(), Healthy)));
        gate.pass(calls.collect());
    });
    vec![palisade, huskarl]
}

/// Lets nobody have a token until all are there. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    asked: Arc<AtomicUsize>,
    // Who waits for it to be opened.
    waiting: Arc<Mutex<Option<Waker>>>,
    open: Arc<AtomicBool>,
}

impl Gate {
    /// Waits until it is open.
    pub(crate) async fn opened(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::future::poll_fn(|cx| {
            if self.open.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn pass<F: Future>(&self, mut calls: Vec<Pin<Box<F>>>) {
        let mut cx = Context::from_waker(Waker::noop());
        self.asked.store(0, Ordering::Relaxed);
        self.open.store(false, Ordering::Relaxed);
        for call in &mut calls {
            assert!(call.as_mut().poll(&mut cx).is_pending(), "there is no token yet");
        }
        self.open.store(true, Ordering::Relaxed);
        let waker = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        waker.expect("one waits").wake();
        for call in &mut calls {
            assert!(call.as_mut().poll(&mut cx).is_ready(), "there is one now");
        }
        assert_eq!(self.asked.load(Ordering::Relaxed), 1, "one token for all");
    }
}

impl TokenSource for Gate {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(async move {
            self.opened().await;
            Ok(token(wanted))
        })
    }
}
