use std::{
    fmt,
    task::{Context, Poll},
};

use http::{Request, Response as HttpResponse};
use http_body::Body as HttpBody;
use palisade_core::{BoxError, Deadline};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{DecodeFuture, DecodeLayer, Decoded, future::Rest};
use crate::{Validate, call::Call};

/// The service that [`DecodeLayer`] makes.
pub struct Decode<S, T, V = ()> {
    inner: S,
    layer: DecodeLayer<T, V>,
}

impl<S, T, V> Decode<S, T, V> {
    pub(super) fn new(inner: S, layer: DecodeLayer<T, V>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, T, V: Clone> Clone for Decode<S, T, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, T, V> fmt::Debug for Decode<S, T, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decode").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl<S, Q, B, T, V> Service<Request<Q>> for Decode<S, T, V>
where
    S: Service<Request<Q>, Response = HttpResponse<B>, Error: Into<BoxError>>,
    B: HttpBody<Error: Into<BoxError>>,
    T: DeserializeOwned,
    V: Validate<T> + Clone,
{
    type Response = HttpResponse<Decoded<T, B>>;
    type Error = BoxError;
    type Future = DecodeFuture<S::Future, T, B, V>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let call = Call::of(&request);
        let deadline = Deadline::of(request.extensions());
        let rest =
            Rest { call, deadline, rules: self.layer.rules, validate: self.layer.validate.clone() };
        let future = self.inner.call(request);
        DecodeFuture::new(future, rest)
    }
}
