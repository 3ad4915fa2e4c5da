use std::time::Duration;

use tokio::time::Instant;

/// A fixed window: it begins with the first request that finds none open.
#[derive(Debug)]
pub(crate) struct Limit {
    quota: u64,
    window: Duration,
    opened: Option<Instant>,
    used: u64,
}

/// What the limit says about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) admitted: bool,
    pub(crate) quota: u64,
    pub(crate) window: Duration,
    pub(crate) remaining: u64,
    pub(crate) reset: Duration,
}

impl Limit {
    pub(crate) fn new(quota: u64, window: Duration) -> Self {
        Self { quota, window, opened: None, used: 0 }
    }

    pub(crate) fn take(&mut self, now: Instant) -> Verdict {
        let opened = match self.opened {
            Some(opened) if now < opened + self.window => opened,
            _ => {
                self.used = 0;
                *self.opened.insert(now)
            }
        };
        let admitted = self.used < self.quota;
        self.used += u64::from(admitted);
        Verdict {
            admitted,
            quota: self.quota,
            window: self.window,
            remaining: self.quota - self.used,
            reset: (opened + self.window).saturating_duration_since(now),
        }
    }
}

/// Whole seconds, rounded up, at least one: RFC 9110, section 10.2.3 has no fractions.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    let partial = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(partial).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_the_quota_of_each_window() {
        let start = Instant::now();
        let mut limit = Limit::new(2, Duration::from_secs(10));
        for (second, admitted, remaining, reset) in [
            (0, true, 1, 10),
            (3, true, 0, 7),
            (4, false, 0, 6),
            (9, false, 0, 1),
            (10, true, 1, 10),
            (35, true, 1, 10),
        ] {
            let verdict = limit.take(start + Duration::from_secs(second));
            assert_eq!(verdict.admitted, admitted, "at second {second}");
            assert_eq!(verdict.remaining, remaining, "at second {second}");
            assert_eq!(verdict.reset, Duration::from_secs(reset), "at second {second}");
        }
    }

    #[test]
    fn rounds_up_to_whole_seconds() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
