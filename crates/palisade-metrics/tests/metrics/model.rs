//! Requests at random, against a naive model: whatever happens in whatever order, all is counted as
//! it happened.

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use http_body_util::Full;
use palisade_core::Endpoint;
use palisade_metrics::{Registry, Requests, ResponseBody};
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::{runtime::Builder, time::advance};
use tower::{Layer, Service, service_fn};

use crate::support::Call;

static ENDPOINTS: [Endpoint; 2] =
    [Endpoint::new(Method::GET, "/users/{id}"), Endpoint::new(Method::PUT, "/users/{id}")];

/// What happens next; `usize` says to which of those that are alive, over and over.
#[derive(Clone, Copy, Debug)]
enum Op {
    Begin { endpoint: usize, sent: usize, panics: bool },
    Poll(usize, Step),
    Drop(usize),
    Wait(u64),
}

/// What the service, or a body, does when it is polled.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pending,
    Panic,
    Fail,
    Answer { status: u16, stream: bool, empty: bool },
    Data(usize),
    Last(usize),
    Trailers,
    End,
}

fn ops() -> impl Strategy<Value = Op> {
    let step = prop_oneof![
        1 => Just(Step::Pending),
        1 => Just(Step::Panic),
        1 => Just(Step::Fail),
        8 => (select(vec![200, 404, 503]), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(status, stream, empty)| Step::Answer { status, stream, empty }),
        8 => (0..9_usize).prop_map(Step::Data),
        1 => (0..9_usize).prop_map(Step::Last),
        1 => Just(Step::Trailers),
        2 => Just(Step::End),
    ];
    prop_oneof![
        4 => (0..2_usize, 0..5_usize, prop::bool::weighted(0.1))
            .prop_map(|(endpoint, sent, panics)| Op::Begin { endpoint, sent, panics }),
        12 => (any::<usize>(), step).prop_map(|(which, step)| Op::Poll(which, step)),
        1 => any::<usize>().prop_map(Op::Drop),
        1 => (0..9_u64).prop_map(Op::Wait),
    ]
}

/// A body that does what it is told, by way of a cell.
struct Told {
    step: Rc<Cell<Step>>,
    ended: bool,
}

