use std::sync::{PoisonError, atomic::Ordering};

use palisade_core::Head;
use palisade_settings::{InvalidSetting, literal};
use tokio::time::Instant;

use super::{Budget, Ticket, check_ratio};
use crate::sync::{Arc, AtomicU64, Mutex};

/// Retries per second, and a share of the calls of the last seconds.
///
/// Over the last ten seconds, counted in whole ones, there are at most
/// `per_second` retries a second and `ratio` retries a call: the bound of
/// Finagle's `RetryBudget` and of tower's `TpsBudget`, exact in thousandths.
/// All ten seconds' worth may go at once. A call that is not retried takes no
/// lock, but it reads the clock, which that of a
/// [`TokenBudget`](super::TokenBudget) does not.
///
/// ```
/// use palisade_retry::{RetryLayer, WindowBudget};
/// use tower::Layer;
/// # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
///
/// // Ten retries a second, and one in five calls.
/// let client = RetryLayer::http().budget(WindowBudget::new(10, 0.2)).layer(client);
/// # let _ = tower::ServiceExt::oneshot(client, http::Request::new(String::new()));
/// ```
#[derive(Clone, Debug)]
pub struct WindowBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    window: Window,
    start: Instant,
}

impl WindowBudget {
    /// A budget of `per_second` retries a second and `ratio` retries a call.
    ///
    /// # Panics
    ///
    /// If `ratio` is not from 0 to 1000.
    #[track_caller]
    pub fn new(per_second: u32, ratio: f64) -> Self {
        literal(Self::try_new(per_second, ratio))
    }

    /// As [`new`](Self::new), for values from outside.
    ///
    /// # Errors
    ///
    /// If `ratio` is not from 0 to 1000.
    pub fn try_new(per_second: u32, ratio: f64) -> Result<Self, InvalidSetting> {
        Ok(Self {
            shared: Arc::new(Shared {
                window: Window::new(per_second, check_ratio(ratio)?),
                start: Instant::now(),
            }),
        })
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}

impl Budget for WindowBudget {
    type Account = ();
    type Ticket = WindowTicket;

    fn open(&self, _: Head<'_>) {
        self.shared.window.call(self.shared.now());
    }

    fn withdraw(&self, (): &()) -> Option<WindowTicket> {
        let taken = self.shared.window.take(self.shared.now())?;
        Some(WindowTicket { unspent: Some((Arc::clone(&self.shared), taken)) })
    }
}

/// A retry taken from a [`WindowBudget`].
#[derive(Debug)]
pub struct WindowTicket {
    unspent: Option<(Arc<Shared>, u64)>,
}

impl Ticket for WindowTicket {
    fn spend(&mut self) {
        self.unspent = None;
    }
}

impl Drop for WindowTicket {
    fn drop(&mut self) {
        if let Some((shared, taken)) = self.unspent.take() {
            shared.window.refund(taken);
        }
    }
}

const SECONDS: u64 = 10;

/// Ten slots of a second: in each the second it stands for, the calls, and the
/// retries, packed into one word so that a slot changes as a whole.
#[derive(Debug)]
struct Window {
    slots: [AtomicU64; SECONDS as usize],
    // One retry is judged at a time; calls do not wait for it.
    judging: Mutex<()>,
    per_second: u64,
    ratio: u64,
}

/// What a slot holds, unpacked: 18 bits each for calls and for retries, a
/// quarter of a million a second, and 28 for the second, eight years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    second: u64,
    calls: u64,
    retries: u64,
}

const COUNT: u64 = (1 << 18) - 1;
const SECOND: u64 = (1 << 28) - 1;
const HOUR: u64 = 3600;

impl Slot {
    fn unpack(word: u64) -> Self {
        Self { second: word >> 36, calls: (word >> 18) & COUNT, retries: word & COUNT }
    }

    fn pack(self) -> u64 {
        self.second << 36 | self.calls << 18 | self.retries
    }

    /// Whether the counts fit their bits.
    fn fits(self) -> bool {
        self.calls <= COUNT && self.retries <= COUNT
    }

