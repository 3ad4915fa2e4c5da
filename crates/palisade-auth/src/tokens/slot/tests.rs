use std::time::SystemTime;

use super::*;
use crate::{Recovery, RefreshWindow};

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: Limits =
    Limits { load_timeout: Duration::from_secs(30), serve_expired: Duration::ZERO };

fn at(seconds: u32) -> Moment {
    Moment::new(SystemTime::UNIX_EPOCH, seconds * SECOND)
}

/// The same, of a machine that has slept for so long.
fn after_sleep(slept: u32, seconds: u32) -> Moment {
    Moment::new(SystemTime::UNIX_EPOCH + (slept + seconds) * SECOND, seconds * SECOND)
}

/// One that lives for 100 seconds.
fn token(text: &str, from: Moment) -> (Token, Life) {
    let life = Life::new(from, 100 * SECOND, &RefreshWindow::default(), 0.0);
    (Token::bearer(text).expect("it can be a token"), life)
}

fn landing(text: &str, from: Moment) -> Landing {
    let (token, life) = token(text, from);
    Landing::Token(token, life)
}

fn failure() -> Landing {
    Landing::Failed(AuthError::new("failed", Recovery::Retry { after: None }))
}

/// What a request does, the number of a flight included; and why that begins.
fn take(slot: &Slot<u64>, now: Moment) -> (String, Option<Reason>) {
    let mut reason = None;
    let taken = slot.take(now, LIMITS, |begin| {
        reason = Some(begin.reason);
        begin.number
    });
    let text = match taken {
        Taken::Use(held) => held.token.secret().expose().to_owned(),
        Taken::UseAndRefresh(held, flight) => {
            format!("{} and {flight}", held.token.secret().expose())
        }
        Taken::Join(Join { flight, fallback: true, .. }) => format!("{flight} or old"),
        Taken::Join(Join { flight, .. }) => flight.to_string(),
        Taken::Fail(error) => error.to_string(),
    };
    (text, reason)
}

fn check(slot: &Slot<u64>, now: Moment, text: &str, reason: Option<Reason>) {
    assert_eq!(take(slot, now), (text.to_owned(), reason));
}

#[test]
fn one_flight_at_a_time() {
    let slot = Slot::new(1);
    assert!(slot.fresh(at(0)).is_none());
    check(&slot, at(0), "1", Some(Reason::Missing));
    check(&slot, at(0), "1", None);
    assert!(matches!(slot.land(1, 0, landing("a", at(0)), at(1), 0.5), Landed::Stored(_)));
    assert_eq!(slot.fresh(at(69)).unwrap().held().generation, 1);
    assert!(slot.fresh(at(70)).is_none());
    check(&slot, at(70), "a and 2", Some(Reason::Expiring));
    assert!(slot.fresh(at(70)).is_some(), "the others do not even look");
    check(&slot, at(70), "a", None);
    assert!(slot.fresh(at(90)).is_none());
    check(&slot, at(90), "2 or old", None);
    slot.lose_patience(2);
    check(&slot, at(90), "a", None);
    check(&slot, at(100), "2", None);
    assert!(matches!(slot.land(2, 0, failure(), at(100), 0.5), Landed::Failed(_)));
    let resting = "no token could be had a moment ago, and none is asked for yet";
    check(&slot, at(100), resting, None);
    check(&slot, at(101), "3", Some(Reason::Expiring));
}

#[test]
fn a_failure_keeps_those_quiet_who_can_do_without() {
    let slot = Slot::new(1);
    slot.replace(Some(token("a", at(0))));
    check(&slot, at(70), "a and 1", Some(Reason::Expiring));
    let after = Some(5 * SECOND);
    let failed = Landing::Failed(AuthError::new("failed", Recovery::Retry { after }));
    slot.land(1, 1, failed, at(71), 0.5);
    assert!(slot.fresh(at(75)).is_some());
    assert!(slot.fresh(at(76)).is_none());
    check(&slot, at(76), "a and 2", Some(Reason::Expiring));
}

