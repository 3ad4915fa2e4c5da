//! What to do about a token: plain code, handed the time and a random number.

use std::time::Duration;

use palisade_settings::{Backoff, Schedule, Step};

use crate::{AuthError, Moment, Recovery, window::Age};

/// What a request does for its token.
#[derive(Debug)]
pub(crate) enum Use {
    /// Uses the one there is.
    Token,
    /// Uses the one there is, and has another one fetched meanwhile.
    TokenAndRefresh,
    /// Waits for another one, which is being fetched or is fetched now, for so
    /// long at most. With a fallback it uses the one there is after that, and
    /// if there is no other.
    Join { fallback: bool, until: Duration },
    /// Does without.
    Fail(AuthError),
}

/// What is known of a token and its renewal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State<'a> {
    /// The age of the token. Nothing, if there is none, or it was refused.
    pub(crate) age: Option<Age>,
    /// Whether another one is being fetched.
    pub(crate) flight: Option<Patience>,
    /// What the last try to fetch one came to, if it failed.
    pub(crate) failed: Option<&'a Failed>,
}

/// Whether who can do without waits for a token that is being fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Patient,
    /// Somebody has waited for as long as could be.
    Over,
}

/// How long is waited, and what for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For how long a source is waited for.
    pub(crate) load_timeout: Duration,
    /// For how long a token is used after its end, if there is no other.
    pub(crate) serve_expired: Duration,
}

impl Limits {
    /// For how long who has to have a token waits, or anybody believes in a
    /// flight. It should end by itself before that.
    pub(crate) fn lost_after(self) -> Duration {
        self.load_timeout.saturating_add(SECOND)
    }
}

pub(crate) fn decide(state: &State<'_>, limits: Limits, now: Moment) -> Use {
    let resting = state.failed.filter(|failed| failed.left(now).is_some());
    let (left, serves) = match state.age {
        Some(Age::Fresh) => return Use::Token,
        Some(Age::Soft) if state.flight.is_some() || resting.is_some() => return Use::Token,
        Some(Age::Soft) => return Use::TokenAndRefresh,
        Some(Age::Hard(left)) => (left, true),
        Some(Age::Over(since)) => {
            let left = limits.serve_expired.saturating_sub(since);
            (left, !left.is_zero())
        }
        None => (Duration::ZERO, false),
    };
    match (state.flight, resting) {
        (Some(Patience::Over), _) | (None, Some(_)) if serves => Use::Token,
        (None, Some(failed)) => Use::Fail(failed.error(now)),
        // What the token has left is for the request itself.
        _ if serves => {
            let until = left.saturating_sub(SECOND).max(left / 2).min(limits.load_timeout);
            Use::Join { fallback: true, until }
        }
        _ => Use::Join { fallback: false, until: limits.lost_after() },
    }
}

/// A try to fetch a token that failed, and how long there is no other.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    error: AuthError,
    at: Moment,
    rest: Duration,
    tries: u32,
}

impl Failed {
    /// After those that failed before.
    pub(crate) fn new(error: AuthError, before: Option<&Self>, now: Moment, random: f64) -> Self {
        let tries = before.map_or(0, |before| before.tries).saturating_add(1);
        let rest = match error.recovery() {
            Recovery::Retry { after } => {
                let backoff = Backoff::exponential(SECOND / 2).min(LEAST).max(30 * SECOND);
                let rest = backoff.delay(&Step::new(tries, Duration::ZERO, random));
                // RFC 9110, section 10.2.3: at least so long. At once, as of a date that has
                // passed, is no word on how long it takes; and who says next to nothing, and
                // fails, is asked once a second all the same.
                let after = after.filter(|after| !after.is_zero());
                after.map_or(rest, |after| after.max(rest.min(SECOND)).min(LONGEST))
            }
            // Secrets are set right on the side of the server, too.
            _ => PROBE,
        };
        Self { error, at: now, rest, tries }
    }

    /// How long there is no other try.
    pub(crate) fn left(&self, now: Moment) -> Option<Duration> {
        let left = self.rest.checked_sub(now.since(self.at))?;
        (!left.is_zero()).then_some(left)
    }

    /// What requests meanwhile fail with.
    fn error(&self, now: Moment) -> AuthError {
        let Recovery::Retry { .. } = self.error.recovery() else {
            return self.error.clone();
        };
        let after = self.left(now);
        let resting = AuthError::new(
            "no token could be had a moment ago, and none is asked for yet",
            Recovery::Retry { after },
        );
        let resting = match self.error.oauth() {
            Some(oauth) => resting.with_oauth(oauth.clone()),
            None => resting,
        };
        resting.with_source(self.error.clone())
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// So that a token that can be used is used, and not waited for again at once.
const LEAST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(3600);
const PROBE: Duration = Duration::from_secs(60);
/// For how long a token is not refused a second time, if it came for one that
/// was refused: it may be wrong for this server, and so may be the next one.
pub(crate) const PROOF: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LIMITS: Limits = Limits { load_timeout: Duration::from_secs(30), serve_expired: SECOND };

    fn at(steady: Duration) -> Moment {
        Moment::new(SystemTime::UNIX_EPOCH, steady)
    }

    fn transient(after: Option<Duration>) -> AuthError {
        AuthError::new("the token endpoint fails", Recovery::Retry { after })
    }

    fn name(decision: &Use) -> &'static str {
        match decision {
            Use::Token => "use",
            Use::TokenAndRefresh => "use and refresh",
            Use::Join { fallback: true, .. } => "join or use",
            Use::Join { fallback: false, .. } => "join",
            Use::Fail(_) => "fail",
        }
    }

