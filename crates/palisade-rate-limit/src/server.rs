use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
};

use palisade_core::OwnedKey;
use palisade_keyed::{BoundedMap, Bounds, Evict};
use palisade_settings::Random;

use crate::{
    Heard,
    bucket::Short,
    feedback::FeedbackSettings,
    shared::{Shared, is_alone},
    sync::{Mutex, MutexGuard, lock},
    window::{Pause, Sent, Window},
};

/// What is learned from servers, for all limiters of a layer.
#[derive(Debug)]
pub(crate) struct Learned {
    settings: FeedbackSettings,
    random: Random,
    // By host, and by the name of the bucket; without one, of all that the host counts.
    groups: Option<BoundedMap<GroupKey, Group>>,
}

type GroupKey = (Option<String>, Option<String>);

/// What a server lets through of the requests of one limiter.
#[derive(Debug)]
pub(crate) struct Server {
    learned: Arc<Learned>,
    host: Option<String>,
    place: Mutex<Place>,
    // What the host counts whatever the bucket, if limiters share what they learn.
    all: Option<Group>,
}

/// With which requests those of a limiter are counted.
#[derive(Debug)]
struct Place {
    group: Group,
    // Its name, if others may be in there as well.
    name: Option<String>,
}

/// What a server counts together: a window, and the limiters that go by it.
#[derive(Clone)]
pub(crate) struct Group(Arc<(Mutex<Window>, Mutex<Limiters>)>);

/// By where they are: each once.
type Limiters = HashMap<usize, Weak<Shared>>;

/// A request that was sent, as its windows know it.
#[derive(Debug)]
pub(crate) struct Counted {
    group: Group,
    own: Sent,
    all: Option<Sent>,
}

/// How many names of buckets are known at once; what comes then is counted by
/// the limiter that it came to.
const MOST_GROUPS: usize = 10_000;
const IDLE: u64 = 60_000_000_000;

impl Learned {
    pub(crate) fn new(settings: FeedbackSettings) -> Self {
        let bounds = Bounds { most: MOST_GROUPS, idle: IDLE };
        let groups = settings.share.then(|| BoundedMap::new(bounds));
        Self { settings, random: Random::from_entropy(), groups }
    }

    fn group(
        &self,
        host: Option<&String>,
        name: Option<&str>,
        now: u64,
        make: impl FnOnce() -> Group,
    ) -> Option<Group> {
        let key = OwnedKey((host.cloned(), name.map(ToOwned::to_owned)));
        self.groups.as_ref()?.get_or_insert(&key, |_| make(), || now)
    }

    /// What a request counts for at the server.
    fn count(&self, cost: u32) -> u32 {
        if self.settings.costs { cost } else { cost.min(1) }
    }
}

impl Server {
    /// Of a limiter that is told of answers to all that it lets go, or of one
    /// that is not.
    pub(crate) fn new(learned: Arc<Learned>, host: Option<&str>, tracked: bool) -> Self {
        let host = host.map(ToOwned::to_owned);
        let new = || Group::new(tracked);
        let all = learned.group(host.as_ref(), None, 0, new);
        let place = Mutex::new(Place { group: new(), name: None });
        Self { learned, host, place, all }
    }

    /// Has this limiter woken when another one opens what it waits for.
    pub(crate) fn join_all(&self, limiter: &Arc<Shared>) {
        self.all.iter().for_each(|all| all.add(limiter));
    }

    /// Takes so many tokens if the server has as many, and this does.
    pub(crate) fn take(
        &self,
        now: u64,
        cost: u32,
        take: impl FnOnce() -> Result<(), Short>,
    ) -> Result<(), Short> {
        let (cost, group) = (self.learned.count(cost).into(), self.group());
        // Always in this order.
        let mut own = group.window();
        let mut all = self.all.as_ref().map(Group::window);
        let free_at = all.as_ref().map_or(0, |all| all.free_at(cost)).max(own.free_at(cost));
        if now < free_at {
            return Err(Short::Until(free_at));
        }
        take()?;
        own.take(now, cost);
        if let Some(all) = &mut all {
            all.take(now, cost);
        }
        Ok(())
    }

    /// When the server has so many after others.
    pub(crate) fn free_at(&self, before: u64, cost: u32) -> u64 {
        let count = match (self.learned.settings.costs, cost) {
            // Those before it are as many as their tokens, if each takes one as this does.
            (true, _) | (false, 0 | 1) => before.saturating_add(cost.into()),
            (false, _) => 1,
        };
        let at = |group: &Group| group.window().free_at(count);
        at(&self.group()).max(self.all.as_ref().map_or(0, at))
    }

    /// How many the server has left, as far as that is known.
    pub(crate) fn left(&self, now: u64) -> Option<u64> {
        self.group().window().left(now)
    }

