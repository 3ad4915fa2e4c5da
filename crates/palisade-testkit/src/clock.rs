use std::time::SystemTime;

use palisade_core::WallClock;
use tokio::time::Instant;

/// A wall clock that moves with tokio's clock.
///
/// Under paused time it stands still and advances with it, so a test moves the monotonic clock of a
/// layer and the dates it compares in one step. Copies show the same time.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use palisade_core::WallClock;
/// use palisade_testkit::PausedClock;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let clock = PausedClock::starting_at(SystemTime::UNIX_EPOCH);
/// tokio::time::advance(Duration::from_secs(90)).await;
/// assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(90));
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PausedClock {
    start: SystemTime,
    origin: Instant,
}

impl PausedClock {
    /// A clock that shows `start` now.
    pub fn starting_at(start: SystemTime) -> Self {
        Self { start, origin: Instant::now() }
    }
}

impl WallClock for PausedClock {
    fn now(&self) -> SystemTime {
        self.start + self.origin.elapsed()
    }
}
