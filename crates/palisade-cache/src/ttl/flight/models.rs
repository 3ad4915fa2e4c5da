//! One call that several threads wait for, in many orders of their steps: none
//! sleeps for ever, whoever leaves, and there is one call at a time.

use std::{
    sync::atomic::{AtomicUsize as Count, Ordering},
    task::Wake,
};

use shuttle::{
    rand::{Rng, thread_rng},
    sync::{Condvar, Mutex as Lock},
    thread,
};

use super::*;

/// Wakes a thread that sleeps.
///
/// Not by `park`, which shuttle lets return without a reason: nobody would see
/// that a wake is missing.
#[derive(Default)]
struct Alarm {
    rings: Lock<bool>,
    heard: Condvar,
    count: Count,
}

impl Alarm {
    fn sleep(&self) {
        let rings = self.rings.lock().unwrap();
        *self.heard.wait_while(rings, |rings| !*rings).unwrap() = false;
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        *self.rings.lock().unwrap() = true;
        self.heard.notify_one();
    }
}

/// What all calls of one model do.
#[derive(Default)]
struct World {
    // Who is to be woken for the step that a call waits for; steps that were made are taken back.
    gate: Lock<(usize, Option<Waker>)>,
    alive: Count,
    begun: Count,
    polls: Count,
}

/// Steps, and then a result; what it waits for comes from another thread.
struct Work {
    world: Arc<World>,
    polled: bool,
    // It ends with this.
    result: Result<u32, &'static str>,
}

impl Work {
    fn new(world: &Arc<World>, result: Result<u32, &'static str>) -> Self {
        Self { world: Arc::clone(world), polled: false, result }
    }
}

