//! The whole cache between threads, in many orders of their steps: who asks after
//! an answer was removed gets none from before that, and none comes back.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use shuttle::{
    future::block_on,
    rand::{Rng, thread_rng},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tower_layer::Layer;
use tower_service::Service;

use super::{Cache, CacheLayer, Call};

/// Answers with the version that there is when it is called.
#[derive(Clone, Default)]
struct Versions {
    version: Arc<AtomicU64>,
    calls: Arc<AtomicU64>,
}

impl Service<()> for Versions {
    type Response = u64;
    type Error = Infallible;
    type Future = Slow;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Slow {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Slow { answer: self.version.load(Ordering::SeqCst), polls: 0 }
    }
}

/// Takes a poll more than it has to.
struct Slow {
    answer: u64,
    polls: u32,
}

impl Future for Slow {
    type Output = Result<u64, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls += 1;
        if self.polls == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.answer))
    }
}

type Cached = Cache<Versions, (), u64, Call<Versions, ()>>;

fn ask(cache: &Cached) -> u64 {
    let mut cache = cache.clone();
    let Ok(answer) = block_on(cache.call(()));
    answer
}

#[test]
fn those_who_miss_together_have_one_call() {
    shuttle::check_random(
        || {
            let versions = Versions::default();
            let cache = CacheLayer::forever().layer(versions.clone());
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let cache = cache.clone();
                    thread::spawn(move || ask(&cache))
                })
                .collect();
            threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 0));
            assert_eq!(versions.calls.load(Ordering::SeqCst), 1);
        },
        5000,
    );
}

#[test]
fn nobody_gets_what_was_removed() {
    shuttle::check_random(
        || {
            let versions = Versions::default();
            let layer = CacheLayer::forever();
            let handle = layer.handle();
            let cache = layer.layer(versions.clone());
            let removed = Arc::new(AtomicU64::new(0));
            let askers: Vec<_> = (0..3)
                .map(|_| {
                    let (cache, removed) = (cache.clone(), removed.clone());
                    // It is not polled any more, and there until the others are through, or not.
                    let (idles, leaves) = (thread_rng().gen_bool(0.5), thread_rng().gen_bool(0.5));
                    thread::spawn(move || {
                        let mut idle = idles.then(|| Box::pin(cache.clone().call(())));
                        if let Some(idle) = &mut idle {
                            let cx = &mut Context::from_waker(Waker::noop());
                            let _ = idle.as_mut().poll(cx);
                        }
                        if leaves {
                            idle = None;
                        }
                        for _ in 0..2 {
                            let least = removed.load(Ordering::SeqCst);
                            assert!(least <= ask(&cache));
                        }
                        drop(idle);
                    })
                })
                .collect();
            for version in 1..3 {
                versions.version.store(version, Ordering::SeqCst);
                handle.invalidate(&());
                removed.store(version, Ordering::SeqCst);
            }
            askers.into_iter().for_each(|asker| asker.join().unwrap());
            assert!(handle.get(&()).is_none_or(|kept| kept == 2));
            assert_eq!(handle.stats().in_flight, 0);
        },
        5000,
    );
}
