use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use palisade_core::BoxError;

use crate::{erased::same, measured::Measured};

/// A body of whatever kind: none, bytes in memory, or a stream.
///
/// ```
/// use palisade_client::Body;
///
/// let body = Body::from("hello");
/// assert_eq!(body.try_clone().and_then(|copy| copy.in_memory().cloned()), Some("hello".into()));
/// ```
#[derive(Default)]
pub struct Body {
    kind: Kind,
}

// No body is one without bytes: a third kind would need a word of its own, and each layer
// moves it.
enum Kind {
    Full(Bytes),
    // Locked to be `Sync`, as other clients want bodies to be, whatever the stream is: it is asked
    // under the lock how long it is, and nobody else can be there.
    Stream(Mutex<Stream>),
}

type Stream = UnsyncBoxBody<Bytes, BoxError>;

impl Default for Kind {
    fn default() -> Self {
        Self::Full(Bytes::new())
    }
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that is read as it comes, and can be sent once.
    ///
    /// A stream of bytes, such as `tokio_util::io::ReaderStream` makes of a file, becomes
    /// one by `http_body_util`:
    ///
    /// ```
    /// use bytes::Bytes;
    /// use futures_util::{TryStreamExt, stream};
    /// use http_body::Frame;
    /// use http_body_util::StreamBody;
    /// use palisade_client::Body;
    ///
    /// let pieces = stream::iter([Ok::<_, std::io::Error>(Bytes::from("first, ")), Ok("second".into())]);
    /// let body = Body::stream(StreamBody::new(pieces.map_ok(Frame::data)));
    /// # let _ = body;
    /// ```
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self { kind: Kind::Stream(Mutex::new(body.map_err(Into::into).boxed_unsync())) }
    }

    /// As [`stream`](Self::stream), of which it is known how many bytes it has, as of a file:
    /// that is told, where a stream of unknown length is sent in chunks.
    ///
    /// One that has fewer or more fails, and its request with it. So its last piece is sent
    /// when it is at its end. One of zero bytes is not read at all over HTTP/1.1.
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    /// use http_body::{Body as _, Frame};
    /// use http_body_util::StreamBody;
    /// use palisade_client::Body;
    /// use tokio::fs::File;
    /// use tokio_util::io::ReaderStream;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let file = File::open("Cargo.toml").await?;
    /// let length = file.metadata().await?.len();
    /// let frames = ReaderStream::with_capacity(file, 64 << 10).map_ok(Frame::data);
    /// let body = Body::stream_with_length(StreamBody::new(frames), length);
    /// assert_eq!(body.size_hint().exact(), Some(length));
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream_with_length<B>(body: B, length: u64) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self::stream(Measured::new(body, length))
    }

    /// A body of any kind; as it is, if it is one of these.
    pub(crate) fn of<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        same(body).unwrap_or_else(Self::stream)
    }

    /// What is left of a stream that was sent.
    pub(crate) fn spent() -> Self {
        Self::stream(Spent)
    }

    /// All of it, if it is in memory.
    pub fn in_memory(&self) -> Option<&Bytes> {
        match &self.kind {
            Kind::Full(bytes) => Some(bytes),
            Kind::Stream(_) => None,
        }
    }

    /// The same once more, if it is no stream.
    pub fn try_clone(&self) -> Option<Self> {
        let kind = match &self.kind {
            Kind::Full(bytes) => Kind::Full(bytes.clone()),
            Kind::Stream(_) => return None,
        };
        Some(Self { kind })
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self { kind: Kind::Full(bytes.into()) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Stream(stream) => {
                let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
                Pin::new(stream).poll_frame(cx)
            }
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Stream(stream) => lock(stream).is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(stream) => lock(stream).size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Full(bytes) if bytes.is_empty() => "Body(empty)",
            Kind::Full(_) => "Body(in memory)",
            Kind::Stream(_) => "Body(stream)",
        })
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has nothing, and does not say so before.
struct Spent;

impl HttpBody for Spent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_for_many_threads_and_no_larger_than_bytes() {
        fn check<T: Send + Sync + Unpin>() {}
        check::<Body>();
        assert_eq!(size_of::<Body>(), size_of::<Bytes>());
    }
}
