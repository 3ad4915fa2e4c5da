//! Threads that count at once, and others that read meanwhile.

use std::{
    pin::{Pin, pin},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

use http_body::Body;
use palisade_metrics::{Registry, Requests, Snapshot};
use palisade_testkit::{ProbeError, ProbeHandle, Random};
use tower::{Layer, Service};

use crate::support::request;

const THREADS: u64 = 4;
const CALLS: u64 = 2000;

/// The sums of what intervals have, and of what all of it has.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    count: u64,
    outcomes: u64,
    heads: u64,
    received: u64,
    unread: u64,
    within: u64,
}

impl Sums {
    fn add(&mut self, requests: &Requests) {
        let results = requests.groups.iter().flat_map(|group| &group.results);
        self.count += requests.count();
        self.outcomes += requests.outcomes().iter().map(|(_, count)| count).sum::<u64>();
        self.heads += results.map(|result| result.head_times.count()).sum::<u64>();
        self.received += requests.received();
        self.unread += requests.groups.iter().map(|group| group.unread).sum::<u64>();
        self.within += requests.times().count_within(std::time::Duration::from_secs(10));
    }
}

#[test]
fn intervals_add_up_while_others_count() {
    let (metrics, probe) = (Registry::new().max_groups(5), ProbeHandle::new());
    let (at_work, barrier) = (AtomicU64::new(THREADS), Barrier::new(THREADS as usize + 2));
    let read = || {
        let (mut window, mut before, mut sums) = (metrics.window(), 0, Sums::default());
        barrier.wait();
        loop {
            let last = at_work.load(Ordering::Acquire) == 0;
            let interval = window.tick().attempts;
            sums.add(&interval);
            let Snapshot { attempts, .. } = metrics.snapshot();
            assert!(before <= attempts.count(), "it never becomes less");
            before = attempts.count();
            // Not of one moment, and yet never negative.
            assert!(attempts.in_flight() < 100 * THREADS, "{}", attempts.in_flight());
            assert!(interval.in_flight() < 100 * THREADS, "{}", interval.in_flight());
            assert!(interval.count() <= THREADS * CALLS, "{}", interval.count());
            if last {
                return sums;
            }
        }
    };
    let client = metrics.attempts().layer(probe.probe::<ProbeError, ()>());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (client, at_work, barrier) = (client.clone(), &at_work, &barrier);
            scope.spawn(move || {
                let mut random = Random::seeded(thread);
                let mut cx = Context::from_waker(Waker::noop());
                barrier.wait();
                for _ in 0..CALLS {
                    let uri = format!("http://host-{}.example/", random.number() % 8);
                    let mut client = client.clone();
                    assert!(client.poll_ready(&mut cx).is_ready());
                    let Poll::Ready(Ok(response)) =
                        pin!(client.call(request("GET", &uri))).poll(&mut cx)
                    else {
                        continue;
                    };
                    let mut body = response.into_body();
                    for _ in 0..random.number() % 5 {
                        let _ = Pin::new(&mut body).poll_frame(&mut cx);
                    }
                }
                at_work.fetch_sub(1, Ordering::Release);
            });
        }
        let readers = [scope.spawn(read), scope.spawn(read)];
        let all = readers.map(|reader| reader.join().unwrap());
        let mut exact = Sums::default();
        exact.add(&metrics.snapshot().attempts);
        assert_eq!((exact.count, exact.heads), (THREADS * CALLS, THREADS * CALLS));
        assert_eq!(exact.within, exact.count);
        assert!(0 < exact.unread && 0 < exact.received);
        for sums in all {
            assert_eq!(sums, exact);
        }
    });
}

// A request may end on another thread than it began on.
#[test]
fn a_gauge_is_the_sum_over_threads() {
    let (metrics, probe) = (Registry::new(), ProbeHandle::new());
    let mut client = metrics.calls().layer(probe.probe::<ProbeError, ()>());
    let mut cx = Context::from_waker(Waker::noop());
    let calls: Vec<_> = (0..100)
        .map(|_| {
            assert!(client.poll_ready(&mut cx).is_ready());
            client.call(request("GET", "/"))
        })
        .collect();
    assert_eq!(metrics.snapshot().calls.in_flight(), 100);
    thread::spawn(move || drop(calls)).join().unwrap();
    assert_eq!((metrics.snapshot().calls.in_flight(), metrics.snapshot().calls.count()), (0, 100));
}
