use std::sync::Arc;

use tower::Layer;

use super::{palisade_by_count, recloser_by_count, resilience_by_count};
use crate::{
    inner::Healthy,
    runtime::two_threads,
    subject::{BARE, Subject},
    subjects::recloser,
};

const TASKS: u32 = 16;

/// Calls that succeed, of 16 tasks on two threads, over one breaker.
pub(in crate::benches) fn calls() -> Vec<Subject> {
    let runtime = Arc::new(two_threads());
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
