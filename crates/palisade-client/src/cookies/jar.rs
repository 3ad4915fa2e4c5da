use std::{
    cmp::Reverse,
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use cookie_store::{Cookie, CookieDomain};
use http::{HeaderMap, HeaderValue, Uri, header::SET_COOKIE};
use url::Url;

/// Cookies that servers have set, for them to be sent again: see
/// [`ClientBuilder::cookies`](crate::ClientBuilder::cookies). Clones share them.
///
/// They are read and kept by RFC 6265, in memory, and are stricter than in browsers:
///
/// - A cookie goes back to the origin that set it and to no other: scheme, host and
///   port are the same. Which hosts belong together is not guessed from a list; name
///   their [`shared_domain`](Self::shared_domain).
/// - `Secure` and names that begin with `__Secure-` or `__Host-` are for https alone,
///   on loopback as well.
/// - 64 cookies are kept for each origin, each of at most 4 KiB: another one takes the
///   place of the one that was set least recently.
/// - A line of 8,190 bytes is sent at most, as servers refuse more: what does not fit of
///   those with the shortest path stays here.
/// - 256 origins have cookies. There is no room for more until those of one end, so that
///   none can drive out another.
///
/// ```
/// use http::Uri;
/// use palisade_client::CookieJar;
///
/// let jar = CookieJar::new().shared_domain("example.com");
/// let login = Uri::from_static("https://login.example.com/");
/// assert!(jar.set(&login, "session=abc; Domain=example.com; Secure"));
/// let sent = jar.cookies_for(&Uri::from_static("https://api.example.com/users")).unwrap();
/// assert_eq!(sent, "session=abc");
/// assert!(jar.cookies_for(&Uri::from_static("http://api.example.com/users")).is_none());
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct CookieJar {
    kept: Arc<RwLock<Kept>>,
    shared: Arc<[String]>,
}

/// What is in a jar.
#[derive(Default)]
struct Kept {
    // The cookies of each place, in the order in which they were set.
    places: HashMap<String, Vec<Aged>>,
    // The number of the last one that was created.
    created: u64,
}

/// A cookie, and its number in the order of creation.
struct Aged {
    cookie: Cookie<'static>,
    created: u64,
}

/// How many cookies are kept for each origin.
const COOKIES: usize = 64;
/// For how many origins.
const ORIGINS: usize = 256;
/// How long a cookie may be with its name: RFC 6265, section 6.1.
const COOKIE: usize = 4096;
/// How long all of it may be, as it is set.
const SET: usize = 2 * COOKIE;
/// How long all cookies of a request may be: Apache takes lines of 8,190 bytes, and nginx of 8,192.
const SENT: usize = 8190 - "cookie: ".len();

impl CookieJar {
    /// An empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a domain whose hosts share the cookies that they set for it, by
    /// `Domain`. Name one that is yours as a whole: under `com`, all would share.
    /// Defaults to none: each host has cookies of its own, whatever `Domain` says.
    pub fn shared_domain(mut self, domain: impl Into<String>) -> Self {
        let domain = domain.into().trim_matches('.').to_ascii_lowercase();
        self.shared = self.shared.iter().cloned().chain([domain]).collect();
        self
    }

    /// Takes a cookie as if it had come from there, in `Set-Cookie`. Whether it was
    /// taken.
    pub fn set(&self, from: &Uri, cookie: &str) -> bool {
        url(from).is_some_and(|url| self.take(&url, cookie).is_some())
    }

    /// What is sent there in `Cookie`. It is marked as sensitive.
    pub fn cookies_for(&self, to: &Uri) -> Option<HeaderValue> {
        self.cookies_beside(b"", to)
    }

    /// The same, after cookies that a request has already, and without those of their names.
    pub(crate) fn cookies_beside(&self, before: &[u8], to: &Uri) -> Option<HeaderValue> {
        let places = &self.kept.read().unwrap_or_else(PoisonError::into_inner).places;
        if places.is_empty() {
            return None;
        }
        let url = url(to)?;
        let shared = format!("{}://.", url.scheme());
        let own = places.get(&place(&url, None)).into_iter();
        let shared = places
            .iter()
            .filter(|(place, _)| !self.shared.is_empty() && place.starts_with(&shared))
            .map(|(_, cookies)| cookies);
        let mut cookies: Vec<_> = own
            .chain(shared)
            .flatten()
            .filter(|Aged { cookie, .. }| !cookie.is_expired() && cookie.matches(&url))
            .collect();
        // RFC 6265, section 5.4: longer paths come first, and then what was there first.
        cookies.sort_unstable_by_key(|Aged { cookie, created }| {
            (Reverse(cookie.path.as_ref().len()), *created)
        });
        let mut field = before.to_vec();
        for Aged { cookie, .. } in cookies {
            let (name, value) = cookie.name_value();
            let separator = if field.is_empty() { "" } else { "; " };
            let parts = [separator, name, "=", value];
            let length = field.len() + parts.map(str::len).into_iter().sum::<usize>();
            if length <= SENT && !names(before).any(|known| known == name.as_bytes()) {
                field.extend(parts.iter().flat_map(|part| part.bytes()));
            }
        }
        if field.len() == before.len() {
            return None;
        }
        let mut field = HeaderValue::from_maybe_shared(bytes::Bytes::from(field)).ok()?;
        field.set_sensitive(true);
        Some(field)
    }

    /// Forgets all cookies, as when somebody logs out.
    pub fn clear(&self) {
        self.kept.write().unwrap_or_else(PoisonError::into_inner).places.clear();
    }

    /// Takes what a response sets.
    pub(crate) fn take_all(&self, from: &Uri, headers: &HeaderMap) {
        let mut lines = headers.get_all(SET_COOKIE).iter().peekable();
        if lines.peek().is_none() {
            return;
        }
        let Some(url) = url(from) else { return };
        for line in lines {
            // RFC 6265, section 5.2: what cannot be read is ignored.
            let _ = str::from_utf8(line.as_bytes()).ok().and_then(|line| self.take(&url, line));
        }
    }

    fn take(&self, url: &Url, line: &str) -> Option<()> {
        // RFC 6265bis, section 5.6. With one such in the jar, no line could be made of it.
        let is_control = |char: char| char.is_ascii_control() && char != '\t';
        if SET < line.len() || line.contains(is_control) {
            return None;
        }
        let cookie = Cookie::parse(line, url).ok()?;
        if !is_allowed(&cookie, url) {
            return None;
        }
        let mut cookie = cookie.into_owned();
        let shared = match &cookie.domain {
            CookieDomain::Suffix(domain) if self.is_shared(domain) => Some(domain.clone()),
            _ => {
                cookie.domain = CookieDomain::host_only(url).ok()?;
                None
            }
        };
        let place = place(url, shared.as_deref());
        let kept = &mut *self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let places = &mut kept.places;
        if !places.contains_key(&place) && ORIGINS <= places.len() {
            places.retain(|_, cookies| !cookies.iter().all(Aged::is_expired));
            if ORIGINS <= places.len() {
                return None;
            }
        }
        kept.created += 1;
        put(places.entry(place).or_default(), Aged { cookie, created: kept.created })
    }

    fn is_shared(&self, domain: &str) -> bool {
        self.shared.iter().any(|shared| {
            domain.strip_suffix(&**shared).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
        })
    }
}

fn url(uri: &Uri) -> Option<Url> {
    Url::parse(&uri.to_string()).ok()
}

/// Where cookies are kept: for an origin, or for a domain and a scheme.
fn place(url: &Url, shared: Option<&str>) -> String {
    match shared {
        Some(domain) => format!("{}://.{domain}", url.scheme()),
        None => url.origin().ascii_serialization(),
    }
}

/// RFC 6265bis, section 5.7: what a cookie may say of itself.
fn is_allowed(cookie: &Cookie<'_>, url: &Url) -> bool {
    let begins = |prefix: &str| {
        cookie.name().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let secure = cookie.secure() == Some(true);
    let whole = cookie.domain().is_none() && cookie.path() == Some("/");
    cookie.name().len() + cookie.value().len() <= COOKIE
        && (!secure || url.scheme() == "https")
        && (secure || !begins("__Secure-"))
        && (secure && whole || !begins("__Host-"))
}

/// Puts a cookie among those of its place. None if it has ended, and ends none of them.
fn put(cookies: &mut Vec<Aged>, mut new: Aged) -> Option<()> {
    let is_same = |Aged { cookie, .. }: &Aged| {
        cookie.name() == new.cookie.name() && cookie.path.as_ref() == new.cookie.path.as_ref()
    };
    let old = cookies.iter().position(is_same).map(|index| cookies.remove(index));
    if new.is_expired() {
        return old.map(drop);
    }
    // RFC 6265, section 5.3: it is as old as the one that it replaces, if that has not ended.
    if let Some(old) = old.filter(|old| !old.is_expired()) {
        new.created = old.created;
    }
    // And what has ended goes first, and then what is oldest.
    if COOKIES <= cookies.len() {
        cookies.retain(|cookie| !cookie.is_expired());
    }
    if COOKIES <= cookies.len() {
        cookies.remove(0);
    }
    cookies.push(new);
    Some(())
}

impl Aged {
    fn is_expired(&self) -> bool {
        self.cookie.is_expired()
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJar").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// The names in a line of cookies.
fn names(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pairs = line.split(|byte| *byte == b';');
    pairs.filter_map(|pair| pair.split(|byte| *byte == b'=').next()).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_goes_before_what_is_old() {
        let url = Url::parse("https://api.example/").unwrap();
        let cookie = |index| Aged {
            cookie: Cookie::parse(format!("c{index}=1"), &url).unwrap().into_owned(),
            created: 0,
        };
        let mut cookies: Vec<_> = (0..COOKIES).map(cookie).collect();
        cookies[7].cookie.expire();
        for (index, oldest) in [(COOKIES, "c0"), (COOKIES + 1, "c1")] {
            assert!(put(&mut cookies, cookie(index)).is_some());
            assert_eq!((cookies.len(), cookies[0].cookie.name()), (COOKIES, oldest));
        }
    }

    #[test]
    fn what_has_ended_leaves_no_age() {
        let url = Url::parse("https://api.example/").unwrap();
        let cookie =
            |created| Aged { cookie: Cookie::parse("a=1", &url).unwrap().into_owned(), created };
        let mut cookies = vec![cookie(1)];
        put(&mut cookies, cookie(2));
        assert_eq!(cookies[0].created, 1);
        cookies[0].cookie.expire();
        put(&mut cookies, cookie(3));
        assert_eq!((cookies.len(), cookies[0].created), (1, 3));
    }
}
