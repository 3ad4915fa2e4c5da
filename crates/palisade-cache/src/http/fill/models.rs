//! Who reads together, in many orders of their steps: whoever leaves, those who
//! stay read all of it, and nobody waits for ever.

use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::{
    rand::{Rng, thread_rng},
    thread,
};

use super::*;
use crate::http::error::FillError;

/// What comes from the network: so many steps have come.
#[derive(Default)]
struct Wire {
    come: usize,
    waker: Option<Waker>,
}

/// A head, and then frames with a byte each, as they come.
struct Frames {
    wire: Arc<Mutex<Wire>>,
    taken: usize,
    frames: u8,
    // So many of them are kept.
    most: u8,
    finished: Arc<AtomicUsize>,
}

impl Frames {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut wire = lock(&self.wire);
        if wire.come <= self.taken {
            wire.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.taken += 1;
        Poll::Ready(())
    }
}

impl Work for Frames {
    type Heard = u8;
    type Lead = u8;

    fn poll_head(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Head<Self>> {
        self.poll_step(cx).map(|()| Head { heard: 7, lead: Some(8), body: Some(self.most.into()) })
    }

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if self.taken > usize::from(self.frames) {
            return Poll::Ready(None);
        }
        let next = self.taken as u8;
        self.poll_step(cx).map(|()| Some(Ok(Frame::data(Bytes::copy_from_slice(&[next])))))
    }

    fn hint(&self) -> (bool, SizeHint) {
        (false, SizeHint::new())
    }

    fn finish(self: Pin<&mut Self>, pieces: Option<&Pieces>, _: Option<&HeaderMap>) -> bool {
        let kept = self.frames <= self.most;
        assert_eq!(pieces.map(Pieces::end), kept.then_some(self.frames.into()));
        // Others may come in the meantime.
        thread::yield_now();
        self.finished.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn close(self: Pin<&mut Self>) {}
}

fn join(fill: &Arc<dyn Follow<u8>>) -> Option<Seat<u8>> {
    Seat::take(fill, Instant::now(), Duration::from_secs(3600))
}

/// Not by `park`, which shuttle lets return without a reason: nobody would see
/// that a wake is missing.
fn wait<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T> + Unpin) -> T {
    shuttle::future::block_on(std::future::poll_fn(poll))
}

/// Reads to the end, or leaves after some polls.
fn read(seat: Seat<u8>, frames: u8, leaves: Option<usize>) {
    if let Some(polls) = leaves {
        // It is polled for a waker that nobody listens to, and not again.
        let cx = &mut Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if seat.poll_head(cx).is_ready() {
                let _ = seat.poll_frame(cx);
            }
            thread::yield_now();
        }
        return;
    }
    assert_eq!(wait(|cx| seat.poll_head(cx)), Some(7));
    let mut read = Vec::new();
    while let Some(frame) = wait(|cx| seat.poll_frame(cx)) {
        read.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert_eq!(read, (1..=frames).collect::<Vec<_>>());
}

