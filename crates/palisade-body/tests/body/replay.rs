use std::{
    convert::Infallible,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use palisade_body::{NotReplayable, Replay, ReplayBody, ReplayError};

use crate::support::{Failure, Play, Script, Task, data, next, read, trailers};

type Attempt = ReplayBody<Script>;

fn text(frame: Option<Result<Frame<Bytes>, ReplayError>>) -> String {
    let data = frame.unwrap().unwrap().into_data().unwrap();
    String::from_utf8(data.to_vec()).unwrap()
}

#[test]
fn retry_before_the_first_byte_sends_it_once() {
    let (first, mut replay) = ReplayBody::new(Script::new([data("abc")]), 64);
    drop(first);
    let mut second = replay.next_body().unwrap();
    assert_eq!(read(&mut second).unwrap().0, b"abc");
    assert_eq!(next(&mut second).map(|_| ()), None);
}

#[test]
fn records_up_to_exactly_the_cap() {
    for (cap, replayable) in [(4, Ok(())), (3, Err(NotReplayable::TooLarge))] {
        for sized in [false, true] {
            let mut script = Script::new([data("ab"), Play::Yield, data("cd")]);
            if sized {
                script = script.sized();
            }
            let (mut first, mut replay) = ReplayBody::new(script, cap);
            assert_eq!(read(&mut first).unwrap().0, b"abcd");
            assert_eq!(replay.replayable(), replayable, "cap {cap}");
            assert_eq!(replay.next_body().map(|_| ()), replayable, "cap {cap}");
        }
    }
}

#[test]
fn body_over_the_cap_is_still_sent_by_the_attempt_that_reads_it() {
    let (mut first, mut replay) =
        ReplayBody::new(Script::new([data("ab"), data("cd"), Play::Trailers(trailers())]), 3);
    assert_eq!(text(next(&mut first)), "ab");
    // The second attempt passes the cap only after it has replayed what was under it.
    let mut second = replay.next_body().unwrap();
    assert_eq!(text(next(&mut second)), "ab");
    assert_eq!(replay.replayable(), Ok(()));
    assert_eq!(text(next(&mut second)), "cd");
    assert_eq!(replay.replayable(), Err(NotReplayable::TooLarge));
    assert_eq!(replay.next_body().unwrap_err(), NotReplayable::TooLarge);
    assert!(!replay.is_complete());
    // That it was refused does not disturb the one that is reading.
    assert_eq!(next(&mut second).unwrap().unwrap().into_trailers().unwrap(), trailers());
    assert!(replay.is_complete());
}

#[test]
fn complete_means_sent_to_the_end_with_trailers_by_the_current_attempt() {
    let (mut first, mut replay) =
        ReplayBody::new(Script::new([data("ab"), Play::Trailers(trailers())]), 64);
    assert!(!replay.is_complete());
    assert_eq!(text(next(&mut first)), "ab");
    assert!(!replay.is_complete() && !first.is_end_stream());
    next(&mut first);
    assert!(replay.is_complete() && first.is_end_stream());

    let mut second = replay.next_body().unwrap();
    assert!(!replay.is_complete() && !second.is_end_stream());
    assert_eq!(text(next(&mut second)), "ab");
    assert!(!replay.is_complete() && !second.is_end_stream());
    assert_eq!(next(&mut second).unwrap().unwrap().into_trailers().unwrap(), trailers());
    assert!(replay.is_complete() && second.is_end_stream());
}

#[test]
fn end_is_known_with_the_last_frame_if_the_source_knows_it() {
    for (script, known) in
        [(Script::new([data("ab")]).telling_its_end(), true), (Script::new([data("ab")]), false)]
    {
        let (mut first, replay) = ReplayBody::new(script, 64);
        assert_eq!(text(next(&mut first)), "ab");
        assert_eq!(first.is_end_stream(), known);
        assert_eq!(replay.is_complete(), known);
        assert!(next(&mut first).is_none());
        assert!(first.is_end_stream() && replay.is_complete());
    }
}

/// As hyper drops it: a Content-Length tells the HTTP/1 connection that nothing follows.
#[test]
fn dropped_after_the_last_byte_of_a_known_length_is_complete() {
    let plays = || [data("ab"), data("cd"), Play::Trailers(trailers())];
    for (script, frames, complete) in [
        (Script::new(plays()).sized(), 2, true),
        (Script::new(plays()).sized(), 1, false),
        (Script::new(plays()), 2, false),
        (Script::new([Play::Yield]).sized(), 0, true),
    ] {
        let (mut first, mut replay) = ReplayBody::new(script, 64);
        for _ in 0..frames {
            next(&mut first);
        }
        assert!(!replay.is_complete());
        drop(first);
        assert_eq!(replay.is_complete(), complete);

        let second = replay.next_body().unwrap();
        assert!(!replay.is_complete());
        let third = replay.next_body().unwrap();
        drop(second);
        assert!(!replay.is_complete(), "only the current attempt counts");
        drop(third);
        assert_eq!(replay.is_complete(), complete && frames == 0, "it sent nothing");
    }
}

/// The source may have told its end to one attempt, and another must still send the rest.
#[test]
fn dropped_before_the_trailers_of_an_unknown_length_is_not_complete() {
    let (mut first, mut replay) =
        ReplayBody::new(Script::new([data("ab"), Play::Trailers(trailers())]), 64);
    read(&mut first).unwrap();
    let mut second = replay.next_body().unwrap();
    assert_eq!(text(next(&mut second)), "ab");
    drop(second);
    assert!(!replay.is_complete());
}

/// RFC 9112, section 7.1.2: only the chunked coding carries trailers, and a known length would undo
/// it.
#[test]
fn length_that_was_unknown_at_first_stays_unknown() {
    for plays in [vec![data("ab"), Play::Trailers(trailers())], vec![Play::Trailers(trailers())]] {
        let (mut first, mut replay) = ReplayBody::new(Script::new(plays), 64);
        let (sent, _) = read(&mut first).unwrap();
        let second = replay.next_body().unwrap();
        assert_eq!(second.size_hint().lower(), sent.len() as u64);
        assert_eq!(second.size_hint().upper(), None);
        assert!(!second.is_end_stream());
    }
}

#[test]
fn superseded_attempt_is_woken_and_never_touches_the_source() {
    let (mut first, mut replay) =
        ReplayBody::new(Script::new([data("ab"), Play::Stall, data("cd")]), 64);
    let (connection, retried) = (Task::new(), Task::new());
    assert_eq!(text(next(&mut first)), "ab");
    assert!(connection.poll(&mut first).is_pending());
    assert_eq!(connection.woken(), 0);

    let mut second = replay.next_body().unwrap();
    assert_eq!(connection.woken(), 1);
    assert!(!first.is_end_stream());
    for _ in 0..3 {
        assert!(matches!(
            connection.poll(&mut first),
            Poll::Ready(Some(Err(ReplayError::Superseded)))
        ));
    }
    assert!(matches!(retried.poll(&mut second), Poll::Ready(Some(Ok(_)))));
    drop(first);
    assert_eq!(text(next(&mut second)), "cd");
    assert!(next(&mut second).is_none());
}

/// hyper would take it for sent, and end the chunked coding in the midst of the body.
#[test]
fn superseded_attempt_is_not_at_its_end_when_the_later_one_is() {
    let (mut first, mut replay) =
        ReplayBody::new(Script::new([data("ab"), data("cd")]).sized(), 64);
    assert_eq!(text(next(&mut first)), "ab");
    let mut second = replay.next_body().unwrap();
    assert_eq!(first.size_hint().upper(), None);
    assert_eq!(read(&mut second).unwrap().0, b"abcd");
    assert!(second.is_end_stream() && replay.is_complete());
    assert!(!first.is_end_stream());
    assert_eq!(first.size_hint().exact(), None);
}

#[test]
fn attempt_that_was_complete_stays_complete() {
    let (mut first, mut replay) = ReplayBody::new(Script::new([data("ab")]), 64);
    read(&mut first).unwrap();
    let mut second = replay.next_body().unwrap();
    assert_eq!(text(next(&mut second)), "ab");
    let _third = replay.next_body().unwrap();
    for body in [&mut first, &mut second] {
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(next(body).is_none());
    }

    let (mut first, mut replay) = ReplayBody::new(Script::new([]), 64);
    assert!(next(&mut first).is_none());
    let mut second = replay.next_body().unwrap();
    assert!(next(&mut second).is_none());
    let _third = replay.next_body().unwrap();
    assert!(next(&mut second).is_none() && second.is_end_stream());
}

struct TakenOver {
    /// What the poll brought to the first attempt.
    polled: Option<Result<Frame<Bytes>, ReplayError>>,
    second: Attempt,
    /// The task in which the second attempt waits.
    task: Arc<Task>,
    /// Unless the second attempt is the last.
    replay: Option<Replay<Script>>,
}

/// Takes over from within the poll of the source, as another thread would, and polls the second
/// attempt there.
fn take_over_while_polled(then: Play, cap: usize, last: bool) -> TakenOver {
    let task = Task::new();
    let handle = Arc::new(Mutex::new(None::<Replay<Script>>));
    let second = Arc::new(Mutex::new(None::<Attempt>));
    let run = {
        let (task, handle, second) = (Arc::clone(&task), Arc::clone(&handle), Arc::clone(&second));
        move || {
            let mut replay = handle.lock().unwrap().take().unwrap();
            let mut body = if last {
                replay.last_body().unwrap()
            } else {
                let body = replay.next_body().unwrap();
                *handle.lock().unwrap() = Some(replay);
                body
            };
            assert_eq!(text(next(&mut body)), "ab");
            assert!(task.poll(&mut body).is_pending());
            assert!(!body.is_end_stream());
            *second.lock().unwrap() = Some(body);
        }
    };
    let (mut first, replay) =
        ReplayBody::new(Script::new([data("ab"), Play::Run(Box::new(run)), then]), cap);
    *handle.lock().unwrap() = Some(replay);
    assert_eq!(text(next(&mut first)), "ab");
    assert_eq!(task.woken(), 0);
    let polled = catch_unwind(AssertUnwindSafe(|| next(&mut first))).unwrap_or(None);
    assert_eq!(task.woken(), 1, "the second attempt waits for the source");
    let second = second.lock().unwrap().take().unwrap();
    let replay = handle.lock().unwrap().take();
    TakenOver { polled, second, task, replay }
}

#[test]
fn frame_that_a_superseded_poll_brings_goes_to_the_later_attempt() {
    for last in [false, true] {
        for (then, whole) in [
            (data("cd"), ("abcd", None)),
            (data(""), ("ab", None)),
            (Play::Trailers(trailers()), ("ab", Some(trailers()))),
        ] {
            let mut taken = take_over_while_polled(then, 64, last);
            assert!(matches!(taken.polled, Some(Err(ReplayError::Superseded))));
            // It has sent its "ab" already.
            let (data, trailers) = read(&mut taken.second).unwrap();
            assert_eq!((&*data, trailers.as_ref()), (&whole.0.as_bytes()[2..], whole.1.as_ref()));
            if let Some(mut replay) = taken.replay {
                let (data, trailers) = read(&mut replay.next_body().unwrap()).unwrap();
                assert_eq!((&*data, trailers), (whole.0.as_bytes(), whole.1));
            }
        }
    }
}

#[test]
fn frame_over_the_cap_that_a_superseded_poll_brings_is_not_lost() {
    let mut taken = take_over_while_polled(data("cd"), 3, false);
    assert!(matches!(taken.polled, Some(Err(ReplayError::Superseded))));
    assert_eq!(taken.replay.unwrap().replayable(), Err(NotReplayable::TooLarge));
    assert_eq!(taken.second.size_hint().lower(), 2);
    assert_eq!(read(&mut taken.second).unwrap().0, b"cd");
}

#[test]
fn superseded_poll_that_finds_nothing_hands_the_source_on() {
    let mut taken = take_over_while_polled(Play::Stall, 64, false);
    assert!(matches!(taken.polled, Some(Err(ReplayError::Superseded))), "it would never be woken");
    assert!(matches!(taken.task.poll(&mut taken.second), Poll::Ready(None)));
}

#[test]
fn error_that_a_superseded_poll_meets_goes_to_the_later_attempt() {
    let mut taken = take_over_while_polled(Play::Fail("gone"), 64, false);
    assert!(matches!(taken.polled, Some(Err(ReplayError::Superseded))));
    let error = next(&mut taken.second).unwrap().unwrap_err();
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Failure("gone")));
    assert_eq!(taken.replay.unwrap().replayable(), Err(NotReplayable::Failed));
}

