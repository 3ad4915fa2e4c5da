//! What follows from what is kept of a login, and from what the server says.

use std::time::{Duration, UNIX_EPOCH};

use crate::{Moment, Record, Secret, Token, Version};

/// What a source knows of its login.
#[derive(Debug, Default)]
pub(super) struct Login {
    /// Which record was there when it last looked.
    seen: Option<Version>,
    /// The token that it was given to begin with, until it is used up.
    given: Option<Secret>,
    /// What could not be written in the place of what was seen.
    unsaved: Option<Record>,
}

/// What is asked of it.
#[derive(Debug)]
pub(super) struct Need<'a> {
    pub(super) now: Moment,
    /// The access token that does not do any more.
    pub(super) previous: Option<&'a Secret>,
    /// Whether it is for less than the whole login: what is kept is not.
    pub(super) scoped: bool,
    /// What the server has just refused.
    pub(super) refused: &'a [Secret],
}

/// What to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Another one has refreshed: this is what came of it.
    Adopt(Token),
    /// Refresh.
    Ask(Attempt),
    /// There is nothing to refresh with.
    Lost,
}

/// A token is used, and what comes is to be kept.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) refresh: Secret,
    /// What is replaced.
    pub(super) version: Option<Version>,
    record: Record,
    from: Origin,
}

/// Where a token was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Unsaved,
    Store,
    Given,
}

/// What to do where another one has written in between.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Overtaken {
    /// The other one took the login for lost, which it is not: write once more.
    WriteAgain,
    /// What is there stays.
    Leave,
}

impl Login {
    /// A login to begin with, if none is kept.
    pub(super) fn new(given: Option<Secret>) -> Self {
        Self { given, ..Self::default() }
    }

    pub(super) fn given(&self) -> Option<&Secret> {
        self.given.as_ref()
    }

    /// What to do, by what is kept now.
    pub(super) fn next(&mut self, kept: Option<(Version, Record)>, need: &Need<'_>) -> Next {
        if let Some(token) = self.adopt(kept.as_ref(), need) {
            return Next::Adopt(token);
        }
        let (version, record) = match kept {
            Some((version, record)) => (Some(version), record),
            None => (None, Record::default()),
        };
        let unsaved = self.unsaved.as_ref().and_then(|record| record.refresh_token.as_ref());
        let candidates = [
            (Origin::Unsaved, unsaved),
            (Origin::Store, record.refresh_token.as_ref()),
            (Origin::Given, self.given.as_ref()),
        ];
        let usable = candidates.into_iter().find_map(|(from, candidate)| {
            let refresh = candidate.filter(|refresh| !need.refused.contains(refresh))?;
            Some((from, refresh.clone()))
        });
        let Some((from, refresh)) = usable else {
            return Next::Lost;
        };
        let record = match from {
            Origin::Unsaved => self.unsaved.clone().unwrap_or(record),
            Origin::Store | Origin::Given => record,
        };
        Next::Ask(Attempt { refresh, version, record, from })
    }

    /// What another one has got, if that will do. Whoever does not have the lock can
    /// have this all the same.
    pub(super) fn adopt(
        &mut self,
        kept: Option<&(Version, Record)>,
        need: &Need<'_>,
    ) -> Option<Token> {
        let version = kept.map(|(version, _)| *version);
        if version == self.seen {
            return None;
        }
        self.seen = version;
        let (_, record) = kept?;
        // It was written, though it was not said; or another one went on with what
        // was there, and what is here is of no use.
        self.unsaved = None;
        match need.scoped {
            true => None,
            false => fresh(record, need),
        }
    }

    /// What to write of a token that came.
    pub(super) fn renewed(&mut self, attempt: &Attempt, token: &Token, scoped: bool) -> Record {
        if self.given.as_ref() == Some(&attempt.refresh) {
            self.given = None;
        }
        // RFC 6749, section 6: the server may issue a new one, or not.
        let refresh = token.renewal().unwrap_or(&attempt.refresh).clone();
        match scoped {
            true => Record { refresh_token: Some(refresh), ..attempt.record.clone() },
            false => Record { refresh_token: Some(refresh), ..record_of(token) },
        }
    }

