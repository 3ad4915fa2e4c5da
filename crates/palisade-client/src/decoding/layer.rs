use std::{fmt, marker::PhantomData};

use tower_layer::Layer;

use super::Decode;
use crate::{Validate, response::Rules};

/// Decodes answers as JSON where layers further out see it: a retry layer
/// outside may repeat what was cut short, and a breaker count it.
///
/// Answers whose status is none of success pass as they are, for those layers
/// to judge. What does not decode is an [`Error`](crate::Error).
///
/// ```
/// # use std::convert::Infallible;
/// use http::{Request, Response};
/// use palisade_client::{Body, DecodeLayer, Decoded};
/// use palisade_core::BoxError;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let api = service_fn(|_: Request<Body>| async {
///     Ok::<_, Infallible>(Response::new(Body::from("[1, 2]")))
/// });
/// let client = ServiceBuilder::new().layer(DecodeLayer::<Vec<u8>>::json()).service(api);
/// let response = client.oneshot(Request::new(Body::empty())).await?;
/// assert!(matches!(response.into_body(), Decoded::Value(value) if value == [1, 2]));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct DecodeLayer<T, V = ()> {
    pub(super) rules: Rules,
    pub(super) validate: V,
    value: PhantomData<fn() -> T>,
}

impl<T> DecodeLayer<T> {
    /// Decodes JSON.
    pub fn json() -> Self {
        Self { rules: Rules::default(), validate: (), value: PhantomData }
    }
}

impl<T, V> DecodeLayer<T, V> {
    /// Sets how many bytes of a body are collected before it is an error.
    /// Defaults to 16 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.rules.limit = bytes;
        self
    }

    /// Takes bodies for JSON whatever their `Content-Type` says. Defaults to
    /// those that say so, or nothing.
    pub fn lenient(mut self) -> Self {
        self.rules.lenient = true;
        self
    }

    /// Sets what is asked of a value, once it is decoded. Defaults to nothing.
    pub fn valid_by<W: Validate<T>>(self, validate: W) -> DecodeLayer<T, W> {
        DecodeLayer { rules: self.rules, validate, value: PhantomData }
    }
}

impl<T, V: Clone> Clone for DecodeLayer<T, V> {
    fn clone(&self) -> Self {
        Self { rules: self.rules, validate: self.validate.clone(), value: PhantomData }
    }
}

impl<T, V> fmt::Debug for DecodeLayer<T, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeLayer").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl<S, T, V: Clone> Layer<S> for DecodeLayer<T, V> {
    type Service = Decode<S, T, V>;

    fn layer(&self, inner: S) -> Self::Service {
        Decode::new(inner, self.clone())
    }
}
