use std::task::Waker;

use slab::Slab;

/// Those who wait for one call.
///
/// Wakers that are not needed any more are handed out: dropped, they may do
/// anything, so not under a lock.
#[derive(Default)]
pub(crate) struct Line {
    // Without a waker, it is at work, or was woken, or has not come yet.
    places: Slab<Option<Waker>>,
    // The call can go on, and nobody has come for it since.
    rung: bool,
    // Somebody is at it, and sees afterwards whether it can go on.
    polled: bool,
}

/// Who is to be woken, without the lock.
#[must_use]
#[derive(Default)]
pub(crate) struct Woken {
    // As a rule there is no other, and nothing is allocated for it.
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Line {
    pub(crate) fn enter(&mut self) -> usize {
        self.places.insert(None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether anybody has a place besides one.
    pub(crate) fn has_others(&self) -> bool {
        1 < self.places.len()
    }

    /// Gives a place up.
    pub(crate) fn leave(&mut self, place: usize) -> Option<Waker> {
        self.places.remove(place)
    }

    /// Goes to sleep. Hands out the waker that was there.
    pub(crate) fn park(&mut self, place: usize, waker: &Waker) -> Option<Waker> {
        let parked = &mut self.places[place];
        match parked {
            Some(before) if before.will_wake(waker) => None,
            _ => parked.replace(waker.clone()),
        }
    }

    /// Whether the call can go on. Who asks is to go on with it then.
    pub(crate) fn answer(&mut self) -> bool {
        std::mem::take(&mut self.rung)
    }

    /// Goes on with the call, awake. What was rung before is forgotten.
    pub(crate) fn begin(&mut self, place: usize) -> Option<Waker> {
        (self.rung, self.polled) = (false, true);
        self.places[place].take()
    }

    /// The call can go on. Whoever comes first does; if that is for nobody to
    /// know now, those are woken who wait.
    pub(crate) fn ring(&mut self) -> Woken {
        self.rung = true;
        match self.polled {
            true => Woken::default(),
            false => self.wake_all(),
        }
    }

    /// Leaves the call to whoever comes first when it can go on, which may be now.
    pub(crate) fn put_back(&mut self, place: usize, waker: Waker) -> Woken {
        self.places[place] = Some(waker);
        self.polled = false;
        match self.rung {
            true => self.wake_all(),
            false => Woken::default(),
        }
    }

    /// The call is over.
    pub(crate) fn end(&mut self) -> Woken {
        self.polled = false;
        self.wake_all()
    }

    fn wake_all(&mut self) -> Woken {
        let mut asleep = self.places.iter_mut().filter_map(|(_, waker)| waker.take());
        Woken { first: asleep.next(), others: asleep.collect() }
    }
}

impl Woken {
    pub(crate) fn wake(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}
