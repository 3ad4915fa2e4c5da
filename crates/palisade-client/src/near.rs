use std::{
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use palisade_core::BoxError;
use tower_service::Service;

use crate::{
    Body, BoxedService,
    away::Away,
    switch::{FromBoxed, Same, SwitchFuture},
};

/// Layers of the user's around each attempt. What a redirect leads to another origin does not
/// pass through them: nobody knows what they put on a request, and where.
#[derive(Clone)]
pub(crate) struct Near<S> {
    exchange: S,
    // One pointer: calls keep clones of the service.
    around: Option<Arc<BoxedService>>,
}

impl<S> Near<S> {
    pub(crate) fn new(exchange: S, around: Option<BoxedService>) -> Self {
        Self { exchange, around: around.map(Arc::new) }
    }
}

impl<S, B> Service<Request<Body>> for Near<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    B: FromBoxed,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = SwitchFuture<S::Future, S::Future, Same<B>>;

    // What is around it is always ready.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.exchange.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &self.around {
            Some(around) if !Away::is(request.extensions()) => {
                SwitchFuture::Other { future: BoxedService::clone(around).call(request) }
            }
            _ => SwitchFuture::Off { future: self.exchange.call(request), join: PhantomData },
        }
    }
}