impl Body for Told {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = |len| Frame::data(Bytes::from(vec![0; len]));
        Poll::Ready(match self.step.get() {
            Step::Pending | Step::Answer { .. } => return Poll::Pending,
            Step::Panic => resume_unwind(Box::new(())),
            Step::Fail => Some(Err(io::ErrorKind::ConnectionReset.into())),
            Step::Data(len) => Some(Ok(data(len))),
            Step::Last(len) => {
                self.ended = true;
                Some(Ok(data(len)))
            }
            Step::Trailers => Some(Ok(Frame::trailers(HeaderMap::new()))),
            Step::End => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// What the service does when it is polled.
fn answer(step: &Rc<Cell<Step>>) -> Poll<io::Result<Response<Told>>> {
    match step.get() {
        Step::Panic => resume_unwind(Box::new(())),
        Step::Fail => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        Step::Answer { status, stream, empty } => {
            let mut response = Response::builder().status(status);
            if stream {
                response = response.header(CONTENT_TYPE, "text/event-stream");
            }
            let body = Told { step: Rc::clone(step), ended: empty };
            Poll::Ready(Ok(response.body(body).unwrap()))
        }
        _ => Poll::Pending,
    }
}

/// How a request ended: its status, and its error.
type End = (Option<u16>, Option<&'static str>);

/// What is expected of an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
struct Expected {
    in_flight: u64,
    streams: u64,
    sent: u64,
    received: u64,
    unread: u64,
    /// How many, how long, and how many heads and how long until then.
    ends: BTreeMap<End, [u64; 2]>,
    heads: BTreeMap<End, [u64; 2]>,
    outcomes: BTreeMap<&'static str, u64>,
}

/// A request as the model sees it.
#[derive(Clone, Copy, Debug)]
struct State {
    endpoint: usize,
    started: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Called,
    Body { status: u16, received: u64 },
    Stream,
    Ended,
}

fn outcome((status, error): End) -> &'static str {
    match (status, error) {
        (_, Some("panic")) => "failed",
        (_, Some("cancelled")) => "ignored",
        (_, Some(_)) | (Some(503), None) => "transient",
        (Some(404), None) => "rejected",
        _ => "success",
    }
}

#[derive(Default)]
struct Model {
    now: u64,
    all: [Expected; 2],
}

impl Model {
    fn begin(&mut self, endpoint: usize, sent: usize) -> State {
        self.all[endpoint].in_flight += 1;
        self.all[endpoint].sent += sent as u64;
        State { endpoint, started: self.now, stage: Stage::Called }
    }

    fn end(&mut self, state: &mut State, end: End) {
        let expected = &mut self.all[state.endpoint];
        let [count, sum] = expected.ends.entry(end).or_default();
        *count += 1;
        *sum += self.now - state.started;
        *expected.outcomes.entry(outcome(end)).or_default() += 1;
        expected.in_flight -= 1;
        if let Stage::Body { received, .. } = state.stage {
            expected.received += received;
        }
        state.stage = Stage::Ended;
    }

    fn poll(&mut self, state: &mut State, step: Step) {
        match (state.stage, step) {
            (Stage::Called, Step::Panic) => self.end(state, (None, Some("panic"))),
            (Stage::Called, Step::Fail) => self.end(state, (None, Some("closed"))),
            (Stage::Called, Step::Answer { status, stream, empty }) => {
                let expected = &mut self.all[state.endpoint];
                let [count, sum] = expected.heads.entry((Some(status), None)).or_default();
                *count += 1;
                *sum += self.now - state.started;
                if empty || stream {
                    self.end(state, (Some(status), None));
                } else {
                    state.stage = Stage::Body { status, received: 0 };
                }
                if stream && !empty {
                    self.all[state.endpoint].streams += 1;
                    state.stage = Stage::Stream;
                }
            }
            (Stage::Body { status, received }, step) => {
                if let Step::Data(len) | Step::Last(len) = step {
                    state.stage = Stage::Body { status, received: received + len as u64 };
                }
                match step {
                    Step::Panic => self.end(state, (Some(status), Some("panic"))),
                    Step::Fail => self.end(state, (Some(status), Some("body"))),
                    Step::Last(_) | Step::Trailers | Step::End => {
                        self.end(state, (Some(status), None));
                    }
                    _ => {}
                }
            }
            (Stage::Stream, step) => {
                let expected = &mut self.all[state.endpoint];
                if let Step::Data(len) | Step::Last(len) = step {
                    expected.received += len as u64;
                }
                let goes_on = matches!(step, Step::Pending | Step::Answer { .. } | Step::Data(_));
                if !goes_on {
                    expected.streams -= 1;
                    state.stage = Stage::Ended;
                }
            }
            _ => {}
        }
    }

    fn drop(&mut self, mut state: State) {
        match state.stage {
            Stage::Called => self.end(&mut state, (None, Some("cancelled"))),
            Stage::Body { status, .. } => {
                self.all[state.endpoint].unread += 1;
                self.end(&mut state, (Some(status), None));
            }
            Stage::Stream => self.all[state.endpoint].streams -= 1,
            Stage::Ended => {}
        }
    }

    fn check(&self, requests: &Requests, with_heads: bool) -> Result<(), TestCaseError> {
        for (endpoint, expected) in ENDPOINTS.iter().zip(&self.all) {
            let mut expected = expected.clone();
            if !with_heads {
                expected.heads.clear();
            }
            let found = requests.endpoint(endpoint.method().as_str(), endpoint.template());
            prop_assert_eq!(seen(&found), expected);
        }
        Ok(())
    }
}

/// What was counted, as the model spells it.
fn seen(requests: &Requests) -> Expected {
    let mut seen = Expected::default();
    for group in &requests.groups {
        seen.in_flight += group.in_flight;
        seen.streams += group.streams;
        seen.sent += group.sent;
        seen.received += group.received;
        seen.unread += group.unread;
        for result in &group.results {
            let names = ["panic", "cancelled", "closed", "body"];
            let error = result.error.as_deref().map(|error| {
                *names.iter().find(|name| **name == error).expect("a kind that there is")
            });
            for (all, times) in
                [(&mut seen.ends, &result.times), (&mut seen.heads, &result.head_times)]
            {
                if times.count() != 0 {
                    let sum = times.sum().as_millis() as u64;
                    all.insert((result.status, error), [times.count(), sum]);
                }
            }
        }
    }
    let outcomes = requests.outcomes();
    seen.outcomes = outcomes.iter().filter(|(_, count)| *count != 0).collect();
    seen
}

type Answered = Response<ResponseBody<ResponseBody<Told>>>;

/// A request that is alive.
enum Live {
    Call(Pin<Box<dyn Future<Output = io::Result<Answered>>>>),
    Body(Pin<Box<ResponseBody<ResponseBody<Told>>>>),
}

/// Polls once. Nothing is left of what panics or fails.
fn poll(live: Live) -> Option<Live> {
    let mut cx = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| match live {
        Live::Call(mut call) => match call.as_mut().poll(&mut cx) {
            Poll::Pending => Some(Live::Call(call)),
            Poll::Ready(Err(_)) => None,
            Poll::Ready(Ok(response)) => Some(Live::Body(Box::pin(response.into_body()))),
        },
        Live::Body(mut body) => {
            let _ = body.as_mut().poll_frame(&mut cx);
            Some(Live::Body(body))
        }
    }));
    polled.unwrap_or(None)
}

async fn run(ops: &[Op]) -> Result<(), TestCaseError> {
    let metrics = Registry::new().max_endpoints(2).max_groups(2);
    let step = Rc::new(Cell::new(Step::Pending));
    let told = Rc::clone(&step);
    let service = service_fn(move |_: Call| {
        if matches!(told.get(), Step::Panic) {
            resume_unwind(Box::new(()));
        }
        let told = Rc::clone(&told);
        poll_fn(move |_| answer(&told))
    });
    let client = metrics.calls().layer(metrics.attempts().layer(service));
    let (mut model, mut alive) = (Model::default(), Vec::<(Live, State)>::new());
    for op in ops {
        match *op {
            Op::Begin { endpoint, sent, panics } => {
                let marked = &ENDPOINTS[endpoint];
                let body = Full::from(vec![0; sent]);
                let mut request =
                    Request::builder().method(marked.method()).uri("/users/1").body(body).unwrap();
                marked.put_into(request.extensions_mut());
                step.set(if panics { Step::Panic } else { Step::Pending });
                let mut client = client.clone();
                let called = catch_unwind(AssertUnwindSafe(|| client.call(request)));
                let mut state = model.begin(endpoint, sent);
                match called {
                    Ok(call) => alive.push((Live::Call(Box::pin(call)), state)),
                    Err(_) => model.end(&mut state, (None, Some("panic"))),
                }
            }
            Op::Poll(which, next) if !alive.is_empty() => {
                step.set(next);
                let (live, mut state) = alive.swap_remove(which % alive.len());
                model.poll(&mut state, next);
                alive.extend(poll(live).map(|live| (live, state)));
            }
            Op::Drop(which) if !alive.is_empty() => {
                let (live, state) = alive.swap_remove(which % alive.len());
                drop(live);
                model.drop(state);
            }
            Op::Wait(millis) => {
                advance(Duration::from_millis(millis)).await;
                model.now += millis;
            }
            _ => {}
        }
        let snapshot = metrics.snapshot();
        model.check(&snapshot.calls, false)?;
        model.check(&snapshot.attempts, true)?;
    }
    for (live, state) in alive {
        drop(live);
        model.drop(state);
    }
    let snapshot = metrics.snapshot();
    model.check(&snapshot.calls, false)?;
    prop_assert_eq!((snapshot.calls.in_flight(), snapshot.attempts.streams()), (0, 0));
    Ok(())
}

proptest! {
    #[test]
    fn all_is_counted_as_it_happens(ops in vec(ops(), 0..50)) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(&ops))?;
    }
}
