use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use palisade_body::{Drain, Drained};

use crate::support::{Play, Script, Task, data, trailers};

/// Always ready and never at its end: one frame, again and again.
struct Endless {
    frame: &'static str,
    polls: usize,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.polls += 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.frame.as_bytes())))))
    }
}

/// Polls until it ends, and says how often that took.
fn drain<B: Body>(body: B, cap: usize) -> (Drained, usize) {
    let task = Task::new();
    let waker = Waker::from(Arc::clone(&task));
    let mut drain = pin!(Drain::new(body, cap));
    for polls in 1.. {
        let woken = task.woken();
        match drain.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(drained) => return (drained, polls),
            Poll::Pending => assert!(woken < task.woken(), "it would never be polled again"),
        }
    }
    unreachable!()
}

#[test]
fn reads_to_the_end_within_the_cap() {
    let five = || vec![data("ab"), Play::Yield, data("cde")];
    for (plays, cap, drained) in [
        (five(), 5, Drained::End),
        (five(), 6, Drained::End),
        (five(), 4, Drained::Capped),
        (five(), 0, Drained::Capped),
        (vec![], 0, Drained::End),
        (vec![Play::Yield], 0, Drained::End),
        (vec![data("ab"), Play::Trailers(trailers())], 2, Drained::End),
        (vec![Play::Trailers(trailers())], 0, Drained::End),
        (vec![data("ab"), Play::Fail("gone")], 2, Drained::Failed),
        (vec![Play::Fail("gone")], 0, Drained::Failed),
    ] {
        assert_eq!(drain(Script::new(plays), cap).0, drained);
    }
}

#[test]
fn stops_at_the_trailers_and_at_a_known_end() {
    for plays in [
        vec![Play::Trailers(trailers()), Play::Panic],
        vec![data("ab"), Play::Trailers(trailers()), Play::Panic],
    ] {
        assert_eq!(drain(Script::new(plays), 2).0, Drained::End);
    }

    struct Ended;

    impl Body for Ended {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("polled past its end")
        }

        fn is_end_stream(&self) -> bool {
            true
        }

        /// As that of a response to HEAD, which announces what GET would bring.
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(1 << 40)
        }
    }

    assert_eq!(drain(Ended, 0), (Drained::End, 1));
}

#[test]
fn does_not_read_what_announces_to_be_too_long() {
    assert_eq!(drain(Script::new([data("abc"), Play::Panic]).sized(), 2), (Drained::Capped, 1));
    // Nor goes it on once that is clear.
    struct Learns(Script, bool);

    impl Body for Learns {
        type Data = Bytes;
        type Error = <Script as Body>::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.1 = true;
            Pin::new(&mut self.0).poll_frame(cx)
        }

        fn size_hint(&self) -> SizeHint {
            if self.1 { SizeHint::with_exact(9) } else { SizeHint::new() }
        }
    }

    assert_eq!(drain(Learns(Script::new([data("a"), Play::Panic]), false), 9).0, Drained::Capped);
}

#[test]
fn lets_others_run_while_a_body_is_always_ready() {
    let mut body = Endless { frame: "1234567890", polls: 0 };
    let task = Task::new();
    let waker = Waker::from(Arc::clone(&task));
    let mut endless = pin!(Drain::new(&mut body, usize::MAX));
    assert!(endless.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(task.woken(), 1);

    let (drained, polls) = drain(Endless { frame: "1234567890", polls: 0 }, 1_000);
    assert_eq!(drained, Drained::Capped);
    assert!(1 < polls && polls < 100, "{polls}");
}

#[test]
fn empty_frames_do_not_hold_it() {
    assert_eq!(drain(Endless { frame: "", polls: 0 }, 1_000).0, Drained::Capped);
    let mut body = Endless { frame: "", polls: 0 };
    assert_eq!(drain(&mut body, 10).0, Drained::Capped);
    assert_eq!(body.polls, 11);
}

#[test]
fn waits_for_a_body_that_is_not_ready() {
    let task = Task::new();
    let waker = Waker::from(Arc::clone(&task));
    let mut drain = pin!(Drain::new(Script::new([Play::Stall, data("ab")]), 2));
    assert!(drain.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(task.woken(), 0, "only the body knows when to go on");
    assert_eq!(drain.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Drained::End));
}

#[test]
fn is_debug_and_send_and_unpin_as_the_body_is() {
    fn check<T: Send + Sync + Unpin>(_: &T) {}
    let drain = Drain::new(String::from("secret"), 16);
    check(&drain);
    assert_eq!(format!("{drain:?}"), "Drain { left: 16, .. }");
}
