use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// One call of the inner service, from its readiness on.
    #[must_use = "futures do nothing unless polled"]
    pub struct Call<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        stage: Stage<S, Req, S::Future>,
    }
}

pin_project! {
    #[project = StageProj]
    #[project_replace = StageOwn]
    enum Stage<S, Req, F> {
        // The inner service is not ready yet.
        Readying { service: S, request: Req },
        // The inner service is being called.
        Calling,
        // The inner service works on it.
        Called { #[pin] future: F },
    }
}

impl<S: Service<Req>, Req> Call<S, Req> {
    pub(crate) fn new(service: S, request: Req) -> Self {
        Self { stage: Stage::Readying { service, request } }
    }
}

impl<S: Service<Req>, Req> Future for Call<S, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            match stage.as_mut().project() {
                StageProj::Called { future } => return future.poll(cx),
                StageProj::Readying { service, .. } => ready!(service.poll_ready(cx))?,
                StageProj::Calling => panic!("polled after a panic of the inner service"),
            }
            let readied = stage.as_mut().project_replace(Stage::Calling);
            if let StageOwn::Readying { mut service, request } = readied {
                let future = service.call(request);
                stage.set(Stage::Called { future });
            }
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for Call<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}
