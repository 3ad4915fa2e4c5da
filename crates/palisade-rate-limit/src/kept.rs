use std::{
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering},
};

use palisade_keyed::Evict;

use crate::{Limiter, bucket::Bucket, sync::AtomicU64};

/// What is kept for a key.
//
// A request that is let go has to look at no more than a word, which is in the map, next to the
// key. Of many keys, a limiter is in no near cache, and it is several times as large.
#[derive(Debug)]
pub(crate) enum Kept {
    /// When its bucket is full. All else is as it is for any other key.
    Word(AtomicU64),
    /// More than that: somebody had to wait, or has its handle.
    Limiter(Limiter),
}

/// What has to be asked for tokens instead.
#[derive(Debug)]
pub(crate) enum Ask {
    /// This one.
    Limiter(Limiter),
    /// One that is still to be made, for there are not enough.
    Another,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self::Word(AtomicU64::new(0))
    }

    /// Takes so many tokens from such a bucket, if there is no limiter.
    #[inline]
    pub(crate) fn take(&self, bucket: &Bucket, now: u64, cost: u32) -> Result<(), Ask> {
        let full_at = match self {
            Self::Word(full_at) => full_at,
            Self::Limiter(limiter) => return Err(Ask::Limiter(limiter.clone())),
        };
        match NonZeroU32::new(cost) {
            None => Ok(()),
            Some(cost) => bucket.take_from(full_at, now, cost).map_err(|_| Ask::Another),
        }
    }

    pub(crate) fn limiter(&self) -> Option<Limiter> {
        match self {
            Self::Word(_) => None,
            Self::Limiter(limiter) => Some(limiter.clone()),
        }
    }

    /// Its limiter: this one, which is new, if there was none.
    pub(crate) fn grow(&mut self, limiter: Limiter) -> Limiter {
        match self {
            Self::Limiter(limiter) => limiter.clone(),
            Self::Word(full_at) => {
                limiter.shared().limits.go_on(full_at.load(Ordering::Relaxed));
                *self = Self::Limiter(limiter.clone());
                limiter
            }
        }
    }
}

impl Evict for Kept {
    fn may_go(&self, now: u64) -> bool {
        match self {
            Self::Word(full_at) => full_at.load(Ordering::Relaxed) <= now,
            // Whoever waits or holds a handle has a pointer of its own.
            Self::Limiter(limiter) => {
                Arc::strong_count(limiter.shared()) == 1 && limiter.shared().limits.is_new(now)
            }
        }
    }
}
