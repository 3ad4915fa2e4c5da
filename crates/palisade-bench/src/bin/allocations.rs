//! Counts allocations, and prints one JSON object a line. `palisade-bench` calls it for the table.

use std::env;

use allocation_counter::measure;
use palisade_bench::{Row, Subject, Work, benches, over_first};

/// Enough that what is allocated now and then falls out of the median.
const CALLS: usize = 101;

fn main() {
    let filter = env::args().nth(1);
    for bench in benches().iter().filter(|bench| bench.matches(filter.as_deref())) {
        let Work::Calls(subjects) = bench.work else {
            continue;
        };
        let mut subjects = subjects();
        let counts: Vec<_> = subjects.iter_mut().map(count).collect();
        for (subject, allocations) in subjects.iter().zip(over_first(&counts)) {
            let row = Row {
                bench: bench.name,
                subject: subject.name,
                figures: vec![("allocs", allocations)],
            };
            println!("{}", row.json());
        }
    }
}

/// Counts the allocations of each of some calls.
fn count(subject: &mut Subject) -> Vec<f64> {
    let count = |_| measure(|| subject.call(1)).count_total as f64;
    (0..CALLS).map(count).collect()
}
