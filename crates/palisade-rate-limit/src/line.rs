use std::{mem, task::Waker};

use slab::Slab;

/// Who waits, in the order of their coming.
///
/// Only the first one looks for tokens and holds a timer. To join and to leave
/// costs the same wherever it is, and nothing is allocated once the line has
/// been as long before.
#[derive(Debug, Default)]
pub(crate) struct Line {
    places: Slab<Place>,
    first: Option<usize>,
    last: Option<usize>,
    // Of those in line, without who was sent away and has not looked yet.
    len: usize,
    cost: u64,
}

/// One that has left, and who is the first one now.
#[derive(Debug)]
pub(crate) struct Left {
    // Dropped after the lock is: it may take a task along, and with it another place.
    pub(crate) _waker: Waker,
    pub(crate) first: Option<Waker>,
}

#[derive(Debug)]
struct Place {
    before: Option<usize>,
    after: Option<usize>,
    cost: u32,
    waker: Waker,
    sent_away: bool,
}

impl Line {
    /// Goes to the end.
    pub(crate) fn join(&mut self, cost: u32, waker: &Waker) -> usize {
        let waker = waker.clone();
        let place = Place { before: self.last, after: None, cost, waker, sent_away: false };
        let place = self.places.insert(place);
        match self.last {
            Some(last) => self.places[last].after = Some(place),
            None => self.first = Some(place),
        }
        self.last = Some(place);
        self.len += 1;
        self.cost += u64::from(cost);
        place
    }

    /// Leaves, from wherever it is. Who is the first one now has to be woken, if
    /// it is another one than before.
    pub(crate) fn leave(&mut self, place: usize) -> Left {
        let Place { before, after, cost, waker, sent_away } = self.places.remove(place);
        if sent_away {
            return Left { _waker: waker, first: None };
        }
        self.len -= 1;
        self.cost -= u64::from(cost);
        match before {
            Some(before) => self.places[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.places[after].before = before,
            None => self.last = before,
        }
        let first = match before {
            Some(_) => None,
            None => self.first_waker(),
        };
        Left { _waker: waker, first }
    }

    pub(crate) fn is_first(&self, place: usize) -> bool {
        self.first == Some(place)
    }

    /// Says whom to wake from now on. The other waker is dropped after the lock is.
    #[must_use]
    pub(crate) fn wait(&mut self, place: usize, waker: &Waker) -> Option<Waker> {
        let known = &mut self.places[place].waker;
        (!known.will_wake(waker)).then(|| mem::replace(known, waker.clone()))
    }

    pub(crate) fn first_waker(&self) -> Option<Waker> {
        self.first.map(|first| self.places[first].waker.clone())
    }

    /// Sends all away, and says who they are. They are in nobody's way any more,
    /// whenever they may look.
    pub(crate) fn send_away(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::with_capacity(self.len);
        while let Some(first) = self.first {
            let place = &mut self.places[first];
            place.sent_away = true;
            wakers.push(place.waker.clone());
            self.first = place.after;
        }
        (self.last, self.len, self.cost) = (None, 0, 0);
        wakers
    }

    pub(crate) fn is_sent_away(&self, place: usize) -> bool {
        self.places[place].sent_away
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many tokens all together wait for.
    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    proptest! {
        #[test]
        fn is_a_queue_that_any_may_leave(steps in prop::collection::vec((any::<bool>(), 0..8_usize, 0..9_u32), 0..100)) {
            let mut line = Line::default();
            let mut model: VecDeque<(usize, u32)> = VecDeque::new();
            for (joins, which, cost) in steps {
                if joins || model.is_empty() {
                    model.push_back((line.join(cost, Waker::noop()), cost));
                    continue;
                }
                let which = which % model.len();
                let (place, _) = model.remove(which).unwrap();
                let next = line.leave(place).first;
                prop_assert_eq!(next.is_some(), which == 0 && !model.is_empty());
                prop_assert_eq!(line.len(), model.len());
                prop_assert_eq!(line.cost(), model.iter().map(|(_, cost)| u64::from(*cost)).sum::<u64>());
                for (index, (place, _)) in model.iter().enumerate() {
                    prop_assert_eq!(line.is_first(*place), index == 0);
                }
            }
        }
    }

    #[test]
    fn wakes_who_asked_last() {
        let (one, two) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let mut line = Line::default();
        let first = line.join(1, Waker::noop());
        let second = line.join(1, &Arc::clone(&one).into());
        drop(line.wait(second, &Arc::clone(&two).into()));
        line.leave(first).first.unwrap().wake();
        assert_eq!((one.0.load(Ordering::Relaxed), two.0.load(Ordering::Relaxed)), (0, 1));
        line.send_away().into_iter().for_each(Waker::wake);
        assert!(line.is_sent_away(second));
        assert_eq!(two.0.load(Ordering::Relaxed), 2);
        assert_eq!((line.len(), line.cost()), (0, 0));
        let third = line.join(1, Waker::noop());
        assert!(line.is_first(third) && line.leave(second).first.is_none());
    }
}
