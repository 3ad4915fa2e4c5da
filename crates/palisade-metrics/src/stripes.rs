//! Each thread counts in words of its own, so that no two wait for each other's
//! cache line.

use std::{
    cell::Cell,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// More would take memory, and threads that share a stripe are as right.
const MOST: usize = 16;

/// How many stripes there are: a power of two.
#[inline]
pub(crate) fn count() -> usize {
    static COUNT: LazyLock<usize> = LazyLock::new(|| {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        threads.next_power_of_two().min(MOST)
    });
    *COUNT
}

/// That of this thread, of one for each stripe.
#[inline]
pub(crate) fn mine<T>(stripes: &[T]) -> &T {
    &stripes[number() & (stripes.len() - 1)]
}

/// A pointer that one stripe clones: the inner one is shared by all.
pub(crate) type Pointer<T> = Arc<Arc<T>>;

/// Pointers to one thing, one for each stripe: to clone that of its own costs a
/// thread no other thread's cache line.
#[derive(Debug)]
pub(crate) struct Pointers<T>(Arc<[Pointer<T>]>);

impl<T> Pointers<T> {
    pub(crate) fn new(value: T) -> Self {
        let value = Arc::new(value);
        Self((0..count()).map(|_| Arc::new(Arc::clone(&value))).collect())
    }

    /// That of this thread.
    #[inline]
    pub(crate) fn mine(&self) -> &Pointer<T> {
        mine(&self.0)
    }
}

impl<T> Clone for Pointers<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A number of this thread, in turn.
#[inline]
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    // Without its own, as a thread ends, it takes the first one.
    let number = MINE.try_with(|mine| match mine.get() {
        Some(number) => number,
        None => {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            mine.set(Some(number));
            number
        }
    });
    number.unwrap_or_default()
}

/// One of each, in cache lines of their own.
#[derive(Debug)]
pub(crate) struct Striped<T> {
    stripes: Box<[Padded<T>]>,
}

// Two lines each: processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T> Striped<T> {
    pub(crate) fn new(make: impl Fn() -> T) -> Self {
        Self { stripes: (0..count()).map(|_| Padded(make())).collect() }
    }

    /// That of this thread.
    #[inline]
    pub(crate) fn mine(&self) -> &T {
        &mine(&self.stripes).0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.stripes.iter().map(|stripe| &stripe.0)
    }
}
