//! Credentials that do not change.

use std::{fmt, future::Ready, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri,
    header::{AUTHORIZATION, COOKIE},
};
use zeroize::Zeroizing;

use crate::{Applied, AuthError, Authenticator, InvalidToken, Refused, Secret, Stamp, Token};

/// A future that nobody waits for.
type Never = Ready<Result<(), AuthError>>;

/// A bearer token (RFC 6750) that does not change.
///
/// One that does is kept fresh by [`Tokens`](crate::Tokens).
///
/// ```
/// use palisade_auth::{AuthLayer, Bearer};
/// use palisade_core::Origins;
///
/// let bearer = Bearer::new("t0ps3cret")?;
/// let layer = AuthLayer::new(bearer, Origins::new(["https://api.example"]));
///
/// // The line break at the end of a file.
/// assert!(Bearer::new("t0ps3cret\n").is_err());
/// # Ok::<_, palisade_auth::InvalidToken>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bearer(Token);

impl Bearer {
    /// Puts this token on requests.
    ///
    /// # Errors
    ///
    /// If it is empty, or has other letters than a header field may have.
    pub fn new(token: impl Into<Secret>) -> Result<Self, InvalidToken> {
        Token::bearer(token).map(Self)
    }

    #[inline]
    pub(crate) fn put_on<B, W>(&self, request: &mut Request<B>) -> Applied<W> {
        self.0.put_on(request)
    }
}

impl Authenticator for Bearer {
    type Wait = Never;

    fn may_change(&self) -> bool {
        false
    }

    #[inline]
    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Never> {
        self.put_on(request)
    }

    fn refused<B>(&self, _: Stamp, _: &Response<B>) -> Refused<Never> {
        Refused::Final
    }
}

impl Token {
    #[inline]
    pub(crate) fn put_on<B, W>(&self, request: &mut Request<B>) -> Applied<W> {
        put(request, &AUTHORIZATION, self.header())
    }
}

/// A token that is used until it is refused, and longer.
impl Authenticator for Token {
    type Wait = Never;

    fn may_change(&self) -> bool {
        false
    }

    #[inline]
    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Never> {
        self.put_on(request)
    }

    fn refused<B>(&self, _: Stamp, _: &Response<B>) -> Refused<Never> {
        Refused::Final
    }
}

/// A user name and a password, in the field `Authorization` (RFC 7617).
///
/// ```
/// use palisade_auth::Basic;
///
/// assert!(Basic::new("aladdin", "open sesame").is_ok());
/// assert!(Basic::new("ala:ddin", "open sesame").is_err());
/// ```
#[derive(Clone)]
pub struct Basic {
    value: HeaderValue,
}

impl Basic {
    /// Puts these on requests, as UTF-8.
    ///
    /// # Errors
    ///
    /// If there is a colon in the user name, or a control character in either
    /// (RFC 7617, section 2).
    pub fn new(user: &str, password: impl Into<Secret>) -> Result<Self, InvalidCredential> {
        let password = password.into();
        let password = password.expose();
        if user.contains(':') {
            return Err(InvalidCredential("a user name must not have a colon"));
        }
        if [user, password].into_iter().flat_map(str::chars).any(char::is_control) {
            let what = "a user name or password must not have control characters";
            return Err(InvalidCredential(what));
        }
        let pair = Zeroizing::new(format!("{user}:{password}"));
        let mut text = Zeroizing::new(String::from("Basic "));
        BASE64_STANDARD.encode_string(pair.as_bytes(), &mut text);
        let value = sensitive(&text).ok_or(InvalidCredential("it is too long"))?;
        Ok(Self { value })
    }

    #[inline]
    pub(crate) fn put_on<B, W>(&self, request: &mut Request<B>) -> Applied<W> {
        put(request, &AUTHORIZATION, &self.value)
    }
}

impl Authenticator for Basic {
    type Wait = Never;

    fn may_change(&self) -> bool {
        false
    }

    #[inline]
    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Never> {
        self.put_on(request)
    }

