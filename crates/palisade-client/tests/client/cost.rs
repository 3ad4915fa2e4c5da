use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderValue, Request, Response, header};
use palisade_client::{Body, ClientOf};
use serde::Deserialize;
use tower_service::Service;

/// Answers with the same bytes each time; allocates nothing, but for the type of an object.
#[derive(Clone)]
struct Same(Bytes);

impl Service<Request<Body>> for Same {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut response = Response::new(self.0.clone().into());
        if self.0.starts_with(b"{") {
            let value = HeaderValue::from_static("application/JSON; charset=UTF-8");
            response.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        ready(Ok(response))
    }
}

#[derive(Debug, Deserialize)]
struct Point {
    #[expect(dead_code, reason = "only decoded")]
    x: u32,
}

fn client(body: &'static str) -> ClientOf<Same> {
    ClientOf::from_service(Same(Bytes::from_static(body.as_bytes())))
        .base_url("https://api.example")
}

/// How many allocations it takes, once all is warm.
fn count(mut work: impl FnMut()) -> u64 {
    work();
    allocation_counter::measure(work).count_total
}

#[test]
fn a_value_in_one_piece_costs_nothing_beyond_its_parts() {
    let client = client(r#"{"x":1}"#);
    let mut response = None;
    response.replace(client.get("/a").send().now_or_never().unwrap().unwrap());
    let read = allocation_counter::measure(|| {
        let response = response.take().unwrap();
        response.json::<Point>().now_or_never().unwrap().unwrap();
    });
    assert_eq!(read.count_total, 0);
}

#[test]
fn a_request_costs_its_url_and_what_shares_it() {
    let client = client("");
    let sent = count(|| drop(client.get("/users/{id}").path("id", 7).send().now_or_never()));
    let plain = count(|| drop(client.get("/users").send().now_or_never()));
    // The URL, its count of owners, and the extensions: a box, a table, and what is in it.
    assert_eq!(plain, 5);
    // The value, and its name.
    assert_eq!(sent, plain + 2);
}

#[test]
fn one_of_many_costs_one_more() {
    let client = client("1");
    let many = |requests: usize| {
        let requests = (0..requests).map(|_| client.get("/users"));
        let numbers = client.fetch_all(requests, 4).json::<u32>();
        assert!(numbers.all(|number| ready(number.is_ok())).now_or_never().unwrap());
    };
    let one = count(|| drop(client.get("/users").send().now_or_never()));
    let few = count(|| many(20));
    let more = count(|| many(120));
    assert_eq!(more - few, 100 * (one + 1));
}
