use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response as HttpResponse};
use palisade_core::{BoxError, Deadline};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{Body, Error, Response, call::Call, error::expired, expiry::Expiry, response::Rules};

pin_project! {
    /// The future of [`RequestBuilder::send`](crate::RequestBuilder::send).
    #[must_use = "a future does nothing unless it is polled"]
    pub struct ResponseFuture<S, F> {
        #[pin]
        stage: Stage<S, F>,
        call: Option<Call>,
        rules: Rules,
        expiry: Expiry,
    }
}

pin_project! {
    #[project = StageProj]
    #[project_replace = StageReplace]
    enum Stage<S, F> {
        // There is no request to send.
        Failed { error: Error },
        // The service is not ready yet.
        Waiting { service: S, request: Request<Body> },
        // The service works on it.
        Called { #[pin] future: F },
        // The answer was handed over.
        Done,
    }
}

impl<S, F> ResponseFuture<S, F> {
    pub(crate) fn new(service: S, request: Request<Body>, rules: Rules) -> Self {
        let call = Call::of(&request);
        let deadline = Deadline::of(request.extensions());
        let expiry = Expiry::at(deadline.map(|deadline| deadline.0));
        Self { stage: Stage::Waiting { service, request }, call: Some(call), rules, expiry }
    }

    pub(crate) fn failed(error: Error, rules: Rules) -> Self {
        Self { stage: Stage::Failed { error }, call: None, rules, expiry: Expiry::default() }
    }
}

impl<S, R> Future for ResponseFuture<S, S::Future>
where
    S: Service<Request<Body>, Response = HttpResponse<R>, Error: Into<BoxError>>,
{
    type Output = Result<Response<R>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            match this.stage.as_mut().project() {
                StageProj::Waiting { service, .. } => match service.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => break Err(error.into()),
                    Poll::Pending => {
                        ready!(this.expiry.poll(cx));
                        break Err(expired());
                    }
                },
                StageProj::Called { future } => match future.poll(cx) {
                    Poll::Ready(result) => break result.map_err(Into::into),
                    Poll::Pending => {
                        ready!(this.expiry.poll(cx));
                        break Err(expired());
                    }
                },
                StageProj::Failed { .. } | StageProj::Done => {}
            }
            match this.stage.as_mut().project_replace(Stage::Done) {
                StageReplace::Waiting { mut service, request } => {
                    let future = service.call(request);
                    this.stage.set(Stage::Called { future });
                }
                StageReplace::Failed { error } => return Poll::Ready(Err(error)),
                _ => panic!("polled after it was ready"),
            }
        };
        this.stage.set(Stage::Done);
        let call = this.call.take().expect("a request that was made is known");
        Poll::Ready(match result {
            Ok(response) => {
                let expiry = std::mem::take(this.expiry);
                Ok(Response::new(response, call, *this.rules, expiry))
            }
            Err(error) => Err(Error::of_service(error, call)),
        })
    }
}

impl<S, F> fmt::Debug for ResponseFuture<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
