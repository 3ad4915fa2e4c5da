use std::{
    borrow::Cow,
    mem,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName};

use crate::{plain::Plain, structured};

/// What a server says of one of its quotas, as of the time of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowance<'h> {
    /// The name of the quota, if it has one.
    pub name: Option<Cow<'h, str>>,
    /// Whom it is counted for, if the server tells its partitions apart.
    pub partition: Option<Box<[u8]>>,
    /// How many requests it allows in a window.
    pub limit: Option<u64>,
    /// How long a window is.
    pub window: Option<Duration>,
    /// How many requests are left.
    pub remaining: Option<u64>,
    /// How long until there are more.
    pub reset: Option<Duration>,
    // Some quotas count bytes, or what is in flight.
    pub(crate) other_unit: bool,
}

/// What an answer says of all quotas that it speaks of: the first four of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowances<'h> {
    pub(crate) list: Inline<Allowance<'h>>,
    pub(crate) bucket: Option<&'h str>,
    pub(crate) global: bool,
}

/// The first few of many, without an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inline<T> {
    places: [Option<T>; 4],
}

impl<'h> Allowances<'h> {
    /// Reads the header fields of an answer.
    ///
    /// A time of day is taken relative to the answer's own `Date`, so that a
    /// clock that is off, here or there, does not matter; `received` is asked
    /// only where there is none.
    pub fn of(headers: &'h HeaderMap, received: impl Fn() -> SystemTime) -> Self {
        let (mut found, mut policies, mut plain) = (Self::default(), None, None::<Plain<'h>>);
        for (name, value) in headers.iter().filter(|(name, _)| may_tell(name)) {
            match name.as_str() {
                "ratelimit" => structured::read_limits(value.as_bytes(), &mut found.list),
                "ratelimit-policy" => {
                    let policies = policies.get_or_insert_default();
                    structured::read_policies(value.as_bytes(), policies);
                }
                name => plain.get_or_insert_default().read(name, value),
            }
        }
        if let Some(policies) = policies {
            structured::join(&mut found.list, &policies);
        }
        if let Some(plain) = plain {
            plain.add_to(&mut found, headers, received);
        }
        found
    }

    /// Whether a field is there that may say something.
    #[inline]
    pub fn are_in(headers: &HeaderMap) -> bool {
        // Once over all names is less than a look for each of ours.
        headers.keys().any(may_tell)
    }

    /// Each quota.
    pub fn iter(&self) -> impl Iterator<Item = &Allowance<'h>> {
        self.list.iter()
    }

    /// Whether nothing is said of any quota.
    pub fn is_empty(&self) -> bool {
        self.list.iter().next().is_none()
    }

    /// What the server counts this request with: Discord's bucket, GitHub's
    /// resource.
    pub fn bucket(&self) -> Option<&'h str> {
        self.bucket
    }

    /// Whether the answer is about all requests, whatever their bucket.
    pub fn is_global(&self) -> bool {
        self.global
    }
}

/// The first four.
impl<'h> FromIterator<Allowance<'h>> for Allowances<'h> {
    fn from_iter<I: IntoIterator<Item = Allowance<'h>>>(quotas: I) -> Self {
        let mut found = Self::default();
        for quota in quotas {
            found.list.push(quota);
        }
        found
    }
}

#[inline]
fn may_tell(name: &HeaderName) -> bool {
    // Enough to pass by most of those that do not.
    let name = name.as_str();
    name.starts_with("rate") || name.starts_with("x-rate") || name.starts_with("x-shop")
}

impl<T> Inline<T> {
    /// Adds one, if there is a place.
    pub(crate) fn push(&mut self, more: T) -> Option<&mut T> {
        self.places.iter_mut().find(|place| place.is_none()).map(|place| place.insert(more))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    /// Takes out what came after the first so many.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.places.iter_mut().skip(len).for_each(|place| *place = None);
    }

    /// Keeps these, one after the other.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        if self.iter().all(&keep) {
            return;
        }
        for kept in mem::take(self).places.into_iter().flatten().filter(keep) {
            self.push(kept);
        }
    }
}

impl<T> Default for Inline<T> {
    fn default() -> Self {
        Self { places: [const { None }; 4] }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn read(headers: &HeaderMap) -> Allowances<'_> {
        Allowances::of(headers, || UNIX_EPOCH + Duration::from_secs(NOW))
    }