    #[test]
    fn goes_by_age_flight_and_failure() {
        let over = Age::Over(Duration::ZERO);
        let long_over = Age::Over(SECOND);
        let hard = Age::Hard(SECOND);
        // For each age: alone, in flight, in flight for too long, after a failure,
        // in flight after a failure.
        for (age, expected) in [
            (Some(Age::Fresh), ["use"; 5]),
            (Some(Age::Soft), ["use and refresh", "use", "use", "use", "use"]),
            (Some(hard), ["join or use", "join or use", "use", "use", "join or use"]),
            (Some(over), ["join or use", "join or use", "use", "use", "join or use"]),
            (Some(long_over), ["join", "join", "join", "fail", "join"]),
            (None, ["join", "join", "join", "fail", "join"]),
        ] {
            let failed = Failed::new(transient(None), None, at(Duration::ZERO), 0.5);
            let patient = Some(Patience::Patient);
            let states = [
                (None, None),
                (patient, None),
                (Some(Patience::Over), None),
                (None, Some(&failed)),
                (patient, Some(&failed)),
            ];
            for ((flight, failed), expected) in states.into_iter().zip(expected) {
                let state = State { age, flight, failed };
                let decision = decide(&state, LIMITS, at(MS));
                assert_eq!(name(&decision), expected, "{state:?}");
            }
        }
    }

    #[test]
    fn a_failure_is_over_when_its_rest_is() {
        let failed = Failed::new(transient(None), None, at(SECOND), 0.5);
        let state = State { age: None, flight: None, failed: Some(&failed) };
        let decide_at = |steady| decide(&state, LIMITS, at(steady));
        let Use::Fail(error) = decide_at(1249 * MS) else {
            panic!("it rests for 250 ms");
        };
        assert_eq!(error.retry_after(), Some(MS));
        assert_eq!(name(&decide_at(1250 * MS)), "join");
    }

    #[test]
    fn waits_for_what_the_token_has_left_but_a_second() {
        for (left, until) in [(60_000, 30_000), (10_000, 9_000), (1500, 750), (500, 250), (0, 0)] {
            let state = State { age: Some(Age::Hard(left * MS)), flight: None, failed: None };
            let Use::Join { fallback: true, until: waits } = decide(&state, LIMITS, at(MS)) else {
                panic!("it joins");
            };
            assert_eq!(waits, until * MS);
        }
    }

    #[test]
    fn rests_as_long_as_is_said_or_ever_longer() {
        let check = |error: &AuthError, expected: [u32; 4]| {
            let mut failed = None;
            for millis in expected {
                let next = Failed::new(error.clone(), failed.as_ref(), at(SECOND), 0.5);
                assert_eq!(next.left(at(SECOND)), Some(millis * MS), "{error:?}");
                failed = Some(next);
            }
        };
        check(&transient(None), [250, 500, 1000, 2000]);
        check(&transient(Some(7 * SECOND)), [7000; 4]);
        check(&transient(Some(MS)), [250, 500, 1000, 1000]);
        check(&transient(Some(Duration::ZERO)), [250, 500, 1000, 2000]);
        check(&transient(Some(Duration::MAX)), [3_600_000; 4]);
        for recovery in [Recovery::Reauthenticate, Recovery::FixRequest, Recovery::Fatal] {
            check(&AuthError::new("no", recovery), [60_000; 4]);
        }
    }

    #[test]
    fn a_terminal_error_is_given_as_it_is() {
        let error = AuthError::new("the login is gone", Recovery::Reauthenticate);
        let failed = Failed::new(error, None, at(SECOND), 0.5);
        assert_eq!(failed.error(at(SECOND)).to_string(), "the login is gone");
    }

    proptest! {
        #[test]
        fn a_rest_is_never_too_short_nor_too_long(
            tries in 0..u32::MAX, random in 0.0..1.0, after in proptest::option::of(0..u64::MAX),
        ) {
            let before = Failed { error: transient(None), at: at(SECOND), rest: SECOND, tries };
            let error = transient(after.map(Duration::from_nanos));
            let failed = Failed::new(error, Some(&before), at(SECOND), random);
            prop_assert!(LEAST <= failed.rest);
            let most = after.map_or(30 * SECOND, |_| LONGEST);
            prop_assert!(failed.rest <= most);
        }
    }
}
