use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use palisade_auth::{Clock, CoarseClock, Moment};
use tokio::time::Instant;

/// The time that it is, or later: so that a token ages while nobody waits.
#[derive(Clone, Debug)]
pub(crate) struct Later {
    began: Instant,
    ahead: Arc<AtomicU64>,
}

impl Later {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), ahead: Arc::default() }
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.ahead.fetch_add(time.as_secs(), Ordering::Relaxed);
    }
}

impl Clock for Later {
    fn now(&self) -> Moment {
        let ahead = Duration::from_secs(self.ahead.load(Ordering::Relaxed));
        Moment::new(CoarseClock.now().wall() + ahead, self.began.elapsed() + ahead)
    }
}
