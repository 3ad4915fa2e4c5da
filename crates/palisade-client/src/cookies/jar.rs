use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use cookie_store::{Cookie, CookieDomain, CookieStore};
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
/// - 64 cookies are kept for each origin, of 256 origins, each of at most 4 KiB.
///   There is no room for more until some of them end.
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
    places: Arc<RwLock<HashMap<String, CookieStore>>>,
    shared: Arc<[String]>,
}

/// How many cookies are kept for each origin.
const COOKIES: usize = 64;
/// For how many origins.
const ORIGINS: usize = 256;
/// How long a cookie may be with its name: RFC 6265, section 6.1.
const COOKIE: usize = 4096;
/// How long all of it may be, as it is sent.
const LINE: usize = 2 * COOKIE;

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
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
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
        let mut cookies: Vec<_> = own.chain(shared).flat_map(|kept| kept.matches(&url)).collect();
        // RFC 6265, section 5.4: longer paths come first.
        cookies.sort_unstable_by(|one, other| {
            let by_path = other.path.as_ref().len().cmp(&one.path.as_ref().len());
            by_path.then_with(|| one.name().cmp(other.name()))
        });
        let mut field = String::new();
        for cookie in cookies {
            let (name, value) = cookie.name_value();
            let separator = if field.is_empty() { "" } else { "; " };
            field.extend([separator, name, "=", value]);
        }
        if field.is_empty() {
            return None;
        }
        let mut field = HeaderValue::from_maybe_shared(bytes::Bytes::from(field)).ok()?;
        field.set_sensitive(true);
        Some(field)
    }

    /// Forgets all cookies, as when somebody logs out.
    pub fn clear(&self) {
        self.places.write().unwrap_or_else(PoisonError::into_inner).clear();
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
        let cookie = Cookie::parse(line, url).ok().filter(|_| line.len() <= LINE)?;
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
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if !places.contains_key(&place) && ORIGINS <= places.len() {
            places.retain(|_, cookies| cookies.iter_unexpired().next().is_some());
            if ORIGINS <= places.len() {
                return None;
            }
        }
        let cookies = places.entry(place).or_default();
        make_room(cookies);
        let domain = cookie.domain.as_cow()?;
        let known = cookies.contains(&domain, cookie.path.as_ref(), cookie.name());
        if !known && COOKIES <= cookies.iter_any().count() {
            return None;
        }
        cookies.insert(cookie, url).ok().map(drop)
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

/// Drops what has ended, if there is no room.
fn make_room(cookies: &mut CookieStore) {
    if cookies.iter_any().count() < COOKIES {
        return;
    }
    let ended: Vec<_> = cookies
        .iter_any()
        .filter(|cookie| cookie.is_expired())
        .map(|cookie| (String::from(&cookie.domain), cookie.path.clone(), cookie.name().to_owned()))
        .collect();
    for (domain, path, name) in ended {
        cookies.remove(&domain, path.as_ref(), &name);
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJar").field("shared", &self.shared).finish_non_exhaustive()
    }
}