    fn refused<B>(&self, _: Stamp, _: &Response<B>) -> Refused<Never> {
        Refused::Final
    }
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Basic(..)")
    }
}

/// A key in a header field, in the query or in a cookie.
///
/// A header field is best: a query is written into the logs of servers and
/// proxies. What follows redirects belongs outside of the layer then: further in,
/// it knows of `Authorization` and `Cookie` that they go to no other host, but not
/// of a field of another name.
///
/// ```
/// use http::HeaderName;
/// use palisade_auth::ApiKey;
///
/// let key = ApiKey::header(HeaderName::from_static("x-api-key"), "k3y")?;
/// let key = ApiKey::query("api_key", "k3y")?;
/// # Ok::<_, palisade_auth::InvalidCredential>(())
/// ```
#[derive(Clone)]
pub struct ApiKey {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Header(HeaderName, HeaderValue),
    // Name and value, as they are written there.
    Query(Arc<Zeroizing<String>>),
    Cookie(Arc<Zeroizing<String>>),
}

impl ApiKey {
    /// In a header field of this name.
    ///
    /// # Errors
    ///
    /// If the key is empty, or has other letters than visible ASCII and spaces
    /// between them.
    pub fn header(name: HeaderName, key: impl Into<Secret>) -> Result<Self, InvalidCredential> {
        let key = key.into();
        let text = key.expose();
        let visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if text.is_empty() || text.trim() != text || !text.bytes().all(visible) {
            let what = "a key in a header field must be visible ASCII: trim it";
            return Err(InvalidCredential(what));
        }
        let value = sensitive(text).ok_or(InvalidCredential("it is too long"))?;
        Ok(Self { place: Place::Header(name, value) })
    }

    /// In the query, after what the request has there. Name and key are encoded
    /// as they have to be. One that has a pair of this name is sent as it is, unless the
    /// layer [replaces](crate::AuthLayer::replace_own) what is there: a server may
    /// have written it into where it redirects to.
    ///
    /// # Errors
    ///
    /// If the name or the key is empty.
    pub fn query(name: &str, key: impl Into<Secret>) -> Result<Self, InvalidCredential> {
        let key = key.into();
        if name.is_empty() || key.expose().is_empty() {
            return Err(InvalidCredential("name and key must not be empty"));
        }
        let mut pair = Zeroizing::new(String::new());
        percent_encode(name, &mut pair);
        pair.push('=');
        percent_encode(key.expose(), &mut pair);
        Ok(Self { place: Place::Query(Arc::new(pair)) })
    }

    /// In a cookie, after those that the request has.
    ///
    /// # Errors
    ///
    /// If the name is no token, or the key has letters that no cookie may have
    /// (RFC 6265, section 4.1.1).
    pub fn cookie(name: &str, key: impl Into<Secret>) -> Result<Self, InvalidCredential> {
        let key = key.into();
        let named = HeaderName::from_bytes(name.as_bytes()).is_ok();
        let allowed = |byte: u8| byte.is_ascii_graphic() && !br#"",;\"#.contains(&byte);
        if !named || key.expose().is_empty() || !key.expose().bytes().all(allowed) {
            return Err(InvalidCredential("name or key are not what a cookie may have"));
        }
        let pair = Zeroizing::new(format!("{name}={}", key.expose()));
        Ok(Self { place: Place::Cookie(Arc::new(pair)) })
    }

    pub(crate) fn put_on<B, W>(&self, request: &mut Request<B>) -> Applied<W> {
        let put = match &self.place {
            Place::Header(name, value) => return put(request, name, value),
            Place::Query(pair) => with_query(request.uri(), pair).map(|uri| {
                *request.uri_mut() = uri;
            }),
            Place::Cookie(pair) => with_cookie(request.headers(), pair)
                .and_then(|cookies| request.headers_mut().try_insert(COOKIE, cookies).ok())
                .map(|_| ()),
        };
        match put {
            Some(()) => Applied::Done(Stamp::FIXED),
            None => Applied::Failed(no_room()),
        }
    }
}