#[test]
fn panic_of_a_superseded_poll_wakes_the_later_attempt() {
    let mut taken = take_over_while_polled(Play::Panic, 64, false);
    assert!(matches!(next(&mut taken.second), Some(Err(ReplayError::Failed))));
    assert_eq!(taken.replay.unwrap().replayable(), Err(NotReplayable::Failed));
}

/// As above with a second thread, which is in the poll of the source while this one takes over.
#[test]
fn later_attempt_waits_for_the_thread_that_polls() {
    struct Gated(Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>);

    impl Body for Gated {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some((entered, leave)) = self.0.take() else {
                return Poll::Ready(None);
            };
            entered.send(()).unwrap();
            leave.recv().unwrap();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"abc")))))
        }
    }

    let (entered, has_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel();
    let (mut first, mut replay) = ReplayBody::new(Gated(Some((entered, may_leave))), 64);
    let connection = thread::spawn(move || next(&mut first).map(|frame| frame.map(|_| ())));

    has_entered.recv().unwrap();
    let mut second = replay.next_body().unwrap();
    let task = Task::new();
    assert!(task.poll(&mut second).is_pending());
    assert_eq!((second.size_hint().lower(), second.is_end_stream()), (0, false));
    assert_eq!(task.woken(), 0);
    leave.send(()).unwrap();
    assert!(matches!(connection.join().unwrap(), Some(Err(ReplayError::Superseded))));
    assert_eq!(task.woken(), 1);
    assert_eq!(read(&mut second).unwrap().0, b"abc");
}

