use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use palisade_core::{BoxError, Now};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    Body,
    erased::same,
    stack::{StackBody, UnpackedBody},
    switch::BoxBody,
    timeout::{Limited, TimedOut},
};

pin_project! {
    /// The body of a [`Client`](crate::Client)'s response.
    ///
    /// It fails if nothing comes of it for a while: see
    /// [`ClientBuilder::body_idle_timeout`](crate::ClientBuilder::body_idle_timeout).
    ///
    /// One is made of text or bytes, and of nothing by default: so a layer can answer
    /// in place of an error.
    pub struct ResponseBody {
        #[pin]
        kind: Kind,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind {
        Plain { #[pin] body: UnpackedBody, idle: Idle },
        Stack { #[pin] body: StackBody, idle: Idle },
        Boxed { body: BoxBody },
    }
}

impl ResponseBody {
    /// A body of any kind; as it is, if it is one of these.
    pub(crate) fn of<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let boxed = |body: B| BoxBody::new(body.map_err(Into::into));
        same(body).unwrap_or_else(|body| Self { kind: Kind::Boxed { body: boxed(body) } })
    }

    pub(crate) fn plain(body: UnpackedBody, idle: Option<Duration>) -> Self {
        Self { kind: Kind::Plain { body, idle: Idle::new(idle) } }
    }

    pub(crate) fn stack(body: StackBody, idle: Option<Duration>) -> Self {
        Self { kind: Kind::Stack { body, idle: Idle::new(idle) } }
    }

    pub(crate) fn into_boxed(self) -> BoxBody {
        match self.kind {
            Kind::Boxed { body } => body,
            kind => BoxBody::new(Self { kind }),
        }
    }
}

impl<T: Into<Bytes>> From<T> for ResponseBody {
    fn from(bytes: T) -> Self {
        Self::of(Body::from(bytes))
    }
}

impl Default for ResponseBody {
    fn default() -> Self {
        Self::of(Body::empty())
    }
}

type Framed = Option<Result<Frame<Bytes>, BoxError>>;

/// Measures for how long nothing comes.
struct Idle {
    limit: Option<Duration>,
    // Boxed: it is large, and most bodies that are short come with their head.
    sleep: Option<Pin<Box<Sleep>>>,
    // Set while something is waited for.
    armed: bool,
}

impl Idle {
    fn new(limit: Option<Duration>) -> Self {
        Self { limit, sleep: None, armed: false }
    }

    /// The next frame of a body, if that comes in time.
    fn poll_frame<B>(&mut self, body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Framed>
    where
        B: HttpBody<Data = Bytes, Error = BoxError>,
    {
        // What ends with the body ends at one time.
        match Now::share(|| body.poll_frame(cx)) {
            Poll::Pending => self.poll(cx).map(|error| Some(Err(error.into()))),
            Poll::Ready(frame) => {
                self.armed = false;
                Poll::Ready(frame)
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TimedOut> {
        let Some(limit) = self.limit else {
            return Poll::Pending;
        };
        if !self.armed {
            // A limit past the end of time is none.
            let Some(end) = Instant::now().checked_add(limit) else {
                self.limit = None;
                return Poll::Pending;
            };
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(end),
                None => self.sleep = Some(Box::pin(sleep_until(end))),
            }
            self.armed = true;
        }
        let over = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        match over {
            true => Poll::Ready(TimedOut::new(Limited::Body, limit)),
            false => Poll::Pending,
        }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Framed> {
        match self.project().kind.project() {
            KindProj::Boxed { body } => Pin::new(body).poll_frame(cx),
            KindProj::Plain { body, idle } => idle.poll_frame(body, cx),
            KindProj::Stack { body, idle } => idle.poll_frame(body, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Plain { body, .. } => body.is_end_stream(),
            Kind::Stack { body, .. } => body.is_end_stream(),
            Kind::Boxed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Plain { body, .. } => body.size_hint(),
            Kind::Stack { body, .. } => body.size_hint(),
            Kind::Boxed { body } => body.size_hint(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}
