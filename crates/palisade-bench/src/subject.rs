use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use tower_service::Service;

use crate::{inner::Body, request};

/// The name of the inner service alone, to which every other subject is compared.
pub const BARE: &str = "bare";

/// A service under measurement.
pub struct Subject {
    pub name: &'static str,
    prepare: Box<dyn FnMut(&mut Batch)>,
    batch: Batch,
}

/// Makes so many calls.
type Batch = Box<dyn FnMut(u32)>;

impl Subject {
    /// A service that answers at the first poll, and so needs no runtime.
    pub(crate) fn immediate<S>(
        name: &'static str,
        service: S,
        request: impl FnMut() -> Request<Body> + 'static,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error: fmt::Debug> + 'static,
    {
        Self::checked(name, service, request, move |result| check(name, result))
    }

    /// As [`immediate`](Self::immediate), whatever the answer's body.
    pub(crate) fn answered<S, B>(
        name: &'static str,
        service: S,
        request: impl FnMut() -> Request<Body> + 'static,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error: fmt::Debug> + 'static,
    {
        Self::checked(name, service, request, move |result| check(name, result))
    }

    /// As [`immediate`](Self::immediate), where every call has to fail with such an error.
    pub(crate) fn refusals<S>(
        name: &'static str,
        service: S,
        is_refusal: fn(&S::Error) -> bool,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error: 'static> + 'static,
    {
        Self::checked(name, service, request::get, move |result| {
            assert!(result.as_ref().is_err_and(is_refusal), "{name} refuses nothing");
        })
    }

    /// As [`immediate`](Self::immediate), where the body is read to its end.
    pub(crate) fn drained<S, B>(name: &'static str, mut service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error: fmt::Debug> + 'static,
        B: http_body::Body<Error: fmt::Debug>,
    {
        let batch = move |calls| {
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..calls {
                assert!(service.poll_ready(&mut cx).is_ready(), "{name} is not ready at once");
                at_once(call_and_read(name, &mut service));
            }
        };
        Self::of(name, batch)
    }

    /// A service that several tasks call, as [`tasks`](Self::tasks) do, where the bodies are read to
    /// their end.
    pub(crate) fn draining_tasks<S, B>(
        name: &'static str,
        runtime: &Arc<Runtime>,
        tasks: u32,
        service: S,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error: fmt::Debug + Send>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: http_body::Body<Error: fmt::Debug> + Send,
    {
        let task = move |mut service: S, calls| async move {
            for _ in 0..calls {
                call_and_read(name, &mut service).await;
            }
        };
        Self::of_tasks(name, runtime, tasks, service, task)
    }

    /// Work that is no call.
    pub(crate) fn work(name: &'static str, mut work: impl FnMut() + 'static) -> Self {
        Self::of(name, move |times| (0..times).for_each(|_| work()))
    }

    /// The future and its answer stay where they are: what is moved is moved by the service.
    fn checked<S>(
        name: &'static str,
        mut service: S,
        mut request: impl FnMut() -> Request<Body> + 'static,
        check: impl Fn(&Result<S::Response, S::Error>) + 'static,
    ) -> Self
    where
        S: Service<Request<Body>> + 'static,
    {
        let batch = move |calls| {
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..calls {
                assert!(service.poll_ready(&mut cx).is_ready(), "{name} is not ready at once");
                let future = pin!(service.call(black_box(request())));
                match black_box(&future.poll(&mut cx)) {
                    Poll::Ready(result) => check(result),
                    Poll::Pending => panic!("{name} does not answer at once"),
                }
            }
        };
        Self::of(name, batch)
    }

    /// A service that several tasks call, each over and over again by a clone of its own.
    pub(crate) fn tasks<S>(
        name: &'static str,
        runtime: &Arc<Runtime>,
        tasks: u32,
        service: S,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error: fmt::Debug + Send>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let task = move |service, calls| call_in_turn(name, service, request::get, calls);
        Self::of_tasks(name, runtime, tasks, service, task)
    }

    fn of_tasks<S, F>(
        name: &'static str,
        runtime: &Arc<Runtime>,
        tasks: u32,
        service: S,
        task: impl Fn(S, u32) -> F + 'static,
    ) -> Self
    where
        S: Clone + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Arc::clone(runtime);
        let batch = move |calls| {
            let mut set = JoinSet::new();
            for _ in 0..tasks {
                set.spawn_on(task(service.clone(), calls / tasks), runtime.handle());
            }
            runtime.block_on(set.join_all());
        };
        Self::of(name, batch)
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
            runtime.block_on(call_in_turn(name, &mut service, request, calls));
        };
        Self::of(name, batch)
    }

    /// A service that is pending at its first poll, and may set timers: one that fires earlier is
    /// set already, as in any process that has something to do.
    pub(crate) fn pending<S, B>(
        name: &'static str,
        mut service: S,
        request: fn() -> Request<Body>,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error: fmt::Debug> + 'static,
    {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a clock needs nothing of the system");
        let batch = move |calls| {
            runtime.block_on(async {
                let mut earlier = pin!(tokio::time::sleep(Duration::from_secs(1)));
                let _ = poll_fn(|cx| Poll::Ready(earlier.as_mut().poll(cx))).await;
                for _ in 0..calls {
                    let result = service.call(black_box(request())).await;
                    check(name, black_box(&result));
                }
            });
        };
        Self::of(name, batch)
    }

    fn of(name: &'static str, batch: impl FnMut(u32) + 'static) -> Self {
        Self { name, prepare: Box::new(|_| {}), batch: Box::new(batch) }
    }

    /// A service that is made anew for each turn.
    pub(crate) fn renewed(make: fn() -> Self) -> Self {
        Self { prepare: Box::new(move |batch| *batch = make().batch), ..make() }
    }

    /// Has something done before each turn.
    pub(crate) fn prepared(self, mut prepare: impl FnMut() + 'static) -> Self {
        Self { prepare: Box::new(move |_| prepare()), ..self }
    }

    /// Gets ready for a turn, which is no part of it.
    pub fn prepare(&mut self) {
        (self.prepare)(&mut self.batch);
    }

    /// Makes so many calls.
    pub fn call(&mut self, calls: u32) {
        (self.batch)(calls);
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a future has to say that never waits.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a call is not answered at once"),
    }
}

async fn call_in_turn<S>(name: &str, mut service: S, request: fn() -> Request<Body>, calls: u32)
where
    S: Service<Request<Body>, Response = Response<Body>, Error: fmt::Debug>,
{
    for _ in 0..calls {
        let ready = poll_fn(|cx| service.poll_ready(cx)).await;
        assert!(ready.is_ok(), "{name} is not ready");
        let result = service.call(black_box(request())).await;
        check(name, black_box(&result));
    }
}

/// The answer stays where it is until its body has been moved to be read.
async fn call_and_read<S, B>(name: &str, service: &mut S)
where
    S: Service<Request<Body>, Response = Response<B>, Error: fmt::Debug>,
    B: http_body::Body<Error: fmt::Debug>,
{
    let result = service.call(black_box(request::get())).await;
    check(name, black_box(&result));
    let Ok(response) = result else { return };
    let mut body = pin!(response.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        assert!(black_box(frame).is_ok(), "{name} breaks off");
    }
}

fn check<B>(name: &str, result: &Result<Response<B>, impl fmt::Debug>) {
    match result {
        Ok(response) => assert_eq!(response.status(), StatusCode::OK, "{name} gives up"),
        Err(error) => panic!("{name} fails: {error:?}"),
    }
}

fn paused_runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system")
}