#[test]
fn attempt_that_waits_for_the_source_can_be_superseded_too() {
    let handle = Arc::new(Mutex::new(None::<Replay<Script>>));
    let later = Arc::new(Mutex::new(Vec::<(Attempt, Arc<Task>)>::new()));
    let run = {
        let (handle, later) = (Arc::clone(&handle), Arc::clone(&later));
        move || {
            let mut replay = handle.lock().unwrap();
            for _ in 0..2 {
                let (mut body, task) = (replay.as_mut().unwrap().next_body().unwrap(), Task::new());
                assert!(task.poll(&mut body).is_pending());
                later.lock().unwrap().push((body, task));
            }
        }
    };
    let (mut first, replay) =
        ReplayBody::new(Script::new([Play::Run(Box::new(run)), data("abc")]), 64);
    *handle.lock().unwrap() = Some(replay);
    assert!(matches!(next(&mut first), Some(Err(ReplayError::Superseded))));

    let (mut third, task) = later.lock().unwrap().pop().unwrap();
    assert_eq!(task.woken(), 1);
    let (mut second, task) = later.lock().unwrap().pop().unwrap();
    assert_eq!(task.woken(), 1);
    assert!(matches!(next(&mut second), Some(Err(ReplayError::Superseded))));
    assert_eq!(read(&mut third).unwrap().0, b"abc");
}

