//! What becomes of a route template and its values.

use std::fmt::{self, Write};

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::invalid::Invalid;

/// All but the unreserved characters of RFC 3986, section 2.3.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What may not stand in a path or query as it is: RFC 3987, section 3.1. A `%` is
/// one that the author of the template or link has written.
pub(crate) const LITERAL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The values of a template, by name, in one string.
#[derive(Default)]
pub(crate) struct Values {
    text: String,
    ends: Vec<(&'static str, usize)>,
}

impl Values {
    pub(crate) fn push(
        &mut self,
        name: &'static str,
        value: &dyn fmt::Display,
    ) -> Result<(), Invalid> {
        if self.ends.iter().any(|(other, _)| *other == name) {
            return Err(Invalid::new(format!("the path's value `{name}` is given twice")));
        }
        if write!(self.text, "{value}").is_err() {
            return Err(Invalid::new(format!("the path's value `{name}` cannot be formatted")));
        }
        self.ends.push((name, self.text.len()));
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let index = self.ends.iter().position(|(other, _)| *other == name)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
        Some(&self.text[start..self.ends[index].1])
    }

    /// A name that stands nowhere in the template.
    fn unused(&self, template: &str) -> Option<&'static str> {
        let names = self.ends.iter().map(|(name, _)| *name);
        names
            .into_iter()
            .find(|name| !pieces(template).any(|piece| piece == Ok(Piece::Value(name))))
    }

    pub(crate) fn first(&self) -> Option<&'static str> {
        self.ends.first().map(|(name, _)| *name)
    }
}

/// Writes a template with its values in place, as it goes into a URL.
pub(crate) fn expand(template: &str, values: &Values, path: &mut String) -> Result<(), Invalid> {
    let start = path.len();
    if template.contains('#') {
        return Err(Invalid::new("a template has no fragment: take out the `#`"));
    }
    check_backslashes(template)?;
    for piece in pieces(template) {
        match piece? {
            Piece::Literal(text) => path.extend(utf8_percent_encode(text, LITERAL)),
            Piece::Value(name) => {
                let Some(value) = values.get(name) else {
                    let text =
                        format!("there is no value for `{{{name}}}`: call `.path({name:?}, ..)`");
                    return Err(Invalid::new(text));
                };
                check_value(name, value)?;
                path.extend(utf8_percent_encode(value, VALUE));
            }
        }
    }
    if let Some(name) = values.unused(template) {
        return Err(Invalid::new(format!("the template has no place for the value `{name}`")));
    }
    check_segments(&path[start..])
}

/// What goes out of its segment in some server's eyes goes nowhere.
///
/// A slash is encoded, as project paths and branches hold them; but there are
/// servers that decode first and resolve dots then.
fn check_value(name: &str, value: &str) -> Result<(), Invalid> {
    if value.is_empty() {
        let text = format!("the value of `{{{name}}}` is empty, which would be another path");
        return Err(Invalid::new(text));
    }
    if value.split(['/', '\\']).any(|part| part == "." || part == "..") {
        return Err(Invalid::new(format!(
            "the value of `{{{name}}}` leads to another path by dots"
        )));
    }
    Ok(())
}

/// WHATWG URLs have backslashes for slashes, and so may servers: seen before they are encoded.
pub(crate) fn check_backslashes(path: &str) -> Result<(), Invalid> {
    if path.contains('\\') { check_segments(path) } else { Ok(()) }
}

/// RFC 3986, section 5.2.4: dot segments are taken out on the way; WHATWG URLs do so when encoded.
pub(crate) fn check_segments(path: &str) -> Result<(), Invalid> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.split(['/', '\\']).any(is_dots) {
        return Err(Invalid::new("the path has a segment of dots, which would be another path"));
    }
    Ok(())
}

