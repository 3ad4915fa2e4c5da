//! Any tower HTTP service, behind one type: it is called once for each token.

use std::{
    future::poll_fn,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use palisade_core::BoxError;
use tower_service::Service;
use zeroize::Zeroizing;

/// As much of a body as is read.
pub(super) const LONGEST_BODY: usize = 256 * 1024;

/// An answer. Its body is none if it was too long, or if nobody looks at it.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
}

pub(super) type AnswerFuture = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

pub(super) trait Post: Send + Sync {
    fn post(&self, request: Request<Bytes>) -> AnswerFuture;
}

/// A service that takes bodies of the type `B`.
pub(super) struct Over<S, B> {
    // Most services can be cloned from several threads at once, but need not.
    service: Mutex<S>,
    body: PhantomData<fn() -> B>,
}

impl<S, B> Over<S, B> {
    pub(super) fn new(service: S) -> Self {
        Self { service: Mutex::new(service), body: PhantomData }
    }
}

impl<S, B, R> Post for Over<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: From<Bytes> + Send + 'static,
    R: Body + Send,
    R::Error: Into<BoxError>,
    R::Data: Send,
{
    fn post(&self, request: Request<Bytes>) -> AnswerFuture {
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let response = service.call(request.map(B::from)).await.map_err(Into::into)?;
            let (parts, body) = response.into_parts();
            let body = match parts.status.is_redirection() {
                true => None,
                false => read(body).await?,
            };
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        })
    }
}

/// Reads a body to its end, if it is not too long.
async fn read<R>(body: R) -> Result<Option<Zeroizing<Vec<u8>>>, BoxError>
where
    R: Body,
    R::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut read = Zeroizing::new(Vec::new());
    let mut left = LONGEST_BODY;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        // RFC 9110, section 6.5: nothing comes after the trailers.
        let Ok(mut data) = frame.map_err(Into::into)?.into_data() else {
            break;
        };
        // One without data counts as one byte, so that a server cannot go on for ever
        // with those.
        let Some(rest) = left.checked_sub(data.remaining().max(1)) else {
            return Ok(None);
        };
        left = rest;
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            data.advance(chunk.len());
        }
    }
    Ok(Some(read))
}
