use std::fmt;

use palisade_core::BoxError;

use crate::Limited;

/// What becomes of a request that is refused.
///
/// [`Refuse`] makes it an error, [`respond_fn`] a response.
pub trait OnRefusal<Res, Err> {
    /// The error of the service.
    type Error;

    /// The end of a request that was refused.
    ///
    /// # Errors
    ///
    /// If it is to be an error.
    fn refuse(&self, limited: Limited) -> Result<Res, Self::Error>;

    /// The error of the inner service as that of this one.
    fn error(&self, error: Err) -> Self::Error;
}

/// Refuses with the error [`Limited`], boxed. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refuse;

impl<Res, Err: Into<BoxError>> OnRefusal<Res, Err> for Refuse {
    type Error = BoxError;

    fn refuse(&self, limited: Limited) -> Result<Res, BoxError> {
        Err(limited.into())
    }

    fn error(&self, error: Err) -> BoxError {
        error.into()
    }
}

/// Answers requests that are refused with a response that a function makes, so
/// that the error type stays that of the inner service: on servers, and under
/// axum.
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response, StatusCode, header::RETRY_AFTER};
/// use palisade_rate_limit::{Limited, Quota, RateLimitLayer, Wait, respond_fn};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Infallible> {
/// let layer = RateLimitLayer::new(Quota::per_minute(1))
///     .wait(Wait::reject())
///     .on_refusal(respond_fn(Limited::response));
/// let handler = service_fn(|_: Request<String>| async {
///     Ok::<_, Infallible>(Response::new("hello".to_owned()))
/// });
/// let service = layer.layer(handler);
/// assert_eq!(service.clone().oneshot(Request::default()).await?.status(), StatusCode::OK);
/// let response = service.oneshot(Request::default()).await?;
/// assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
/// assert_eq!(response.headers()[RETRY_AFTER], "60");
/// # Ok(())
/// # }
/// ```
pub fn respond_fn<Res, F>(respond: F) -> RespondFn<F>
where
    F: Fn(Limited) -> Res,
{
    RespondFn(respond)
}

/// Made by [`respond_fn`].
#[derive(Clone, Copy)]
pub struct RespondFn<F>(F);

impl<Res, Err, F: Fn(Limited) -> Res> OnRefusal<Res, Err> for RespondFn<F> {
    type Error = Err;

    fn refuse(&self, limited: Limited) -> Result<Res, Err> {
        Ok((self.0)(limited))
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
