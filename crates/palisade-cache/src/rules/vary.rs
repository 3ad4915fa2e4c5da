//! Which of several stored responses is for which request: RFC 9111, section 4.1.

mod preference;
mod wire;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, GetAll, VARY},
};

use self::preference::Preferences;
use super::{list, options::Options};

/// More names than these no cache can serve; a `Vary` with more counts as `*`.
const MAX_NAMES: usize = 32;

/// How many bytes a selector may keep.
const MAX_BYTES: usize = 8 * 1024;

/// The response depends on what no request shows, or on too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VariesByAnything;

/// What a request had in the fields that its response depends on, in a normal
/// form, to be kept beside the response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    members: Box<[Selected]>,
    /// `Content-Language`, if the response depends on the language asked for.
    language: Option<Box<[u8]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Selected {
    name: HeaderName,
    /// Nothing, where the request did not have the field.
    value: Option<Normal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Normal {
    /// The members in their order, with a comma between them.
    List(Box<[u8]>),
    /// What is preferred how much; the order does not matter.
    Preferences(Preferred),
}

#[derive(Clone, Debug)]
struct Preferred {
    /// The preferences in a normal form, and then the line.
    written: Box<[u8]>,
    /// Where the line begins.
    line: Option<usize>,
}

/// How it was written does not matter.
impl PartialEq for Preferred {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Preferred {}

impl Preferred {
    fn of(preferences: &Preferences<'_>, line: Option<&[u8]>) -> Self {
        let length = preferences.len();
        let mut written = Vec::with_capacity(length + line.map_or(0, <[u8]>::len));
        written.extend(preferences.bytes());
        written.extend_from_slice(line.unwrap_or_default());
        Self { written: written.into(), line: line.map(|_| length) }
    }

    fn bytes(&self) -> &[u8] {
        &self.written[..self.line.unwrap_or(self.written.len())]
    }

    /// As it was written, if that was one line: what is written the same does not have to be read.
    fn line(&self) -> Option<&[u8]> {
        self.line.map(|line| &self.written[line..])
    }
}

impl Selector {
    /// Of a request and the response to it. What an origin names needlessly in
    /// `Vary` can be ignored, and what it forgets can be added.
    ///
    /// A `*` anywhere, a name that is none, and too many names are an error.
    pub(crate) fn of(
        request: &HeaderMap,
        response: &HeaderMap,
        options: &Options<'_>,
    ) -> Result<Self, VariesByAnything> {
        let (ignored, added) = (options.vary_ignored, options.vary_added);
        let named = list::members(response, &VARY).count().min(MAX_NAMES);
        // As many as most have: then nothing is copied to be shorter.
        let mut members: Vec<Selected> = Vec::with_capacity(named + added.len());
        for member in list::members(response, &VARY) {
            // A `*` is a valid name, by its letters.
            if member == b"*" {
                return Err(VariesByAnything);
            }
            let name = HeaderName::from_bytes(member).map_err(|_| VariesByAnything)?;
            if has(&members, &name) || ignored.contains(&name) {
                continue;
            }
            if members.len() == MAX_NAMES {
                return Err(VariesByAnything);
            }
            members.push(Selected::of(name, request));
        }
        for name in added {
            if !has(&members, name) {
                members.push(Selected::of(name.clone(), request));
            }
        }
        if MAX_BYTES < members.iter().map(Selected::len).sum() {
            return Err(VariesByAnything);
        }
        let speaks = has(&members, &ACCEPT_LANGUAGE);
        let language = if speaks { only_language(response).map(Box::from) } else { None };
        Ok(Self { members: members.into(), language })
    }

    /// Whether the response is for this request too. Allocates nothing.
    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        self.members.iter().all(|member| {
            member.matches(request) || member.name == ACCEPT_LANGUAGE && self.speaks(request)
        })
    }

    /// Whether the response does not depend on any field.
    pub(crate) fn is_for_all(&self) -> bool {
        self.members.is_empty()
    }

    /// How many bytes it keeps.
    pub(crate) fn len(&self) -> usize {
        self.members.iter().map(Selected::len).sum::<usize>()
            + self.language.as_ref().map_or(0, |language| language.len())
    }

    /// Whether the response is in the one language that is preferred to all
    /// others: no negotiation could do better.
    fn speaks(&self, request: &HeaderMap) -> bool {
        let Some(language) = &self.language else {
            return false;
        };
        let preferences = Preferences::of(request.get_all(ACCEPT_LANGUAGE).iter());
        let best = preferences.as_ref().and_then(Preferences::best);
        best.is_some_and(|best| best.eq_ignore_ascii_case(language))
    }
}

impl Selected {
    fn of(name: HeaderName, request: &HeaderMap) -> Self {
        let value = Normal::of(request, &name);
        Self { name, value }
    }

    fn matches(&self, request: &HeaderMap) -> bool {
        let lines = request.get_all(&self.name);
        match (&self.value, lines.iter().next()) {
            (None, None) => true,
            (Some(value), Some(_)) => value.matches(&self.name, &lines),
            _ => false,
        }
    }

    fn len(&self) -> usize {
        let value = match &self.value {
            None => 0,
            Some(Normal::List(value)) => value.len(),
            Some(Normal::Preferences(value)) => value.written.len(),
        };
        self.name.as_str().len() + value
    }
}

impl Normal {
    fn of(request: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let lines = request.get_all(name);
        lines.iter().next()?;
        if let Some(preferences) = preferences(name, &lines) {
            let line = only(&lines).map(HeaderValue::as_bytes);
            return Some(Self::Preferences(Preferred::of(&preferences, line)));
        }
        let mut value = Vec::new();
        for (index, part) in parts(&lines).enumerate() {
            if index != 0 {
                value.push(b',');
            }
            value.extend_from_slice(part);
        }
        Some(Self::List(value.into()))
    }

    fn matches(&self, name: &HeaderName, lines: &GetAll<'_, HeaderValue>) -> bool {
        if let Self::Preferences(value) = self
            && let (Some(known), Some(line)) = (value.line(), only(lines))
            && known == line.as_bytes()
        {
            return true;
        }
        match (self, preferences(name, lines)) {
            (Self::Preferences(value), Some(preferences)) => preferences.is(value.bytes()),
            (Self::List(value), None) => is_list(value, lines),
            _ => false,
        }
    }
}

fn has(members: &[Selected], name: &HeaderName) -> bool {
    members.iter().any(|member| member.name == *name)
}

/// The line, if there is but one.
fn only<'h>(lines: &GetAll<'h, HeaderValue>) -> Option<&'h HeaderValue> {
    let mut lines = lines.iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// Whether the parts of the lines, with a comma between them, are this value.
