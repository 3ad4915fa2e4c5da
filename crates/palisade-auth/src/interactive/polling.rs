use std::time::Duration;

use tokio::time::Instant;

use crate::{AuthError, Recovery};

/// When a device asks whether its user has agreed: RFC 8628, section 3.5.
#[derive(Debug)]
pub(super) struct Polling {
    interval: Duration,
    until: Option<Instant>,
}

/// What the server may say, in bounds.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// "The interval MUST be increased by 5 seconds for this and all subsequent requests."
const SLOWER: Duration = Duration::from_secs(5);

impl Polling {
    /// Of a code that lives for a time from now on, unless that is beyond all bounds.
    pub(super) fn new(now: Instant, interval: Duration, lifetime: Duration) -> Self {
        let interval = interval.clamp(SHORTEST, LONGEST);
        Self { interval, until: now.checked_add(lifetime) }
    }

    /// When to ask for the first time.
    pub(super) fn first(&self, now: Instant) -> Result<Instant, AuthError> {
        self.after(now, self.interval)
    }

    /// When to ask again after this answer.
    pub(super) fn next(&mut self, now: Instant, answer: AuthError) -> Result<Instant, AuthError> {
        let ended = |message| {
            let error = AuthError::new(message, Recovery::Reauthenticate);
            match answer.oauth() {
                Some(oauth) => error.with_oauth(oauth.clone()),
                None => error,
            }
        };
        match answer.oauth().map(|oauth| oauth.code()) {
            Some("authorization_pending") => {}
            Some("slow_down") => self.interval += SLOWER,
            Some("access_denied") => return Err(ended(DENIED)),
            Some("expired_token") => return Err(ended(EXPIRED)),
            _ if matches!(answer.recovery(), Recovery::Retry { .. }) => {
                // The same section: less often after a time-out, such as by half.
                self.interval = (2 * self.interval).min(LONGEST.max(self.interval));
            }
            _ => return Err(answer),
        }
        self.after(now, self.interval.max(answer.retry_after().unwrap_or_default()))
    }

    fn after(&self, now: Instant, wait: Duration) -> Result<Instant, AuthError> {
        let next = now.checked_add(wait);
        next.filter(|next| self.until.is_none_or(|until| *next < until))
            .ok_or_else(|| AuthError::new(EXPIRED, Recovery::Reauthenticate))
    }
}

pub(super) const DENIED: &str = "the login was denied";
const EXPIRED: &str = "nobody has logged in before the code expired";

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::OAuthError;

    const SECOND: Duration = Duration::from_secs(1);

    fn said(code: &str, recovery: Recovery) -> AuthError {
        let oauth = OAuthError::new(code, StatusCode::BAD_REQUEST);
        AuthError::new("x", recovery).with_oauth(oauth)
    }

    fn again(after: Option<u64>) -> Recovery {
        Recovery::Retry { after: after.map(Duration::from_secs) }
    }

    #[test]
    fn asks_as_often_as_it_may() {
        let start = Instant::now();
        let mut polling = Polling::new(start, 5 * SECOND, 600 * SECOND);
        assert_eq!(polling.first(start).unwrap(), start + 5 * SECOND);
        for (answer, seconds) in [
            (said("authorization_pending", again(None)), 5),
            (said("authorization_pending", again(Some(8))), 8),
            (said("slow_down", again(None)), 10),
            (said("authorization_pending", again(None)), 10),
            (said("slow_down", again(None)), 15),
            (AuthError::new("no network", again(None)), 30),
            (AuthError::new("no network", again(None)), 60),
            (said("slow_down", again(Some(3))), 65),
        ] {
            let next = polling.next(start, answer).unwrap();
            assert_eq!(next - start, Duration::from_secs(seconds));
        }
    }

    #[test]
    fn ends_when_the_server_says_so() {
        let start = Instant::now();
        let login = Recovery::Reauthenticate;
        for (answer, recovery, shown) in [
            (said("access_denied", login), login, "the login was denied: access_denied"),
            (
                said("expired_token", login),
                login,
                "nobody has logged in before the code expired: expired_token",
            ),
            (
                said("invalid_client", Recovery::FixRequest),
                Recovery::FixRequest,
                "x: invalid_client",
            ),
            (said("invalid_grant", login), login, "x: invalid_grant"),
        ] {
            let mut polling = Polling::new(start, 5 * SECOND, 600 * SECOND);
            let error = polling.next(start, answer).unwrap_err();
            assert_eq!((error.recovery(), &*error.to_string()), (recovery, shown));
        }
    }

    #[test]
    fn ends_with_the_code() {
        let start = Instant::now();
        let pending = || said("authorization_pending", again(None));
        let mut polling = Polling::new(start, 5 * SECOND, 16 * SECOND);
        assert!(polling.next(start + 10 * SECOND, pending()).is_ok());
        assert!(polling.next(start + 11 * SECOND, pending()).is_err());
        assert!(polling.next(start, said("slow_down", again(Some(u64::MAX)))).is_err());
    }

    #[test]
    fn what_a_server_says_is_held_in_bounds() {
        let start = Instant::now();
        for (interval, first) in [(0, 1), (1, 1), (300, 300), (u64::MAX, 300)] {
            let interval = Duration::from_secs(interval);
            let polling = Polling::new(start, interval, Duration::MAX);
            assert_eq!(polling.first(start).unwrap() - start, Duration::from_secs(first));
        }
    }
}
