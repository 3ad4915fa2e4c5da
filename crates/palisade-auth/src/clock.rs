mod coarse;
mod paused;

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use self::{coarse::CoarseClock, paused::TokioClock};

/// A moment by two clocks: the time of day, which may be set, and one that only
/// runs forwards, which may stand still while a machine sleeps.
///
/// What has passed is what the faster one says: a token is rather refreshed too
/// early than used too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    wall: SystemTime,
    steady: Duration,
}

impl Moment {
    /// A moment: the time of day, and how long the steady clock has run.
    pub fn new(wall: SystemTime, steady: Duration) -> Self {
        Self { wall, steady }
    }

    /// The time of day.
    pub fn wall(self) -> SystemTime {
        self.wall
    }

    /// How long the steady clock has run.
    pub fn steady(self) -> Duration {
        self.steady
    }

    /// How long ago an earlier moment was: by the clock that ran faster.
    pub fn since(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        wall.max(self.steady.saturating_sub(earlier.steady))
    }
}

/// Tells the moment. It is asked once for each request, so it should be quick.
pub trait Clock: Debug + Send + Sync {
    /// What it is now.
    fn now(&self) -> Moment;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Moment {
        (**self).now()
    }
}
