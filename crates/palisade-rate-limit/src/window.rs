use palisade_fields::{Allowance, Allowances};

use crate::{Heard, bucket::nanos};

/// What a server lets through, as far as its answers tell: rules alone.
///
/// Answers come out of order, and say what was left when they were made. So what
/// is left by our own count and by theirs is the lesser of both while a window
/// lasts, and in a new window theirs without what is on its way. Once something
/// was spent or refused, one request goes first when its time has come, and the
/// others when that was answered.
#[derive(Debug, Default)]
pub(crate) struct Window {
    counts: Vec<Count>,
    hold: Hold,
    // Of probes: those sent since the latest one know its number.
    turn: u32,
    // How often in a row the server refused without a word on for how long.
    strikes: u32,
    in_flight: u64,
}

/// How far answers are believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Nothing is held for longer, in nanoseconds.
    pub(crate) longest: u64,
    /// How long the first pause is, where the server does not say.
    pub(crate) unsaid: u64,
}

/// What one of the server's quotas has left.
#[derive(Debug)]
struct Count {
    name: Option<Box<str>>,
    partition: Option<Box<[u8]>>,
    remaining: u64,
    reset_at: u64,
    // When it is tried again, if nothing is left: not all clients at once.
    open_at: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    None,
    /// Nothing goes before, and then one.
    Until(u64),
    /// One went then, and was not answered yet.
    Probing(u64),
}

/// A request that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    turn: u32,
    at: u64,
    cost: u32,
}

/// Why nothing goes for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) reason: &'static str,
    pub(crate) delay: u64,
}

const SECOND: u64 = 1_000_000_000;

/// After so long without an answer to the one that went first, another one goes.
const PATIENCE: u64 = SECOND;

/// Servers tell whole seconds: windows that end as close together are one.
const ROUNDING: u64 = SECOND;

/// Of a pause as much is added, spread over clients, up to a second.
const SPREAD: u64 = 10;

/// How many quotas are kept of a server that names another one each time.
const MOST: usize = 8;

impl Window {
    /// When so many may go.
    pub(crate) fn free_at(&self, cost: u64) -> u64 {
        let held = match self.hold {
            Hold::None => 0,
            Hold::Until(at) => at,
            Hold::Probing(since) => since.saturating_add(PATIENCE),
        };
        held.max(self.counted_at(cost))
    }

    /// When so many are left of all that is counted.
    fn counted_at(&self, cost: u64) -> u64 {
        let spent = self.counts.iter().filter(|count| count.remaining < cost);
        spent.map(|count| count.open_at).max().unwrap_or(0)
    }

    /// So many go, at a time when they may.
    pub(crate) fn take(&mut self, now: u64, cost: u64) {
        let mut probes = self.hold != Hold::None;
        self.counts.retain(|count| {
            let lasts = now < count.reset_at && cost <= count.remaining;
            // It was spent until now.
            probes |= !lasts && count.remaining < cost;
            lasts
        });
        if probes {
            self.hold = Hold::Probing(now);
            self.turn = self.turn.wrapping_add(1);
        }
        self.charge(cost);
    }

    /// So many went without being asked for.
    pub(crate) fn charge(&mut self, cost: u64) {
        for count in &mut self.counts {
            count.remaining = count.remaining.saturating_sub(cost);
        }
    }

    /// So many were fewer than was thought.
    pub(crate) fn refund(&mut self, cost: u64) {
        for count in &mut self.counts {
            count.remaining = count.remaining.saturating_add(cost);
        }
    }

    /// A request is sent.
    pub(crate) fn send(&mut self, now: u64, cost: u32) -> Sent {
        self.in_flight += u64::from(cost);
        Sent { turn: self.turn, at: now, cost }
    }

    /// There is no answer to a request, and there will be none.
    pub(crate) fn lose(&mut self, sent: Sent) {
        self.land(sent);
        if sent.turn == self.turn {
            self.probe_again();
        }
    }

    pub(crate) fn land(&mut self, sent: Sent) {
        self.in_flight = self.in_flight.saturating_sub(sent.cost.into());
    }

    /// What went first was lost, and another one goes.
    pub(crate) fn probe_again(&mut self) {
        if let Hold::Probing(_) = self.hold {
            self.hold = Hold::Until(0);
        }
    }

    /// Ends what holds requests, but for what is counted.
    pub(crate) fn resume(&mut self) {
        self.hold = Hold::None;
        self.counts.retain(|count| count.remaining != 0);
    }

