use std::{net::SocketAddr, panic::resume_unwind, thread, time::Duration};

use super::Caller;
use crate::{
    alternate::{Clock, median, order, over_first},
    runtime::stay_on,
};

/// How many requests a caller sends in its turn: some to warm up, and those that count.
const WARM_UP: u32 = 640;
const REQUESTS: u32 = 3_200;

/// Nanoseconds in each of a caller's turns.
#[derive(Debug)]
struct Turns {
    caller: &'static str,
    // For a request, of the processor and on the clock.
    cpu: Vec<f64>,
    wall: Vec<f64>,
    // Until 50 and 99 of a hundred requests were answered.
    half: Vec<f64>,
    most: Vec<f64>,
}

/// What there is to say of a caller in time.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Nanoseconds of the processor for a request: the first caller's own, for the others what they
    /// add to it.
    pub ns: f64,
    /// The same by the first caller's.
    pub cpu_ratio: f64,
    /// Requests in a second.
    pub per_second: f64,
    /// The same by the first caller's.
    pub rate_ratio: f64,
    /// Within how many microseconds half of the requests are answered.
    pub p50_us: f64,
    /// Within how many 99 of a hundred are.
    pub p99_us: f64,
    /// The same by the first caller's.
    pub p99_ratio: f64,
}

/// Has the callers take turns, on the processor that the server leaves to them.
///
/// Their processor time is that of the whole process. Each figure is the median over the rounds, and
/// each ratio that of the ratios within a round.
///
/// # Panics
///
/// Panics if there is no caller or no round, or if one of them fails.
pub fn figures(
    callers: fn(SocketAddr) -> Vec<Caller>,
    server: SocketAddr,
    rounds: u32,
) -> Vec<(&'static str, Figures)> {
    let turns = thread::spawn(move || {
        stay_on(0);
        take_turns(&mut callers(server), rounds)
    });
    let turns = turns.join().unwrap_or_else(|panic| resume_unwind(panic));

    let first = &turns[0];
    let cpu: Vec<_> = turns.iter().map(|turns| turns.cpu.clone()).collect();
    let figures = |(turns, ns): (&Turns, f64)| {
        let figures = Figures {
            ns,
            cpu_ratio: ratio(&turns.cpu, &first.cpu),
            per_second: 1e9 / median(turns.wall.clone()),
            rate_ratio: ratio(&first.wall, &turns.wall),
            p50_us: median(turns.half.clone()) / 1e3,
            p99_us: median(turns.most.clone()) / 1e3,
            p99_ratio: ratio(&turns.most, &first.most),
        };
        (turns.caller, figures)
    };
    turns.iter().zip(over_first(&cpu)).map(figures).collect()
}

fn take_turns(callers: &mut [Caller], rounds: u32) -> Vec<Turns> {
    for caller in &mut *callers {
        caller.call(REQUESTS);
    }

    let mut turns: Vec<_> = callers.iter().map(|caller| Turns::of(caller.name)).collect();
    for round in 0..rounds {
        for index in order(callers.len(), round) {
            turns[index].push(&mut callers[index]);
        }
    }
    turns
}

impl Turns {
    fn of(caller: &'static str) -> Self {
        Self { caller, cpu: Vec::new(), wall: Vec::new(), half: Vec::new(), most: Vec::new() }
    }

    fn push(&mut self, caller: &mut Caller) {
        caller.call(WARM_UP);
        let start = [Clock::Process, Clock::Wall].map(Clock::now);
        let mut latencies = caller.call(REQUESTS);
        let [cpu, wall] = [Clock::Process, Clock::Wall].map(Clock::now);

        let each = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(REQUESTS);
        self.cpu.push(each(cpu - start[0]));
        self.wall.push(each(wall - start[1]));
        latencies.sort_unstable();
        self.half.push(quantile(&latencies, 50));
        self.most.push(quantile(&latencies, 99));
    }
}

/// The median of the ratios within a round.
fn ratio(these: &[f64], those: &[f64]) -> f64 {
    median(these.iter().zip(those).map(|(this, that)| this / that).collect())
}

/// Within how many nanoseconds so many of a hundred are through.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100) - 1;
    sorted[index].as_secs_f64() * 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_quantiles() {
        let hundred: Vec<_> = (1..=100).map(Duration::from_nanos).collect();
        for (sorted, percent, expected) in [
            (&hundred[..], 50, 50.0),
            (&hundred, 99, 99.0),
            (&hundred, 100, 100.0),
            (&hundred[..1], 99, 1.0),
            (&hundred[..3], 50, 2.0),
        ] {
            let found = quantile(sorted, percent).round();
            assert_eq!(found, expected, "{percent} of {}", sorted.len());
        }
    }

    #[test]
    fn compares_within_a_round() {
        // The machine slows down to half its speed, and the ratio stays.
        assert_eq!(ratio(&[15.0, 30.0, 60.0], &[10.0, 20.0, 40.0]), 1.5);
    }
}