    type Row = (Option<&'static str>, Option<u64>, Option<u64>, Option<f64>, Option<u64>);

    /// Name, remaining, limit, reset and window, in seconds.
    fn check(fields: &[(&'static str, &str)], expected: &[Row]) {
        let headers = headers(fields);
        let found = read(&headers);
        let rows: Vec<_> = found
            .iter()
            .map(|allowance| {
                let reset = allowance.reset.map(|reset| reset.as_secs_f64());
                let window = allowance.window.map(|window| window.as_secs());
                (allowance.name.as_deref(), allowance.remaining, allowance.limit, reset, window)
            })
            .collect();
        assert_eq!(rows, expected, "{fields:?}");
    }

    #[test]
    fn reads_the_current_draft() {
        let a = Some("a");
        let cases: &[(&str, &[Row])] = &[
            (r#""a";r=50;t=30"#, &[(a, Some(50), None, Some(30.0), None)]),
            (r#""a";r=50"#, &[(a, Some(50), None, None, None)]),
            (r#""a";t=30"#, &[(a, None, None, Some(30.0), None)]),
            ("a;r=0;t=1", &[(a, Some(0), None, Some(1.0), None)]),
            (r#""a";r=-1;t=1.5"#, &[(a, Some(0), None, Some(1.5), None)]),
            // The last one of a name counts: RFC 9651, section 3.1.2.
            (r#""a";r=1;r=2"#, &[(a, Some(2), None, None, None)]),
            (r#""a\";r=9";r=1"#, &[(Some("a\";r=9"), Some(1), None, None, None)]),
            (
                r#""a";r=1;t=2, "b";r=3;t=4"#,
                &[(a, Some(1), None, Some(2.0), None), (Some("b"), Some(3), None, Some(4.0), None)],
            ),
            (r#""a", "b";x=3"#, &[]),
            (r#""a;r=1"#, &[]),
            (r#""a";r=1 "b";r=2"#, &[]),
            (r#""a";r=1000000000000000000"#, &[]),
            (r#""a";r="1""#, &[]),
            (r#""a";t=-1"#, &[]),
            ("(1 2);r=1", &[]),
            ("", &[]),
        ];
        for (line, expected) in cases {
            check(&[("ratelimit", line)], expected);
        }
    }

    #[test]
    fn joins_the_policy_of_the_same_name() {
        let policy = ("ratelimit-policy", r#""b";q=9;w=60;qu="requests", "a";q=100;w=10"#);
        let line = ("ratelimit", r#""a";r=50;t=3"#);
        check(&[line, policy], &[(Some("a"), Some(50), Some(100), Some(3.0), Some(10))]);
        check(
            &[line, ("ratelimit-policy", "junk(")],
            &[(Some("a"), Some(50), None, Some(3.0), None)],
        );
        check(&[policy], &[]);
        let bytes = ("ratelimit-policy", r#""a";q=100;w=10;qu="content-bytes""#);
        check(&[line, bytes], &[]);
    }

    #[test]
    fn reads_earlier_drafts() {
        let expected = [(None, Some(0), Some(10), Some(7.0), None)];
        check(&[("ratelimit", "limit=10, remaining=0, reset=7")], &expected);
        check(
            &[("ratelimit", "limit=10, remaining=0, reset=7"), ("ratelimit-policy", "10;w=60")],
            &[(None, Some(0), Some(10), Some(7.0), Some(60))],
        );
        let three = [
            ("ratelimit-limit", "10, 10;w=1, 1000;w=3600"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "7"),
        ];
        check(&three, &expected);
    }

    #[test]
    fn reads_what_vendors_send() {
        for (fields, expected) in [
            // GitHub: a time of day.
            (
                &[
                    ("x-ratelimit-limit", "5000"),
                    ("x-ratelimit-remaining", "4987"),
                    ("x-ratelimit-reset", "1800000060"),
                    ("x-ratelimit-used", "13"),
                ] as &[_],
                (None, Some(4987), Some(5000), Some(60.0), None),
            ),
            // Discord: a fraction, and both.
            (
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1800000001.5"),
                    ("x-ratelimit-reset-after", "1.25"),
                ],
                (None, Some(0), None, Some(1.25), None),
            ),
            // X.
            (
                &[("x-rate-limit-remaining", "1"), ("x-rate-limit-reset", "1800000900")],
                (None, Some(1), None, Some(900.0), None),
            ),
            // Reddit: decimals, and seconds left.
            (
                &[("x-ratelimit-remaining", "12.0"), ("x-ratelimit-reset", "35")],
                (None, Some(12), None, Some(35.0), None),
            ),
            // Shopify: what is used of a bucket that empties in 20 seconds.
            (
                &[("x-shopify-shop-api-call-limit", "32/40")],
                (None, Some(8), Some(40), None, Some(20)),
            ),
            (
                &[("x-shopify-shop-api-call-limit", "41/40")],
                (None, Some(0), Some(40), None, Some(20)),
            ),
            (
                &[("x-ratelimit-remaining", "-3"), ("x-ratelimit-reset", "1800000060000")],
                (None, Some(0), None, Some(60.0), None),
            ),
            (
                &[
                    ("x-ratelimit-reset", "Fri, 15 Jan 2027 08:01:00 GMT"),
                    ("x-ratelimit-remaining", "1"),
                ],
                (None, Some(1), None, Some(60.0), None),
            ),
            // The past.
            (
                &[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1700000000")],
                (None, Some(5), None, Some(0.0), None),
            ),
            // A clock that is off by an hour, and says so.
            (
                &[
                    ("date", "Fri, 15 Jan 2027 07:00:00 GMT"),
                    ("x-ratelimit-remaining", "5"),
                    ("x-ratelimit-reset", "1799996407"),
                ],
                (None, Some(5), None, Some(7.0), None),
            ),
        ] {
            check(fields, &[expected]);
        }
        for junk in ["", "junk", "1/", "/", "1/0/3", "40"] {
            check(&[("x-shopify-shop-api-call-limit", junk)], &[]);
        }
        check(&[("x-ratelimit-limit", "5")], &[]);
        check(&[("x-ratelimit-remaining", "few"), ("x-ratelimit-reset", "soon")], &[]);
        let far = ("x-ratelimit-reset", "99999999999999999999999");
        let headers = headers(&[far]);
        assert!(read(&headers).iter().all(|allowance| allowance.reset.is_some()));
    }

    #[test]
    fn believes_one_of_several() {
        let old = [("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "100")];
        let new = ("ratelimit", r#""a";r=5;t=9"#);
        check(&[old[0], old[1], new], &[(Some("a"), Some(5), None, Some(9.0), None)]);
        // What one does not say is taken from the other.
        let new = ("ratelimit", r#""a";r=0"#);
        check(&[old[0], old[1], new], &[(Some("a"), Some(0), None, Some(100.0), None)]);
        let (draft, x) = (("ratelimit-remaining", "3"), ("x-ratelimit-remaining", "8"));
        check(&[x, draft], &[(None, Some(3), None, None, None)]);
    }

    #[test]
    fn reads_all_lines_and_four_quotas() {
        let lines =
            [("ratelimit", r#""a";r=1"#), ("ratelimit", "junk("), ("ratelimit", r#""b";r=2"#)];
        let (a, b) =
            ((Some("a"), Some(1), None, None, None), (Some("b"), Some(2), None, None, None));
        check(&lines, &[a, b]);
        check(&[("ratelimit", r#""silent", "a";r=1"#), lines[1]], &[a]);
        let many = (0..1000).map(|n| format!(r#""{n}";r=1"#)).collect::<Vec<_>>().join(", ");
        assert_eq!(read(&headers(&[("ratelimit", &many)])).iter().count(), 4);
    }

    #[test]
    fn tells_buckets_and_partitions() {
        let github = headers(&[("x-ratelimit-remaining", "1"), ("x-ratelimit-resource", "search")]);
        assert_eq!((read(&github).bucket(), read(&github).is_global()), (Some("search"), false));
        let discord = headers(&[("x-ratelimit-bucket", "ab12"), ("x-ratelimit-global", "true")]);
        assert_eq!((read(&discord).bucket(), read(&discord).is_global()), (Some("ab12"), true));
        assert!(read(&discord).is_empty());
        let ietf = headers(&[("ratelimit", r#""a";r=1;pk=:aGk=:"#)]);
        assert_eq!(read(&ietf).iter().next().unwrap().partition.as_deref(), Some(b"hi".as_slice()));
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_a_panic(
            value in prop::collection::vec(any::<u8>(), 0..64),
            other in r#"("?[a-z]{1,3}"?(;[rtqw]=[0-9]{1,4})*(, )?){0,6}"#,
        ) {
            for name in [
                "ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-reset", "x-ratelimit-remaining",
                "x-ratelimit-reset", "x-rate-limit-reset", "x-shopify-shop-api-call-limit", "x-ratelimit-bucket",
            ] {
                for value in [value.as_slice(), other.as_bytes()] {
                    let Ok(value) = HeaderValue::from_bytes(value) else { continue };
                    let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
                    let found = read(&headers);
                    prop_assert!(found.iter().all(|it| it.remaining.is_some() || it.reset.is_some()));
                }
            }
        }
    }
}
