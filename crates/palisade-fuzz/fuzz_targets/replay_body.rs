//! A body that several attempts read, in any chunks and in any order.

#![no_main]

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use libfuzzer_sys::fuzz_target;
use palisade_body::{NotReplayable, Replay, ReplayBody, ReplayError};

#[derive(Arbitrary, Debug)]
struct Input {
    plays: Vec<Play>,
    end: End,
    /// Whether the body announces its length.
    sized: bool,
    cap: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Play {
    Data(Vec<u8>),
    Pending,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum End {
    Plain,
    /// It knows that it is at its end before it is polled for it.
    Told,
    Trailers,
    Error,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Polls the body of this attempt, if there is one.
    Poll(u8),
    /// Drops the body of this attempt.
    Drop(u8),
    /// Makes another attempt.
    Next,
    /// Makes another attempt, the last one.
    Last,
    /// Gives up further attempts.
    Stop,
}

fuzz_target!(|input: Input| {
    let whole: Vec<u8> = input
        .plays
        .iter()
        .flat_map(|play| match play {
            Play::Data(data) => &data[..],
            Play::Pending => &[],
        })
        .copied()
        .collect();
    let source = Source {
        plays: input.plays.iter().cloned().collect(),
        end: Some(input.end),
        left: input.sized.then_some(whole.len() as u64),
    };
    let (first, replay) = ReplayBody::new(source, input.cap.into());
    let mut run = Run {
        input: &input,
        whole: &whole,
        attempts: vec![Attempt::new(first)],
        replay: Some(replay),
        failed: false,
    };
    for step in &input.steps {
        run.step(step);
    }
    run.finish();
});

struct Run<'i> {
    input: &'i Input,
    whole: &'i [u8],
    attempts: Vec<Attempt>,
    replay: Option<Replay<Source>>,
    /// Whether an attempt met the error of the source.
    failed: bool,
}

struct Attempt {
    body: Option<ReplayBody<Source>>,
    sent: Vec<u8>,
    trailers: bool,
    over: bool,
}

impl Attempt {
    fn new(body: ReplayBody<Source>) -> Self {
        Self { body: Some(body), sent: Vec::new(), trailers: false, over: false }
    }
}

impl Run<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Poll(which) => {
                let which = usize::from(*which) % self.attempts.len();
                self.poll(which);
            }
            Step::Drop(which) => {
                let which = usize::from(*which) % self.attempts.len();
                self.attempts[which].body = None;
            }
            Step::Next => {
                let Some(mut replay) = self.replay.take() else {
                    return;
                };
                let next = replay.next_body();
                assert_eq!(next.is_ok(), replay.replayable().is_ok());
                self.replay = Some(replay);
                self.begin(next);
            }
            Step::Last => {
                if let Some(replay) = self.replay.take() {
                    self.begin(replay.last_body());
                }
            }
            Step::Stop => self.replay = None,
        }
    }

    fn begin(&mut self, next: Result<ReplayBody<Source>, NotReplayable>) {
        match next {
            Ok(body) => self.attempts.push(Attempt::new(body)),
            Err(NotReplayable::TooLarge) => {
                assert!(usize::from(self.input.cap) < self.whole.len());
            }
            Err(NotReplayable::Failed) => assert!(self.failed),
            Err(error) => panic!("{error}"),
        }
    }

    /// Polls an attempt once; false if that is of no use any more.
    fn poll(&mut self, which: usize) -> bool {
        let current = which + 1 == self.attempts.len();
        let attempt = &mut self.attempts[which];
        let Some(body) = attempt.body.as_mut().filter(|_| !attempt.over) else {
            return false;
        };
        let left = (self.whole.len() - attempt.sent.len()) as u64;
        let fails = self.input.end == End::Error;
        if body.is_end_stream() {
            assert!(left == 0 && !fails);
            assert_eq!(attempt.trailers, self.input.end == End::Trailers);
        } else if current && !self.failed {
            let hint = body.size_hint();
            assert!(hint.lower() <= left);
            assert!(hint.upper().is_none_or(|upper| left <= upper));
            assert!(!self.input.sized || hint.exact() == Some(left));
        }

        let polled = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Pending => assert!(current),
            Poll::Ready(None) => {
                assert_eq!(attempt.sent, self.whole);
                assert_eq!(attempt.trailers, self.input.end == End::Trailers);
                assert!(!fails);
                attempt.over = true;
            }
            Poll::Ready(Some(Ok(frame))) => {
                assert!(current && !attempt.trailers);
                match frame.into_data() {
                    Ok(data) => attempt.sent.extend_from_slice(&data),
                    Err(frame) => {
                        assert_eq!(frame.into_trailers().ok(), Some(trailers()));
                        attempt.trailers = true;
                    }
                }
                assert!(self.whole.starts_with(&attempt.sent));
            }
            Poll::Ready(Some(Err(ReplayError::Superseded))) => {
                assert!(!current);
                attempt.over = true;
            }
            Poll::Ready(Some(Err(ReplayError::Body(_)))) => {
                assert!(current && fails && attempt.sent == self.whole);
                assert!(!std::mem::replace(&mut self.failed, true));
                attempt.over = true;
            }
            Poll::Ready(Some(Err(_))) => {
                assert!(self.failed);
                attempt.over = true;
            }
        }
        !attempt.over
    }

    /// Reads the current attempt to its end.
    fn finish(mut self) {
        let current = self.attempts.len() - 1;
        while self.poll(current) {}
        let attempt = &self.attempts[current];
        if attempt.body.is_none() {
            return;
        }
        assert_eq!(attempt.sent, self.whole);
        if let Some(replay) = &self.replay
            && !self.failed
        {
            let fits = self.whole.len() <= usize::from(self.input.cap);
            assert_eq!(replay.replayable().is_ok(), fits);
            assert!(replay.is_complete() || !fits);
        }
    }
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("7"));
    trailers
}

struct Source {
    plays: VecDeque<Play>,
    end: Option<End>,
    left: Option<u64>,
}

impl Body for Source {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.plays.pop_front() {
            Some(Play::Pending) => return Poll::Pending,
            Some(Play::Data(data)) => {
                self.left = self.left.map(|left| left - data.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(data.into()))));
            }
            None => {}
        }
        Poll::Ready(match self.end.take() {
            Some(End::Trailers) => Some(Ok(Frame::trailers(trailers()))),
            Some(End::Error) => Some(Err(io::Error::other("broke off"))),
            Some(End::Plain | End::Told) | None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.end == Some(End::Told) && self.plays.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