fn together(readers: usize, leavers: usize, frames: u8) {
    let wire = Arc::new(Mutex::new(Wire::default()));
    let finished = Arc::new(AtomicUsize::new(0));
    let work = Frames {
        wire: Arc::clone(&wire),
        taken: 0,
        frames,
        most: 100,
        finished: Arc::clone(&finished),
    };
    let (fill, first) = Fill::begin(work);
    let follow: Arc<dyn Follow<u8>> = fill.clone();
    // All are there before the first one may be the last to leave.
    let others = (1..readers + leavers).map(|_| join(&follow).expect("it is open"));
    let seats: Vec<_> = std::iter::once(first).chain(others).collect();
    let threads: Vec<_> = seats
        .into_iter()
        .enumerate()
        .map(|(index, seat)| {
            let leaves = (index < leavers).then(|| thread_rng().gen_range(0..4));
            thread::spawn(move || read(seat, frames, leaves))
        })
        .collect();
    for _ in 0..=frames {
        let waker = {
            let mut wire = lock(&wire);
            wire.come += 1;
            wire.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
        thread::yield_now();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(finished.load(Ordering::SeqCst), usize::from(readers != 0));
    // Nothing is left of the work, whose wakers would keep the fill alive.
    drop(lock(&wire).waker.take());
    assert_eq!(Arc::strong_count(&wire), 1);
}

#[test]
fn all_read_all_of_it() {
    shuttle::check_random(|| together(3, 0, 3), 3000);
}

#[test]
fn whoever_leaves_takes_nothing_along() {
    shuttle::check_random(|| together(2, 2, 2), 5000);
    shuttle::check_pct(|| together(2, 2, 2), 3000, 3);
}

#[test]
fn the_last_one_to_leave_ends_the_work() {
    shuttle::check_random(
        || {
            let wire = Arc::new(Mutex::new(Wire::default()));
            let finished = Arc::default();
            let work = Frames { wire: Arc::clone(&wire), taken: 0, frames: 2, most: 100, finished };
            let (fill, first) = Fill::begin(work);
            let follow: Arc<dyn Follow<u8>> = fill;
            let other = join(&follow).expect("it is open");
            let threads = [first, other].map(|seat| thread::spawn(|| read(seat, 2, Some(2))));
            let waker = {
                let mut wire = lock(&wire);
                wire.come += 1;
                wire.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
            for thread in threads {
                thread.join().unwrap();
            }
            drop(lock(&wire).waker.take());
            assert_eq!(Arc::strong_count(&wire), 1);
            assert!(join(&follow).is_none());
        },
        3000,
    );
}

/// Reads to the end, or is left behind.
fn read_or_lag(seat: &Seat<u8>, frames: u8) {
    assert_eq!(wait(|cx| seat.poll_head(cx)), Some(7));
    let mut read = Vec::new();
    loop {
        match wait(|cx| seat.poll_frame(cx)) {
            Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(error)) => {
                assert!(error.downcast_ref::<FillError>().unwrap().is_lagged());
                return;
            }
            None => break,
        }
    }
    assert_eq!(read, (1..=frames).collect::<Vec<_>>());
}

/// Some come while the others read, and while the end is taken in.
fn come_late(frames: u8, most: u8) {
    let wire = Arc::new(Mutex::new(Wire { come: usize::from(frames) + 1, waker: None }));
    let finished = Arc::new(AtomicUsize::new(0));
    let work = Frames { wire, taken: 0, frames, most, finished: Arc::clone(&finished) };
    let (fill, first) = Fill::begin(work);
    let follow: Arc<dyn Follow<u8>> = fill;
    let late: Vec<_> = (0..2)
        .map(|_| {
            let follow = Arc::clone(&follow);
            thread::spawn(move || match join(&follow) {
                Some(seat) => read_or_lag(&seat, frames),
                // It is closed, or its readers are gone.
                None => assert!(!follow.is_kept()),
            })
        })
        .collect();
    read_or_lag(&first, frames);
    drop(first);
    for thread in late {
        thread.join().unwrap();
    }
    assert!(finished.load(Ordering::SeqCst) <= 1);
}

#[test]
fn who_comes_late_reads_all_of_it_or_does_not_join() {
    for (frames, most) in [(2, 100), (4, 2)] {
        shuttle::check_random(move || come_late(frames, most), 5000);
        shuttle::check_pct(move || come_late(frames, most), 3000, 3);
    }
}

#[test]
fn who_comes_too_late_does_not_join_what_goes_on() {
    shuttle::check_random(
        || {
            let wire = Arc::new(Mutex::new(Wire { come: 3, waker: None }));
            let finished = Arc::default();
            let work = Frames { wire, taken: 0, frames: 2, most: 100, finished };
            let (fill, first) = Fill::begin(work);
            let follow: Arc<dyn Follow<u8>> = fill;
            let late = thread::spawn(move || {
                let later = Instant::now() + Duration::from_secs(60);
                // What is complete can be read at any time.
                if let Some(seat) = Seat::take(&follow, later, Duration::from_secs(1)) {
                    assert_eq!(seat.hint().1.exact(), Some(2));
                    read(seat, 2, None);
                }
            });
            read(first, 2, None);
            late.join().unwrap();
        },
        3000,
    );
}
