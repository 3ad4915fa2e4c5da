use std::{fmt, sync::Arc};

/// Says how much of the budget an answer takes.
pub trait Weigh<K, V> {
    /// The weight of this answer, with its key. Zero counts as one.
    fn weight(&self, key: &K, answer: &V) -> u64;
}

/// Each answer weighs one, so that the budget is a number of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneEach;

impl<K, V> Weigh<K, V> for OneEach {
    #[inline]
    fn weight(&self, _: &K, _: &V) -> u64 {
        1
    }
}

impl<K, V, W: Weigh<K, V> + ?Sized> Weigh<K, V> for Arc<W> {
    fn weight(&self, key: &K, answer: &V) -> u64 {
        (**self).weight(key, answer)
    }
}

/// Weighs answers by a function.
///
/// ```
/// use palisade_cache::{Weigh, weigh_fn};
///
/// let bytes = weigh_fn(|key: &String, answer: &Vec<u8>| (key.len() + answer.len()) as u64);
/// assert_eq!(bytes.weight(&"seven".to_owned(), &vec![0; 7]), 12);
/// ```
pub fn weigh_fn<K, V, F>(weigh: F) -> WeighFn<F>
where
    F: Fn(&K, &V) -> u64,
{
    WeighFn(weigh)
}

/// Made by [`weigh_fn`].
#[derive(Clone, Copy)]
pub struct WeighFn<F>(F);

impl<K, V, F> Weigh<K, V> for WeighFn<F>
where
    F: Fn(&K, &V) -> u64,
{
    fn weight(&self, key: &K, answer: &V) -> u64 {
        self.0(key, answer)
    }
}

impl<F> fmt::Debug for WeighFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeighFn(..)")
    }
}
