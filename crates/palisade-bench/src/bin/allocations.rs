//! Counts allocations and bytes, and prints one JSON object a line. `palisade-bench` calls it for the table.

use std::env;

use allocation_counter::measure;
use palisade_bench::{Bench, Footprint, Row, Subject, Work, benches, over_first};

/// Enough that what is allocated now and then falls out of the median.
const CALLS: usize = 101;

fn main() {
    let filter = env::args().nth(1);
    for bench in benches().iter().filter(|bench| bench.matches(filter.as_deref())) {
        let rows = match bench.work {
            Work::Calls(subjects) | Work::FewCalls(subjects) => allocations(bench, &mut subjects()),
            Work::Bytes(footprints) => bytes(bench, &mut footprints()),
            Work::Tasks(_) | Work::Scene(_) => continue,
        };
        rows.iter().for_each(|row| println!("{}", row.json()));
    }
}

fn allocations(bench: &Bench, subjects: &mut [Subject]) -> Vec<Row> {
    let counts: Vec<_> = subjects.iter_mut().map(count).collect();
    let row = |(subject, allocations): (&Subject, f64)| Row {
        bench: bench.name,
        subject: subject.name,
        figures: vec![("allocs", allocations)],
    };
    subjects.iter().zip(over_first(&counts)).map(row).collect()
}

fn bytes(bench: &Bench, footprints: &mut [Footprint]) -> Vec<Row> {
    let row = |footprint: &mut Footprint| {
        let bytes = footprint.bytes(|work| measure(work).bytes_current);
        Row {
            bench: bench.name,
            subject: footprint.subject,
            figures: vec![("bytes", bytes as f64)],
        }
    };
    footprints.iter_mut().map(row).collect()
}

/// Counts the allocations of each of some calls.
fn count(subject: &mut Subject) -> Vec<f64> {
    subject.prepare();
    let count = |_| measure(|| subject.call(1)).count_total as f64;
    (0..CALLS).map(count).collect()
}
