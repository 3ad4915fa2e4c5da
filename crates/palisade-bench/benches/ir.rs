//! Instructions of one call, counted by valgrind.
//!
//! Building the service and the request is left out, and so is dropping the service and the answer.

#![expect(unused_qualifications, reason = "the macros qualify")]

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group};
use http::{Request, Response};
use palisade_bench::{Body, Healthy, get, post};
use palisade_retry::{IdempotentOnly, RetryLayer};
use tower::Layer;
use tower_service::Service;

gungraun::main!(
    // Instructions are exact; a model of somebody's caches is not.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"]));
    library_benchmark_groups = retry
);

library_benchmark_group!(name = retry; benchmarks = get_success, post_unretryable);

#[library_benchmark]
#[bench::bare(Healthy, get())]
#[bench::palisade(palisade(), get())]
fn get_success<S>(service: S, request: Request<Body>) -> (S, Response<Body>)
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    call(service, request)
}

#[library_benchmark]
#[bench::bare(Healthy, post())]
#[bench::palisade(palisade_idempotent_only(), post())]
fn post_unretryable<S>(service: S, request: Request<Body>) -> (S, Response<Body>)
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    call(service, request)
}

fn palisade() -> impl Service<Request<Body>, Response = Response<Body>> {
    RetryLayer::http().layer(Healthy)
}

fn palisade_idempotent_only() -> impl Service<Request<Body>, Response = Response<Body>> {
    RetryLayer::http().requests(IdempotentOnly).layer(Healthy)
}

/// Calls the service once, and hands it back with the answer, so that the drop of neither counts.
#[inline(always)]
fn call<S>(mut service: S, request: Request<Body>) -> (S, Response<Body>)
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let answer = {
        let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) else {
            panic!("it is not ready at once");
        };
        let future = pin!(service.call(black_box(request)));
        match future.poll(&mut cx) {
            Poll::Ready(Ok(answer)) => answer,
            _ => panic!("it does not answer at once"),
        }
    };
    (service, answer)
}