fn is_list(value: &[u8], lines: &GetAll<'_, HeaderValue>) -> bool {
    let mut rest = Some(value);
    for (index, part) in parts(lines).enumerate() {
        rest = rest.and_then(|rest| if index == 0 { Some(rest) } else { rest.strip_prefix(b",") });
        rest = rest.and_then(|rest| rest.strip_prefix(part));
    }
    rest.is_some_and(<[u8]>::is_empty)
}

fn parts<'h>(lines: &GetAll<'h, HeaderValue>) -> impl Iterator<Item = &'h [u8]> {
    lines.iter().flat_map(|line| list::parts(line.as_bytes()))
}

/// The preferences in a field that lists some, whatever their order.
fn preferences<'h>(name: &HeaderName, lines: &GetAll<'h, HeaderValue>) -> Option<Preferences<'h>> {
    let ordered = name != ACCEPT_LANGUAGE && name != ACCEPT_ENCODING;
    if ordered { None } else { Preferences::of(lines.iter()) }
}

fn only_language(response: &HeaderMap) -> Option<&[u8]> {
    let mut languages = list::members(response, &CONTENT_LANGUAGE);
    languages.next().filter(|_| languages.next().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRIVATE: Options<'static> = Options::PRIVATE;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn selector(response: &[(&'static str, &str)], request: &[(&'static str, &str)]) -> Selector {
        of(request, response, &PRIVATE).unwrap()
    }

    fn of(
        request: &[(&'static str, &str)],
        response: &[(&'static str, &str)],
        options: &Options<'_>,
    ) -> Result<Selector, VariesByAnything> {
        Selector::of(&headers(request), &headers(response), options)
    }

    fn names(selector: &Selector) -> Vec<&HeaderName> {
        selector.members.iter().map(|member| &member.name).collect()
    }

    #[test]
    fn a_star_anywhere_and_what_is_no_name_select_nothing() {
        for lines in [
            &["*"][..],
            &["*, *"],
            &["*", "*"],
            &[", *"],
            &["", "*"],
            &["*, Foo"],
            &["Foo, *"],
            &["foo bar"],
            &["foo\""],
            &["f\u{f6}\u{f6}"],
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            let selector = of(&[], &fields, &PRIVATE);
            assert_eq!(selector, Err(VariesByAnything), "{lines:?}");
        }
    }

    #[test]
    fn thousands_of_names_and_huge_values_are_too_much() {
        let names: Vec<_> = (0..5000).map(|index| format!("name-{index}")).collect();
        let check = |vary: &str, foo: &str| of(&[("foo", foo)], &[("vary", vary)], &PRIVATE);
        assert_eq!(check(&names.join(","), "ab"), Err(VariesByAnything));
        assert!(check(&names[..MAX_NAMES].join(","), "ab").is_ok());
        assert_eq!(check(&names[..=MAX_NAMES].join(","), "ab"), Err(VariesByAnything));
        let same = ["Foo"; 5000].join(",");
        assert_eq!(check(&same, &"x".repeat(MAX_BYTES)), Err(VariesByAnything));
        let small = check(&same, "ab").unwrap();
        assert_eq!((small.len(), Selector::default().len()), (5, 0));
    }

    #[test]
    fn names_are_ignored_and_added() {
        let foo = HeaderName::from_static("foo");
        let both = [HeaderName::from_static("bar"), foo.clone()];
        let response = [("vary", "Foo, FOO")];
        let ignores = Options { vary_ignored: std::slice::from_ref(&foo), ..PRIVATE };
        assert!(of(&[], &response, &ignores).unwrap().is_for_all());
        let adds = Options { vary_added: &both, ..PRIVATE };
        assert_eq!(names(&of(&[], &response, &adds).unwrap()), [&foo, &both[0]]);
    }

    #[test]
    fn a_response_is_for_requests_that_have_the_same() {
        // What the suite calls vary, and what its normalise tests want.
        let three = "Foo, Bar, Baz";
        for (vary, stored, asked, matches) in [
            ("", &[("foo", "1")][..], &[("foo", "2")][..], true),
            ("Foo", &[("foo", "1")], &[("foo", "1")], true),
            ("Foo", &[("foo", "1")], &[("foo", "2")], false),
            ("Foo", &[("foo", "1")], &[("foo", "")], false),
            ("Foo", &[("foo", "1")], &[], false),
            ("Foo", &[], &[("foo", "1")], false),
            ("Foo", &[], &[("foo", "")], false),
            ("Foo", &[], &[], true),
            ("Foo", &[("foo", "1")], &[("foo", "1"), ("other", "3")], true),
            ("Foo, Bar", &[("foo", "1"), ("bar", "a")], &[("bar", "a"), ("foo", "1")], true),
            ("Foo, Bar", &[("foo", "1"), ("bar", "a")], &[("foo", "1")], false),
            (three, &[("foo", "1"), ("baz", "7")], &[("baz", "7"), ("foo", "1")], true),
            (three, &[("foo", "1"), ("baz", "7")], &[("bar", "7"), ("foo", "1")], false),
            ("Foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true),
            ("Foo", &[("foo", "1, 2")], &[("foo", "2"), ("foo", "1")], false),
            ("Foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")], true),
            ("Foo", &[("foo", "1,2")], &[("foo", "1 2")], false),
            ("Foo", &[("foo", "1,2")], &[("foo", "12")], false),
            ("Foo", &[("foo", "\"1,2\"")], &[("foo", "\"1, 2\"")], false),
            ("Foo", &[("foo", "a")], &[("foo", "A")], false),
        ] {
            let selector = selector(&[("vary", vary)], stored);
            assert_eq!(selector.matches(&headers(asked)), matches, "{vary:?} {stored:?} {asked:?}");
        }
    }

    #[test]
    fn the_order_and_the_case_of_languages_do_not_matter() {
        for (stored, asked, matches) in [
            ("en, de", "de, en", true),
            ("en, de", "eN, De", true),
            ("en, de", " en ,   de", true),
            ("en, de", "en;q=1, de;q=1.0", true),
            ("en, de", "en, de;q=0.9", false),
            ("en, de", "en", false),
            ("en", "en, de", false),
            ("en", "english", false),
            ("en, en", "en", false),
            ("en;level=1", "EN;level=1", false),
            ("en;level=1", "en;level=1", true),
        ] {
            let selector = selector(&[("vary", "Accept-Language")], &[("accept-language", stored)]);
            let asked = headers(&[("accept-language", asked)]);
            assert_eq!(selector.matches(&asked), matches, "{stored:?} {asked:?}");
        }
    }

    #[test]
    fn the_preferred_language_is_served_whoever_asks() {
        for (language, asked, matches) in [
            ("de", "fr;q=0.5, de;q=1.0", true),
            ("DE", "fr;q=0.5, de;q=1.0", true),
            ("de", "fr, de", false),
            ("fr", "fr, de", false),
            ("de", "fr, de;q=0.9", false),
            ("de, fr", "de", false),
            ("*", "*", false),
            ("de", "de;q=0", false),
            ("de", "en, de", true),
        ] {
            let response = [("vary", "Accept-Language"), ("content-language", language)];
            let selector = selector(&response, &[("accept-language", "en, de")]);
            let asked = headers(&[("accept-language", asked)]);
            assert_eq!(selector.matches(&asked), matches, "{language:?} {asked:?}");
        }
    }

    proptest! {
        #[test]
        fn a_response_is_always_for_its_own_request(
            values in proptest::collection::vec("[a-c ,;=q0-1\"\\\\*.-]{0,24}", 0..4),
            vary in "(foo|accept-language|accept-encoding)",
        ) {
            let name = HeaderName::from_bytes(vary.as_bytes()).unwrap();
            let mut request = HeaderMap::new();
            for value in &values {
                request.append(&name, HeaderValue::try_from(value.as_str()).unwrap());
            }
            let response = headers(&[("vary", &vary), ("content-language", "a")]);
            let selector = Selector::of(&request, &response, &PRIVATE).unwrap();
            prop_assert!(selector.matches(&request));
            prop_assert_eq!(selector.matches(&HeaderMap::new()), values.is_empty());
        }

        #[test]
        fn selectors_match_as_their_values_are_equal(
            one in "[ab ,]{0,6}", other in "[ab ,]{0,6}",
        ) {
            let stored = selector(&[("vary", "foo")], &[("foo", &one)]);
            let asked = selector(&[("vary", "foo")], &[("foo", &other)]);
            prop_assert_eq!(stored.matches(&headers(&[("foo", &other)])), stored == asked);
        }
    }
}
