//! Lists of header fields, RFC 9110, section 5.6, read byte by byte: a value may hold obs-text.

use http::{HeaderMap, HeaderName};

/// Times beyond this many seconds are this many: RFC 9111, section 1.2.2.
pub(crate) const MAX_SECONDS: u32 = 1 << 31;

/// The members of a field, of all its lines, without the empty ones.
///
/// A comma within a quoted string separates nothing. A string that does not end
/// takes the rest of its line.
pub(crate) fn members<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).iter().flat_map(|line| split(line.as_bytes(), b','))
}

/// The parts of a value between separators, without the empty ones, each
/// without the blanks around it.
pub(crate) fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    Parts { rest: value, separator, escapes: true }.map(trim).filter(|part| !part.is_empty())
}

/// The members of a value, the empty ones too.
pub(crate) fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    Parts { rest: value, separator: b',', escapes: true }.map(trim)
}

/// The members of a list of entity tags. They look like quoted strings, but a
/// backslash in them is but a backslash (RFC 9110, section 8.8.3).
pub(crate) fn tags(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = Parts { rest: value, separator: b',', escapes: false };
    parts.map(trim).filter(|part| !part.is_empty())
}

struct Parts<'h> {
    rest: &'h [u8],
    separator: u8,
    escapes: bool,
}

impl<'h> Iterator for Parts<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.end();
        let part = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Some(part)
    }
}

impl Parts<'_> {
    /// Where the first separator outside of a quoted string is.
    fn end(&self) -> usize {
        // Most have no quoted string, and then there is nothing to keep track of.
        let matters = |byte: &u8| *byte == self.separator || *byte == b'"';
        let first = self.rest.iter().position(matters).unwrap_or(self.rest.len());
        let (mut quoted, mut escaped) = (false, false);
        let end = self.rest[first..].iter().position(|byte| {
            if escaped {
                escaped = false;
            } else if *byte == b'"' {
                quoted = !quoted;
            } else if quoted {
                escaped = self.escapes && *byte == b'\\';
            } else {
                return *byte == self.separator;
            }
            false
        });
        end.map_or(self.rest.len(), |end| first + end)
    }
}

/// Without the blanks around it, RFC 9110, section 5.6.3: spaces and tabs, no other.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A name and the value after its `=`, as they are written.
pub(crate) fn name_and_value(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    match member.iter().position(|byte| *byte == b'=') {
        None => (member, None),
        Some(at) => (&member[..at], Some(&member[at + 1..])),
    }
}

/// What a quoted string without escapes holds.
pub(crate) fn unquote(value: &[u8]) -> Option<&[u8]> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (!inner.iter().any(|byte| matches!(byte, b'"' | b'\\'))).then_some(inner)
}

/// Seconds: digits alone. Too many are [`MAX_SECONDS`].
pub(crate) fn seconds(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0, |seconds: u32, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        Some(seconds.saturating_mul(10).saturating_add(digit).min(MAX_SECONDS))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_outside_of_quotes() {
        let check = |value: &str, expected: &[&str]| {
            let parts = split(value.as_bytes(), b',').map(|part| str::from_utf8(part).unwrap());
            assert_eq!(parts.collect::<Vec<_>>(), expected, "{value:?}");
        };
        check("", &[]);
        check(" ,\t, ", &[]);
        check("a", &["a"]);
        check(" a ,b,, \tc", &["a", "b", "c"]);
        check(r#"a="b,c", d"#, &[r#"a="b,c""#, "d"]);
        check(r#"a="b\",c", d"#, &[r#"a="b\",c""#, "d"]);
        check(r#"a="b,c, d"#, &[r#"a="b,c, d"#]);
        check(r"a\,b", &[r"a\", "b"]);
    }

    #[test]
    fn seconds_are_digits_and_have_a_greatest() {
        for (text, expected) in [
            ("0", Some(0)),
            ("003600", Some(3600)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", Some(MAX_SECONDS)),
            ("2147483649", Some(MAX_SECONDS)),
            ("99999999999999999999999999999999", Some(MAX_SECONDS)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("1 ", None),
            ("0x1", None),
            ("99999999999a", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_quoted_string_is_opened() {
        for (text, expected) in [
            (r#""""#, Some("")),
            (r#""a, b""#, Some("a, b")),
            (r#"""#, None),
            ("a", None),
            (r#""a"b""#, None),
            (r#""a\"b""#, None),
        ] {
            assert_eq!(unquote(text.as_bytes()), expected.map(str::as_bytes), "{text:?}");
        }
    }
}
