//! A body that plays a script, and a task to poll it.

use std::{
    collections::VecDeque,
    fmt,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};

/// What a poll of a body brings, unless that is at its end.
pub(crate) type FrameOf<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// What a body does when it is polled.
pub(crate) enum Play {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Is not ready, and wakes at once.
    Yield,
    /// Is not ready, and never wakes.
    Stall,
    Fail(&'static str),
    Panic,
    /// Runs code from within the poll, then goes on.
    Run(Box<dyn FnOnce() + Send>),
}

pub(crate) struct Script {
    plays: VecDeque<Play>,
    size: Option<u64>,
    tells_end: bool,
}

impl Script {
    /// A body of unknown length, which does not know its end before it is polled for it.
    pub(crate) fn new(plays: impl IntoIterator<Item = Play>) -> Self {
        Self { plays: plays.into_iter().collect(), size: None, tells_end: false }
    }

    /// Announces the length of what is to come.
    pub(crate) fn sized(mut self) -> Self {
        let data = self
            .plays
            .iter()
            .map(|play| if let Play::Data(data) = play { data.len() as u64 } else { 0 });
        self.size = Some(data.sum());
        self
    }

    /// Knows when it is at its end.
    pub(crate) fn telling_its_end(mut self) -> Self {
        self.tells_end = true;
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        loop {
            let frame = match self.plays.pop_front() {
                None => return Poll::Ready(None),
                Some(Play::Data(data)) => {
                    self.size = self.size.map(|size| size - data.len() as u64);
                    Frame::data(data)
                }
                Some(Play::Trailers(trailers)) => Frame::trailers(trailers),
                Some(Play::Yield) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Play::Stall) => return Poll::Pending,
                Some(Play::Fail(error)) => return Poll::Ready(Some(Err(Failure(error)))),
                Some(Play::Panic) => panic!("the script says so"),
                Some(Play::Run(run)) => {
                    run();
                    continue;
                }
            };
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.plays.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.size.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Failure(pub(crate) &'static str);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failure {}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Polls once, without a task to wake and so without an allocation.
    pub(crate) fn poll_noop<B: Body + Unpin>(body: &mut B) -> Poll<Option<FrameOf<B>>> {
        pin!(body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    pub(crate) fn woken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Polls once.
    pub(crate) fn poll<B: Body + Unpin>(
        self: &Arc<Self>,
        body: &mut B,
    ) -> Poll<Option<FrameOf<B>>> {
        let waker = Waker::from(Arc::clone(self));
        pin!(body).poll_frame(&mut Context::from_waker(&waker))
    }
}

/// Polls until a frame, the end or an error, and expects to be woken whenever there is none yet.
pub(crate) fn next<B: Body + Unpin>(body: &mut B) -> Option<FrameOf<B>> {
    let task = Task::new();
    loop {
        let before = task.woken();
        match task.poll(body) {
            Poll::Ready(polled) => return polled,
            Poll::Pending => assert!(before < task.woken(), "the body would never be polled again"),
        }
    }
}

/// Reads to the end: the data and the trailers.
pub(crate) fn read<B>(body: &mut B) -> Result<(Vec<u8>, Option<HeaderMap>), B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut data = Vec::new();
    let mut trailers = None;
    while let Some(frame) = next(body) {
        match frame?.into_data() {
            Ok(chunk) => data.extend_from_slice(&chunk),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((data, trailers))
}

pub(crate) fn data(data: &'static str) -> Play {
    Play::Data(Bytes::from_static(data.as_bytes()))
}

pub(crate) fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.append("checksum", HeaderValue::from_static("7"));
    trailers.append("checksum", HeaderValue::from_static("8"));
    trailers
}
