use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::subject::Subject;

/// How often each subject has its turn, and how many calls it then makes: some to warm up, and those
/// that count.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    pub rounds: u32,
    pub warm_up: u32,
    pub calls: u32,
}

/// What a call takes.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// What the processor did for this thread alone.
    Thread,
    /// What all processors did for all threads.
    Process,
    /// What went by.
    Wall,
}

impl Turns {
    /// Some milliseconds of work: long for the clock, short for what disturbs the machine.
    pub fn long(rounds: u32) -> Self {
        Self { rounds, warm_up: 0, calls: 5_000 }
    }

    /// A fraction of a millisecond, and so the more of them; and others had the caches in between.
    pub fn short(rounds: u32) -> Self {
        Self { rounds: rounds.saturating_mul(5), warm_up: 50, calls: 100 }
    }

    /// A thousand calls for each of 16 tasks, so that to start them takes no part.
    pub fn of_tasks(rounds: u32) -> Self {
        Self { rounds, warm_up: 0, calls: 16_000 }
    }
}

/// How many nanoseconds a call takes, by each of the clocks: the first subject's own, for the others
/// what they add to it.
///
/// # Panics
///
/// Panics if there is no subject or no round.
pub fn nanoseconds<const N: usize>(
    subjects: &mut [Subject],
    turns: Turns,
    clocks: [Clock; N],
) -> [Vec<f64>; N] {
    for subject in &mut *subjects {
        subject.prepare();
        subject.call(turns.calls);
    }

    let mut per_call = clocks.map(|_| vec![Vec::new(); subjects.len()]);
    for round in 0..turns.rounds {
        for index in order(subjects.len(), round) {
            subjects[index].prepare();
            subjects[index].call(turns.warm_up);
            let start = clocks.map(Clock::now);
            subjects[index].call(turns.calls);
            let end = clocks.map(Clock::now);
            for ((series, start), end) in per_call.iter_mut().zip(start).zip(end) {
                let time = end - start;
                series[index].push(time.as_secs_f64() * 1e9 / f64::from(turns.calls));
            }
        }
    }
    per_call.map(|series| over_first(&series))
}

impl Clock {
    pub(crate) fn now(self) -> Duration {
        let time = clock_gettime(match self {
            Self::Thread => ClockId::ThreadCPUTime,
            Self::Process => ClockId::ProcessCPUTime,
            Self::Wall => ClockId::Monotonic,
        });
        Duration::try_from(time).expect("a clock that starts with the machine is not negative")
    }
}

/// The middle one of the values, or the mean of the two in the middle.
///
/// # Panics
///
/// Panics if there is no value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// Whose turn it is: in order, and the other way round every other round.
pub(crate) fn order(subjects: usize, round: u32) -> impl Iterator<Item = usize> {
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