#[test]
fn wakes_the_task_that_polled_last() {
    let (sender, channel) = http_body_util::channel::Channel::<Bytes, Infallible>::new(1);
    let (mut first, mut replay) = ReplayBody::new(channel, 64);
    let tasks = [Task::new(), Task::new(), Task::new()];
    assert!(tasks[0].poll(&mut first).is_pending());
    assert!(tasks[1].poll(&mut first).is_pending());
    let mut second = replay.next_body().unwrap();
    // The attempt is told to go, at the task that it is in now.
    assert_eq!(tasks.each_ref().map(|task| task.woken()), [0, 1, 0]);
    assert!(tasks[2].poll(&mut second).is_pending());
    let mut sender = sender;
    assert!(sender.try_send(Frame::data(Bytes::from_static(b"abc"))).is_ok());
    assert_eq!(tasks.each_ref().map(|task| task.woken()), [0, 1, 1]);
    assert_eq!(text(next(&mut second)), "abc");
    // That no further attempt will be made is no news to the one that waits.
    assert!(tasks[2].poll(&mut second).is_pending());
    drop(replay);
    assert_eq!(tasks[2].woken(), 1);
}

#[test]
fn error_of_the_body_is_the_source_and_ends_the_replay() {
    let (mut first, mut replay) =
        ReplayBody::new(Script::new([data("ab"), Play::Fail("gone")]), 64);
    assert_eq!(text(next(&mut first)), "ab");
    let error = next(&mut first).unwrap().unwrap_err();
    assert!(matches!(error, ReplayError::Body(_)));
    assert_eq!(error.to_string(), "request body failed");
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Failure("gone")));
    assert_eq!(replay.replayable(), Err(NotReplayable::Failed));
    assert_eq!(replay.next_body().unwrap_err(), NotReplayable::Failed);
    // It must not look whole to one who reads on.
    assert!(!first.is_end_stream() && !replay.is_complete());
    assert!(matches!(next(&mut first), Some(Err(ReplayError::Failed))));
}

