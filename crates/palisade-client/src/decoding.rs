use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response as HttpResponse};
use http_body::{Body as HttpBody, Frame, SizeHint};
use palisade_core::{BoxError, Deadline, Endpoint};
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Json, Validate, call::Call, expiry::Expiry, response::Rules};

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
    rules: Rules,
    validate: V,
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
        Decode { inner, layer: self.clone() }
    }
}

/// The service that [`DecodeLayer`] makes.
pub struct Decode<S, T, V = ()> {
    inner: S,
    layer: DecodeLayer<T, V>,
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
        let call = Call {
            method: request.method().clone(),
            endpoint: Endpoint::of(request.extensions()),
            uri: request.uri().clone(),
        };
        let deadline = Deadline::of(request.extensions());
        let rest =
            Rest { call, deadline, rules: self.layer.rules, validate: self.layer.validate.clone() };
        let future = self.inner.call(request);
        DecodeFuture { stage: Stage::Called { future, rest: Some(rest) } }
    }
}

/// What is needed once there is an answer.
struct Rest<V> {
    call: Call,
    deadline: Option<Deadline>,
    rules: Rules,
    validate: V,
}

pin_project! {
    /// The future of [`Decode`].
    pub struct DecodeFuture<F, T, B, V> {
        #[pin]
        stage: Stage<F, T, B, V>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, T, B, V> {
        // The inner service works on it.
        Called { #[pin] future: F, rest: Option<Rest<V>> },
        // The body is read.
        Answered { #[pin] json: Json<T, B, V> },
    }
}

impl<F, E, T, B, V> Future for DecodeFuture<F, T, B, V>
where
    F: Future<Output = Result<HttpResponse<B>, E>>,
    E: Into<BoxError>,
    B: HttpBody<Error: Into<BoxError>>,
    T: DeserializeOwned,
    V: Validate<T>,
{
    type Output = Result<HttpResponse<Decoded<T, B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (response, rest) = match this.stage.as_mut().project() {
                StageProj::Called { future, rest } => {
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    (response, rest.take().expect("polled after it was ready"))
                }
                StageProj::Answered { json } => {
                    let answer = ready!(json.poll_answer(cx));
                    let (head, value) = answer?;
                    return Poll::Ready(Ok(HttpResponse::from_parts(head, Decoded::Value(value))));
                }
            };
            if !response.status().is_success() {
                return Poll::Ready(Ok(response.map(Decoded::Body)));
            }
            let (head, body) = response.into_parts();
            let Rest { call, deadline, rules, validate } = rest;
            let expiry = Expiry::at(deadline.map(|deadline| deadline.0));
            let json = Json::new(head, body, call, rules, expiry).valid_by(validate);
            this.stage.set(Stage::Answered { json });
        }
    }
}

impl<F, T, B, V> fmt::Debug for DecodeFuture<F, T, B, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeFuture").finish_non_exhaustive()
    }
}

/// What stands in the place of a body: a value, or the body itself.
///
/// It is a [body](HttpBody), so that layers outside take it; of a value there
/// is nothing left to read.
#[expect(clippy::exhaustive_enums, reason = "a status is one of success or it is none")]
pub enum Decoded<T, B> {
    /// What the body has said. The status is one of success.
    Value(T),
    /// The body as it came. The status is none of success.
    Body(B),
}

impl<T: Unpin, B: HttpBody + Unpin> HttpBody for Decoded<T, B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.get_mut() {
            Self::Value(_) => Poll::Ready(None),
            Self::Body(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Value(_) => true,
            Self::Body(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Value(_) => SizeHint::with_exact(0),
            Self::Body(body) => body.size_hint(),
        }
    }
}

impl<T, B> fmt::Debug for Decoded<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value(_) => "Decoded::Value(..)",
            Self::Body(_) => "Decoded::Body(..)",
        })
    }
}