fn is_dots(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while !rest.is_empty() {
        let after = rest.strip_prefix('.').or_else(|| rest.strip_prefix("%2e"));
        match after.or_else(|| rest.strip_prefix("%2E")) {
            Some(after) => rest = after,
            None => return false,
        }
        dots += 1;
    }
    dots == 1 || dots == 2
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Literal(&'t str),
    Value(&'t str),
}

#[derive(Debug, PartialEq, Eq)]
struct Malformed(&'static str);

impl From<Malformed> for Invalid {
    fn from(malformed: Malformed) -> Self {
        Self::new(malformed.0)
    }
}

fn pieces(template: &str) -> impl Iterator<Item = Result<Piece<'_>, Malformed>> {
    let mut rest = template;
    let mut in_query = false;
    let path_start = path_start(template);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(named) = rest.strip_prefix('{') else {
            let (text, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            rest = after;
            in_query |= text.contains('?');
            let closed = text.contains('}');
            let malformed = Malformed("the template has a `}` without its `{`");
            return Some(if closed { Err(malformed) } else { Ok(Piece::Literal(text)) });
        };
        let Some((name, after)) = named.split_once('}') else {
            rest = "";
            return Some(Err(Malformed("the template has a `{` without its `}`")));
        };
        let origin = template.len() - rest.len() < path_start;
        rest = after;
        if in_query || origin {
            return Some(Err(Malformed("a template has values in its path alone")));
        }
        if name.is_empty() || name.contains(['{', '/', '?']) {
            return Some(Err(Malformed("the template has a value without a proper name")));
        }
        Some(Ok(Piece::Value(name)))
    })
}

/// Where the path of a template begins, which may be a whole URL.
fn path_start(template: &str) -> usize {
    match template.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            template.len() - rest.len() + rest.find(['/', '?']).unwrap_or(rest.len())
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn expanded(template: &str, given: &[(&'static str, &str)]) -> Result<String, String> {
        let mut values = Values::default();
        for (name, value) in given {
            values.push(name, value).map_err(|invalid| invalid.to_string())?;
        }
        let mut path = String::new();
        expand(template, &values, &mut path).map_err(|invalid| invalid.to_string())?;
        Ok(path)
    }

    #[test]
    fn values_take_their_places() {
        for (template, given, path) in [
            ("/users/{id}", &[("id", "7")][..], "/users/7"),
            ("/{a}/{b}", &[("b", "2"), ("a", "1")], "/1/2"),
            ("/{a}:{a}.json", &[("a", "x")], "/x:x.json"),
            ("/files/{path}", &[("path", "a/b?c#d")], "/files/a%2Fb%3Fc%23d"),
            ("/{x}", &[("x", "100% ü\0\r\n")], "/100%25%20%C3%BC%00%0D%0A"),
            ("/{x}", &[("x", "%2e%2e")], "/%252e%252e"),
            ("/{x}", &[("x", "..a")], "/..a"),
            ("https://a.example/{x}", &[("x", "1")], "https://a.example/1"),
            ("/to/http://{x}", &[("x", "1")], "/to/http://1"),
            ("/a b/ü?q=a|b", &[], "/a%20b/%C3%BC?q=a%7Cb"),
            ("", &[], ""),
        ] {
            assert_eq!(expanded(template, given).as_deref(), Ok(path), "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (template, given, named) in [
            ("/users/{id}", &[][..], "no value for `{id}`"),
            ("/users/{id}", &[("id", "")], "`{id}` is empty"),
            ("/users", &[("id", "7")], "no place for the value `id`"),
            ("/{id}", &[("id", "7"), ("id", "8")], "`id` is given twice"),
            ("/users/{id", &[("id", "7")], "`{` without"),
            ("/users/id}", &[], "`}` without"),
            ("/users/{}", &[], "without a proper name"),
            ("/users?id={id}", &[("id", "7")], "in its path alone"),
            ("https://{id}.example/", &[("id", "7")], "in its path alone"),
            ("https://api.example{id}", &[("id", "7")], "in its path alone"),
            ("{id}://api.example", &[("id", "7")], "in its path alone"),
            ("/users#top", &[], "fragment"),
            ("/users/{id}", &[("id", "..")], "dots"),
            ("/users/{id}", &[("id", ".")], "dots"),
            ("/users/{id}", &[("id", "x/../../admin")], "dots"),
            ("/users/{id}", &[("id", "..\\admin")], "dots"),
            ("/users/{a}{b}", &[("a", "x"), ("b", "")], "`{b}` is empty"),
            ("/users/.{a}", &[("a", ".")], "dots"),
            ("/a/%2E./b", &[], "dots"),
            (r"/a\..\b", &[], "dots"),
        ] {
            let error = expanded(template, given).unwrap_err();
            assert!(error.contains(named), "{template}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_value_stays_in_its_segment(value in any::<String>()) {
            let Ok(path) = expanded("/a/{v}/b", &[("v", &value)]) else { return Ok(()) };
            let segments: Vec<_> = path.split('/').collect();
            prop_assert_eq!(segments.len(), 4);
            prop_assert_eq!(percent_decode_str(segments[2]).decode_utf8().unwrap(), value);
            let parsed: http::uri::PathAndQuery = path.parse().unwrap();
            prop_assert_eq!(parsed.path(), path.as_str());
        }

        #[test]
        fn no_template_panics(template in any::<String>(), value in any::<String>()) {
            let _ = expanded(&template, &[("v", &value)]);
            let _ = expanded(&format!("/{template}{{v}}"), &[("v", &value)]);
        }
    }
}