    /// The slot as of this second: empty, if it stands for an earlier one;
    /// nothing, if it stands for a later one, and the caller is late.
    fn at(self, second: u64) -> Option<Self> {
        let late_by = self.second.wrapping_sub(second) & SECOND;
        match late_by {
            0 => Some(self),
            1..HOUR => None,
            _ => Some(Self { second, ..Self::default() }),
        }
    }
}

impl Window {
    fn new(per_second: u32, ratio: u64) -> Self {
        Self {
            slots: Default::default(),
            judging: Mutex::new(()),
            per_second: per_second.into(),
            ratio,
        }
    }

    fn call(&self, now: u64) {
        self.update(now, |slot| slot.calls += 1);
    }

    /// Takes a retry, and says of which second.
    fn take(&self, now: u64) -> Option<u64> {
        let _judging = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = self.slots.each_ref();
        let slots = slots.map(|slot| Slot::unpack(slot.load(Ordering::Relaxed)));
        let now = latest(&slots, now);
        let (calls, retries) = sums(&slots, now);
        let fits = retries < self.per_second * SECONDS + calls * self.ratio / 1000;
        (fits && self.update(now, |slot| slot.retries += 1)).then_some(now)
    }

    fn refund(&self, taken: u64) {
        self.update(taken, |slot| slot.retries = slot.retries.saturating_sub(1));
    }

    /// Changes the slot of a second, unless that second has left the window, or
    /// has no room for one more.
    fn update(&self, second: u64, change: impl Fn(&mut Slot)) -> bool {
        let slot = &self.slots[(second % SECONDS) as usize];
        let updated = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let mut slot = Slot::unpack(word).at(second & SECOND)?;
            change(&mut slot);
            slot.fits().then(|| slot.pack())
        });
        updated.is_ok()
    }
}

/// This second, or a later one that others have written already: who read the
/// clock before them must not be judged without them.
fn latest(slots: &[Slot], now: u64) -> u64 {
    let ahead = slots.iter().map(|slot| slot.second.wrapping_sub(now) & SECOND);
    now + ahead.filter(|ahead| *ahead < HOUR).max().unwrap_or(0)
}

