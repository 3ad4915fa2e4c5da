//! The map between threads, in other orders of their steps.

use std::sync::atomic::AtomicUsize as Count;

use palisade_core::OwnedKey;
use shuttle::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::*;

/// One thread after the other at random, and then one for as long as it can but
/// for three interruptions. What fails prints how to try it again.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let model = std::sync::Arc::new(model);
    let again = std::sync::Arc::clone(&model);
    shuttle::check_random(move || model(), 5000);
    shuttle::check_pct(move || again(), 5000, 3);
}

/// Goes, unless it is told to stay, or somebody holds it.
#[derive(Clone)]
struct Value(Arc<Held>);

struct Held {
    key: u32,
    stays: AtomicBool,
    alive: Arc<Count>,
}

impl Value {
    fn stay(&self) {
        self.0.stays.store(true, Ordering::Release);
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Evict for Value {
    fn may_go(&self, _: u64) -> bool {
        Arc::strong_count(&self.0) == 1 && !self.0.stays.load(Ordering::Acquire)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A map, and how many values there are of it.
struct World {
    map: BoundedMap<u32, Value>,
    alive: Arc<Count>,
}

const IDLE: u64 = 100;

impl World {
    fn new(most: usize, shards: usize) -> Arc<Self> {
        let map = BoundedMap::with_shards(Bounds { most, idle: IDLE }, shards);
        Arc::new(Self { map, alive: Arc::default() })
    }

    fn ask(&self, key: u32, now: u64) -> Option<Value> {
        let make = |&key: &u32| {
            self.alive.fetch_add(1, Ordering::Relaxed);
            Value(Arc::new(Held { key, stays: AtomicBool::new(false), alive: self.alive.clone() }))
        };
        let value = self.map.get_or_insert(&OwnedKey(key), make, || now);
        assert!(value.as_ref().is_none_or(|value| value.0.key == key));
        value
    }

    fn get(&self, key: u32) -> Option<Value> {
        self.map.get(&OwnedKey(key))
    }

    /// Asks for one key after the other, with so long in between, keeps none,
    /// and says for how many there was no place.
    fn ask_all(&self, keys: &[u32], pause: u64) -> u64 {
        let times = (0..).map(|step| step * pause);
        keys.iter().zip(times).filter(|&(&key, now)| self.ask(key, now).is_none()).count() as u64
    }

    /// What holds at any moment: as many are there as are counted.
    fn audit(&self) {
        assert!(self.map.len() <= self.map.bounds.most);
        let shards: Vec<_> = self.map.shards.iter().map(|shard| shard.0.read().unwrap()).collect();
        let entries = || shards.iter().flat_map(|shard| &shard.entries);
        assert_eq!(entries().count(), self.map.len());
        assert!(self.map.len() <= self.map.bounds.most);
        let mut keys: Vec<_> = entries().map(|entry| entry.key).collect();
        keys.sort_unstable();
        assert!(keys.is_sorted_by(|one, other| one < other), "twice: {keys:?}");
    }

    /// What holds when nobody is at work and nobody holds a value.
    fn settle(&self, refused: u64) {
        self.audit();
        assert_eq!(self.alive.load(Ordering::Relaxed), self.map.len());
        assert_eq!(self.map.overflowed(), refused);
    }
}

fn spawn<T: Send + 'static>(
    world: &Arc<World>,
    work: impl FnOnce(&World) -> T + Send + 'static,
) -> JoinHandle<T> {
    let world = Arc::clone(world);
    thread::spawn(move || work(&world))
}

#[test]
fn there_are_never_more_than_there_may_be() {
    for (most, shards) in [(1, 1), (2, 1), (2, 2), (3, 2)] {
        check(move || {
            let world = World::new(most, shards);
            let others = [[0, 1, 2], [2, 1, 3], [4, 0, 1]]
                .map(|keys| spawn(&world, move |world| world.ask_all(&keys, 0)));
            (0..4).for_each(|_| world.audit());
            world.settle(others.into_iter().map(|other| other.join().unwrap()).sum());
        });
    }
}

// Each of them finds what the others have left idle.
#[test]
fn what_goes_for_being_idle_gives_its_place_back_once() {
    for shards in [1, 2] {
        check(move || {
            let world = World::new(4, shards);
            world.ask_all(&[0, 1, 2], 0);
            let others = [[0, 3, 4, 5], [0, 5, 6, 0], [0, 7, 1, 2]]
                .map(|keys| spawn(&world, move |world| world.ask_all(&keys, 2 * IDLE)));
            (0..4).for_each(|_| world.audit());
            world.settle(others.into_iter().map(|other| other.join().unwrap()).sum());
        });
    }
}

#[test]
fn who_asks_at_the_same_time_gets_the_same_value() {
    check(|| {
        let world = World::new(2, 1);
        let flood = spawn(&world, |world| world.ask_all(&[1, 2, 3], 2 * IDLE));
        let others = [(); 2].map(|()| spawn(&world, |world| world.ask(0, 0).unwrap()));
        // What the flood holds is one at a time, so there is a place for this.
        let mine = world.ask(0, 0).unwrap();
        let theirs = others.map(|other| other.join().unwrap());
        assert!(theirs.iter().all(|value| value.is(&mine)));
        drop((mine, theirs));
        world.settle(flood.join().unwrap());
    });
}

// As a call that opens its breaker and ends.
#[test]
fn what_was_told_to_stay_while_it_was_held_stays() {
    for shards in [1, 2] {
        check(move || {
            let world = World::new(2, shards);
            let floods = [[1, 2, 3], [3, 4, 1]]
                .map(|keys| spawn(&world, move |world| world.ask_all(&keys, 2 * IDLE)));
            let keep = |world: &World| {
                let value = world.ask(0, 0);
                value.as_ref().inspect(|value| value.stay());
                value.map(|value| Arc::as_ptr(&value.0).addr())
            };
            let other = spawn(&world, keep);
            let kept = [keep(&world), other.join().unwrap()];
            let refused: u64 = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
            let found = world.get(0).map(|value| Arc::as_ptr(&value.0).addr());
            for kept in kept.iter().flatten() {
                assert_eq!(Some(*kept), found);
            }
            world.settle(refused + kept.iter().filter(|kept| kept.is_none()).count() as u64);
        });
    }
}

#[test]
fn all_for_whom_there_is_no_place_are_counted() {
    for shards in [1, 2] {
        check(move || {
            let world = World::new(1, shards);
            world.ask(0, 0).unwrap().stay();
            let others = [[1, 2], [2, 1]]
                .map(|keys| spawn(&world, move |world| world.ask_all(&keys, 2 * IDLE)));
            assert_eq!(world.ask_all(&[3, 0], 2 * IDLE), 1);
            others.into_iter().for_each(|other| assert_eq!(other.join().unwrap(), 2));
            world.settle(5);
        });
    }
}

// A look-up marks what it finds, while the hand goes by.
#[test]
fn a_look_up_finds_what_is_held() {
    check(|| {
        let world = World::new(2, 1);
        let held = world.ask(0, 0).unwrap();
        let flood = spawn(&world, |world| world.ask_all(&[1, 2, 3], 2 * IDLE));
        let look = spawn(&world, |world| world.get(0).unwrap());
        let found = world.get(0).unwrap();
        assert!(found.is(&held) && look.join().unwrap().is(&held));
        drop((found, held));
        world.settle(flood.join().unwrap());
    });
}

// As tokens that are taken from a word, until there is a limiter to take them from.
#[test]
fn what_is_done_in_looks_is_there_when_it_is_changed() {
    struct Counter {
        count: AtomicU64,
        grown: bool,
    }

    impl Evict for Counter {
        fn may_go(&self, _: u64) -> bool {
            false
        }
    }

    check(|| {
        let map = Arc::new(BoundedMap::with_shards(Bounds { most: 2, idle: IDLE }, 1));
        let count = |map: &BoundedMap<u32, Counter>| {
            let new = |_: &u32| Counter { count: AtomicU64::new(0), grown: false };
            let look = |there: &Counter| there.count.fetch_add(1, Ordering::Relaxed);
            assert!(map.look_or_insert(&OwnedKey(0), new, || 0, look).is_some());
        };
        let others = [(); 2].map(|()| {
            let map = Arc::clone(&map);
            thread::spawn(move || (0..3).for_each(|_| count(&map)))
        });
        count(&map);
        let grow = |there: &mut Counter| {
            let count = AtomicU64::new(there.count.load(Ordering::Relaxed));
            *there = Counter { count, grown: true };
        };
        assert!(map.change(&OwnedKey(0), grow).is_some());
        others.into_iter().for_each(|other| other.join().unwrap());
        let look = |there: &Counter| (there.count.load(Ordering::Relaxed), there.grown);
        assert_eq!(map.look(&OwnedKey(0), look), Some((7, true)));
    });
}
