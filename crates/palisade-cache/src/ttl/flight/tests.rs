use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
};

use super::*;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A call that ends when it is told to.
#[derive(Clone, Default)]
struct Work {
    waker: Rc<RefCell<Option<Waker>>>,
    over: Rc<Cell<bool>>,
    polls: Rc<Cell<usize>>,
}

impl Work {
    fn end(&self) {
        self.over.set(true);
        self.waker.borrow_mut().take().expect("it was polled").wake();
    }
}

impl Future for Work {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.set(self.polls.get() + 1);
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        if self.over.get() { Poll::Ready(()) } else { Poll::Pending }
    }
}

struct Caller<'f> {
    flight: &'f Flight<u32, Work>,
    place: usize,
    own: Option<Work>,
    woken: Arc<Woken>,
}

impl<'f> Caller<'f> {
    fn of(flight: &'f Flight<u32, Work>, work: &Work) -> Self {
        Self { flight, place: flight.enter(), own: Some(work.clone()), woken: Arc::default() }
    }

    /// Whether there is an answer.
    fn poll(&mut self) -> Option<u32> {
        let waker = Waker::from(Arc::clone(&self.woken));
        match self.flight.poll(self.place, &mut self.own, || None, &Context::from_waker(&waker)) {
            Turn::Wait => None,
            Turn::Landed(answer) => Some(answer),
            Turn::Over((), driving) => {
                driving.land(Some(7));
                Some(7)
            }
            Turn::Alone(_) => panic!("the call is good"),
        }
    }

    fn woken(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }

    fn leave(self) -> bool {
        self.flight.leave(self.place)
    }
}

#[test]
fn each_is_woken_once_when_the_call_can_go_on_and_the_first_ends_it() {
    let (flight, work) = (Flight::new(3), Work::default());
    let mut callers = [(); 4].map(|()| Caller::of(&flight, &work));
    for caller in &mut callers {
        assert_eq!(caller.poll(), None);
    }
    // One call is polled, and once.
    assert_eq!(work.polls.get(), 1);
    work.end();
    assert_eq!(callers.each_ref().map(Caller::woken), [1, 1, 1, 1]);
    assert_eq!(callers[2].poll(), Some(7));
    assert_eq!(callers.each_ref().map(Caller::woken), [1, 1, 1, 1]);
    assert!(callers.iter_mut().all(|caller| caller.poll() == Some(7)));
    assert_eq!(callers.map(Caller::leave), [false, false, false, true]);
}

#[test]
fn nobody_depends_on_who_drove_it_before() {
    // It leaves before the call can go on, or after, or is not polled any more.
    for leaves in [Some(true), Some(false), None] {
        let (flight, work) = (Flight::new(3), Work::default());
        let [mut first, mut second, mut third] = [(); 3].map(|()| Caller::of(&flight, &work));
        for caller in [&mut first, &mut second, &mut third] {
            assert_eq!(caller.poll(), None);
        }
        let mut first = Some(first);
        if leaves == Some(true) {
            first.take().map(Caller::leave);
        }
        work.end();
        if leaves == Some(false) {
            first.take().map(Caller::leave);
        }
        assert_eq!((second.woken(), third.woken()), (1, 1));
        assert_eq!((third.poll(), second.poll()), (Some(7), Some(7)));
        assert!(first.is_none_or(|mut first| first.poll() == Some(7)));
        // It is polled when it can go on, and at no other time.
        assert_eq!((work.polls.get(), second.woken(), third.woken()), (2, 1, 1));
    }
}

#[test]
fn a_call_that_can_go_on_at_once_wakes_all_who_came_meanwhile() {
    let (flight, work) = (Flight::new(3), Work::default());
    // It rings while it is polled, and others come before it is put back.
    let [first, second, third] = [(); 3].map(|()| Caller::of(&flight, &work));
    flight.bell.line().begin(first.place);
    flight.bell.line().park(second.place, &Waker::from(Arc::clone(&second.woken)));
    flight.waker.wake_by_ref();
    assert_eq!(second.woken(), 0);
    let woken = flight.bell.line().put_back(first.place, Waker::from(Arc::clone(&first.woken)));
    woken.wake();
    assert_eq!((first.woken(), second.woken(), third.woken()), (1, 1, 0));
}

#[test]
fn whoever_comes_first_drives_what_nobody_does() {
    let (flight, work) = (Flight::new(3), Work::default());
    let [mut first, mut second, mut third] = [(); 3].map(|()| Caller::of(&flight, &work));
    assert_eq!(first.poll(), None);
    // Nobody sleeps who could be woken.
    first.leave();
    assert_eq!((second.poll(), third.poll()), (None, None));
    third.leave();
    work.end();
    assert_eq!((second.woken(), second.poll()), (1, Some(7)));
}

#[test]
fn who_happens_to_be_there_goes_on_with_the_call() {
    let (flight, work) = (Flight::new(3), Work::default());
    let [mut first, mut second] = [(); 2].map(|()| Caller::of(&flight, &work));
    assert_eq!(first.poll(), None);
    work.end();
    assert_eq!(second.poll(), Some(7));
    assert_eq!(first.poll(), Some(7));
    assert_eq!((first.woken(), work.polls.get()), (1, 2));
}

#[test]
fn the_last_waker_counts() {
    let (flight, work) = (Flight::new(3), Work::default());
    let mut caller = Caller::of(&flight, &work);
    assert_eq!(caller.poll(), None);
    let earlier = mem::take(&mut caller.woken);
    assert_eq!(caller.poll(), None);
    work.end();
    assert_eq!((earlier.0.load(Ordering::SeqCst), caller.woken()), (0, 1));
}
