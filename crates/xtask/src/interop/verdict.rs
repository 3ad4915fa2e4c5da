//! What the suite of cache tests makes of its results, and how that differs from the last time.
//!
//! The rules are those of the suite's own pages, where `determineTestResult` has them.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde_json::Value;

/// Which tests apply to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// A cache of many users
    Shared,
    /// A cache of one user, as in a browser
    Private,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Private => "private",
        }
    }
}

/// What a test asks of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the specification demands.
    Required,
    /// What makes a cache better.
    Optimal,
    /// How it does something, where either is right.
    Check,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Required, Self::Optimal, Self::Check];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optimal => "optimal",
            Self::Check => "check",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A test and what became of it.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It did what a required or optimal test asks, or answers a check with yes.
    Passed,
    /// It did something else, or answers a check with no.
    Failed(String),
    /// Something was wrong before it came to what is tested.
    NotSetUp(String),
    /// The client sent a request again by itself.
    Retried,
    /// There was no answer.
    GivenUp(String),
    /// This other test is not passed, so it means nothing what this one did.
    Depends(String),
    /// It did not run.
    Untested,
}

impl Verdict {
    /// One line for a person.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::Failed(message) => message.clone(),
            Self::NotSetUp(message) => format!("not set up: {message}"),
            Self::Retried => "sent again by the client".to_owned(),
            Self::GivenUp(message) => format!("given up: {message}"),
            Self::Depends(id) => format!("depends on {id}"),
            Self::Untested => "untested".to_owned(),
        }
    }

    /// By the result of the test alone.
    fn of(result: Option<&Value>) -> Option<Self> {
        let Some(result) = result else {
            return Some(Self::Untested);
        };
        if *result == true {
            return Some(Self::Passed);
        }
        let (name, message) = (result.get(0)?.as_str()?, result.get(1)?.as_str()?);
        Some(match (name, message) {
            ("Setup", "retry") => Self::Retried,
            ("Setup", message) => Self::NotSetUp(message.to_owned()),
            ("AbortError", message) => Self::GivenUp(message.to_owned()),
            (_, message) => Self::Failed(message.to_owned()),
        })
    }
}

/// Judges the tests that apply to this mode. Takes what client.mjs writes, and says nothing if it is
/// something else.
pub(super) fn judge(mode: Mode, written: &Value) -> Option<Vec<Test>> {
    let results = written.get("results")?;
    let mut verdicts = BTreeMap::new();
    let mut depends_on = Vec::new();
    let mut tests = Vec::new();
    for test in written.get("tests")?.as_array()? {
        let id = test.get("id")?.as_str()?;
        verdicts.insert(id, Verdict::of(results.get(id))?);
        for other in test.get("depends_on")?.as_array()? {
            depends_on.push((id, other.as_str()?));
        }
        let is = |name: &str| test.get(name)?.as_bool();
        let applies = match mode {
            Mode::Shared => !is("browser_only")?,
            Mode::Private => !is("browser_skip")?,
        };
        if applies {
            tests.push((id, Kind::parse(test.get("kind")?.as_str()?)?));
        }
    }

    // What is not passed takes with it what depends on it, until all that remains stands.
    loop {
        let falls = |(id, other): &&(&str, &str)| {
            let passed = verdicts.get(other) == Some(&Verdict::Passed);
            let stands = !matches!(verdicts[id], Verdict::Untested | Verdict::Depends(_));
            !passed && stands
        };
        let Some((id, other)) = depends_on.iter().find(falls) else {
            break;
        };
        verdicts.insert(id, Verdict::Depends((*other).to_owned()));
    }
    let judged = tests.into_iter().map(|(id, kind)| {
        let verdict = verdicts[id].clone();
        Test { id: id.to_owned(), kind, verdict }
    });
    Some(judged.collect())
}

/// What the tests that pass have become since the last time.
#[derive(Debug, PartialEq)]
pub(super) struct Change<'a> {
    pub(super) lost: Vec<&'a str>,
    pub(super) gained: Vec<&'a str>,
}

impl<'a> Change<'a> {
    pub(super) fn between(baseline: &'a str, tests: &'a [Test]) -> Self {
        let before: BTreeSet<&str> = baseline.lines().filter(|line| !line.is_empty()).collect();
        let after = passed(tests);
        Self {
            lost: before.difference(&after).copied().collect(),
            gained: after.difference(&before).copied().collect(),
        }
    }
}

/// The tests that pass, as a baseline.
pub(super) fn baseline(tests: &[Test]) -> String {
    passed(tests).into_iter().map(|id| format!("{id}\n")).collect()
}

