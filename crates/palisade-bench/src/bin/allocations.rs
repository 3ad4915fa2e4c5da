//! Counts allocations and bytes, and prints one JSON object a line. `palisade-bench` calls it for the table.

use std::{env, error::Error};

use allocation_counter::measure;
use palisade_bench::{Bench, Caller, Footprint, Row, Server, Subject, Work, benches, over_first};

/// Enough that what is allocated now and then falls out of the median.
const CALLS: usize = 101;

/// The same over loopback: turns, and requests in each.
const TURNS: usize = 11;
const REQUESTS: u32 = 1_280;

fn main() -> Result<(), Box<dyn Error>> {
    let filter = env::args().nth(1);
    for bench in benches().iter().filter(|bench| bench.matches(filter.as_deref())) {
        let rows = match bench.work {
            Work::Calls(subjects) | Work::FewCalls(subjects) => allocations(bench, &mut subjects()),
            Work::Loopback(callers) => {
                let server = Server::start()?;
                over_loopback(bench, &mut callers(server.address()))
            }
            Work::Bytes(footprints) => bytes(bench, &mut footprints()),
            Work::Tasks(_) | Work::Scene(_) => continue,
        };
        rows.iter().for_each(|row| println!("{}", row.json()));
    }
    Ok(())
}

fn allocations(bench: &Bench, subjects: &mut [Subject]) -> Vec<Row> {
    let counts: Vec<_> = subjects.iter_mut().map(count).collect();
    rows(bench, subjects.iter().map(|subject| subject.name), &counts)
}

fn over_loopback(bench: &Bench, callers: &mut [Caller]) -> Vec<Row> {
    let counts: Vec<_> = callers.iter_mut().map(count_requests).collect();
    rows(bench, callers.iter().map(|caller| caller.name), &counts)
}

fn rows(
    bench: &Bench,
    subjects: impl Iterator<Item = &'static str>,
    counts: &[Vec<f64>],
) -> Vec<Row> {
    let row = |(subject, allocations)| Row {
        bench: bench.name,
        subject,
        figures: vec![("allocs", allocations)],
    };
    subjects.zip(over_first(counts)).map(row).collect()
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

/// Counts the allocations of a request in each of some turns: what a turn takes is a small part of
/// them. All is done by this thread, but for the server.
fn count_requests(caller: &mut Caller) -> Vec<f64> {
    caller.call(REQUESTS);
    let count = |_| {
        let total = measure(|| drop(caller.call(REQUESTS))).count_total;
        total as f64 / f64::from(REQUESTS)
    };
    (0..TURNS).map(count).collect()
}