#[test]
fn panic_of_the_body_ends_the_replay() {
    let (mut first, mut replay) = ReplayBody::new(Script::new([data("ab"), Play::Panic]), 64);
    assert_eq!(text(next(&mut first)), "ab");
    assert!(catch_unwind(AssertUnwindSafe(|| next(&mut first))).is_err());
    assert_eq!(replay.next_body().unwrap_err(), NotReplayable::Failed);
    assert!(matches!(next(&mut first), Some(Err(ReplayError::Failed))));
}

#[test]
fn errors_of_every_kind_become_boxed_ones() {
    fn check<B>(mut body: ReplayBody<B>) -> Option<Box<dyn Error + Send + Sync>>
    where
        B: Body + Unpin,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        next(&mut body).and_then(Result::err).map(Into::into)
    }

    assert!(check(ReplayBody::pass(Full::new(Bytes::from_static(b"abc")))).is_none());
    let failing = || Script::new([Play::Fail("gone")]);
    for error in [
        check(ReplayBody::pass(failing())),
        check(ReplayBody::new(failing(), 8).0),
        check(ReplayBody::new(failing().map_err(Box::<dyn Error + Send + Sync>::from), 8).0),
    ] {
        let error = error.unwrap();
        let cause = error.downcast_ref::<ReplayError>().unwrap().source().unwrap();
        assert_eq!(cause.downcast_ref(), Some(&Failure("gone")));
    }
}

#[test]
fn data_that_is_not_bytes_is_copied_whole() {
    let source = || {
        Full::new(Bytes::from_static(b"abcd"))
            .map_frame(|frame| frame.map_data(|data| (&b"__"[..]).chain(data)))
    };
    let (mut first, mut replay) = ReplayBody::new(source(), 64);
    for body in [&mut first, &mut replay.next_body().unwrap(), &mut ReplayBody::pass(source())] {
        if let Some(Ok(frame)) = next(body) {
            assert_eq!(frame.into_data().unwrap(), "__abcd");
        }
    }
}

#[test]
fn passing_and_empty_bodies_allocate_nothing() {
    let full = Full::new(Bytes::from_static(b"abc"));
    let info = allocation_counter::measure(|| {
        let mut body = ReplayBody::pass(full);
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(Task::poll_noop(&mut body).is_ready());
        assert!(body.is_end_stream());
    });
    assert_eq!(info.count_total, 0);

    let info = allocation_counter::measure(|| {
        let (first, mut replay) = ReplayBody::new(Empty::<Bytes>::new(), 64);
        assert!(replay.is_complete() && replay.replayable().is_ok());
        for mut body in [
            first,
            replay.next_body().unwrap(),
            replay.next_body().unwrap(),
            replay.last_body().unwrap(),
        ] {
            assert!(body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some(0));
            assert!(matches!(Task::poll_noop(&mut body), Poll::Ready(None)));
        }
    });
    assert_eq!(info.count_total, 0);

    let long = Full::new(Bytes::from_static(b"too long"));
    let info = allocation_counter::measure(|| {
        let (mut first, replay) = ReplayBody::new(long, 7);
        assert_eq!(replay.replayable(), Err(NotReplayable::TooLarge));
        assert!(Task::poll_noop(&mut first).is_ready());
    });
    assert_eq!(info.count_total, 0);
}

/// A chunk that counts how many of its kind are alive.
fn counted(alive: &Arc<AtomicUsize>) -> Play {
    struct Counted(Arc<AtomicUsize>);

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            b"1234"
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    alive.fetch_add(1, Ordering::SeqCst);
    Play::Data(Bytes::from_owner(Counted(Arc::clone(alive))))
}

