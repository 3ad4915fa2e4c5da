//! A small table: one that is alone costs no allocation, as it is for most fills.

use slab::Slab;

/// The key of the first one.
const FIRST: usize = usize::MAX;

pub(crate) struct Places<P> {
    first: Option<P>,
    others: Slab<P>,
}

impl<P> Default for Places<P> {
    fn default() -> Self {
        Self { first: None, others: Slab::new() }
    }
}

impl<P> Places<P> {
    /// Only one that comes to an empty table is the first.
    pub(crate) fn insert(&mut self, place: P) -> usize {
        if self.is_empty() {
            self.first = Some(place);
            return FIRST;
        }
        self.others.insert(place)
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<P> {
        if key == FIRST { self.first.take() } else { self.others.try_remove(key) }
    }

    pub(crate) fn get(&self, key: usize) -> Option<&P> {
        if key == FIRST { self.first.as_ref() } else { self.others.get(key) }
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut P> {
        if key == FIRST { self.first.as_mut() } else { self.others.get_mut(key) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &P> {
        self.first.iter().chain(self.others.iter().map(|(_, place)| place))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut P> {
        self.first.iter_mut().chain(self.others.iter_mut().map(|(_, place)| place))
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_key_of_its_own() {
        let mut places = Places::default();
        let keys = [places.insert('a'), places.insert('b'), places.insert('c')];
        assert_eq!(places.iter().copied().collect::<String>(), "abc");
        assert_eq!(keys.map(|key| *places.get(key).unwrap()), ['a', 'b', 'c']);
        assert_eq!(places.remove(keys[0]), Some('a'));
        assert_eq!(places.remove(keys[0]), None);
        // The first one has left, and its key is not given to another one.
        let other = places.insert('d');
        assert!(!keys.contains(&other) && places.len() == 3);
        *places.get_mut(other).unwrap() = 'e';
        assert_eq!(places.iter_mut().map(|place| *place).collect::<String>(), "bce");
        for key in [keys[1], keys[2], other] {
            assert!(places.remove(key).is_some());
        }
        assert!(places.is_empty());
    }
}
