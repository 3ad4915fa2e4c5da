use http::HeaderValue;

use crate::rules::list;

/// What more are is compared as it is written.
const MAX: usize = 16;

/// What a request prefers how much, RFC 9110, section 12.4.2, sorted. Lives on
/// the stack.
pub(crate) struct Preferences<'h> {
    list: [(&'h [u8], u16); MAX],
    len: usize,
}

impl<'h> Preferences<'h> {
    /// Nothing, if there are too many, or one has a parameter that is no weight.
    pub(crate) fn of(lines: impl Iterator<Item = &'h HeaderValue>) -> Option<Self> {
        let mut found = Self { list: [(&[], 0); MAX], len: 0 };
        for member in lines.flat_map(|line| list::split(line.as_bytes(), b',')) {
            *found.list.get_mut(found.len)? = preference(member)?;
            found.len += 1;
        }
        found.list[..found.len].sort_unstable_by(|(one, weight), (other, its_weight)| {
            lower(one).cmp(lower(other)).then(weight.cmp(its_weight))
        });
        Some(found)
    }

    /// What is preferred to everything else.
    pub(crate) fn best(&self) -> Option<&'h [u8]> {
        let (best, weight) = self.all().iter().max_by_key(|(_, weight)| *weight)?;
        let ties = self.all().iter().filter(|(_, its_weight)| its_weight == weight).count();
        (ties == 1 && *weight != 0 && *best != b"*").then_some(*best)
    }

    /// Whether these are their bytes.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes().eq(bytes.iter().copied())
    }

    /// The names in lower case, each with its weight. A comma ends each; no name
    /// has one.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        self.all().iter().flat_map(|(name, weight)| {
            let [high, low] = weight.to_be_bytes();
            lower(name).chain([b',', high, low])
        })
    }

    /// How many bytes these are.
    pub(crate) fn len(&self) -> usize {
        self.all().iter().map(|(name, _)| name.len() + 3).sum()
    }

    fn all(&self) -> &[(&'h [u8], u16)] {
        &self.list[..self.len]
    }
}

fn lower(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(u8::to_ascii_lowercase)
}

/// A name, and its weight in thousandths.
fn preference(member: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = list::split(member, b';');
    let name = parts.next().filter(|name| !name.contains(&b'"'))?;
    let weight = match parts.next() {
        None => 1000,
        Some([b'q' | b'Q', b'=', weight @ ..]) => thousandths(weight)?,
        Some(_) => return None,
    };
    parts.next().is_none().then_some((name, weight))
}

fn thousandths(weight: &[u8]) -> Option<u16> {
    let (whole, fraction) = match weight {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let digits = fraction.iter().chain(b"000").take(3);
    let fraction = digits.copied().try_fold(0, |sum: u16, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0'))
    })?;
    match whole {
        b'0' => Some(fraction),
        b'1' if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_thousandths() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("1.000", Some(1000)),
            ("0", Some(0)),
            ("0.", Some(0)),
            ("0.5", Some(500)),
            ("0.123", Some(123)),
            ("1.1", None),
            ("0.1234", None),
            ("2", None),
            (".5", None),
            ("", None),
            ("0.x", None),
        ] {
            assert_eq!(thousandths(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn too_many_are_none() {
        let of = |count| {
            let line = HeaderValue::try_from(vec!["en"; count].join(",")).unwrap();
            Preferences::of([&line].into_iter()).is_some()
        };
        assert!(of(0) && of(MAX) && !of(MAX + 1));
    }
}
