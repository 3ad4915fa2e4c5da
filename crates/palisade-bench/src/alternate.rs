use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::subject::Subject;

/// Some milliseconds of work: long for the clock, short for what disturbs the machine.
const CALLS: u32 = 5_000;

/// How many nanoseconds a call takes: the first subject's own, for the others what they add to it.
///
/// # Panics
///
/// Panics if there is no subject or no round.
pub fn nanoseconds(subjects: &mut [Subject], rounds: u32) -> Vec<f64> {
    for subject in &mut *subjects {
        subject.call(CALLS);
    }

    let mut per_call = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        for index in order(subjects.len(), round) {
            let start = thread_time();
            subjects[index].call(CALLS);
            let time = thread_time() - start;
            per_call[index].push(time.as_secs_f64() * 1e9 / f64::from(CALLS));
        }
    }
    over_first(&per_call)
}

/// The middle one of the values, or the mean of the two in the middle.
///
/// # Panics
///
/// Panics if there is no value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// Whose turn it is: in order, and the other way round every other round.
fn order(subjects: usize, round: u32) -> impl Iterator<Item = usize> {
    let last = subjects.saturating_sub(1);
    (0..subjects).map(move |index| match round % 2 {
        0 => index,
        _ => last - index,
    })
}

/// The median of the first series, and what each other series adds to it: the median of its
/// distances to the first in the same round.
///
/// # Panics
///
/// Panics if there is no series, or nothing in one.
pub fn over_first(series: &[Vec<f64>]) -> Vec<f64> {
    let first = &series[0];
    let distances = series[1..].iter().map(|other| {
        let distances = other.iter().zip(first).map(|(other, first)| other - first);
        median(distances.collect())
    });
    [median(first.clone())].into_iter().chain(distances).collect()
}

/// What the processor did for this thread alone.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a clock that starts with the thread is not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_middle() {
        for (values, expected) in [
            (vec![7.0], 7.0),
            (vec![3.0, 1.0], 2.0),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![4.0, -1.0, 100.0, 2.0], 3.0),
        ] {
            assert_eq!(median(values), expected);
        }
    }

    #[test]
    fn turns_round_every_other_round() {
        for (subjects, round, expected) in [
            (3, 0, vec![0, 1, 2]),
            (3, 1, vec![2, 1, 0]),
            (3, 2, vec![0, 1, 2]),
            (1, 1, vec![0]),
            (0, 1, vec![]),
        ] {
            assert_eq!(order(subjects, round).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn compares_within_a_round() {
        // The machine slows down to half its speed, and the difference stays.
        let series = [vec![10.0, 20.0, 20.0], vec![13.0, 23.0, 23.0]];
        assert_eq!(over_first(&series), [20.0, 3.0]);
    }
}