fn passed(tests: &[Test]) -> BTreeSet<&str> {
    let passed = tests.iter().filter(|test| test.verdict == Verdict::Passed);
    passed.map(|test| &*test.id).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed(message: &str) -> Verdict {
        Verdict::Failed(message.to_owned())
    }

    fn test(id: &str, depends_on: &[&str]) -> Value {
        let (browser_only, browser_skip) = (id.contains("only"), id.contains("skip"));
        json!({
            "id": id, "kind": "required", "depends_on": depends_on,
            "browser_only": browser_only, "browser_skip": browser_skip,
        })
    }

    fn verdicts(mode: Mode, tests: &[Value], results: &Value) -> Vec<(String, Verdict)> {
        let tests = judge(mode, &json!({ "tests": tests, "results": results })).unwrap();
        tests.into_iter().map(|test| (test.id, test.verdict)).collect()
    }

    #[test]
    fn judges_a_test_by_its_result() {
        for (result, verdict) in [
            (json!(true), Verdict::Passed),
            (json!(["Assertion", "from cache"]), failed("from cache")),
            (json!(["TypeError", "is undefined"]), failed("is undefined")),
            (json!(["FetchError", "ECONNREFUSED"]), failed("ECONNREFUSED")),
            (json!(["Setup", "status is 502"]), Verdict::NotSetUp("status is 502".to_owned())),
            (json!(["Setup", "retry"]), Verdict::Retried),
            (json!(["AbortError", "aborted"]), Verdict::GivenUp("aborted".to_owned())),
        ] {
            let judged = verdicts(Mode::Shared, &[test("a", &[])], &json!({ "a": result }));
            assert_eq!(judged, [("a".to_owned(), verdict)]);
        }
    }

    #[test]
    fn judges_a_test_by_those_that_it_depends_on() {
        let depends = |id: &str| Verdict::Depends(id.to_owned());
        let no = || json!(["Assertion", "no"]);
        let (setup, untested) = (json!(["Setup", "no"]), Verdict::Untested);
        for (a, b, c, expected) in [
            (json!(true), json!(true), json!(true), [const { Verdict::Passed }; 3]),
            (json!(true), json!(true), no(), [Verdict::Passed, Verdict::Passed, failed("no")]),
            (json!(true), no(), no(), [Verdict::Passed, failed("no"), depends("b")]),
            // All the way up, and whatever they did themselves.
            (no(), json!(true), json!(true), [failed("no"), depends("a"), depends("b")]),
            (no(), setup, json!(true), [failed("no"), depends("a"), depends("b")]),
            // What did not run, did not run.
            (no(), Value::Null, no(), [failed("no"), untested.clone(), depends("b")]),
            (Value::Null, json!(true), no(), [untested, depends("a"), depends("b")]),
        ] {
            // In no order.
            let tests = [test("c", &["b"]), test("a", &[]), test("b", &["a"])];
            let all = [("a", a), ("b", b), ("c", c)];
            let ran = all.into_iter().filter(|(_, result)| !result.is_null());
            let results = ran.map(|(id, result)| (id.to_owned(), result)).collect();
            let mut judged = verdicts(Mode::Shared, &tests, &Value::Object(results));
            judged.sort_by(|(a, _), (b, _)| a.cmp(b));
            let judged: Vec<Verdict> = judged.into_iter().map(|(_, verdict)| verdict).collect();
            assert_eq!(judged, expected);
        }
    }

    #[test]
    fn judges_tests_that_depend_on_each_other_or_on_none_that_exists() {
        let results = json!({ "a": true, "b": true, "c": true });
        let tests = [test("a", &["b"]), test("b", &["a"]), test("c", &["d"])];

        let judged = verdicts(Mode::Shared, &tests, &results);

        let verdict = [Verdict::Passed, Verdict::Passed, Verdict::Depends("d".to_owned())];
        assert_eq!(judged.into_iter().map(|(_, verdict)| verdict).collect::<Vec<_>>(), verdict);
    }

    #[test]
    fn leaves_out_what_does_not_apply() {
        let tests = [test("both", &[]), test("only", &[]), test("skip", &[])];
        for (mode, expected) in
            [(Mode::Shared, ["both", "skip"]), (Mode::Private, ["both", "only"])]
        {
            let judged = verdicts(mode, &tests, &json!({}));
            let ids: Vec<String> = judged.into_iter().map(|(id, _)| id).collect();
            assert_eq!(ids, expected);
        }
    }

    #[test]
    fn knows_nothing_else() {
        for written in [
            json!(null),
            json!({ "tests": [] }),
            json!({ "tests": [{ "id": "a" }], "results": {} }),
            json!({ "tests": [test("a", &[])], "results": { "a": false } }),
            json!({ "tests": [test("a", &[])], "results": { "a": ["Assertion"] } }),
        ] {
            assert!(judge(Mode::Shared, &written).is_none(), "{written}");
        }
    }

    #[test]
    fn tells_what_has_changed() {
        let test = |id: &str, verdict| Test { id: id.to_owned(), kind: Kind::Check, verdict };
        let tests = [
            test("c", Verdict::Passed),
            test("a", Verdict::Passed),
            test("b", failed("no")),
            test("d", Verdict::Depends("b".to_owned())),
        ];
        assert_eq!(baseline(&tests), "a\nc\n");
        for (before, lost, gained) in [
            ("a\nc\n", &[][..], &[][..]),
            ("", &[], &["a", "c"]),
            ("a\nb\nd\n", &["b", "d"], &["c"]),
            ("a\nc\ngone\n", &["gone"], &[]),
        ] {
            let change = Change { lost: lost.to_vec(), gained: gained.to_vec() };
            assert_eq!(Change::between(before, &tests), change);
        }
    }
}