#[test]
fn chunks_are_freed_when_the_cap_is_passed() {
    let alive = Arc::new(AtomicUsize::new(0));
    let script = Script::new([counted(&alive), counted(&alive), counted(&alive)]);
    let (mut first, _replay) = ReplayBody::new(script, 8);
    drop((next(&mut first), next(&mut first)));
    assert_eq!(alive.load(Ordering::SeqCst), 3);
    drop(next(&mut first));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn last_attempt_frees_what_it_sends_and_records_no_more() {
    let alive = Arc::new(AtomicUsize::new(0));
    let script = Script::new([counted(&alive), counted(&alive), counted(&alive)]);
    let (mut first, replay) = ReplayBody::new(script, 64);
    drop((next(&mut first), next(&mut first)));
    let mut last = replay.last_body().unwrap();
    for left in [2, 1, 0] {
        drop(next(&mut last));
        assert_eq!(alive.load(Ordering::SeqCst), left);
    }
    assert!(next(&mut last).is_none());
    assert!(last.is_end_stream());
}

#[test]
fn dropped_handle_ends_the_recording_and_not_the_attempt() {
    let alive = Arc::new(AtomicUsize::new(0));
    let script = Script::new([
        counted(&alive),
        counted(&alive),
        counted(&alive),
        Play::Trailers(trailers()),
    ]);
    let (mut first, mut replay) = ReplayBody::new(script, 64);
    drop((next(&mut first), next(&mut first)));
    let mut second = replay.next_body().unwrap();
    drop(next(&mut second));
    assert_eq!(alive.load(Ordering::SeqCst), 3);
    drop(replay);
    assert_eq!(alive.load(Ordering::SeqCst), 2);
    assert_eq!(read(&mut second).unwrap(), (b"12341234".to_vec(), Some(trailers())));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

/// What a chunk owns may look at the body when it is dropped, and would wait for ever if that were
/// under the lock.
#[test]
fn nothing_of_others_is_dropped_under_the_lock() {
    #[derive(Clone, Default)]
    struct Curious {
        body: Arc<Mutex<Option<Attempt>>>,
        looked: Arc<AtomicUsize>,
    }

    impl AsRef<[u8]> for Curious {
        fn as_ref(&self) -> &[u8] {
            b"1234"
        }
    }

    impl Drop for Curious {
        fn drop(&mut self) {
            if let Some(body) = &*self.body.lock().unwrap() {
                assert!(!body.is_end_stream());
                self.looked.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    // Chunks at the cap, chunks when the handle goes, and the source at its end.
    for (cap, frames, drop_handle) in [(7, 2, false), (64, 1, true), (64, 3, false)] {
        let body = Arc::default();
        let looked = Arc::default();
        let chunk = || {
            let (body, looked) = (Arc::clone(&body), Arc::clone(&looked));
            Play::Data(Bytes::from_owner(Curious { body, looked }))
        };
        let script = Script::new([chunk(), chunk(), Play::Trailers(trailers()), chunk()]);
        let (first, mut replay) = ReplayBody::new(script, cap);
        let mut second = replay.next_body().unwrap();
        *body.lock().unwrap() = Some(first);
        let sent: Vec<_> = (0..frames).map(|_| next(&mut second)).collect();
        drop(sent);
        let before = looked.load(Ordering::SeqCst);
        if drop_handle {
            assert_eq!(before, 0);
            drop(replay);
        }
        assert!(0 < looked.load(Ordering::SeqCst), "cap {cap}, {frames} frames");
        // The chunks hold the body, which holds the chunks.
        let first = body.lock().unwrap().take();
        drop(first);
    }
}

#[test]
fn empty_chunks_are_sent_once_and_not_recorded() {
    let (mut first, mut replay) =
        ReplayBody::new(Script::new([data(""), data(""), data("ab")]), 64);
    assert_eq!(text(next(&mut first)), "");
    assert_eq!(text(next(&mut first)), "");
    let mut second = replay.next_body().unwrap();
    assert_eq!(text(next(&mut second)), "ab");
}

#[test]
fn length_of_a_body_that_was_read_is_what_it_was() {
    /// Announces the whole length at every point.
    struct Stubborn(Full<Bytes>);

    impl Body for Stubborn {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(3)
        }
    }

    let source = Stubborn(Full::new(Bytes::from_static(b"abc")));
    let (mut first, mut replay) = ReplayBody::new(source, 64);
    read(&mut first).unwrap();
    assert_eq!(replay.next_body().unwrap().size_hint().exact(), Some(3));
}

#[test]
fn nobody_is_woken_under_the_lock() {
    /// A task that looks at the body as soon as it is woken.
    #[derive(Default)]
    struct Curious {
        body: Mutex<Option<Attempt>>,
        woken: AtomicUsize,
    }

    impl Wake for Curious {
        fn wake(self: Arc<Self>) {
            self.woken.fetch_add(1, Ordering::SeqCst);
            assert!(!self.body.lock().unwrap().as_ref().unwrap().is_end_stream());
        }
    }

    // The source comes back, fails, or is lost; at last the waiting attempt is superseded.
    for then in [data("ab"), Play::Fail("gone"), Play::Panic, Play::Run(Box::new(|| ()))] {
        let superseded_at_last = matches!(then, Play::Run(_));
        let curious = Arc::<Curious>::default();
        let waker = Waker::from(Arc::clone(&curious));
        let handle = Arc::new(Mutex::new(None::<Replay<Script>>));
        let third = Arc::new(Mutex::new(None::<Attempt>));
        let run = {
            let (handle, third) = (Arc::clone(&handle), Arc::clone(&third));
            move || {
                let mut handle = handle.lock().unwrap();
                let replay = handle.as_mut().unwrap();
                let mut body = replay.next_body().unwrap();
                let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
                *third.lock().unwrap() = Some(body);
                if superseded_at_last {
                    replay.next_body().unwrap();
                }
            }
        };
        let script = Script::new([Play::Run(Box::new(run)), then]);
        let (first, mut replay) = ReplayBody::new(script, 64);
        *curious.body.lock().unwrap() = Some(first);
        let mut second = replay.next_body().unwrap();
        *handle.lock().unwrap() = Some(replay);
        drop(catch_unwind(AssertUnwindSafe(|| next(&mut second))));
        assert_eq!(curious.woken.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn hint_follows_a_source_that_learns_its_length() {
    struct Learns(bool);

    impl Body for Learns {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0 = true;
            Poll::Pending
        }

        fn size_hint(&self) -> SizeHint {
            if self.0 { SizeHint::with_exact(7) } else { SizeHint::new() }
        }
    }

    let (mut first, _replay) = ReplayBody::new(Learns(false), 64);
    assert_eq!(first.size_hint().exact(), None);
    assert!(Task::poll_noop(&mut first).is_pending());
    assert_eq!(first.size_hint().exact(), Some(7));
}

#[test]
fn types_are_send_and_unpin_as_their_body_is() {
    trait Unless<T> {
        fn holds() {}
    }
    struct IfSend;
    struct IfUnpin;
    impl<T: ?Sized> Unless<()> for T {}
    impl<T: ?Sized + Send> Unless<IfSend> for T {}

    trait UnlessPinned<T> {
        fn holds() {}
    }
    impl<T: ?Sized> UnlessPinned<()> for T {}
    impl<T: ?Sized + Unpin> UnlessPinned<IfUnpin> for T {}

    struct NotSend(#[expect(dead_code, reason = "only its auto traits matter")] Rc<()>);
    struct NotUnpin(std::marker::PhantomPinned);

    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    fn unpin<T: Unpin>() {}

    send::<ReplayBody<Script>>();
    send::<Replay<Script>>();
    sync::<ReplayBody<Full<Bytes>>>();
    // Whoever polls the source has it alone, so the handle does not need it to be `Sync`.
    sync::<Replay<std::cell::Cell<u8>>>();
    unpin::<ReplayBody<Full<Bytes>>>();
    unpin::<Replay<NotUnpin>>();
    // These would be ambiguous, and not compile, if the type were `Send` or `Unpin`.
    <ReplayBody<NotSend> as Unless<_>>::holds();
    <Replay<NotSend> as Unless<_>>::holds();
    <ReplayBody<NotUnpin> as UnlessPinned<_>>::holds();
}

#[test]
fn everything_is_debug_for_every_body() {
    let (first, mut replay) = ReplayBody::new(Script::new([data("secret")]), 64);
    let second = replay.next_body().unwrap();
    assert_eq!(
        format!("{first:?} {second:?}"),
        "ReplayBody { attempt: 0, .. } ReplayBody { attempt: 1, .. }"
    );
    assert_eq!(format!("{replay:?}"), "Replay { replayable: Ok(()), complete: false, .. }");
}
