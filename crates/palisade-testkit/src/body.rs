use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::{
    connection::Connection,
    reply::{Cut, Reply},
};

/// The body of a scripted answer.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    left: Bytes,
    pace: Option<(usize, Duration)>,
    // What the next frame waits for.
    wait: Option<Pin<Box<Sleep>>>,
    trailers: Option<HeaderMap>,
    cut: Option<Cut>,
    declared: Option<u64>,
    connection: Arc<Connection>,
    http2: bool,
    // How much of the connection must be written before the body may break off.
    goal: u64,
}

impl ReplyBody {
    pub(crate) fn new(reply: Reply, version: Version, connection: Arc<Connection>) -> Self {
        let declared = reply.declared_len();
        let mut left = reply.body;
        if let Some(cut) = reply.cut {
            left.truncate(cut.after);
        }
        Self {
            left,
            pace: reply.pace,
            wait: reply.late.map(|late| Box::pin(sleep(late))),
            trailers: Some(reply.trailers).filter(|trailers| !trailers.is_empty()),
            cut: reply.cut,
            declared,
            http2: version == Version::HTTP_2,
            // The head is yet to be written.
            goal: connection.written() + 1,
            connection,
        }
    }

    /// The next piece, if any is left.
    fn piece(&mut self) -> Option<Bytes> {
        if self.left.is_empty() {
            return None;
        }
        let Some((len, gap)) = self.pace else {
            return Some(mem::take(&mut self.left));
        };
        let piece = self.left.split_to(len.min(self.left.len()));
        if !self.left.is_empty() {
            self.wait = Some(Box::pin(sleep(gap)));
        }
        Some(piece)
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        // An error throws away what hyper has in its buffers, so what precedes it must have left
        // them. The streams of HTTP/2 are polled apart from their connection: the head has to be
        // out before the data can be told from it.
        if self.cut.is_some() && (self.http2 || self.left.is_empty()) {
            ready!(self.connection.poll_flushed(self.goal, cx));
        }
        if let Some(piece) = self.piece() {
            self.goal = self.connection.written() + piece.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match self.cut {
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            // END_STREAM says all that is to be said.
            Some(Cut { reset: false, .. }) if self.http2 => Poll::Ready(None),
            Some(Cut { reset, .. }) => {
                if reset && !self.http2 {
                    self.connection.reset();
                }
                Poll::Ready(Some(Err(BrokenOff)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.wait.is_none() && self.trailers.is_none() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.declared {
            Some(declared) => SizeHint::with_exact(declared),
            None => SizeHint::new(),
        }
    }
}

/// The script breaks the exchange off; hyper then drops the connection or resets the stream.
#[derive(Debug)]
pub(crate) struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken off by the script")
    }
}

impl std::error::Error for BrokenOff {}
