//! Requests, refusals and flights on several threads, in many orders of their
//! steps.

use std::{
    sync::atomic::{AtomicUsize, Ordering as Order},
    time::SystemTime,
};

use shuttle::{
    rand::{Rng, thread_rng},
    sync::Mutex as Lock,
    thread,
};

use super::*;
use crate::{Recovery, RefreshWindow};

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: Limits =
    Limits { load_timeout: Duration::from_secs(30), serve_expired: Duration::ZERO };

fn at(seconds: u64) -> Moment {
    Moment::new(SystemTime::UNIX_EPOCH, Duration::from_secs(seconds))
}

fn landing(text: &str, from: Moment) -> Landing {
    let life = Life::new(from, 100 * SECOND, &RefreshWindow::default(), 0.0);
    Landing::Token(Token::bearer(text).expect("it can be a token"), life)
}

/// What a flight needs to land.
#[derive(Clone, Copy)]
struct Flight {
    number: u64,
    epoch: u64,
}

fn take(slot: &Slot<Flight>, now: Moment) -> Taken<Flight> {
    slot.take(now, LIMITS, |begin| Flight { number: begin.number, epoch: begin.epoch })
}

/// The flight that begins with this.
fn begun(taken: &Taken<Flight>) -> Option<Flight> {
    match taken {
        Taken::UseAndRefresh(_, flight) => Some(*flight),
        Taken::Join(Join { flight, begins: true, .. }) => Some(*flight),
        _ => None,
    }
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(model, 3000);
}

#[test]
fn cold_requests_begin_one_flight() {
    explore(|| {
        let slot = Arc::new(Slot::new(1));
        let begins = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (slot, begins) = (Arc::clone(&slot), Arc::clone(&begins));
                thread::spawn(move || {
                    if slot.fresh(at(0)).is_some() {
                        return;
                    }
                    let taken = take(&slot, at(0));
                    if let Some(Flight { number, epoch }) = begun(&taken) {
                        begins.fetch_add(1, Order::SeqCst);
                        thread::yield_now();
                        slot.land(number, epoch, landing("a", at(0)), at(0), 0.5);
                        assert!(slot.fresh(at(0)).is_some(), "who began has a token");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("it holds");
        }
        assert_eq!(begins.load(Order::SeqCst), 1);
        assert_eq!(slot.fresh(at(0)).expect("it is there").held().generation, 1);
    });
}

#[test]
fn refusals_of_one_token_begin_one_flight() {
    explore(|| {
        let slot = Arc::new(Slot::new(1));
        let life = Life::endless(at(0));
        slot.replace(Some((Token::bearer("a").expect("it can be a token"), life)));
        let begins = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (slot, begins) = (Arc::clone(&slot), Arc::clone(&begins));
                thread::spawn(move || {
                    // All were sent with the first token.
                    let invalidated = slot.invalidate(1, at(1));
                    assert_ne!(invalidated, Invalidated::Young);
                    let taken = take(&slot, at(1));
                    if invalidated == Invalidated::Replaced {
                        assert!(matches!(taken, Taken::Use(ref held) if held.generation == 2));
                    }
                    if let Some(Flight { number, epoch }) = begun(&taken) {
                        begins.fetch_add(1, Order::SeqCst);
                        thread::yield_now();
                        slot.land(number, epoch, landing("b", at(1)), at(1), 0.5);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("it holds");
        }
        assert_eq!(begins.load(Order::SeqCst), 1);
        let fresh = slot.fresh(at(1)).expect("it is there");
        assert_eq!(fresh.held().generation, 2);
    });
}

#[test]
fn what_was_reset_does_not_come_back() {
    explore(|| {
        let slot = Arc::new(Slot::new(1));
        let flight = begun(&take(&slot, at(0))).expect("there was none");
        let lands = thread::spawn({
            let slot = Arc::clone(&slot);
            move || slot.land(flight.number, flight.epoch, landing("a", at(0)), at(0), 0.5)
        });
        slot.replace(None);
        let taken = take(&slot, at(0));
        assert!(begun(&taken).is_some(), "after a reset another one begins");
        let _ = lands.join().expect("it holds");
        assert!(slot.fresh(at(0)).is_none());
        assert!(slot.is_busy());
    });
}

#[test]
fn generations_grow_and_flights_are_one_whatever_happens() {
    explore(|| {
        let slot = Arc::new(Slot::new(1));
        // How many flights there are of each epoch.
        let flying = Arc::new(Lock::new(Vec::<u64>::new()));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (slot, flying) = (Arc::clone(&slot), Arc::clone(&flying));
                thread::spawn(move || {
                    let mut last = 0;
                    for step in 0..4_u64 {
                        let now = at(step);
                        if let Some(fresh) = slot.fresh(now) {
                            let generation = fresh.held().generation;
                            assert!(last <= generation, "an old token came back");
                            last = generation;
                        }
                        match thread_rng().gen_range(0..4) {
                            0 => {
                                slot.invalidate(last, now);
                            }
                            1 if step == 2 => {
                                slot.replace(None);
                            }
                            _ => {}
                        }
                        let Some(flight) = begun(&take(&slot, now)) else {
                            continue;
                        };
                        {
                            let mut flying = flying.lock().expect("nobody panics");
                            assert!(!flying.contains(&flight.epoch), "one at a time");
                            flying.push(flight.epoch);
                        }
                        thread::yield_now();
                        flying
                            .lock()
                            .expect("nobody panics")
                            .retain(|epoch| *epoch != flight.epoch);
                        let landing = match thread_rng().gen_range(0..3) {
                            0 => Landing::Failed(AuthError::new("failed", Recovery::Fatal)),
                            1 => Landing::Lost,
                            _ => landing("a", now),
                        };
                        slot.land(flight.number, flight.epoch, landing, now, 0.5);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("it holds");
        }
        assert!(!slot.is_busy(), "no flight is left that nobody flies");
    });
}