    /// Whether it says nothing.
    pub(crate) fn is_new(&self, now: u64) -> bool {
        let over = self.counts.iter().all(|count| count.reset_at <= now);
        self.hold == Hold::None && self.in_flight == 0 && over
    }

    /// Learns from the answer to a request; or from something else, as of now. A
    /// `spread` from 0 to 1 tells clients apart.
    ///
    /// Says what begins with it.
    pub(crate) fn hear(
        &mut self,
        now: u64,
        sent: Option<Sent>,
        heard: &Heard<'_>,
        bounds: Bounds,
        spread: f64,
    ) -> Option<Pause> {
        if let Some(sent) = sent {
            self.land(sent);
        }
        let sent = sent.unwrap_or(Sent { turn: self.turn, at: now, cost: 0 });
        let held = |pause: u64| {
            let pause = pause.min(bounds.longest);
            pause.saturating_add(((pause / SPREAD).min(SECOND) as f64 * spread) as u64)
        };
        let before = self.counted_at(1);
        self.count(now, sent, &heard.allowances, bounds, held);
        let probing = matches!(self.hold, Hold::Probing(_));
        if !heard.throttled {
            // What was sent before the probe, or while nothing should go, is no news.
            if probing && sent.turn == self.turn {
                self.hold = Hold::None;
            }
            if self.hold == Hold::None {
                self.strikes = 0;
            }
            let after = self.counted_at(1);
            let begins = before <= now && now < after;
            return begins.then(|| Pause { reason: "exhausted", delay: after - now });
        }
        let asked = heard.retry_after.map(nanos).or_else(|| reset(&heard.allowances));
        // Who refuses, and then asks to come at once, means neither.
        let asked = asked.filter(|pause| *pause != 0);
        let news = self.hold == Hold::None || probing && sent.turn == self.turn;
        let pause = match asked {
            Some(pause) => pause,
            // Of many that were refused together, one is enough.
            None if !news => return None,
            None => {
                let pause = bounds.unsaid.saturating_mul(1 << self.strikes);
                self.strikes = (self.strikes + 1).min(32);
                pause
            }
        };
        let until = now.saturating_add(held(pause));
        if heard.retry_after.is_some() {
            // It counts for more than the end of a window does.
            let spent = self.counts.iter_mut().filter(|count| count.remaining == 0);
            spent.for_each(|count| count.open_at = count.open_at.min(until));
        }
        self.hold = match self.hold {
            Hold::Until(known) => Hold::Until(known.max(until)),
            // It went out before what holds now was known, or is a probe of its own.
            Hold::Probing(_) | Hold::None => Hold::Until(until),
        };
        news.then(|| Pause { reason: "throttled", delay: until - now })
    }

    fn count(
        &mut self,
        now: u64,
        sent: Sent,
        allowances: &Allowances<'_>,
        bounds: Bounds,
        held: impl Fn(u64) -> u64,
    ) {
        for quota in allowances.iter() {
            let (Some(remaining), Some(reset)) = (quota.remaining, time_to_more(quota)) else {
                continue;
            };
            let (earliest, latest) = (sent.at.saturating_add(reset), now.saturating_add(reset));
            let in_flight = self.in_flight;
            let known = self.counts.iter_mut().find(|count| count.is(quota));
            match known {
                Some(count) if now < count.reset_at => {
                    // It tells of a window that is over.
                    if latest.saturating_add(ROUNDING) < count.reset_at {
                        continue;
                    }
                    if earliest <= count.reset_at.saturating_add(ROUNDING) {
                        count.remaining = count.remaining.min(remaining);
                        if bounds.longest < reset {
                            // A pause that is capped counts from when it is heard of.
                            count.open_at = now.saturating_add(held(reset));
                        }
                        continue;
                    }
                }
                _ => {}
            }
            let count = Count {
                name: quota.name.as_deref().map(Into::into),
                partition: quota.partition.as_deref().map(Into::into),
                remaining: remaining.saturating_sub(in_flight),
                reset_at: latest,
                open_at: now.saturating_add(held(reset)),
            };
            self.counts.retain(|count| !count.is(quota));
            if self.counts.len() == MOST {
                self.counts.remove(0);
            }
            self.counts.push(count);
        }
        if !allowances.is_empty() {
            // A quota has another name now, or is none any more.
            let is_named = |count: &Count| allowances.iter().any(|quota| count.is(quota));
            self.counts.retain(|count| count.remaining == 0 || is_named(count));
        }
    }
}