#[test]
fn the_quiet_of_a_failure_ends_while_the_machine_sleeps() {
    let slot = Slot::new(1);
    slot.replace(Some(token("a", after_sleep(0, 0))));
    check(&slot, after_sleep(0, 70), "a and 1", Some(Reason::Expiring));
    let after = Some(10 * SECOND);
    let failed = Landing::Failed(AuthError::new("failed", Recovery::Retry { after }));
    slot.land(1, 1, failed, after_sleep(0, 71), 0.5);
    assert!(slot.fresh(after_sleep(9, 71)).is_some());
    assert!(slot.fresh(after_sleep(10, 71)).is_none());
    check(&slot, after_sleep(10, 71), "a and 2", Some(Reason::Expiring));
}

#[test]
fn a_refresh_that_was_lost_is_found_while_the_token_serves() {
    let long = Life::new(at(0), 1000 * SECOND, &RefreshWindow::default(), 0.0);
    let slot = Slot::new(1);
    slot.replace(Some((token("a", at(0)).0, long)));
    check(&slot, at(750), "a and 1", Some(Reason::Expiring));
    // Nobody polls it.
    assert!(slot.fresh(at(780)).is_some());
    assert!(slot.fresh(at(781)).is_none());
    check(&slot, at(781), "a and 2", Some(Reason::Expiring));
}

#[test]
fn a_refusal_counts_once() {
    let slot = Slot::new(1);
    slot.replace(Some(token("a", at(0))));
    assert_eq!(slot.invalidate(1, at(1)), Invalidated::Now);
    assert!(slot.fresh(at(1)).is_none());
    assert_eq!(slot.invalidate(1, at(1)), Invalidated::Now);
    check(&slot, at(1), "1", Some(Reason::Refused));
    slot.land(1, 1, landing("b", at(1)), at(2), 0.5);
    assert_eq!(slot.invalidate(1, at(2)), Invalidated::Replaced);
    assert_eq!(slot.invalidate(2, at(11)), Invalidated::Young);
    assert!(slot.fresh(at(11)).is_some());
    assert_eq!(slot.invalidate(2, at(12)), Invalidated::Now);
}

#[test]
fn a_token_that_came_by_itself_may_be_refused_at_once() {
    let slot = Slot::<u64>::new(1);
    slot.replace(Some(token("a", at(0))));
    assert_eq!(slot.invalidate(1, at(0)), Invalidated::Now);
    slot.replace(None);
    assert_eq!(slot.invalidate(1, at(0)), Invalidated::Replaced);
}

#[test]
fn what_was_replaced_does_not_come_back() {
    let slot = Slot::new(1);
    check(&slot, at(0), "1", Some(Reason::Missing));
    slot.replace(Some(token("primed", at(0))));
    assert!(matches!(slot.land(1, 0, landing("late", at(0)), at(1), 0.5), Landed::Nothing));
    check(&slot, at(1), "primed", None);
    slot.replace(None);
    check(&slot, at(1), "2", Some(Reason::Missing));
    assert!(matches!(slot.land(1, 0, failure(), at(1), 0.5), Landed::Nothing));
    check(&slot, at(1), "2", None);
}

#[test]
fn a_flight_that_nobody_polls_is_given_up() {
    let slot = Slot::new(1);
    check(&slot, at(0), "1", Some(Reason::Missing));
    check(&slot, at(30), "1", None);
    check(&slot, at(31), "2", Some(Reason::Missing));
    assert!(matches!(slot.land(1, 0, failure(), at(32), 0.5), Landed::Nothing));
    check(&slot, at(32), "2", None);
    assert!(matches!(slot.land(1, 0, landing("a", at(32)), at(32), 0.5), Landed::Stored(_)));
    check(&slot, at(32), "a", None);
    assert!(slot.is_busy());
    slot.land(2, 0, landing("b", at(32)), at(33), 0.5);
    check(&slot, at(33), "b", None);
    assert!(!slot.is_busy());
}

#[test]
fn what_breaks_off_says_nothing() {
    let slot = Slot::new(1);
    check(&slot, at(0), "1", Some(Reason::Missing));
    assert!(matches!(slot.land(1, 0, Landing::Lost, at(0), 0.5), Landed::Nothing));
    check(&slot, at(0), "2", Some(Reason::Missing));
}
