use std::task::Waker;

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
    // Of all that wait.
    cost: u64,
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
        self.cost += u64::from(cost);
        place
    }

    /// Leaves, from wherever it is. Who is the first one now has to be woken, if
    /// it is another one than before.
    pub(crate) fn leave(&mut self, place: usize) -> Option<Waker> {
        let Place { before, after, cost, .. } = self.places.remove(place);
        self.cost -= u64::from(cost);
        match before {
            Some(before) => self.places[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.places[after].before = before,
            None => self.last = before,
        }
        match before {
            Some(_) => None,
            None => self.first_waker(),
        }
    }

    pub(crate) fn is_first(&self, place: usize) -> bool {
        self.first == Some(place)
    }

    /// Says whom to wake.
    pub(crate) fn wait(&mut self, place: usize, waker: &Waker) {
        self.places[place].waker.clone_from(waker);
    }

    pub(crate) fn first_waker(&self) -> Option<Waker> {
        self.first.map(|first| self.places[first].waker.clone())
    }

    /// Tells all to leave, and who they are.
    pub(crate) fn send_away(&mut self) -> Vec<Waker> {
        let places = self.places.iter_mut().map(|(_, place)| place);
        places
            .map(|place| {
                place.sent_away = true;
                place.waker.clone()
            })
            .collect()
    }

    pub(crate) fn is_sent_away(&self, place: usize) -> bool {
        self.places[place].sent_away
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
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
                let next = line.leave(place);
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
        line.wait(second, &Arc::clone(&two).into());
        line.leave(first).unwrap().wake();
        assert_eq!((one.0.load(Ordering::Relaxed), two.0.load(Ordering::Relaxed)), (0, 1));
        line.send_away().into_iter().for_each(Waker::wake);
        assert!(line.is_sent_away(second));
        assert_eq!(two.0.load(Ordering::Relaxed), 2);
        assert!(line.leave(second).is_none());
    }
}
