use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// Learns what becomes of a body.
///
/// It is called from within the polls and the drop of the [`WatchBody`], so it must not block.
pub trait Watch<E> {
    /// Called for each data frame, with its length in bytes, before the frame is handed on.
    fn on_data(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Called once, when the body has ended.
    fn on_end(self, end: BodyEnd<'_, E>);
}

/// How a body ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyEnd<'a, E> {
    /// It was read to its end, trailers included.
    Complete,
    /// It failed.
    Failed(&'a E),
    /// It was dropped before its end, or was never read.
    Dropped,
    /// It panicked while it was polled. Told when it is dropped or polled after that.
    Panicked,
}

/// Watches a body with a closure that is told how it ended.
///
/// The body decides which error the closure gets; one that looks into it names the type:
/// `|end: BodyEnd<'_, hyper::Error>| ..`.
///
/// ```
/// use palisade_body::{BodyEnd, WatchBody, watch_fn};
///
/// let mut lost = false;
/// let watch = watch_fn(|end| lost = matches!(end, BodyEnd::Dropped));
/// drop(WatchBody::new("unread".to_owned(), watch));
/// assert!(lost);
/// ```
pub fn watch_fn<E, F>(f: F) -> WatchFn<F>
where
    F: FnOnce(BodyEnd<'_, E>),
{
    WatchFn(f)
}

/// A closure as a [`Watch`], made by [`watch_fn`].
#[derive(Clone, Copy)]
pub struct WatchFn<F>(F);

impl<E, F> Watch<E> for WatchFn<F>
where
    F: FnOnce(BodyEnd<'_, E>),
{
    fn on_end(self, end: BodyEnd<'_, E>) {
        (self.0)(end);
    }
}

impl<F> fmt::Debug for WatchFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchFn(..)")
    }
}

pin_project! {
    /// A body that tells a [`Watch`] exactly once how it ended.
    ///
    /// A response is over when its body is, not when its head has come. The end is told as soon as
    /// it is known: with the last frame if the body then says that it is at its end
    /// ([`is_end_stream`](Body::is_end_stream)), since hyper does not poll it again; at once for a
    /// body that is empty from the start, as that of a response to HEAD (RFC 9110, section 9.3.2).
    ///
    /// # Cancel safety
    ///
    /// A drop is an ending too: [`BodyEnd::Dropped`], unless the end was told before.
    //
    // The bounds are those of `Drop`, which may have none of its own.
    pub struct WatchBody<B, W>
    where
        B: Body,
        W: Watch<B::Error>,
    {
        #[pin]
        body: B,
        // Until it is told the end.
        watch: Option<W>,
        // Set while it is polled, and so for ever once it panics there.
        at_work: bool,
    }

    impl<B, W> PinnedDrop for WatchBody<B, W>
    where
        B: Body,
        W: Watch<B::Error>,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let told = if *this.at_work { BodyEnd::Panicked } else { BodyEnd::Dropped };
            end(this.watch, told);
        }
    }
}

impl<B, W> WatchBody<B, W>
where
    B: Body,
    W: Watch<B::Error>,
{
    /// Watches `body`. If that is at its end already, the watch is told so before this returns.
    pub fn new(body: B, watch: W) -> Self {
        let mut watch = Some(watch);
        if body.is_end_stream() {
            end(&mut watch, BodyEnd::Complete);
        }
        Self { body, watch, at_work: false }
    }
}

impl<B, W> Body for WatchBody<B, W>
where
    B: Body,
    W: Watch<B::Error>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        if *this.at_work {
            // It panicked, and is polled on.
            end(this.watch, BodyEnd::Panicked);
        }
        *this.at_work = true;
        let polled = this.body.as_mut().poll_frame(cx);
        let ended = polled.is_ready() && this.body.is_end_stream();
        *this.at_work = false;
        let polled = ready!(polled);
        match &polled {
            None => end(this.watch, BodyEnd::Complete),
            Some(Err(error)) => end(this.watch, BodyEnd::Failed(error)),
            Some(Ok(frame)) => {
                if let (Some(watch), Some(data)) = (this.watch.as_mut(), frame.data_ref()) {
                    watch.on_data(data.remaining());
                }
                // RFC 9110, section 6.5: nothing comes after the trailers.
                if frame.is_trailers() || ended {
                    end(this.watch, BodyEnd::Complete);
                }
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B, W> fmt::Debug for WatchBody<B, W>
where
    B: Body,
    W: Watch<B::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchBody").field("ended", &self.watch.is_none()).finish_non_exhaustive()
    }
}

fn end<E, W: Watch<E>>(watch: &mut Option<W>, end: BodyEnd<'_, E>) {
    if let Some(watch) = watch.take() {
        watch.on_end(end);
    }
}
