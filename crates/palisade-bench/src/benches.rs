mod in_process;
mod late_body;

use crate::bench::{Bench, Work};

/// All benches, in the order in which they have to run.
///
/// What pauses time comes late: from then on the whole process pays for the question whether time
/// is paused.
pub fn benches() -> [Bench; 5] {
    [
        Bench { name: "retry/get-8-headers", work: Work::Calls(in_process::get) },
        Bench { name: "retry/post-unretryable", work: Work::Calls(in_process::post) },
        Bench { name: "retry/one-retry", work: Work::Calls(in_process::one_retry) },
        Bench { name: "retry/late-body-503", work: Work::Scene(late_body::short_wait) },
        Bench { name: "retry/late-body-503-long-wait", work: Work::Scene(late_body::long_wait) },
    ]
}
