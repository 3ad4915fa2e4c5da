use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Runtime};

const THREADS: usize = 2;

/// Each of its threads has a processor of its own: some systems let threads that work for
/// milliseconds share one, and then nobody is in anybody's way.
pub(crate) fn two_threads() -> Runtime {
    let started = AtomicUsize::new(0);
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .on_thread_start(move || stay_on(started.fetch_add(1, Ordering::Relaxed) % THREADS))
        .build()
        .expect("the system has two threads for us")
}

/// Keeps this thread, and those that it starts, on one processor.
#[cfg(target_os = "linux")]
pub(crate) fn stay_on(processor: usize) {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let mut only = CpuSet::new();
    only.set(processor);
    // Where it is not allowed, the wall clock tells.
    let _ = sched_setaffinity(None, &only);
}

/// Keeps this thread, and those that it starts, on one processor, where the system lets it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn stay_on(_processor: usize) {}
