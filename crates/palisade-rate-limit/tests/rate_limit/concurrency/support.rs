use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use palisade_core::{BoxError, find_cause};
use palisade_rate_limit::{Limited, LimitedReason};
use tokio::time::sleep;
use tower::{Service, service_fn};

pub(super) const TICK: Duration = Duration::from_millis(10);
pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn get(uri: &str) -> Request<String> {
    Request::get(uri).body(String::new()).unwrap()
}

pub(super) fn reason(error: &BoxError) -> Option<LimitedReason> {
    find_cause::<Limited>(&**error).map(Limited::reason)
}

/// Answers after a tick, with a body that is read or dropped by and by.
pub(super) fn api()
-> impl Service<Request<String>, Response = Response<Frames>, Error = io::Error, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(|_: Request<String>| async {
        sleep(TICK).await;
        Ok(Response::new(Frames::of([data("hello")])))
    })
}

/// What a service is to answer.
pub(super) type Told = Arc<Mutex<Result<StatusCode, io::ErrorKind>>>;

/// Answers after a tick with what it is told, and a body without frames.
pub(super) fn told() -> (
    impl Service<Request<String>, Response = Response<Frames>, Error = io::Error, Future: Send>
    + Clone
    + Send
    + 'static,
    Told,
) {
    let tell = Arc::new(Mutex::new(Ok(StatusCode::OK)));
    let told = Arc::clone(&tell);
    let service = service_fn(move |_: Request<String>| {
        let told = *told.lock().unwrap();
        async move {
            sleep(TICK).await;
            let status = told.map_err(io::Error::from)?;
            Ok(Response::builder().status(status).body(Frames::default()).unwrap())
        }
    });
    (service, tell)
}

/// A body of these frames, whose end is not known before it is there.
#[derive(Debug, Default)]
pub(super) struct Frames(VecDeque<io::Result<Frame<Bytes>>>);

pub(super) fn data(text: &'static str) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from(text)))
}

pub(super) fn trailers() -> io::Result<Frame<Bytes>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    Ok(Frame::trailers(trailers))
}

impl Frames {
    pub(super) fn of(frames: impl IntoIterator<Item = io::Result<Frame<Bytes>>>) -> Self {
        Self(frames.into_iter().collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front())
    }
}