impl Future for Work {
    type Output = Result<u32, &'static str>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let world = Arc::clone(&self.world);
        world.polls.fetch_add(1, Ordering::SeqCst);
        if !mem::replace(&mut self.polled, true) {
            world.begun.fetch_add(1, Ordering::SeqCst);
            assert_eq!(world.alive.fetch_add(1, Ordering::SeqCst), 0, "one call at a time");
        }
        let mut gate = world.gate.lock().unwrap();
        if gate.0 == 0 {
            gate.1 = Some(cx.waker().clone());
            return Poll::Pending;
        }
        gate.0 -= 1;
        Poll::Ready(self.result)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.polled {
            self.world.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl World {
    /// Lets one call end.
    fn step(&self) {
        let waker = {
            let mut gate = self.gate.lock().unwrap();
            gate.0 += 1;
            gate.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[derive(Debug, PartialEq)]
enum End {
    Answer(u32),
    Error,
    Alone,
    Left,
}

/// Waits as a caller does, and leaves after some polls, if it does. Says how often
/// it was woken.
fn wait(flight: &Flight<u32, Work>, own: Work, leaves_after: usize) -> (End, usize) {
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(Arc::clone(&alarm));
    let cx = Context::from_waker(&waker);
    let mut own = Some(own);
    let place = flight.enter();
    let mut polls = 0;
    let end = loop {
        if polls == leaves_after {
            thread::yield_now();
            break End::Left;
        }
        polls += 1;
        match flight.poll(place, &mut own, || None, &cx) {
            Turn::Wait if polls < leaves_after => alarm.sleep(),
            Turn::Wait => {}
            Turn::Landed(answer) => break End::Answer(answer),
            Turn::Alone(_) => break End::Alone,
            Turn::Over(Ok(answer), driving) => {
                driving.land(Some(answer));
                break End::Answer(answer);
            }
            // Another one calls.
            Turn::Over(Err(_), _) => break End::Error,
        }
    };
    flight.leave(place);
    (end, alarm.count.load(Ordering::SeqCst))
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(model);
    let again = Arc::clone(&model);
    shuttle::check_random(move || model(), 5000);
    shuttle::check_pct(move || again(), 2000, 3);
}

const STAYS: usize = usize::MAX;

#[test]
fn all_get_the_answer_of_one_call() {
    check(|| {
        let world = Arc::new(World::default());
        let flight = Arc::new(Flight::new(3));
        // So that it is not over before the others come.
        let places: Vec<_> = (0..4).map(|_| flight.enter()).collect();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (flight, world) = (Arc::clone(&flight), Arc::clone(&world));
                thread::spawn(move || wait(&flight, Work::new(&world, Ok(7)), STAYS))
            })
            .collect();
        let stepper = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.step())
        };
        for thread in threads {
            let (end, woken) = thread.join().unwrap();
            assert_eq!(end, End::Answer(7));
            // For the answer, and as the call could go on.
            assert!(woken <= 2, "{woken}");
        }
        stepper.join().unwrap();
        assert_eq!(world.begun.load(Ordering::SeqCst), 1);
        // It is not polled for nothing.
        assert!(world.polls.load(Ordering::SeqCst) <= 2);
        for place in places {
            flight.leave(place);
        }
        assert!(flight.is_empty());
    });
}

#[test]
fn who_leaves_leaves_the_call_to_the_others() {
    check(|| {
        let world = Arc::new(World::default());
        let flight = Arc::new(Flight::new(3));
        let waits = |leaves_after| {
            let (flight, world) = (Arc::clone(&flight), Arc::clone(&world));
            thread::spawn(move || wait(&flight, Work::new(&world, Ok(7)), leaves_after))
        };
        let leaves = || thread_rng().gen_range(0..3);
        let leavers = [waits(leaves()), waits(leaves())];
        let stays = [waits(STAYS), waits(STAYS)];
        let stepper = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.step())
        };
        for thread in stays {
            assert_eq!(thread.join().unwrap().0, End::Answer(7));
        }
        for thread in leavers {
            thread.join().unwrap();
        }
        stepper.join().unwrap();
        assert!(flight.is_empty());
        // A call that nobody waited for any more was left to the next one.
        assert_eq!(world.begun.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn who_is_not_polled_any_more_keeps_nobody_waiting() {
    check(|| {
        let world = Arc::new(World::default());
        let flight = Arc::new(Flight::new(3));
        // They keep their places, as losers of a select do that is not over.
        let idle = || {
            let (flight, world) = (Arc::clone(&flight), Arc::clone(&world));
            thread::spawn(move || {
                let (place, mut own) = (flight.enter(), Some(Work::new(&world, Ok(7))));
                let cx = Context::from_waker(Waker::noop());
                for _ in 0..thread_rng().gen_range(1..3) {
                    if let Turn::Over(Ok(answer), driving) =
                        flight.poll(place, &mut own, || None, &cx)
                    {
                        driving.land(Some(answer));
                    }
                }
                place
            })
        };
        let waits = || {
            let (flight, world) = (Arc::clone(&flight), Arc::clone(&world));
            thread::spawn(move || wait(&flight, Work::new(&world, Ok(7)), STAYS))
        };
        let place = flight.enter();
        let (idle, waiting) = ([idle(), idle()], [waits(), waits()]);
        let stepper = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.step())
        };
        for thread in waiting {
            assert_eq!(thread.join().unwrap().0, End::Answer(7));
        }
        stepper.join().unwrap();
        for thread in idle {
            flight.leave(thread.join().unwrap());
        }
        assert!(flight.leave(place));
        assert_eq!(world.begun.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn an_error_goes_to_one_and_another_calls_again() {
    check(|| {
        let world = Arc::new(World::default());
        let flight = Arc::new(Flight::new(3));
        let threads: Vec<_> = (0..5)
            .map(|number: u32| {
                let (flight, world) = (Arc::clone(&flight), Arc::clone(&world));
                let leaves_after = if number == 4 { thread_rng().gen_range(0..4) } else { STAYS };
                thread::spawn(move || wait(&flight, Work::new(&world, Err("down")), leaves_after))
            })
            .collect();
        let stepper = {
            let world = Arc::clone(&world);
            thread::spawn(move || (0..3).for_each(|_| world.step()))
        };
        let ends: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap().0).collect();
        stepper.join().unwrap();
        let count = |end: End| ends.iter().filter(|other| **other == end).count();
        assert!(count(End::Error) <= 3, "{ends:?}");
        assert!(count(End::Answer(7)) == 0, "{ends:?}");
        // Three in vain, and then each alone.
        assert!(count(End::Alone) == 0 || count(End::Error) == 3, "{ends:?}");
        assert!(flight.is_empty());
    });
}
