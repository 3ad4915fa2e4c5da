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
    erased::same,
    stack::StackBody,
    switch::BoxBody,
    timeout::{Limited, TimedOut},
};

pin_project! {
    /// The body of a [`Client`](crate::Client)'s response.
    ///
    /// It fails if nothing comes of it for a while: see
    /// [`ClientBuilder::body_idle_timeout`](crate::ClientBuilder::body_idle_timeout).
    pub struct ResponseBody {
        #[pin]
        kind: Kind,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind {
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

    pub(crate) fn stack(body: StackBody, idle: Option<Duration>) -> Self {
        Self { kind: Kind::Stack { body, idle: Idle { limit: idle, sleep: None, armed: false } } }
    }

    pub(crate) fn into_boxed(self) -> BoxBody {
        match self.kind {
            Kind::Boxed { body } => body,
            kind @ Kind::Stack { .. } => BoxBody::new(Self { kind }),
        }
    }
}

/// Measures for how long nothing comes.
struct Idle {
    limit: Option<Duration>,
    // Boxed: it is large, and most bodies that are short come with their head.
    sleep: Option<Pin<Box<Sleep>>>,
    // Set while something is waited for.
    armed: bool,
}

impl Idle {
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

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProj::Boxed { body } => Pin::new(body).poll_frame(cx),
            // What ends with the body ends at one time.
            KindProj::Stack { body, idle } => match Now::share(|| body.poll_frame(cx)) {
                Poll::Pending => idle.poll(cx).map(|error| Some(Err(error.into()))),
                Poll::Ready(frame) => {
                    idle.armed = false;
                    Poll::Ready(frame)
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Stack { body, .. } => body.is_end_stream(),
            Kind::Boxed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
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
