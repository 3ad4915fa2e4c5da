use std::{mem, task::Waker};

use slab::Slab;

/// Those who wait for one call, and which of them drives it.
#[derive(Default)]
pub(crate) struct Line {
    // Without a waker, it is at work or has not come yet.
    places: Slab<Option<Waker>>,
    driver: Option<usize>,
}

impl Line {
    pub(crate) fn enter(&mut self) -> usize {
        self.places.insert(None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether anybody has a place besides this one.
    pub(crate) fn has_others(&self) -> bool {
        1 < self.places.len()
    }

    /// Goes to sleep. Without a driver, this one is.
    pub(crate) fn park(&mut self, place: usize, waker: &Waker) {
        self.driver.get_or_insert(place);
        match &mut self.places[place] {
            Some(parked) => parked.clone_from(waker),
            vacant => *vacant = Some(waker.clone()),
        }
    }

    /// Whether it is for this one to drive, as it does or nobody does.
    pub(crate) fn drives(&self, place: usize) -> bool {
        self.driver.is_none_or(|driver| driver == place)
    }

    pub(crate) fn drive(&mut self, place: usize) {
        self.driver = Some(place);
        // It is here, so nobody has to wake it.
        self.places[place] = None;
    }

    /// Gives a place up; says whether it was the driver's.
    pub(crate) fn leave(&mut self, place: usize) -> bool {
        self.places.remove(place);
        let drove = self.driver == Some(place);
        if drove {
            self.driver = None;
        }
        drove
    }

    /// Makes one of those who sleep the driver. Without any, whoever comes next
    /// is.
    pub(crate) fn elect(&mut self) -> Option<Waker> {
        let mut sleeping = self
            .places
            .iter_mut()
            .filter_map(|(place, waker)| waker.is_some().then_some((place, waker)));
        let elected = sleeping.next();
        self.driver = elected.as_ref().map(|(place, _)| *place);
        elected.and_then(|(_, waker)| waker.clone())
    }

    /// Everybody who sleeps, to be woken.
    pub(crate) fn wake_all(&mut self) -> Vec<Waker> {
        self.driver = None;
        self.places.iter_mut().filter_map(|(_, waker)| mem::take(waker)).collect()
    }
}
