use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{Request, Response, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

use crate::inner::Body;

/// The name of the inner service alone, to which every other subject is compared.
pub const BARE: &str = "bare";

/// A service under measurement.
pub struct Subject {
    pub name: &'static str,
    batch: Box<dyn FnMut(u32)>,
}

impl Subject {
    /// A service that answers at the first poll, and so needs no runtime.
    pub(crate) fn immediate<S>(
        name: &'static str,
        mut service: S,
        request: fn() -> Request<Body>,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + 'static,
    {
        let batch = move |calls| {
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..calls {
                assert!(service.poll_ready(&mut cx).is_ready(), "{name} is not ready at once");
                let future = pin!(service.call(black_box(request())));
                let Poll::Ready(Ok(response)) = future.poll(&mut cx) else {
                    panic!("{name} does not answer at once");
                };
                check(name, response);
            }
        };
        Self { name, batch: Box::new(batch) }
    }

    /// A service that may use a timer.
    ///
    /// Time is paused, so that a sleep of no time is over at once: in real time it takes up to a
    /// millisecond, for a timer is no finer.
    pub(crate) fn timed<S>(
        name: &'static str,
        mut service: S,
        request: fn() -> Request<Body>,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + 'static,
    {
        let runtime = paused_runtime();
        let batch = move |calls| {
            runtime.block_on(async {
                for _ in 0..calls {
                    let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
                    let Ok(response) = service.call(black_box(request())).await;
                    check(name, response);
                }
            });
        };
        Self { name, batch: Box::new(batch) }
    }

    /// Makes so many calls, one after the other.
    pub fn call(&mut self, calls: u32) {
        (self.batch)(calls);
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

fn check(name: &str, response: Response<Body>) {
    assert_eq!(response.status(), StatusCode::OK, "{name} gives up");
    black_box(response);
}

fn paused_runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system")
}
