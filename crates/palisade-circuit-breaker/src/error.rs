use std::{error::Error, fmt, time::Duration};

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use palisade_core::{ErrorKind, Refusal};

/// A circuit breaker refused a call.
///
/// As an error it stands where [`find_cause`](palisade_core::find_cause) finds
/// it, and its source is a [`Refusal`], so that layers further out know what it
/// is without knowing this crate.
///
/// ```
/// use std::time::Duration;
/// use palisade_circuit_breaker::{CircuitBreakerLayer, Open, OpenReason, Trip};
/// use palisade_core::{BoxError, find_cause};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let broken = service_fn(|_: ()| async { Err::<(), BoxError>("broken".into()) });
/// let service = CircuitBreakerLayer::new(Trip::consecutive(1)).layer(broken);
/// assert_eq!(service.clone().oneshot(()).await.unwrap_err().to_string(), "broken");
///
/// let error = service.oneshot(()).await.unwrap_err();
/// let open = find_cause::<Open>(&*error).expect("it is open");
/// assert_eq!(open.reason(), OpenReason::Tripped);
/// assert!(open.retry_after() <= Some(Duration::from_secs(5)));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    refusal: Refusal,
    reason: OpenReason,
}

/// Why a breaker refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenReason {
    /// It is open.
    Tripped,
    /// It is half-open, and the calls it admits are under way.
    Probing,
    /// It admits a share of the calls, and this one is not among them.
    RampUp,
    /// It is forced open.
    Forced,
}

impl OpenReason {
    /// The reason in snake case, as used for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tripped => "tripped",
            Self::Probing => "probing",
            Self::RampUp => "ramp_up",
            Self::Forced => "forced",
        }
    }
}

impl Open {
    pub(crate) fn new(reason: OpenReason, retry_after: Option<Duration>) -> Self {
        let refusal = Refusal::new(ErrorKind::Open);
        let refusal = match retry_after {
            Some(delay) => refusal.after(delay),
            None => refusal,
        };
        Self { refusal, reason }
    }

    /// How long until another try makes sense: until the breaker's open time is
    /// over. While calls are let in, but not this one, a tenth of the time that
    /// they have for it, or what is left of that. Nothing, if the breaker is
    /// forced open.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal.retry_after()
    }

    /// Why the call was refused.
    pub fn reason(&self) -> OpenReason {
        self.reason
    }

    /// An answer in place of the error: 503 with an empty body, and a
    /// `Retry-After` of whole seconds, rounded up, at least 1.
    ///
    /// Made for [`respond_fn`](crate::respond_fn).
    ///
    /// ```
    /// use palisade_circuit_breaker::{CircuitBreakerLayer, Open, respond_fn};
    /// use palisade_core::HttpClassify;
    ///
    /// let layer = CircuitBreakerLayer::<HttpClassify>::http()
    ///     .on_refusal(respond_fn(Open::response::<String>));
    /// # let _ = layer;
    /// ```
    pub fn response<B: Default>(self) -> Response<B> {
        self.respond(B::default())
    }

    /// The same with problem details as the body (RFC 9457).
    ///
    /// ```
    /// use palisade_circuit_breaker::{CircuitBreakerLayer, Trip};
    ///
    /// let breaker = CircuitBreakerLayer::new(Trip::consecutive(1)).handle();
    /// breaker.force_open();
    /// let problem = breaker.try_acquire().unwrap_err().problem::<String>();
    /// assert_eq!(problem.headers()["content-type"], "application/problem+json");
    /// assert!(problem.body().contains(r#""status":503"#));
    /// ```
    pub fn problem<B: From<String>>(self) -> Response<B> {
        // No text in here needs an escape.
        let problem = format!(
            r#"{{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"{self}"}}"#,
        );
        let mut response = self.respond(B::from(problem));
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }

    fn respond<B>(self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        // Layers outside are not to take it for an answer of the service.
        response.extensions_mut().insert(self.refusal);
        if let Some(delay) = self.retry_after() {
            let seconds = delay.as_nanos().div_ceil(1_000_000_000).max(1);
            let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            OpenReason::Tripped => "circuit breaker is open",
            OpenReason::Probing => "circuit breaker is half-open, and its calls are under way",
            OpenReason::RampUp => "circuit breaker admits only a share of the calls",
            OpenReason::Forced => "circuit breaker is forced open",
        })
    }
}

impl Error for Open {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.refusal)
    }
}