impl Authenticator for ApiKey {
    type Wait = Never;

    fn may_change(&self) -> bool {
        false
    }

    fn has_own<B>(&self, request: &Request<B>) -> bool {
        match &self.place {
            Place::Header(name, _) => request.headers().contains_key(name),
            Place::Query(pair) => pairs(request.uri()).any(|own| name(own) == name(pair)),
            Place::Cookie(_) => false,
        }
    }

    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Never> {
        self.put_on(request)
    }

    fn refused<B>(&self, _: Stamp, _: &Response<B>) -> Refused<Never> {
        Refused::Final
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.place {
            Place::Header(..) => "ApiKey(header, ..)",
            Place::Query(_) => "ApiKey(query, ..)",
            Place::Cookie(_) => "ApiKey(cookie, ..)",
        })
    }
}

/// A credential that cannot be written where it belongs. It is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCredential(&'static str);

impl fmt::Display for InvalidCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidCredential {}

#[inline]
pub(crate) fn put<B, W>(
    request: &mut Request<B>,
    name: &HeaderName,
    value: &HeaderValue,
) -> Applied<W> {
    match request.headers_mut().try_insert(name, value.clone()) {
        Ok(_) => Applied::Done(Stamp::FIXED),
        Err(_) => Applied::Failed(no_room()),
    }
}

#[cold]
fn no_room() -> AuthError {
    let what = "the head of the request has no room for credentials";
    AuthError::new(what, crate::Recovery::FixRequest)
}

/// In place of a pair of its name.
fn with_query(uri: &Uri, pair: &str) -> Option<Uri> {
    let mut text = format!("{}?", uri.path());
    for other in pairs(uri).filter(|own| name(own) != name(pair)) {
        text.extend([other, "&"]);
    }
    text.push_str(pair);
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(text.try_into().ok()?);
    Uri::from_parts(parts).ok()
}

fn pairs(uri: &Uri) -> impl Iterator<Item = &str> {
    uri.query().filter(|query| !query.is_empty()).into_iter().flat_map(|query| query.split('&'))
}

