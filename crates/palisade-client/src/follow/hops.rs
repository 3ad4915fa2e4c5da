use std::{
    error::Error,
    fmt,
    future::{poll_fn, ready},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response};
use http_body::Body as HttpBody;
use palisade_body::Drain;
use palisade_core::{BoxError, Deadline, Fault, Redirected, is_unsent};
use tokio::{runtime::Handle, time::timeout};
use tower_service::Service;

use crate::{Body, call, erased::Answer, timeout::due};

/// The service that tower-http asks: it has answered the first request already. Bodies are left
/// beside its answers, as those of redirects have to be read to their ends.
pub(super) struct Hops<S, B> {
    inner: S,
    // Of the first request.
    method: Method,
    first: Option<Response<()>>,
    left: Left<B>,
}

impl<S, B> Hops<S, B> {
    pub(super) fn new(inner: S, method: &Method, first: Response<()>, left: Left<B>) -> Self {
        Self { inner, method: method.clone(), first: Some(first), left }
    }
}

impl<S: Clone, B> Clone for Hops<S, B> {
    fn clone(&self) -> Self {
        let Self { inner, method, left, .. } = self;
        Self { inner: inner.clone(), method: method.clone(), first: None, left: left.clone() }
    }
}

impl<S, B> Service<Request<Body>> for Hops<S, B>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static,
    B: HttpBody + Send + 'static,
{
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer<()>> + Send>>;

    // A call waits until the service is.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(response) = self.first.take() {
            return Box::pin(ready(Ok(response)));
        }
        let done = *request.method() != self.method;
        let hop = Hop { origin: call::origin(request.uri()), done };
        let (mut inner, left) = (self.inner.clone(), self.left.clone());
        Box::pin(async move {
            left.read().await;
            // What is further in has to know how much is left of the time that has begun before.
            if let (None, Some(end)) = (Deadline::of(request.extensions()), due()) {
                request.extensions_mut().insert(Deadline(end.into_std()));
            }
            let answer = async {
                poll_fn(|cx| inner.poll_ready(cx)).await?;
                inner.call(request).await
            };
            let mut response = answer.await.map_err(|error| hop.fail(error))?;
            if hop.done {
                response.extensions_mut().insert(Redirected);
            }
            Ok(left.keep(response))
        })
    }
}

/// The body of the last answer.
pub(super) struct Left<B>(Arc<Mutex<Option<B>>>);

impl<B> Left<B> {
    pub(super) fn keep(&self, response: Response<B>) -> Response<()> {
        let (head, body) = response.into_parts();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        Response::from_parts(head, ())
    }

    pub(super) fn put_back(&self, response: Response<()>) -> Response<B> {
        let body = self.take().expect("an answer has left its body");
        response.map(|()| body)
    }

    fn take(&self) -> Option<B> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads that of a redirect to its end, if that is near: so its connection can be used again,
    /// and a cache has all of it.
    async fn read(&self)
    where
        B: HttpBody,
    {
        let Some(body) = self.take() else { return };
        let mut drain = pin!(Drain::new(body, DRAIN));
        // What is there needs no timer, and without tokio there is none.
        let read = poll_fn(|cx| Poll::Ready(drain.as_mut().poll(cx).is_ready())).await;
        if !read && Handle::try_current().is_ok() {
            let _ = timeout(GRACE, drain).await;
        }
    }
}

/// For how long, which is less than it takes to make a connection across an ocean; and how far.
const GRACE: Duration = Duration::from_millis(50);
const DRAIN: usize = 16 * 1024;

impl<B> Clone for Left<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> Default for Left<B> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Where a redirect has led.
struct Hop {
    origin: String,
    // By another method: what was asked for first is done.
    done: bool,
}

impl Hop {
    fn fail(&self, cause: BoxError) -> BoxError {
        let repeats = self.done && is_unsent(&*cause);
        // It says by itself what was asked for.
        if cause.is::<crate::Error>() && !repeats {
            return cause;
        }
        let led = Led { to: self.origin.clone(), cause };
        match self.done {
            // Whatever became of the hop: nobody is to do it again.
            true => Fault::processed(led).into(),
            false => led.into(),
        }
    }
}

/// What went wrong where a redirect had led.
#[derive(Debug)]
struct Led {
    to: String,
    cause: BoxError,
}

impl fmt::Display for Led {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a redirect has led to {}", self.to)
    }
}

impl Error for Led {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}
