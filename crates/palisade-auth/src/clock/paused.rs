use palisade_core::{SystemClock, WallClock};
use tokio::time::Instant;

use super::{Clock, Moment};

/// A clock that moves with tokio's, so that paused time drives it in tests.
///
/// ```
/// use std::time::Duration;
/// use palisade_auth::{Clock, TokioClock};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let clock = TokioClock::default();
/// let start = clock.now();
/// tokio::time::advance(Duration::from_secs(3600)).await;
/// assert_eq!(clock.now().since(start), Duration::from_secs(3600));
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokioClock<W = SystemClock> {
    wall: W,
    start: Instant,
}

impl<W: WallClock> TokioClock<W> {
    /// Takes the time of day from another clock.
    pub fn new(wall: W) -> Self {
        Self { wall, start: Instant::now() }
    }
}

/// With the time of day of the operating system.
impl Default for TokioClock {
    fn default() -> Self {
        Self::new(SystemClock)
    }
}

impl<W: WallClock> Clock for TokioClock<W> {
    fn now(&self) -> Moment {
        Moment::new(self.wall.now(), self.start.elapsed())
    }
}
