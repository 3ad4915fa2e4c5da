//! What fields a request has, and how another one joins them.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, Entry},
};
use palisade_core::is_secret;

use crate::invalid::Invalid;

/// Puts a field beside others of its name, or in their place if there may be but one.
pub(crate) fn put(
    headers: &mut HeaderMap,
    name: HeaderName,
    mut value: HeaderValue,
) -> Result<(), Invalid> {
    if is_secret(&name) {
        value.set_sensitive(true);
    }
    match headers.try_entry(name).map_err(|_| full())? {
        Entry::Vacant(entry) => {
            entry.try_insert(value).map_err(|_| full())?;
        }
        Entry::Occupied(mut entry) if *entry.key() == COOKIE => {
            // RFC 6265, section 5.4: there is one line of cookies.
            let joined = [entry.get().as_bytes(), b"; ", value.as_bytes()].concat();
            let mut joined = HeaderValue::from_bytes(&joined).map_err(|_| full())?;
            joined.set_sensitive(true);
            entry.insert(joined);
        }
        Entry::Occupied(mut entry) if is_single(entry.key()) => {
            entry.insert(value);
        }
        Entry::Occupied(mut entry) => entry.append(value),
    }
    Ok(())
}

/// Whether there is such a field. There are few: to look at all takes less time than to look
/// one up.
#[inline]
pub(crate) fn has(headers: &HeaderMap, wanted: &HeaderName) -> bool {
    headers.keys().any(|name| name == wanted)
}

#[cold]
fn full() -> Invalid {
    Invalid::new("there are too many headers")
}

/// RFC 9110, section 8.6: digits, and nothing else.
pub(crate) fn length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// RFC 9110, section 5.3: of a field that is no list there is one line. So is it with
/// credentials, whatever an API calls them.
fn is_single(name: &HeaderName) -> bool {
    is_secret(name)
        || matches!(
            name.as_str(),
            // RFC 9110.
            "content-length"
                | "content-location"
                | "content-range"
                | "content-type"
                | "date"
                | "from"
                | "host"
                | "if-modified-since"
                | "if-range"
                | "if-unmodified-since"
                | "last-modified"
                | "max-forwards"
                | "range"
                | "referer"
                | "user-agent"
                // RFC 6266, section 4.1.
                | "content-disposition"
                // RFC 4918, section 10.
                | "depth"
                | "destination"
                | "overwrite"
                // RFC 6454, section 7.3.
                | "origin"
                // An Internet-Draft, and Trace Context of W3C.
                | "idempotency-key"
                | "traceparent"
        )
}