    /// It was written.
    pub(super) fn saved(&mut self, version: Version) {
        self.seen = Some(version);
        self.unsaved = None;
    }

    /// It could not be written, and must not be forgotten.
    pub(super) fn not_saved(&mut self, record: Record) {
        self.unsaved = Some(record);
    }

    /// Another one has written in between, and this is there now.
    pub(super) fn overtaken(
        &mut self,
        kept: Option<&(Version, Record)>,
        record: &Record,
    ) -> Overtaken {
        match kept {
            None => Overtaken::WriteAgain,
            Some((version, other)) => {
                // An earlier write that was said to have failed. Anything else is
                // looked at when the next token is due.
                if other.refresh_token == record.refresh_token {
                    self.saved(*version);
                }
                Overtaken::Leave
            }
        }
    }

    /// The server refuses it: it is good for nothing. Says whether what is kept is to
    /// be taken away, if that is still what was seen.
    pub(super) fn refused(&mut self, attempt: &Attempt) -> bool {
        match attempt.from {
            Origin::Unsaved => self.unsaved = None,
            Origin::Given => self.given = None,
            Origin::Store => {}
        }
        // What is kept while there was something newer has been used up before.
        attempt.from != Origin::Given && attempt.version.is_some()
    }
}

/// What is kept of a token.
pub(super) fn record_of(token: &Token) -> Record {
    let issued = token.asked().map(seconds);
    Record {
        refresh_token: token.renewal().cloned(),
        access_token: Some(token.secret().clone()),
        token_type: Some(token.scheme().to_owned()),
        issued_at: issued,
        // Rounded down: rather refreshed too early.
        expires_at: issued
            .zip(token.lifetime())
            .map(|(at, life)| at.saturating_add(life.as_secs())),
        scope: token.granted_scope().map(str::to_owned),
    }
}

