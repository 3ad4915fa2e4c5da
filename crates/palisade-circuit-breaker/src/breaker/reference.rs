//! The breaker against one that does the same in the most obvious way: by lists
//! of all that ever happened.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use palisade_core::Target;
use palisade_settings::{Backoff, Jitter};
use proptest::prelude::*;

use super::{Breaker, Grade, Token};
use crate::{HalfOpen, OnCancel, OpenReason, State, Trip, Window, settings::Settings};

const MS: u64 = 1_000_000;

/// What a breaker is told to do, in plain numbers.
#[derive(Clone, Copy, Debug)]
struct Plan {
    in_row: Option<u32>,
    failure_rate: Option<f64>,
    // After so many milliseconds a call is slow.
    slow: Option<(u64, f64)>,
    window: Span,
    min_calls: u32,
    permits: u32,
    ratio: f64,
    patience: u64,
    ramp: u64,
    cancel_after: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Span {
    Calls(u32),
    Buckets { width: u64, count: u32 },
}

/// The first time it opens for so long, then twice as long, and so on.
const OPEN_FOR: u64 = 50;
const LONGEST: u64 = 400;
const LONGEST_HINT: u64 = 1000;

impl Plan {
    fn settings(&self) -> Settings {
        let ms = Duration::from_millis;
        let window = match self.window {
            Span::Calls(calls) => Window::count(calls),
            Span::Buckets { width, count } => {
                Window::time(ms(width * u64::from(count))).buckets(count)
            }
        };
        let trips = [
            self.in_row.map(Trip::consecutive),
            self.failure_rate.map(Trip::failure_rate),
            self.slow.map(|(after, rate)| Trip::slow_rate(ms(after), rate)),
        ];
        let trip =
            trips.into_iter().flatten().reduce(Trip::or).unwrap_or_else(|| Trip::consecutive(1));
        let mut settings = Settings::new(trip.window(window).min_calls(self.min_calls));
        settings.open_for =
            Arc::new(Backoff::exponential(ms(OPEN_FOR)).max(ms(LONGEST)).jitter(Jitter::None));
        settings.longest_hint = ms(LONGEST_HINT);
        settings.half_open =
            HalfOpen::permits(self.permits).success_ratio(self.ratio).timeout(ms(self.patience));
        settings.ramp_up = ms(self.ramp);
        settings.on_cancel =
            self.cancel_after.map_or(OnCancel::Ignore, |after| OnCancel::FailureAfter(ms(after)));
        settings
    }
}

/// The obvious breaker.
#[derive(Debug)]
struct Reference {
    plan: Plan,
    state: State,
    generation: u64,
    observed: bool,
    // Of this state: when each call ended, whether it failed, whether it was slow.
    calls: Vec<(u64, bool, bool)>,
    in_row: u32,
    // Of this batch: how each probe ended, if it has.
    probes: BTreeMap<u64, Option<bool>>,
    next_probe: u64,
    began: u64,
    ends: u64,
    opened: u32,
    // Hundredths would do; these are the breaker's own parts of a call.
    share: u64,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    generation: u64,
    started: u64,
    probe: Option<u64>,
    counts: bool,
}

impl Reference {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            state: State::Closed,
            generation: 0,
            observed: false,
            calls: Vec::new(),
            in_row: 0,
            probes: BTreeMap::new(),
            next_probe: 0,
            began: 0,
            ends: 0,
            opened: 0,
            share: 0,
        }
    }

    fn enter(&mut self, state: State, now: u64, hint: u64) {
        self.state = state;
        self.generation += 1;
        self.calls.clear();
        self.in_row = 0;
        self.began = now;
        let lasts = match state {
            State::Open => {
                self.opened += 1;
                (OPEN_FOR << (self.opened - 1).min(20)).min(LONGEST).max(hint.min(LONGEST_HINT))
            }
            State::HalfOpen => self.plan.patience,
            State::RampUp => self.plan.ramp,
            _ => {
                self.opened = 0;
                0
            }
        };
        if state != State::HalfOpen {
            self.probes.clear();
        }
        if state == State::RampUp {
            self.share = u64::from(u32::MAX);
        }
        // Times end with whole milliseconds.
        self.ends = now.div_ceil(MS) * MS + lasts * MS;
    }

    fn admit(&mut self, now: u64) -> Result<Call, (OpenReason, Option<u64>)> {
        let ended = self.ends <= now;
        let in_flight = self.probes.values().any(Option::is_none);
        match self.state {
            State::Open if ended => self.enter(State::HalfOpen, now, 0),
            State::HalfOpen if ended && in_flight => self.enter(State::Open, now, 0),
            State::HalfOpen if ended => self.enter(State::HalfOpen, now, 0),
            State::RampUp if ended => self.enter(State::Closed, now, 0),
            _ => {}
        }
        let left = Some(self.ends.saturating_sub(now));
        let soon = |whole: u64| left.map(|left| left.min(whole * MS / 10));
        let call = Call { generation: self.generation, started: now, probe: None, counts: true };
        let refused = match self.state {
            State::Closed => return Ok(call),
            State::Disabled => return Ok(Call { counts: false, ..call }),
            State::Open => (OpenReason::Tripped, left),
            State::ForcedOpen => (OpenReason::Forced, None),
            State::HalfOpen if self.probes.len() < self.plan.permits as usize => {
                self.next_probe += 1;
                // A probe has its time from when it begins.
                self.ends = self.ends.max(now.div_ceil(MS) * MS + self.plan.patience * MS);
                self.probes.insert(self.next_probe, None);
                return Ok(Call { probe: Some(self.next_probe), ..call });
            }
            State::HalfOpen => (OpenReason::Probing, soon(self.plan.patience)),
            State::RampUp => {
                let left_out = (self.ends - now) as f64 / (self.plan.ramp * MS) as f64;
                let share = (1.0 - 0.9 * left_out.min(1.0)) * 4_294_967_296.0;
                self.share += share as u64;
                if 1 << 32 <= self.share {
                    self.share -= 1 << 32;
                    return Ok(call);
                }
                (OpenReason::RampUp, soon(self.plan.ramp.min(10_000)))
            }
        };
        match self.observed {
            true => Ok(Call { counts: false, ..call }),
            false => Err(refused),
        }
    }

    fn end(&mut self, call: Call, grade: Grade, now: u64, hint: u64) {
        if !call.counts || call.generation != self.generation {
            return;
        }
        let slow = self.plan.slow.is_some_and(|(after, _)| after * MS <= now - call.started);
        if let Some(probe) = call.probe {
            return self.end_probe(probe, grade, slow, now, hint);
        }
        match grade {
            Grade::Ignore => return,
            Grade::Success => self.in_row = 0,
            Grade::Failure => self.in_row += 1,
            Grade::Soft => {}
        }
        let failed = grade != Grade::Success;
        if grade == Grade::Failure && self.plan.in_row.is_some_and(|limit| limit <= self.in_row) {
            return self.enter(State::Open, now, hint);
        }
        self.calls.push((now, failed, slow));
        if (failed || slow) && self.is_too_bad(now) {
            self.enter(State::Open, now, hint);
        }
    }

    fn end_probe(&mut self, probe: u64, grade: Grade, slow: bool, now: u64, hint: u64) {
        if grade == Grade::Ignore {
            self.probes.remove(&probe);
            return;
        }
        self.probes.insert(probe, Some(grade == Grade::Success && !slow));
        let ended = |success| self.probes.values().filter(|end| **end == Some(success)).count();
        let permits = self.plan.permits as usize;
        // The least number of successes that makes the ratio.
        let needed = (1..=permits)
            .find(|n| self.plan.ratio <= *n as f64 / permits as f64 + 1e-9)
            .unwrap_or(permits);
        if needed <= ended(true) {
            let state = if self.plan.ramp == 0 { State::Closed } else { State::RampUp };
            self.enter(state, now, 0);
        } else if permits - needed < ended(false) {
            self.enter(State::Open, now, hint);
        }
    }

    fn window(&self, now: u64) -> Vec<(bool, bool)> {
        let calls = self.calls.iter();
        let ends = |(_, failed, slow): &(u64, bool, bool)| (*failed, *slow);
        match self.plan.window {
            Span::Calls(size) => {
                let skipped = self.calls.len().saturating_sub(size as usize);
                calls.skip(skipped).map(ends).collect()
            }
            Span::Buckets { width, count } => {
                let bucket = |time: u64| time / (width * MS);
                let fresh = |call: &&(u64, bool, bool)| bucket(now) - bucket(call.0) < count.into();
                calls.filter(fresh).map(ends).collect()
            }
        }
    }

    fn is_too_bad(&self, now: u64) -> bool {
        let window = self.window(now);
        let share = |count: usize| count as f64 / window.len() as f64 + 1e-9;
        let failures = share(window.iter().filter(|call| call.0).count());
        let slow = share(window.iter().filter(|call| call.1).count());
        self.plan.min_calls as usize <= window.len()
            && (self.plan.failure_rate.is_some_and(|rate| 1e-8 < failures && rate <= failures)
                || self.plan.slow.is_some_and(|(_, rate)| 1e-8 < slow && rate <= slow))
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Start,
    // One of the calls under way, and how it ends.
    End(prop::sample::Index, Grade, u64),
    Drop(prop::sample::Index, bool),
    Force(State),
    Observe(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let grade = prop_oneof![
        4 => Just(Grade::Success), 4 => Just(Grade::Failure), 1 => Just(Grade::Soft), 1 => Just(Grade::Ignore),
    ];
    let forced = prop_oneof![Just(State::ForcedOpen), Just(State::Disabled), Just(State::Closed)];
    prop_oneof![
        // Parts of a millisecond, a few, as long as states last, a million windows.
        6 => (0..3 * MS).prop_map(Step::Pass),
        6 => (0..60_u64).prop_map(|ms| Step::Pass(ms * MS)),
        2 => (0..600_u64).prop_map(|ms| Step::Pass(ms * MS)),
        1 => (0..100_000_000_u64).prop_map(|ms| Step::Pass(ms * MS)),
        30 => Just(Step::Start),
        30 => (index(), grade, prop_oneof![4 => Just(0), 1 => 0..2000_u64]).prop_map(|(i, g, h)| Step::End(i, g, h)),
        4 => (index(), any::<bool>()).prop_map(|(i, panicked)| Step::Drop(i, panicked)),
        1 => forced.prop_map(Step::Force),
        1 => any::<bool>().prop_map(Step::Observe),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let rate = || prop::sample::select(vec![0.0, 0.1, 0.5, 0.6, 1.0 / 3.0, 0.9, 1.0]);
    let span = prop_oneof![
        (1..80_u32).prop_map(Span::Calls),
        (1..20_u64, 1..12_u32).prop_map(|(width, count)| Span::Buckets { width, count }),
    ];
    let trip = (
        prop::option::of(1..6_u32),
        prop::option::of(rate()),
        prop::option::of((1..40_u64, rate())),
        span,
        1..12_u32,
    );
    let recovery = (1..6_u32, rate(), 1..80_u64, prop_oneof![Just(0), 1..200_u64]);
    (trip, recovery, prop::option::of(0..40_u64)).prop_map(|(trip, recovery, cancel_after)| {
        let (in_row, failure_rate, slow, window, min_calls) = trip;
        let (permits, ratio, patience, ramp) = recovery;
        let held = match window {
            Span::Calls(calls) => calls,
            Span::Buckets { .. } => u32::MAX,
        };
        let none = failure_rate.is_none() && slow.is_none();
        Plan {
            in_row: if none { in_row.or(Some(1)) } else { in_row },
            failure_rate,
            slow,
            window,
            min_calls: min_calls.min(held),
            permits,
            ratio,
            patience,
            ramp,
            cancel_after,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_obvious_breaker(plan in plan(), steps in prop::collection::vec(step(), 0..300)) {
        let breaker = Breaker::new(Arc::new(plan.settings()), Target::default());
        let mut reference = Reference::new(plan);
        let mut under_way: Vec<(Token, Call)> = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Pass(time) => now += time,
                Step::Start => match (breaker.admit(|| now), reference.admit(now)) {
                    (Ok(token), Ok(call)) => under_way.push((token, call)),
                    (Err(open), Err((reason, left))) => {
                        prop_assert_eq!(open.reason(), reason);
                        prop_assert_eq!(open.retry_after(), left.map(Duration::from_nanos));
                    }
                    (ours, theirs) => prop_assert!(false, "{:?} instead of {:?}", ours, theirs),
                },
                Step::End(index, grade, hint) if !under_way.is_empty() => {
                    let (token, call) = under_way.swap_remove(index.index(under_way.len()));
                    breaker.record(token, grade, || Some(Duration::from_millis(hint)), || now);
                    reference.end(call, grade, now, hint);
                }
                Step::Drop(index, panicked) if !under_way.is_empty() => {
                    let (token, call) = under_way.swap_remove(index.index(under_way.len()));
                    breaker.abandon(token, panicked, Grade::Ignore, || now);
                    let late = plan.cancel_after.is_some_and(|after| after * MS <= now - call.started);
                    let grade = if panicked || late { Grade::Failure } else { Grade::Ignore };
                    reference.end(call, grade, now, 0);
                }
                Step::End(..) | Step::Drop(..) => {}
                // The breaker reads the clock by itself when it is forced: these states have no end.
                Step::Force(state) => {
                    breaker.force(state, "ordered");
                    if reference.state != state || state == State::Closed {
                        reference.enter(state, now, 0);
                    }
                }
                Step::Observe(observed) => {
                    breaker.observe(observed);
                    reference.observed = observed;
                }
            }
            let view = breaker.view(now);
            prop_assert_eq!(view.word.state, reference.state, "after {:?}", step);
            prop_assert_eq!(u64::from(view.word.generation), reference.generation);
            let window = match plan.failure_rate.is_some() || plan.slow.is_some() {
                true => reference.window(now),
                false => Vec::new(),
            };
            prop_assert_eq!(view.counts.calls, window.len() as u64);
            prop_assert_eq!(view.counts.failures, window.iter().filter(|call| call.0).count() as u64);
            prop_assert_eq!(view.counts.slow, window.iter().filter(|call| call.1).count() as u64);
            prop_assert!(view.remaining.is_none_or(|left| left.as_nanos() as u64 == reference.ends.saturating_sub(now)));
        }
    }

    // Whatever the clock does, a breaker that was left alone for long enough lets a call in.
    #[test]
    fn no_clock_wedges_it(plan in plan(), times in prop::collection::vec((0..5_000_u64, 0..4_u8), 1..200)) {
        let breaker = Breaker::new(Arc::new(plan.settings()), Target::default());
        for (now, what) in times {
            let now = now * MS;
            if let Ok(token) = breaker.admit(|| now) {
                match what {
                    0 => breaker.record(token, Grade::Success, || None, || now),
                    1 => breaker.record(token, Grade::Failure, || None, || now),
                    2 => breaker.abandon(token, false, Grade::Ignore, || now),
                    _ => {}
                }
            }
        }
        let mut now = 5_000 * MS;
        // Open, half-open with what hangs, open again, half-open.
        let admitted = (0..4).any(|_| {
            now += (LONGEST + LONGEST_HINT + 1000) * MS;
            breaker.admit(|| now).is_ok()
        });
        prop_assert!(admitted, "{:?}", breaker);
    }
}
