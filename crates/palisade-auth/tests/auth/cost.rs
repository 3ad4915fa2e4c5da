use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use palisade_auth::{AuthLayer, Authenticator, Bearer, Credential, Token, Tokens, TokensByKey};
use palisade_core::Origins;
use tower::{Layer, Service};

use crate::support::{Source, URI};

#[derive(Clone, Copy)]
struct Leaf;

impl<B> Service<Request<B>> for Leaf {
    type Response = Response<Empty>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Empty>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Its room is not ours to count.
        assert!(request.headers().contains_key("authorization"));
        ready(Ok(Response::new(Empty::new())))
    }
}

type Empty = http_body_util::Empty<bytes::Bytes>;

fn request(credential: Option<Credential>) -> Request<Empty> {
    let mut request = Request::get(URI).body(Empty::new()).unwrap();
    for name in ["accept", "user-agent", "x-request-id"] {
        request.headers_mut().insert(name, "palisade".parse().unwrap());
    }
    if let Some(credential) = credential {
        credential.put(request.extensions_mut());
    }
    request
}

fn allocations<S>(mut service: S, credential: Option<&Credential>) -> u64
where
    S: Service<Request<Empty>, Response = Response<Empty>, Error: std::fmt::Debug>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut counts = [0; 3];
    for count in &mut counts {
        let request = request(credential.cloned());
        *count = allocation_counter::measure(|| {
            assert!(service.poll_ready(&mut cx).is_ready());
            let response = pin!(service.call(request)).poll(&mut cx);
            assert!(matches!(response, Poll::Ready(Ok(_))));
        })
        .count_total;
    }
    // The first is of what lasts.
    assert_eq!(counts[1], counts[2]);
    counts[2]
}

fn once<A: Authenticator>(authenticator: A, credential: Option<&Credential>) -> u64 {
    let layer = AuthLayer::new(authenticator, Origins::new(["https://api.example"]));
    allocations(layer.send_once().layer(Leaf), credential)
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_there_costs_no_allocation() {
    let tokens = Tokens::new(Source::default());
    tokens.warm_up().await.unwrap();
    assert_eq!(once(tokens, None), 0);

    // What never changes is never sent again.
    let bearer = Bearer::new("abc").unwrap();
    let layer = AuthLayer::new(bearer, Origins::new(["https://api.example"]));
    assert_eq!(allocations(layer.layer(Leaf), None), 0);

    let keyed = TokensByKey::new(|_| Source::default());
    let credential = Credential::tenant("blue").scope("read");
    keyed.tokens(&credential).unwrap().warm_up().await.unwrap();
    assert_eq!(once(keyed.clone(), Some(&credential)), 0);
    let literal = Credential::token(Token::bearer("abc").unwrap());
    assert_eq!(once(keyed, Some(&literal)), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_second_try_is_made_of_costs_two() {
    let tokens = Tokens::new(Source::default());
    tokens.warm_up().await.unwrap();
    let layer = AuthLayer::new(tokens, Origins::new(["https://api.example"]));
    // The copy, and the box that it is kept in.
    assert_eq!(allocations(layer.layer(Leaf), None), 2);
}