fn seconds(moment: Moment) -> u64 {
    moment.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A token of which nobody says when it expires is taken for good this long.
const UNKNOWN: Duration = Duration::from_secs(60 * 60);

/// The token of a record, if it is another one and will do for a while.
fn fresh(record: &Record, need: &Need<'_>) -> Option<Token> {
    let secret = record.access_token.as_ref()?;
    if need.previous == Some(secret) {
        return None;
    }
    let now = seconds(need.now);
    // A clock that was set back, or that of another machine, may be behind.
    let issued = record.issued_at.unwrap_or(now).min(now);
    let age = Duration::from_secs(now - issued);
    let scheme = record.token_type.as_deref().unwrap_or("Bearer");
    let mut token = Token::new(scheme, secret.clone()).ok()?;
    if let Some(scope) = &record.scope {
        token = token.scope(scope);
    }
    let Some(expires) = record.expires_at else {
        return (record.issued_at.is_some() && age < UNKNOWN).then_some(token);
    };
    let lifetime = Duration::from_secs(expires.checked_sub(issued)?);
    lasts(lifetime, age).then(|| token.expires_in(lifetime, earlier(need.now, age)))
}

fn earlier(now: Moment, age: Duration) -> Moment {
    let wall = now.wall().checked_sub(age).unwrap_or(UNIX_EPOCH);
    Moment::new(wall, now.steady().saturating_sub(age))
}

/// Whether a token will do for a while: one that is about to be refreshed is not
/// taken over.
pub(super) fn lasts(lifetime: Duration, age: Duration) -> bool {
    let left = lifetime.saturating_sub(age);
    (lifetime / 5 * 2).min(Duration::from_secs(330)) < left
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn now() -> Moment {
        Moment::new(UNIX_EPOCH + Duration::from_secs(NOW), Duration::from_secs(5))
    }

    fn need<'a>(previous: Option<&'a Secret>, refused: &'a [Secret]) -> Need<'a> {
        Need { now: now(), previous, scoped: false, refused }
    }

    /// A refresh token, and an access token that was issued a while ago.
    fn record(refresh: &str, access: &str, age: u64, lifetime: u64) -> Record {
        Record {
            refresh_token: Some(refresh.into()),
            access_token: Some(access.into()),
            issued_at: Some(NOW - age),
            expires_at: Some(NOW - age + lifetime),
            ..Record::default()
        }
    }

    fn kept(version: u64, refresh: &str) -> Option<(Version, Record)> {
        Some((
            Version(version),
            Record { refresh_token: Some(refresh.into()), ..Record::default() },
        ))
    }

    fn answer(access: &str, refresh: Option<&str>) -> Token {
        let token = Token::bearer(access).unwrap();
        let token = token.expires_in(Duration::from_millis(3_600_900), now()).scope("a b");
        match refresh {
            Some(refresh) => token.refresh_token(refresh),
            None => token,
        }
    }

    fn told(next: Next) -> String {
        match next {
            Next::Adopt(token) => format!("adopt {}", token.secret().expose()),
            Next::Ask(attempt) => format!("ask {}", attempt.refresh.expose()),
            Next::Lost => "lost".to_owned(),
        }
    }

    fn ask(login: &mut Login, kept: Option<(Version, Record)>) -> Attempt {
        match login.next(kept, &need(None, &[])) {
            Next::Ask(attempt) => attempt,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn goes_by_what_is_kept_before_what_was_given() {
        let check = |given: Option<&str>, kept, refused: &[&str], expected| {
            let refused: Vec<Secret> = refused.iter().map(|&text| text.into()).collect();
            let mut login = Login::new(given.map(Secret::from));
            assert_eq!(told(login.next(kept, &need(None, &refused))), expected);
        };
        check(None, None, &[], "lost");
        check(Some("g"), None, &[], "ask g");
        check(Some("g"), None, &["g"], "lost");
        check(Some("g"), kept(1, "r"), &[], "ask r");
        check(Some("g"), kept(1, "r"), &["r"], "ask g");
        check(Some("g"), kept(1, "g"), &["g"], "lost");
        check(None, Some((Version(1), Record::default())), &[], "lost");
    }

    #[test]
    fn takes_over_what_another_one_has_got_if_it_lasts() {
        let check = |seen, record: Record, previous: Option<&str>, expected| {
            let previous = previous.map(Secret::from);
            let mut login = Login { seen, ..Login::default() };
            let next = login.next(Some((Version(2), record)), &need(previous.as_ref(), &[]));
            assert_eq!(told(next), expected);
        };
        let hour = |age| record("r", "t", age, 3600);
        check(None, hour(0), None, "adopt t");
        check(Some(Version(1)), hour(0), Some("old"), "adopt t");
        // Nobody has written: it is wanted anew.
        check(Some(Version(2)), hour(0), None, "ask r");
        // It is the very one that does not do.
        check(Some(Version(1)), hour(0), Some("t"), "ask r");
        // It would be refreshed at once.
        check(Some(Version(1)), hour(3600 - 331), None, "adopt t");
        check(Some(Version(1)), hour(3600 - 330), None, "ask r");
        check(Some(Version(1)), hour(3601), None, "ask r");
        check(Some(Version(1)), record("r", "t", 2, 5), None, "adopt t");
        check(Some(Version(1)), record("r", "t", 3, 5), None, "ask r");
        // What makes no sense.
        check(Some(Version(1)), Record { expires_at: Some(0), ..hour(0) }, None, "ask r");
        check(Some(Version(1)), record("r", "line\nbreak", 0, 3600), None, "ask r");
        check(Some(Version(1)), Record { access_token: None, ..hour(0) }, None, "ask r");
        // Nobody says how long it lives.
        let endless = |age| Record { expires_at: None, ..hour(age) };
        check(Some(Version(1)), endless(3599), None, "adopt t");
        check(Some(Version(1)), endless(3600), None, "ask r");
        check(Some(Version(1)), Record { issued_at: None, ..endless(0) }, None, "ask r");
        // By a clock that is ahead.
        let ahead = Record { issued_at: Some(NOW + 60), expires_at: Some(NOW + 3660), ..hour(0) };
        check(Some(Version(1)), ahead, None, "adopt t");
    }

    #[test]
    fn what_is_taken_over_is_as_old_as_it_is() {
        let record = Record {
            token_type: Some("DPoP".to_owned()),
            scope: Some("a".to_owned()),
            ..record("r", "t", 1000, 3600)
        };
        let Next::Adopt(token) =
            Login::default().next(Some((Version(1), record)), &need(None, &[]))
        else {
            panic!("it lasts");
        };
        assert_eq!(token.header(), "DPoP t");
        assert_eq!(token.granted_scope(), Some("a"));
        assert_eq!(token.lifetime(), Some(Duration::from_secs(3600)));
        assert_eq!(now().since(token.asked().unwrap()), Duration::from_secs(1000));
    }

    #[test]
    fn a_scope_of_its_own_is_neither_taken_over_nor_kept() {
        let mut login = Login::default();
        let need = Need { scoped: true, ..need(None, &[]) };
        let whole = record("r1", "t1", 0, 3600);
        let Next::Ask(attempt) = login.next(Some((Version(1), whole.clone())), &need) else {
            panic!("it is for the whole login");
        };
        let renewed = login.renewed(&attempt, &answer("t2", Some("r2")), true);
        assert_eq!(renewed, Record { refresh_token: Some("r2".into()), ..whole });
    }

    #[test]
    fn keeps_the_old_one_if_no_new_one_comes() {
        for (came, kept_after) in [(Some("r2"), "r2"), (None, "r1")] {
            let mut login = Login::default();
            let attempt = ask(&mut login, kept(1, "r1"));
            let record = login.renewed(&attempt, &answer("t", came), false);
            let expected = Record {
                refresh_token: Some(kept_after.into()),
                access_token: Some("t".into()),
                token_type: Some("Bearer".to_owned()),
                issued_at: Some(NOW),
                expires_at: Some(NOW + 3600),
                scope: Some("a b".to_owned()),
            };
            assert_eq!(record, expected);
        }
    }

    #[test]
    fn what_was_given_is_used_up() {
        let mut login = Login::new(Some("g".into()));
        let attempt = ask(&mut login, None);
        let record = login.renewed(&attempt, &answer("t", Some("r")), false);
        login.not_saved(record);
        assert_eq!(told(login.next(None, &need(None, &[]))), "ask r");
        assert_eq!(login.given(), None);

        let mut login = Login::new(Some("g".into()));
        let attempt = ask(&mut login, None);
        assert!(!login.refused(&attempt), "nothing is kept");
        assert_eq!(told(login.next(None, &need(None, &[]))), "lost");
    }

    #[test]
    fn what_could_not_be_written_goes_first_until_another_one_writes() {
        let check = |kept_later: Option<(Version, Record)>, expected| {
            let mut login = Login::default();
            let attempt = ask(&mut login, kept(1, "r1"));
            let record = login.renewed(&attempt, &answer("t", Some("r2")), false);
            login.not_saved(record);
            assert_eq!(told(login.next(kept_later, &need(None, &[]))), expected);
        };
        check(kept(1, "r1"), "ask r2");
        // Another one took the login for lost.
        check(None, "ask r2");
        // Another one went on, or has logged in.
        check(kept(2, "x"), "ask x");
        check(Some((Version(2), record("x", "t", 0, 3600))), "adopt t");
        // It was written after all.
        check(kept(2, "r2"), "ask r2");
    }

    #[test]
    fn takes_away_what_is_refused_and_what_was_used_up_before() {
        let mut login = Login::default();
        let attempt = ask(&mut login, kept(1, "r1"));
        assert!(login.refused(&attempt));

        let record = login.renewed(&attempt, &answer("t", Some("r2")), false);
        login.not_saved(record);
        let attempt = ask(&mut login, kept(1, "r1"));
        assert_eq!((attempt.refresh.expose(), attempt.version), ("r2", Some(Version(1))));
        assert!(login.refused(&attempt));
        assert_eq!(told(login.next(None, &need(None, &[]))), "lost");
    }

    #[test]
    fn writes_again_where_the_login_was_taken_for_lost() {
        for (there, decision, seen) in [
            (None, Overtaken::WriteAgain, Some(1)),
            (kept(5, "r2"), Overtaken::Leave, Some(5)),
            (kept(5, "x"), Overtaken::Leave, Some(1)),
        ] {
            let mut login = Login::default();
            let attempt = ask(&mut login, kept(1, "r1"));
            let record = login.renewed(&attempt, &answer("t", Some("r2")), false);
            assert_eq!(login.overtaken(there.as_ref(), &record), decision);
            assert_eq!(login.seen, seen.map(Version));
        }
    }
}
