use std::{
    cell::RefCell,
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::Poll,
};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use palisade_body::{BodyEnd, Watch, WatchBody, watch_fn};

use crate::support::{Failure, Play, Script, Task, data, next, read, trailers};

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<String>>);

impl<E: std::fmt::Debug> Watch<E> for Log {
    fn on_data(&mut self, bytes: usize) {
        write!(self.0.borrow_mut(), "{bytes} ").unwrap();
    }

    fn on_end(self, end: BodyEnd<'_, E>) {
        write!(self.0.borrow_mut(), "{end:?}.").unwrap();
    }
}

impl Log {
    fn text(&self) -> String {
        self.0.borrow().clone()
    }
}

#[test]
fn tells_each_ending_once() {
    let complete = || Script::new([data("ab"), Play::Yield, data(""), data("cde")]);
    let failing = Script::new([data("ab"), Play::Fail("gone")]);
    // The last column: after so many frames the body is dropped.
    for (script, log, frames) in [
        (complete(), "2 0 3 Complete.", 9),
        (complete(), "2 0 3 Dropped.", 3),
        (complete().telling_its_end(), "2 0 3 Complete.", 3),
        (complete(), "2 Dropped.", 1),
        (complete(), "Dropped.", 0),
        (failing, "2 Failed(Failure(\"gone\")).", 9),
        (Script::new([data("ab"), Play::Trailers(trailers())]), "2 Complete.", 2),
        (Script::new([data("ab"), Play::Trailers(trailers())]), "2 Dropped.", 1),
        (Script::new([Play::Trailers(trailers())]), "Complete.", 1),
        (Script::new([]), "Complete.", 1),
        (Script::new([]), "Dropped.", 0),
        (Script::new([]).telling_its_end(), "Complete.", 0),
    ] {
        let watch = Log::default();
        let mut body = WatchBody::new(script, watch.clone());
        for _ in 0..frames {
            next(&mut body);
        }
        drop(body);
        assert_eq!(watch.text(), log);
    }
}

#[test]
fn end_is_told_when_it_is_known_and_not_at_the_drop() {
    let watch = Log::default();
    let _empty = WatchBody::new(Empty::<Bytes>::new(), watch.clone());
    assert_eq!(watch.text(), "Complete.");

    let watch = Log::default();
    let mut full = WatchBody::new(Full::new(Bytes::from_static(b"abc")), watch.clone());
    assert_eq!(watch.text(), "");
    next(&mut full);
    assert_eq!(watch.text(), "3 Complete.");
    assert!(next(&mut full).is_none());
    assert_eq!(watch.text(), "3 Complete.");
}

#[test]
fn is_told_of_an_error_before_the_reader_is() {
    let watch = Log::default();
    let mut body = WatchBody::new(Script::new([Play::Fail("gone"), data("ab")]), watch.clone());
    assert_eq!(next(&mut body).unwrap().unwrap_err(), Failure("gone"));
    // What comes after the end is not told.
    next(&mut body);
    assert_eq!(watch.text(), "Failed(Failure(\"gone\")).");
}

#[test]
fn waiting_is_no_ending() {
    let watch = Log::default();
    let mut body = WatchBody::new(Script::new([Play::Stall]), watch.clone());
    assert!(Task::poll_noop(&mut body).is_pending());
    assert_eq!(watch.text(), "");
    assert!(matches!(Task::poll_noop(&mut body), Poll::Ready(None)));
    assert_eq!(watch.text(), "Complete.");
}

#[test]
fn body_that_panics_has_panicked_whenever_it_is_dropped() {
    let watch = Log::default();
    let body = WatchBody::new(Script::new([data("ab"), Play::Panic]), watch.clone());
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut body = body;
        next(&mut body);
        next(&mut body);
    }));
    assert!(unwound.is_err());
    assert_eq!(watch.text(), "2 Panicked.");

    let watch = Log::default();
    let mut body = WatchBody::new(Script::new([Play::Panic]), watch.clone());
    assert!(catch_unwind(AssertUnwindSafe(|| next(&mut body))).is_err());
    assert_eq!(watch.text(), "");
    drop(body);
    assert_eq!(watch.text(), "Panicked.");

    // Polled on, it may go on as if nothing had happened.
    let watch = Log::default();
    let mut body = WatchBody::new(Script::new([Play::Panic, data("ab")]), watch.clone());
    assert!(catch_unwind(AssertUnwindSafe(|| next(&mut body))).is_err());
    next(&mut body);
    assert_eq!(watch.text(), "Panicked.");
}

#[test]
fn reader_sees_the_body_unchanged() {
    let script = || {
        Script::new([data("ab"), data("c"), Play::Trailers(trailers())]).sized().telling_its_end()
    };
    let (mut bare, mut watched) = (script(), WatchBody::new(script(), Log::default()));
    for _ in 0..4 {
        assert_eq!(watched.size_hint().exact(), bare.size_hint().exact());
        assert_eq!(watched.is_end_stream(), bare.is_end_stream());
        assert_eq!(next(&mut watched).is_some(), next(&mut bare).is_some());
    }
    let mut watched = WatchBody::new(script(), Log::default());
    assert_eq!(read(&mut watched).unwrap(), (b"abc".to_vec(), Some(trailers())));
}

#[tokio::test]
async fn closure_is_told_the_end() {
    let mut error = None;
    let watch = watch_fn(|end: BodyEnd<'_, Failure>| {
        if let BodyEnd::Failed(failure) = end {
            error = Some(failure.to_string());
        }
    });
    let body = WatchBody::new(Script::new([data("ab"), Play::Fail("gone")]), watch);
    assert!(body.collect().await.is_err());
    assert_eq!(error.as_deref(), Some("gone"));
}

#[test]
fn is_debug_and_send_and_unpin_as_its_parts_are() {
    fn check<T: Send + Sync + Unpin>(_: &T) {}
    let body = WatchBody::new(String::from("secret"), watch_fn(|_| ()));
    check(&body);
    assert_eq!(format!("{body:?}"), "WatchBody { ended: false, .. }");
    assert_eq!(format!("{:?}", watch_fn::<(), _>(|_| ())), "WatchFn(..)");
}
