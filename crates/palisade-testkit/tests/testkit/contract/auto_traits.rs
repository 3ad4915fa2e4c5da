//! What the compiler checks.

use std::{
    cell::Cell,
    future::Future,
    marker::PhantomPinned,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use palisade_testkit::{
    LocalProbe, Probe, ProbeBody, ProbeError, ProbeFuture, ProbeRequest, Subject,
};
use tower_service::Service;

use super::careless::Spawning;

/// Does not compile if the type implements the trait: two impls would then answer.
macro_rules! assert_not_impl {
    ($type:ty: $trait:path) => {
        const _: fn() = || {
            trait Ambiguous<A> {
                fn item() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct Implements;
            impl<T: ?Sized + $trait> Ambiguous<Implements> for T {}
            let _ = <$type as Ambiguous<_>>::item;
        };
    };
}

macro_rules! assert_impl {
    ($type:ty: $trait:path) => {
        const _: fn() = || {
            fn implements<T: $trait>() {}
            implements::<$type>();
        };
    };
}

assert_impl!(Carrier<Probe, (), ()>: Subject);
assert_not_impl!(Carrier<Probe, Rc<()>, ()>: Subject);
assert_not_impl!(Carrier<Probe, Cell<()>, ()>: Subject);
assert_not_impl!(Carrier<Probe, NotClone, ()>: Subject);
assert_not_impl!(Carrier<Probe, (), Rc<()>>: Subject);
assert_not_impl!(Carrier<Probe, (), PhantomPinned>: Subject);

assert_not_impl!(LocalProbe: Send);
assert_not_impl!(LocalProbe: Sync);
assert_not_impl!(ProbeFuture<ProbeError, Rc<()>>: Send);
assert_not_impl!(ProbeBody<Rc<()>>: Send);

// So that `contract!` refuses what only serves a `Send` service.
assert_impl!(Spawning<Probe>: Service<ProbeRequest>);
assert_not_impl!(Spawning<LocalProbe>: Service<ProbeRequest>);

#[derive(Clone, Default)]
struct Carrier<S, T, U> {
    inner: S,
    _in_service: T,
    in_future: U,
}

impl<S: Service<ProbeRequest>, T, U: Clone> Service<ProbeRequest> for Carrier<S, T, U> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = CarrierFuture<S::Future, U>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: ProbeRequest) -> Self::Future {
        CarrierFuture { inner: self.inner.call(request), _in_future: self.in_future.clone() }
    }
}

pin_project_lite::pin_project! {
    struct CarrierFuture<F, U> {
        #[pin]
        inner: F,
        #[pin]
        _in_future: U,
    }
}

impl<F: Future, U> Future for CarrierFuture<F, U> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().inner.poll(cx)
    }
}

struct NotClone;