    /// Whether nobody would miss what is known.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.group().window().is_over(now)
    }

    /// A request is sent.
    pub(crate) fn send(&self, now: u64, cost: u32) -> Counted {
        let (cost, group) = (self.learned.count(cost), self.group());
        let own = group.window().send(now, cost);
        let all = self.all.as_ref().map(|all| all.window().send(now, cost));
        Counted { group, own, all }
    }

    /// There is no answer to a request, and there will be none.
    pub(crate) fn lose(&self, sent: &Counted) {
        sent.group.change(|window| window.lose(sent.own));
        if let Some((all, sent)) = self.all.as_ref().zip(sent.all) {
            all.change(|window| window.lose(sent));
        }
    }

    /// So many were let go, and are not sent.
    pub(crate) fn give_back(&self, cost: u32) {
        let (cost, group) = (self.learned.count(cost).into(), self.group());
        for group in self.all.iter().chain([&group]) {
            group.change(|window| window.give_back(cost));
        }
    }

    /// Learns from the answer to a request, or from something else, for this
    /// limiter. Says whether it may let somebody go sooner by that.
    pub(crate) fn hear(
        &self,
        now: u64,
        sent: Option<Counted>,
        heard: &Heard<'_>,
        limiter: &Arc<Shared>,
    ) -> (Option<Pause>, bool) {
        let bucket = heard.allowances.bucket().filter(|_| self.learned.settings.share);
        let group = match bucket {
            Some(bucket) => self.join(bucket, now, limiter),
            None => self.group(),
        };
        let all_sent = sent.as_ref().and_then(|sent| sent.all);
        let sent = sent.and_then(|sent| {
            let same = Arc::ptr_eq(&sent.group.0, &group.0);
            if !same {
                // Others learn from it than those that it was counted with.
                sent.group.window().land(sent.own);
            }
            same.then_some(sent.own)
        });
        let mut opens = false;
        if let Some(all) = &self.all {
            let (throttled, retry_after) = (heard.throttled, heard.retry_after);
            let heard = match heard.allowances.is_global() {
                true => Heard { throttled, retry_after, ..Heard::default() },
                false => Heard::default(),
            };
            opens = all.change(|window| self.tell(window, now, all_sent, &heard)).1;
        }
        let (pause, own) = group.change(|window| self.tell(window, now, sent, heard));
        (pause, opens || own)
    }

    fn tell(
        &self,
        window: &mut Window,
        now: u64,
        sent: Option<Sent>,
        heard: &Heard<'_>,
    ) -> Option<Pause> {
        let Learned { settings, random, .. } = &*self.learned;
        window.hear(now, sent, heard, settings.bounds, random.unit())
    }

    /// Counts with those of this bucket from now on.
    fn join(&self, bucket: &str, now: u64, limiter: &Arc<Shared>) -> Group {
        let mut place = lock(&self.place);
        if place.name.as_deref() == Some(bucket) {
            return place.group.clone();
        }
        // What was learned without a name is about the first bucket that has one.
        let make = || match &place.name {
            None => place.group.clone(),
            Some(_) => Group::new(true),
        };
        if let Some(group) = self.learned.group(self.host.as_ref(), Some(bucket), now, make) {
            group.add(limiter);
            *place = Place { group, name: Some(bucket.to_owned()) };
        }
        place.group.clone()
    }

    pub(crate) fn resume(&self) {
        let group = self.group();
        for group in self.all.iter().chain([&group]) {
            group.change(Window::resume);
        }
    }

    fn group(&self) -> Group {
        lock(&self.place).group.clone()
    }
}

impl Group {
    fn new(tracked: bool) -> Self {
        Self(Arc::new((Mutex::new(Window::new(tracked)), Mutex::default())))
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.0.0)
    }

    /// Changes the window, and wakes those that may go sooner by that, if there
    /// are any.
    fn change<R>(&self, change: impl FnOnce(&mut Window) -> R) -> (R, bool) {
        let mut window = self.window();
        let before = window.free_at(1);
        let changed = change(&mut window);
        let opens = window.free_at(1) < before;
        drop(window);
        if opens {
            self.wake();
        }
        (changed, opens)
    }

    fn add(&self, limiter: &Arc<Shared>) {
        let mut limiters = lock(&self.0.1);
        if limiters.len().is_power_of_two() {
            limiters.retain(|_, other| other.strong_count() != 0);
        }
        limiters.insert(Arc::as_ptr(limiter).addr(), Arc::downgrade(limiter));
    }

    /// Wakes the first one in line of each limiter.
    fn wake(&self) {
        // Not under the lock.
        let limiters: Vec<_> = lock(&self.0.1).values().filter_map(Weak::upgrade).collect();
        for limiter in limiters.iter().filter(|limiter| limiter.waiting() != 0) {
            limiter.wake_first();
        }
    }
}

impl Evict for Group {
    fn may_go(&self, now: u64) -> bool {
        // Whoever counts by it has a pointer of its own.
        is_alone(&self.0) && self.window().is_over(now)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.0.0).finish_non_exhaustive()
    }
}