fn name(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

/// All of them in one field: RFC 9113, section 8.2.3, allows for several, and HTTP/1.1
/// does not.
fn with_cookie(headers: &HeaderMap, pair: &str) -> Option<HeaderValue> {
    let cookies = headers.get_all(COOKIE).iter();
    let before = cookies.map(HeaderValue::as_bytes).filter(|cookies| !cookies.is_empty());
    let all: Vec<_> = before.chain([pair.as_bytes()]).collect();
    let cookies = Zeroizing::new(all.join(&b"; "[..]));
    let mut cookies = HeaderValue::from_bytes(&cookies).ok()?;
    cookies.set_sensitive(true);
    Some(cookies)
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// RFC 3986, section 2.3: all but what needs no encoding anywhere.
fn percent_encode(text: &str, into: &mut String) {
    use fmt::Write as _;

    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                into.push(byte.into());
            }
            byte => {
                let written: Result<(), fmt::Error> = write!(into, "%{byte:02X}");
                written.expect("a string takes all");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(authenticator: &impl Authenticator, mut request: Request<()>) -> Request<()> {
        assert!(matches!(authenticator.apply(&mut request), Applied::Done(Stamp::FIXED)));
        request
    }

    fn request(uri: &str) -> Request<()> {
        Request::get(uri).body(()).unwrap()
    }

    #[test]
    fn a_token_is_put_as_a_bearer() {
        let bearer = Bearer::new("abc").unwrap();
        let token = Token::new("Token", "abc").unwrap();
        let value = |request: Request<()>| request.headers()[AUTHORIZATION].clone();
        assert_eq!(value(applied(&bearer, request("/"))), "Bearer abc");
        assert_eq!(value(applied(&token, request("/"))), "Token abc");
        assert!(value(applied(&bearer, request("/"))).is_sensitive());
        for nonsense in ["", "abc\n", "a b", "gr\u{fc}n"] {
            assert!(Bearer::new(nonsense).is_err());
        }
    }

    #[test]
    fn user_and_password_are_encoded() {
        // The examples of RFC 7617, sections 2 and 2.1.
        for (user, password, expected) in [
            ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("test", "123\u{a3}", "Basic dGVzdDoxMjPCow=="),
            ("", "", "Basic Og=="),
        ] {
            let basic = Basic::new(user, password).unwrap();
            let request = applied(&basic, request("/"));
            let value = &request.headers()[AUTHORIZATION];
            assert_eq!(value, expected);
            assert!(value.is_sensitive());
            assert_eq!(format!("{basic:?}"), "Basic(..)");
        }
        assert!(Basic::new("a:b", "c").is_err());
        assert!(Basic::new("a", "b\n").is_err());
    }

    #[test]
    fn a_key_goes_into_a_field_a_query_or_a_cookie() {
        let name = HeaderName::from_static("x-api-key");
        let key = ApiKey::header(name.clone(), "k3y").unwrap();
        let with_field = applied(&key, request("/"));
        let value = &with_field.headers()[name];
        assert!(value == "k3y" && value.is_sensitive());

        let key = ApiKey::query("api key", "a&b=\u{e4}").unwrap();
        for (before, after) in [
            ("https://api.example", "https://api.example/?"),
            ("https://api.example/a?", "https://api.example/a?"),
            ("/a?b=c", "/a?b=c&"),
        ] {
            assert!(!key.has_own(&request(before)));
            let uri = applied(&key, request(before)).uri().to_string();
            assert_eq!(uri, format!("{after}api%20key=a%26b%3D%C3%A4"));
        }
        let own = request("/a?api%20key=old&&b&api%20keys=c");
        assert!(key.has_own(&own));
        let uri = applied(&key, own).uri().to_string();
        assert_eq!(uri, "/a?&b&api%20keys=c&api%20key=a%26b%3D%C3%A4");

        let key = ApiKey::cookie("session", "k3y").unwrap();
        let mut crowded = request("/");
        crowded.headers_mut().insert(COOKIE, HeaderValue::from_static("a=b"));
        for (request, expected) in [(request("/"), "session=k3y"), (crowded, "a=b; session=k3y")] {
            let request = applied(&key, request);
            let value = &request.headers()[COOKIE];
            assert!(value == expected && value.is_sensitive());
        }
    }

    #[test]
    fn a_key_that_cannot_be_written_is_no_key() {
        for key in ["", "k3y\n", " k3y", "\u{e4}"] {
            assert!(ApiKey::header(HeaderName::from_static("x-api-key"), key).is_err(), "{key}");
        }
        for (name, key) in [("", "k"), ("a b", "k"), ("a", ""), ("a", "k;k"), ("a", "\u{e4}")] {
            assert!(ApiKey::cookie(name, key).is_err(), "{name} {key}");
        }
        assert!(ApiKey::query("", "k").is_err() && ApiKey::query("a", "").is_err());
    }

    #[test]
    fn what_has_no_room_is_an_error() {
        let key = ApiKey::query("key", "k3y").unwrap();
        let mut request = request(&format!("/{}", "a".repeat(65_000)));
        let key = ApiKey::query("key", "k".repeat(1000)).unwrap_or(key);
        assert!(matches!(key.apply(&mut request), Applied::Failed(_)));
    }

    proptest! {
        #[test]
        fn any_password_can_be_written(user in "[^:\\p{C}]{0,20}", password in "\\P{C}{0,40}") {
            prop_assert!(Basic::new(&user, password).is_ok());
        }

        #[test]
        fn any_key_can_be_asked_for(name in "\\PC{1,10}", key in any::<String>()) {
            prop_assume!(!key.is_empty());
            let key = ApiKey::query(&name, key).unwrap();
            applied(&key, request("https://api.example/a?b=c"));
        }
    }
}