/// Calls and retries of the ten seconds that end with this one.
fn sums(slots: &[Slot], now: u64) -> (u64, u64) {
    let fresh = |slot: &&Slot| now.wrapping_sub(slot.second) & SECOND < SECONDS;
    let slots = slots.iter().filter(fresh);
    slots.fold((0, 0), |(calls, retries), slot| (calls + slot.calls, retries + slot.retries))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(window: &Window, now: u64) -> bool {
        window.take(now).is_some()
    }

    #[test]
    fn bounds_retries_by_time_and_by_calls() {
        let window = Window::new(1, 500);
        let taken = |now| (0..100).filter(|_| take(&window, now)).count();
        assert_eq!(taken(0), 10, "one a second, for ten seconds");
        assert_eq!(taken(5), 0);
        (0..8).for_each(|_| window.call(5));
        assert_eq!(taken(6), 4, "one in two calls");
        assert_eq!(taken(9), 0);
        assert_eq!(taken(10), 10, "what was taken in the first second has left");
    }

    #[test]
    fn a_refund_counts_while_its_second_lasts() {
        let window = Window::new(1, 0);
        assert_eq!((0..100).filter(|_| take(&window, 3)).count(), 10);
        window.refund(3);
        assert!(take(&window, 3));
        assert!(!take(&window, 3));
        (0..10).for_each(|_| assert!(take(&window, 13)));
        window.refund(3);
        assert!(!take(&window, 13), "an old refund does not reach the new second");
    }

    #[test]
    fn a_take_that_comes_late_is_judged_with_those_before_it() {
        let window = Window::new(1, 0);
        assert_eq!((0..100).filter(|_| take(&window, 10)).count(), 10);
        assert!(!take(&window, 9), "it read the clock before they did");
    }

    #[test]
    fn a_second_has_no_more_retries_than_it_can_count() {
        let window = Window::new(u32::MAX, 0);
        let all_but_one = Slot { retries: COUNT - 1, ..Slot::default() };
        window.slots[0].store(all_but_one.pack(), Ordering::Relaxed);
        assert!(take(&window, 0));
        assert!(!take(&window, 0));
        assert!(take(&window, 1));
    }

    #[test]
    fn works_again_after_any_idle_time() {
        let window = Window::new(1, 0);
        let mut now = 0;
        for idle in [20, HOUR, SECOND / 2, SECOND - 3 * HOUR, 20] {
            assert_eq!((0..100).filter(|_| take(&window, now)).count(), 10, "at {now}");
            now += idle;
        }
    }

    #[test]
    fn survives_the_wrap_of_seconds() {
        let window = Window::new(1, 0);
        let last = SECOND - 2;
        (last - 2 * HOUR..last).for_each(|now| window.call(now));
        assert_eq!((0..100).filter(|_| take(&window, last)).count(), 10);
        assert!(!take(&window, last + 5));
        assert!(take(&window, last + 10));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Pass(u64),
        Call,
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![(0..15_u64).prop_map(Step::Pass), Just(Step::Call), Just(Step::Take),]
    }

    proptest! {
        // The reference keeps a list of everything that ever happened.
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec(step(), 0..200), per_second in 0..3_u32, ratio in 0..2000_u64) {
            let window = Window::new(per_second, ratio);
            let (mut now, mut calls, mut retries) = (0, Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Pass(seconds) => now += seconds,
                    Step::Call => {
                        window.call(now);
                        calls.push(now);
                    }
                    Step::Take => {
                        let recent = |seconds: &[u64]| seconds.iter().filter(|then| now - **then < 10).count() as u64;
                        let allowed = recent(&retries) < u64::from(per_second) * 10 + recent(&calls) * ratio / 1000;
                        prop_assert_eq!(take(&window, now), allowed);
                        if allowed {
                            retries.push(now);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(all(test, palisade_loom))]
mod models {
    use loom::thread;

    use super::*;

    /// Calls and retries of the window that ends with this second.
    fn counts(window: &Window, now: u64) -> (u64, u64) {
        let slots = window.slots.each_ref();
        let slots = slots.map(|slot| Slot::unpack(slot.load(Ordering::Relaxed)));
        sums(&slots, now)
    }

    #[test]
    fn no_call_is_lost_and_each_pays_for_one_retry() {
        loom::model(|| {
            let window = Arc::new(Window::new(0, 1000));
            let attempt = {
                let window = Arc::clone(&window);
                move || {
                    window.call(0);
                    window.take(0).is_some()
                }
            };
            let other = thread::spawn(attempt.clone());
            assert!(attempt());
            assert!(other.join().unwrap());
            assert_eq!(counts(&window, 0), (2, 2));
            assert_eq!(window.take(0), None);
        });
    }

    #[test]
    fn a_refund_comes_back_beside_calls_and_retries() {
        loom::model(|| {
            let window = Arc::new(Window::new(0, 1000));
            window.call(0);
            let taken = window.take(0).unwrap();
            let other = thread::spawn({
                let window = Arc::clone(&window);
                move || {
                    window.call(0);
                    u64::from(window.take(0).is_some())
                }
            });
            window.refund(taken);
            let taken = other.join().unwrap();
            assert_eq!(taken, 1);
            assert_eq!(counts(&window, 0), (2, taken));
        });
    }

    // The call is of both windows, and pays for one retry in either.
    #[test]
    fn threads_in_different_seconds_share_the_bound() {
        loom::model(|| {
            let window = Arc::new(Window::new(0, 1000));
            window.call(5);
            let other = thread::spawn({
                let window = Arc::clone(&window);
                move || window.take(9).is_some()
            });
            let taken = u64::from(window.take(10).is_some()) + u64::from(other.join().unwrap());
            assert_eq!(taken, 1);
            assert_eq!(counts(&window, 10), (1, 1));
        });
    }

    // Second 10 has the slot of second 0.
    #[test]
    fn a_slot_changes_hands_as_a_whole() {
        loom::model(|| {
            let window = Arc::new(Window::new(0, 1000));
            window.call(0);
            assert!(window.take(0).is_some());
            let other = thread::spawn({
                let window = Arc::clone(&window);
                move || window.call(10)
            });
            let taken = window.take(9);
            window.refund(0);
            other.join().unwrap();
            // Either as of second 9, when the call was spent, or paid by the call of second 10.
            assert!(matches!(taken, None | Some(10)));
            assert_eq!(counts(&window, 10), (1, u64::from(taken.is_some())));
        });
    }
}