impl Count {
    fn is(&self, quota: &Allowance<'_>) -> bool {
        self.name.as_deref() == quota.name.as_deref()
            && self.partition.as_deref() == quota.partition.as_deref()
    }
}

/// How long until there is more: until its reset; or where the server tells
/// none, as with a bucket that fills all the time, until there is one more.
fn time_to_more(quota: &Allowance<'_>) -> Option<u64> {
    if let Some(reset) = quota.reset {
        return Some(nanos(reset));
    }
    // What fills all the time is not counted down.
    if quota.remaining != Some(0) {
        return None;
    }
    let one = quota.window.zip(quota.limit.filter(|limit| *limit != 0));
    Some(one.map_or(SECOND, |(window, limit)| nanos(window) / limit))
}

/// How long until all quotas that are spent have more.
fn reset(allowances: &Allowances<'_>) -> Option<u64> {
    let said = allowances.iter().any(|quota| quota.remaining.is_some());
    let spent = allowances.iter().filter(|quota| quota.remaining == Some(0) || !said);
    spent.filter_map(time_to_more).max()
}

#[cfg(all(test, not(palisade_shuttle)))]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::Signal;

    const BOUNDS: Bounds = Bounds { longest: 300 * SECOND, unsaid: SECOND };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn left(remaining: u64, reset: u64) -> Heard<'static> {
        Signal::remaining(remaining).resets_in(seconds(reset)).into()
    }

    fn named(quotas: &[(&'static str, u64, u64)]) -> Heard<'static> {
        let quotas = quotas.iter().map(|(name, remaining, reset)| {
            let mut quota = Allowance::default();
            quota.name = Some((*name).into());
            (quota.remaining, quota.reset) = (Some(*remaining), Some(seconds(*reset)));
            quota
        });
        Heard { allowances: quotas.collect(), ..Heard::default() }
    }

    /// A window, and the time in seconds.
    #[derive(Default)]
    struct At {
        window: Window,
        now: u64,
    }

    impl At {
        fn later(&mut self, seconds: u64) -> &mut Self {
            self.now += seconds * SECOND;
            self
        }

        /// Sends one, or says in how many seconds it may go.
        fn send(&mut self) -> Result<Sent, u64> {
            match self.window.free_at(1) {
                at if self.now < at => Err((at - self.now).div_ceil(SECOND)),
                _ => {
                    self.window.take(self.now, 1);
                    Ok(self.window.send(self.now, 1))
                }
            }
        }

        fn sends(&mut self) -> u64 {
            (0..1000).take_while(|_| self.send().is_ok()).count() as u64
        }

        fn hear(&mut self, sent: Sent, heard: &Heard<'_>) -> Option<&'static str> {
            let pause = self.window.hear(self.now, Some(sent), heard, BOUNDS, 0.0);
            pause.map(|pause| pause.reason)
        }

        fn answer(&mut self, heard: &Heard<'_>) -> Option<&'static str> {
            let sent = self.send().expect("it may go");
            self.hear(sent, heard)
        }
    }

    #[test]
    fn counts_down_what_is_left() {
        let mut at = At::default();
        assert_eq!(at.answer(&left(3, 10)), None);
        assert_eq!(at.sends(), 3);
        assert_eq!(at.later(4).send(), Err(6));
    }

    #[test]
    fn one_goes_first_after_the_reset() {
        let mut at = At::default();
        assert_eq!(at.answer(&left(0, 10)), Some("exhausted"));
        let probe = at.later(10).send().unwrap();
        assert_eq!(at.send(), Err(1));
        at.hear(probe, &left(5, 10));
        assert_eq!(at.sends(), 5);
    }

    #[test]
    fn without_news_all_go_after_the_probe() {
        let mut at = At::default();
        at.answer(&left(0, 10));
        let probe = at.later(10).send().unwrap();
        at.hear(probe, &Heard::default());
        assert_eq!(at.sends(), 1000);
    }

    #[test]
    fn what_was_not_spent_ends_without_a_probe() {
        let mut at = At::default();
        at.answer(&left(2, 10));
        assert_eq!(at.later(10).sends(), 1000);
    }

    #[test]
    fn answers_out_of_order_give_nothing_back() {
        let mut at = At::default();
        let sent: Vec<_> = (0..4).map(|_| at.send().unwrap()).collect();
        // The server saw them in this order; the last answer comes first.
        at.hear(sent[3], &left(6, 10));
        assert_eq!(at.window.counts[0].remaining, 3, "without what is on its way");
        for (sent, remaining) in sent[..3].iter().zip([9, 8, 7]) {
            at.hear(*sent, &left(remaining, 10));
            assert_eq!(at.window.counts[0].remaining, 3);
        }
    }

    #[test]
    fn an_answer_of_the_window_before_is_no_news() {
        let mut at = At::default();
        let old = at.send().unwrap();
        at.later(9).answer(&left(9, 10));
        assert_eq!(at.hear(old, &left(0, 1)), None);
        assert_eq!(at.sends(), 8);
    }

    #[test]
    fn an_old_answer_does_not_begin_a_window() {
        let mut at = At::default();
        let slow = at.send().unwrap();
        at.answer(&left(3, 10));
        // It was made early, and says so by the time that it took.
        at.later(5).hear(slow, &left(8, 10));
        assert_eq!(at.sends(), 2);
    }

    #[test]
    fn a_new_window_begins_without_what_is_on_its_way() {
        let mut at = At::default();
        at.answer(&left(5, 10));
        let sent: Vec<_> = (0..3).map(|_| at.send().unwrap()).collect();
        at.later(11);
        at.hear(sent[0], &left(10, 10));
        assert_eq!(at.sends(), 8);
    }

    #[test]
    fn more_may_be_left_than_before_without_effect() {
        let mut at = At::default();
        at.answer(&left(2, 10));
        assert_eq!(at.answer(&left(100, 10)), None);
        assert_eq!(at.sends(), 1);
    }

    #[test]
    fn a_refusal_holds_all_for_as_long_as_it_says() {
        let after = |seconds_: u64| Signal::throttled().retry_after(seconds(seconds_)).into();
        let spent = Signal::throttled().resets_in(seconds(9));
        for (heard, expected) in [
            (after(7), 7),
            (after(1_000_000), 300),
            (Signal::throttled().into(), 1),
            // It means neither.
            (after(0), 1),
            (spent.into(), 9),
            (spent.retry_after(seconds(2)).into(), 2),
            (spent.retry_after(Duration::MAX).into(), 300),
        ] {
            let mut at = At::default();
            assert_eq!(at.answer(&heard), Some("throttled"));
            assert_eq!(at.send(), Err(expected), "{heard:?}");
            assert!(at.later(expected).send().is_ok());
            assert_eq!(at.send(), Err(1), "one goes first");
        }
    }

    #[test]
    fn the_servers_word_counts_more_than_its_reset() {
        let mut at = At::default();
        let mut heard = left(0, 60);
        (heard.throttled, heard.retry_after) = (true, Some(seconds(3)));
        at.answer(&heard);
        assert_eq!(at.send(), Err(3));
    }

    #[test]
    fn refusals_without_a_word_hold_ever_longer() {
        let mut at = At::default();
        let unsaid = Signal::throttled().into();
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(at.answer(&unsaid), Some("throttled"));
            assert_eq!(at.send(), Err(expected));
            at.later(expected);
        }
        assert_eq!(at.answer(&Heard::default()), None);
        at.answer(&unsaid);
        assert_eq!(at.send(), Err(1));
    }

    #[test]
    fn many_refused_at_once_count_as_one() {
        let mut at = At::default();
        let sent: Vec<_> = (0..64).map(|_| at.send().unwrap()).collect();
        let unsaid = Signal::throttled().into();
        let told: Vec<_> = sent.into_iter().filter_map(|sent| at.hear(sent, &unsaid)).collect();
        assert_eq!(told, ["throttled"]);
        assert_eq!((at.send(), at.window.strikes), (Err(1), 1));
    }

    #[test]
    fn what_was_sent_before_a_pause_does_not_end_it() {
        let mut at = At::default();
        let early: Vec<_> = (0..3).map(|_| at.send().unwrap()).collect();
        at.hear(early[0], &Signal::throttled().retry_after(seconds(5)).into());
        at.hear(early[1], &Heard::default());
        assert_eq!(at.send(), Err(5));
        let probe = at.later(5).send().unwrap();
        at.hear(early[2], &Heard::default());
        assert_eq!(at.send(), Err(1));
        at.hear(probe, &Heard::default());
        assert_eq!(at.sends(), 1000);
    }

    #[test]
    fn another_goes_when_the_first_one_is_lost() {
        let mut at = At::default();
        at.answer(&left(0, 10));
        let lost = at.later(10).send().unwrap();
        at.window.lose(lost);
        let unsent = at.send().unwrap();
        at.window.land(unsent);
        at.window.probe_again();
        let slow = at.send().unwrap();
        assert_eq!(at.send(), Err(1));
        let other = at.later(1).send().unwrap();
        // It is late, and has no say any more.
        at.hear(slow, &Heard::default());
        assert_eq!(at.send(), Err(1));
        at.hear(other, &Heard::default());
        assert_eq!(at.sends(), 1000);
    }

    #[test]
    fn goes_by_each_quota_of_several() {
        let mut at = At::default();
        at.answer(&named(&[("second", 2, 1), ("day", 3, 1000)]));
        assert_eq!((at.sends(), at.send()), (2, Err(1)));
        let probe = at.later(1).send().unwrap();
        at.hear(probe, &named(&[("second", 9, 1), ("day", 0, 999)]));
        // Of the day it is held no longer than it may.
        assert_eq!(at.send(), Err(300));
        at.later(299).hear(probe, &named(&[("day", 0, 700)]));
        assert_eq!(at.send(), Err(300));
    }

    #[test]
    fn what_is_not_named_any_more_is_forgotten_unless_it_is_spent() {
        let mut at = At::default();
        at.answer(&named(&[("old", 1, 100)]));
        at.answer(&named(&[("new", 50, 100)]));
        assert_eq!((at.window.counts.len(), at.send()), (2, Err(100)), "the old one is spent");
        let mut at = At::default();
        at.answer(&named(&[("old", 5, 100)]));
        at.answer(&named(&[("new", 50, 100)]));
        assert_eq!(at.sends(), 50);
    }

    #[test]
    fn partitions_are_told_apart() {
        let mut at = At::default();
        for (partition, remaining) in [("a", 5), ("b", 7)] {
            let mut quota = Allowance::default();
            quota.partition = Some(partition.as_bytes().into());
            (quota.remaining, quota.reset) = (Some(remaining), Some(seconds(10)));
            at.answer(&Heard { allowances: [quota].into_iter().collect(), ..Heard::default() });
        }
        assert_eq!(at.sends(), 7);
    }

    #[test]
    fn clients_come_back_at_different_times() {
        for (spread, reset, expected) in
            [(0.0, 10, 10_000), (0.5, 10, 10_500), (1.0, 2, 2200), (1.0, 100, 101_000)]
        {
            let mut window = Window::default();
            window.hear(0, None, &left(0, reset), BOUNDS, spread);
            assert_eq!(window.free_at(1) / 1_000_000, expected);
        }
    }

    #[test]
    fn a_bucket_without_a_window_is_asked_again_when_there_is_one_more() {
        let mut quota = Allowance::default();
        (quota.remaining, quota.limit, quota.window) = (Some(0), Some(40), Some(seconds(20)));
        let heard = Heard { allowances: [quota].into_iter().collect(), ..Heard::default() };
        let mut window = Window::default();
        window.hear(0, None, &heard, BOUNDS, 0.0);
        assert_eq!(window.free_at(1), SECOND / 2);
        let mut window = Window::default();
        window.hear(0, None, &Signal::remaining(0).into(), BOUNDS, 0.0);
        assert_eq!(window.free_at(1), SECOND);
    }

    proptest! {
        #[test]
        fn whatever_is_said_nothing_is_held_for_longer_than_it_may(
            steps in prop::collection::vec(
                (any::<Option<u64>>(), any::<Option<u64>>(), any::<bool>(), any::<Option<u64>>(), 0..5_u8, 0..400_u64),
                1..100,
            ),
        ) {
            let mut at = At::default();
            let mut flights = Vec::new();
            for (remaining, reset, throttled, after, act, wait) in steps {
                at.later(wait);
                let mut quota = Allowance::default();
                quota.name = Some(format!("{}", wait % 20).into());
                (quota.remaining, quota.reset) = (remaining, reset.map(Duration::from_secs));
                let retry_after = after.map(Duration::from_secs);
                let heard = Heard { allowances: [quota].into_iter().collect(), throttled, retry_after };
                flights.extend(at.send());
                match act {
                    0 => at.window.refund(wait),
                    1 => at.window.charge(wait),
                    2 => flights.pop().into_iter().for_each(|sent| at.window.lose(sent)),
                    _ => {
                        let sent = flights.pop();
                        at.window.hear(at.now, sent, &heard, BOUNDS, 1.0);
                    }
                }
                prop_assert!(at.window.free_at(1) <= at.now + 301 * SECOND);
                prop_assert!(at.window.counts.len() <= MOST);
            }
            flights.into_iter().for_each(|sent| at.window.lose(sent));
            prop_assert_eq!(at.window.in_flight, 0);
            at.later(301);
            prop_assert!(at.send().is_ok());
        }
    }
}
