//! How old a response was said to be, and how old it is said to be on: RFC 9111, section 5.1.

use http::{HeaderMap, HeaderValue, header::AGE};

use super::list;

/// The age that others saw a response reach, in seconds.
///
/// Of a list the first member counts, of several lines the first one; what is no
/// number is as if it were not there.
pub(crate) fn of(headers: &HeaderMap) -> u32 {
    let Some(line) = headers.get(AGE) else {
        return 0;
    };
    let first = line.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default();
    list::seconds(list::trim(first)).unwrap_or(0)
}

/// The value of the field on the way out. Costs one allocation at most, and none
/// for small ages.
pub(crate) fn value(age: u32) -> HeaderValue {
    const DIGITS: &str = "0123456789";
    if let Some(digit) = DIGITS.get(age as usize..).and_then(|digits| digits.get(..1)) {
        return HeaderValue::from_static(digit);
    }
    // As many digits as the largest has. `HeaderValue::from` allocates twice.
    let mut digits = [0; 10];
    let (mut rest, mut start) = (age, digits.len());
    while rest != 0 {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    HeaderValue::from_bytes(&digits[start..]).expect("digits are a value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::list::MAX_SECONDS;

    #[test]
    fn the_first_member_of_the_first_line_counts() {
        // What the suite calls age-parse.
        for (lines, expected) in [
            (&[][..], 0),
            (&["7200"], 7200),
            (&["2147483647"], MAX_SECONDS - 1),
            (&["2147483648"], MAX_SECONDS),
            (&["99999999999999999999"], MAX_SECONDS),
            (&["7200, 0"], 7200),
            (&["7200,0"], 7200),
            (&["0, 7200"], 0),
            (&["7200", "0"], 7200),
            (&["0", "7200"], 0),
            (&["0, 0"], 0),
            (&["3600", "3600"], 3600),
            (&["abc"], 0),
            (&["-7200"], 0),
            (&["7200.0"], 0),
            (&["7200;foo=bar"], 0),
            (&["\"7200\""], 0),
            (&[", 7200"], 0),
            (&[""], 0),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AGE, HeaderValue::from_static(line));
            }
            assert_eq!(of(&headers), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_age_is_written_as_a_number() {
        for age in [0, 1, 9, 10, 11, 3600, MAX_SECONDS, u32::MAX] {
            assert_eq!(value(age), age.to_string());
        }
    }
}
