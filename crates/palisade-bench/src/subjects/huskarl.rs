use std::{fmt, future::ready, sync::Arc};

use http::{Request, Response};
use huskarl::{
    authorizer::HttpAuthorizer,
    cache::{InMemoryTokenCache, TokenError, TokenSource},
    core::{platform::MaybeSendBoxFuture, secrets::SecretString},
    grant::core::{RawTokenResponse, TokenResponse},
};
use palisade_core::{SystemClock, WallClock as _};
use tower_service::Service;

use crate::{
    benches::Gate,
    inner::Body,
    subject::{Subject, at_once},
};

const DAY: u64 = 24 * 60 * 60;

/// The loop around each request that its documentation shows; it has no layer.
pub(crate) fn cached<S>(
    token: &str,
    service: S,
    request: impl Fn() -> Request<Body> + 'static,
) -> Subject
where
    S: Service<Request<Body>, Response = Response<Body>, Error: fmt::Debug> + Clone + 'static,
{
    let authorizer = Authorizer::of(token, None);
    Subject::work("huskarl", move || at_once(authorizer.call(request(), service.clone())))
}

/// What asks for a token, and puts it on requests.
#[derive(Debug)]
pub(crate) struct Authorizer(HttpAuthorizer);

impl Authorizer {
    /// One that gets no token until a gate is opened.
    pub(crate) fn gated(token: &str, gate: Gate) -> Self {
        Self::of(token, Some(gate))
    }

    fn of(token: &str, gate: Option<Gate>) -> Self {
        let source = Source { token: token.to_owned(), gate };
        let cache = InMemoryTokenCache::builder().source(source).build();
        Self(HttpAuthorizer::builder().cache(cache).build())
    }

    /// Has another token asked for.
    pub(crate) fn invalidate(&self) {
        self.0.invalidate();
    }

    pub(crate) async fn call<S>(&self, mut request: Request<Body>, mut service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error: fmt::Debug>,
    {
        let uri = request.uri().clone();
        let headers = self.0.get_headers(request.method(), &uri).await;
        request.headers_mut().extend(headers.expect("there is a token"));
        let response = service.call(request).await.expect("it answers");
        assert!(response.status().is_success());
        self.0.process_response(&uri, response.headers());
    }
}

struct Source {
    token: String,
    gate: Option<Gate>,
}

impl TokenSource for Source {
    fn token(&self) -> MaybeSendBoxFuture<'_, Result<Arc<TokenResponse>, TokenError>> {
        let response = RawTokenResponse::builder()
            .access_token(SecretString::new(self.token.clone()))
            .token_type("bearer")
            .expires_in(DAY)
            .build();
        let response = response.into_token_response(None, SystemClock.now());
        let response = Arc::new(response.expect("a valid token"));
        match &self.gate {
            None => Box::pin(ready(Ok(response))),
            Some(gate) => Box::pin(async move {
                gate.opened().await;
                Ok(response)
            }),
        }
    }
}
