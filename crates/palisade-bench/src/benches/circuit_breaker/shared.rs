use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::runtime::{Builder, Runtime};
use tower::Layer;

use super::{palisade_by_count, recloser_by_count, resilience_by_count};
use crate::{
    inner::Healthy,
    subject::{BARE, Subject},
    subjects::recloser,
};

const TASKS: u32 = 16;
const THREADS: usize = 2;

/// Calls that succeed, of 16 tasks on two threads, over one breaker.
pub(in crate::benches) fn calls() -> Vec<Subject> {
    let runtime = Arc::new(runtime());
    let palisade = palisade_by_count().layer(Healthy);
    let resilience = resilience_by_count().build().expect("a valid breaker").layer(Healthy);
    let recloser = recloser::service(recloser_by_count(), Healthy);
    vec![
        Subject::tasks(BARE, &runtime, TASKS, Healthy),
        Subject::tasks("palisade", &runtime, TASKS, palisade),
        Subject::tasks("tower-resilience", &runtime, TASKS, resilience),
        Subject::tasks("recloser", &runtime, TASKS, recloser),
    ]
}

/// Each of its threads has a processor of its own: some systems let threads that work for
/// milliseconds share one, and then nobody is in anybody's way.
fn runtime() -> Runtime {
    let started = AtomicUsize::new(0);
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .on_thread_start(move || stay_on(started.fetch_add(1, Ordering::Relaxed) % THREADS))
        .build()
        .expect("the system has two threads for us")
}

#[cfg(target_os = "linux")]
fn stay_on(processor: usize) {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let mut only = CpuSet::new();
    only.set(processor);
    // Where it is not allowed, the wall clock tells.
    let _ = sched_setaffinity(None, &only);
}

#[cfg(not(target_os = "linux"))]
fn stay_on(_processor: usize) {}
