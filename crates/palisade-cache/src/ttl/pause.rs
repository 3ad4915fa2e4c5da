use std::time::Duration;

use tokio::time::Instant;

/// For how long no call is made for an answer in place of one that is still
/// given, as the last came to nothing: otherwise a service that is down would be
/// called for each request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pause {
    // In a row.
    failures: u32,
    until: Option<Instant>,
    // What there is stands in for what failed.
    excuses: bool,
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

impl Pause {
    /// A call has come to nothing: it failed, or was answered by an error that is
    /// no failure. Of those that were made at the same time one counts.
    pub(crate) fn begin(&mut self, now: Instant, failed: bool) {
        let is_on = self.is_on(now);
        self.excuses = failed || is_on && self.excuses;
        if is_on {
            return;
        }
        let doubled = SHORTEST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.until = now.checked_add(doubled.min(LONGEST));
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether no call is to be made while there is something to give.
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Whether that is because the last call failed.
    pub(crate) fn excuses(&self, now: Instant) -> bool {
        self.excuses && self.is_on(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_it_up_to_a_minute() {
        let mut pause = Pause::default();
        let mut now = Instant::now();
        assert!(!pause.is_on(now));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            pause.begin(now, true);
            // Another one, made at the same time.
            pause.begin(now, true);
            now += Duration::from_secs(seconds) - Duration::from_nanos(1);
            assert!(pause.is_on(now) && pause.excuses(now), "{seconds}");
            now += Duration::from_nanos(1);
            assert!(!pause.is_on(now) && !pause.excuses(now), "{seconds}");
        }
        for _ in 0..100 {
            pause.begin(now, true);
            now += LONGEST;
            assert!(!pause.is_on(now));
        }
    }

    #[test]
    fn only_a_failure_is_an_excuse() {
        let now = Instant::now();
        for (failed, excuses) in [
            (&[false][..], false),
            (&[true], true),
            // All at one time.
            (&[true, false], true),
            (&[false, true], true),
        ] {
            let mut pause = Pause::default();
            failed.iter().for_each(|failed| pause.begin(now, *failed));
            assert_eq!((pause.is_on(now), pause.excuses(now)), (true, excuses), "{failed:?}");
        }
        let mut pause = Pause::default();
        pause.begin(now, true);
        pause.begin(now + SHORTEST, false);
        assert!(!pause.excuses(now + SHORTEST));
    }
}
