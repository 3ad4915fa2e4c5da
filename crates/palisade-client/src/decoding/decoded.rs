use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body as HttpBody, Frame, SizeHint};

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
