use std::fmt;

use palisade_core::BoxError;

use crate::Open;

/// What becomes of a call that is refused.
///
/// [`Refuse`] makes it an error, [`respond_fn`] a response.
pub trait OnRefusal<Res, Err> {
    /// The error of the service.
    type Error;

    /// The end of a call that was refused.
    ///
    /// # Errors
    ///
    /// If it is to be an error.
    fn refuse(&self, open: Open) -> Result<Res, Self::Error>;

    /// The error of the inner service as that of this one.
    fn error(&self, error: Err) -> Self::Error;
}

/// Refuses with the error [`Open`], boxed. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refuse;

impl<Res, Err: Into<BoxError>> OnRefusal<Res, Err> for Refuse {
    type Error = BoxError;

    fn refuse(&self, open: Open) -> Result<Res, BoxError> {
        Err(open.into())
    }

    fn error(&self, error: Err) -> BoxError {
        error.into()
    }
}

/// Answers calls that are refused with a response that a function makes, so
/// that the error type stays that of the inner service.
///
/// The response is of the inner service's type, so its body must be one that
/// can be made. hyper's `Incoming` cannot: box bodies first
/// (`map_response(|response| response.map(BodyExt::boxed))`).
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response, StatusCode};
/// use palisade_circuit_breaker::{CircuitBreakerLayer, Open, respond_fn};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Infallible> {
/// let layer = CircuitBreakerLayer::http().on_refusal(respond_fn(Open::response));
/// layer.handle().force_open();
///
/// let handler = service_fn(|_: Request<String>| async {
///     Ok::<_, Infallible>(Response::new("hello".to_owned()))
/// });
/// let response = layer.layer(handler).oneshot(Request::new(String::new())).await?;
/// assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
/// # Ok(())
/// # }
/// ```
pub fn respond_fn<Res, F>(respond: F) -> RespondFn<F>
where
    F: Fn(Open) -> Res,
{
    RespondFn(respond)
}

/// Made by [`respond_fn`].
#[derive(Clone, Copy)]
pub struct RespondFn<F>(F);

impl<Res, Err, F: Fn(Open) -> Res> OnRefusal<Res, Err> for RespondFn<F> {
    type Error = Err;

    fn refuse(&self, open: Open) -> Result<Res, Err> {
        Ok((self.0)(open))
    }

    fn error(&self, error: Err) -> Err {
        error
    }
}

impl<F> fmt::Debug for RespondFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RespondFn(..)")
    }
}
