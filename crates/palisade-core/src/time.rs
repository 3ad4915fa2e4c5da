use std::{fmt::Debug, time::SystemTime};

/// Tells the time of day.
///
/// Only what dates come from, in headers and in tokens, needs it; delays are
/// measured by `tokio::time::Instant`. Tests put a clock of their own here.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use palisade_core::WallClock;
///
/// #[derive(Debug)]
/// struct Stopped(SystemTime);
///
/// impl WallClock for Stopped {
///     fn now(&self) -> SystemTime {
///         self.0
///     }
/// }
///
/// let clock = Stopped(SystemTime::UNIX_EPOCH + Duration::from_secs(5));
/// assert_eq!(clock.now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs(), 5);
/// # Ok::<_, std::time::SystemTimeError>(())
/// ```
pub trait WallClock: Debug + Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime;
}

/// The clock of the operating system, the default everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
