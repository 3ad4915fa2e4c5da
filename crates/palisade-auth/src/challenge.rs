use std::fmt;

use http::{HeaderMap, header::WWW_AUTHENTICATE};

/// What a server asks for in place of a refused request: one challenge of a field
/// `WWW-Authenticate` (RFC 9110, section 11.3).
///
/// ```
/// use http::{HeaderMap, header::WWW_AUTHENTICATE};
/// use palisade_auth::challenges;
///
/// let mut headers = HeaderMap::new();
/// let value = r#"Basic realm="users", Bearer error="invalid_token", scope="read write""#;
/// headers.insert(WWW_AUTHENTICATE, value.parse()?);
///
/// let [basic, bearer] = &challenges(&headers)[..] else { panic!("there are two") };
/// assert_eq!((basic.scheme(), basic.param("REALM")), ("Basic", Some("users")));
/// assert_eq!(bearer.param("error"), Some("invalid_token"));
/// assert_eq!(bearer.param("scope"), Some("read write"));
/// # Ok::<_, http::header::InvalidHeaderValue>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    token68: Option<String>,
    params: Vec<(String, String)>,
}

/// The challenges of a response, in order, of all of its fields.
///
/// What is malformed is left out, and the rest read all the same. What goes beyond
/// 32 challenges, 32 parameters of one, or 16 KiB of one field is not looked at.
pub fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let mut found = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE).iter().take(MAX_CHALLENGES) {
        let bytes = value.as_bytes();
        Reader { rest: bytes.get(..MAX_FIELD).unwrap_or(bytes) }.read_all(&mut found);
    }
    found
}

impl Challenge {
    /// The scheme, as it was written. It is compared without regard to case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether it is of this scheme.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The value of a parameter, without quotes, whatever the case of its name. Of
    /// several, which there must not be, it is the first.
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut params = self.params.iter();
        params.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// It, written as the grammar wants it.
    #[cfg(any(test, feature = "__fuzz"))]
    pub(crate) fn to_field(&self) -> String {
        let token68 = self.token68.iter().cloned();
        let params = self.params.iter().map(|(name, value)| {
            format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
        });
        format!("{} {}", self.scheme, token68.chain(params).collect::<Vec<_>>().join(", "))
    }

    /// What stands in place of parameters, as with `Negotiate`.
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }
}

/// The data of a handshake is not shown.
impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Challenge");
        shown.field("scheme", &self.scheme).field("params", &self.params).finish_non_exhaustive()
    }
}

/// What a refusal says of the token: RFC 6750, section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is expired, revoked or malformed: another one may do.
    InvalidToken,
    /// Nothing, as of most servers.
    Bare,
    /// It is not good for what was asked: another one of its kind will not do.
    InsufficientScope,
    /// Something else is wrong with the request.
    Other,
}

pub(crate) fn verdict(headers: &HeaderMap) -> Verdict {
    judge(headers).map_or(Verdict::Bare, |(verdict, _)| verdict)
}

/// If a token was good, but not for what was asked: what it has to be good for, if
/// that is said.
pub(crate) fn scope_that_lacks(headers: &HeaderMap) -> Option<Option<String>> {
    match judge(headers)? {
        (Verdict::InsufficientScope, challenge) => {
            Some(challenge.param("scope").map(str::to_owned))
        }
        _ => None,
    }
}

/// Of several challenges, the one that says what can be done.
fn judge(headers: &HeaderMap) -> Option<(Verdict, Challenge)> {
    let challenges = challenges(headers).into_iter();
    let ours = challenges.filter(|challenge| challenge.is("Bearer") || challenge.is("DPoP"));
    let judged = ours.map(|challenge| match challenge.param("error") {
        Some("invalid_token") => (Verdict::InvalidToken, challenge),
        Some("insufficient_scope") => (Verdict::InsufficientScope, challenge),
        Some(_) => (Verdict::Other, challenge),
        None => (Verdict::Bare, challenge),
    });
    judged.min_by_key(|(verdict, _)| match verdict {
        Verdict::InvalidToken => 0,
        Verdict::InsufficientScope => 1,
        Verdict::Other => 2,
        Verdict::Bare => 3,
    })
}

const MAX_CHALLENGES: usize = 32;
const MAX_PARAMS: usize = 32;
pub(crate) const MAX_FIELD: usize = 16 * 1024;

/// Reads one field from left to right, and no byte more often than three times.
struct Reader<'f> {
    rest: &'f [u8],
}

impl<'f> Reader<'f> {
    /// Reads elements of a list, which are challenges, or parameters of the one
    /// before: RFC 9110, section 11.6.1.
    fn read_all(&mut self, found: &mut Vec<Challenge>) {
        // A parameter at the start of a field belongs to no challenge.
        let mut current = None;
        loop {
            self.skip(|byte| byte == b',' || is_space(byte));
            if self.rest.is_empty() {
                break;
            }
            if self.params(&mut current) {
                continue;
            }
            let scheme = self.token();
            if scheme.is_empty() || !matches!(self.rest.first(), None | Some(b' ' | b'\t' | b',')) {
                self.skip_element();
                continue;
            }
            found.extend(current.take());
            if found.len() >= MAX_CHALLENGES {
                return;
            }
            self.skip(is_space);
            let token68 = self.token68();
            current = Some(Challenge { scheme: text(scheme), token68, params: Vec::new() });
            if !self.params(&mut current) {
                self.skip_element();
            }
        }
        found.extend(current);
    }

    /// Reads parameters up to the next comma. Says whether there was one.
    fn params(&mut self, current: &mut Option<Challenge>) -> bool {
        let mut any = false;
        while let Some((name, value)) = self.param() {
            any = true;
            let params = current.as_mut().map(|challenge| &mut challenge.params);
            if let Some(params) = params.filter(|params| params.len() < MAX_PARAMS) {
                params.push((text(name), value));
            }
            self.skip(is_space);
        }
        if any {
            self.skip_element();
        }
        any
    }

    fn param(&mut self) -> Option<(&'f [u8], String)> {
        let start = self.rest;
        let name = self.token();
        self.skip(is_space);
        if name.is_empty() || self.rest.first() != Some(&b'=') {
            self.rest = start;
            return None;
        }
        self.rest = &self.rest[1..];
        self.skip(is_space);
        let value = match self.rest.first() {
            Some(b'"') => self.quoted(),
            // More than a token may hold, as by servers that forget the quotes.
            _ => text(self.take(|byte| byte != b',' && !is_space(byte))),
        };
        Some((name, value))
    }

    /// A quoted string without its quotes; if it does not end, all that is left.
    fn quoted(&mut self) -> String {
        let mut value = Vec::new();
        let mut bytes = self.rest[1..].iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'"' => break,
                b'\\' => value.extend(bytes.next()),
                byte => value.push(byte),
            }
        }
        self.rest = bytes.as_slice();
        text(&value)
    }

    /// What stands between scheme and comma, and can be no parameter.
    fn token68(&mut self) -> Option<String> {
        let start = self.rest;
        let letters =
            self.take(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)).len();
        let padding = self.take(|byte| byte == b'=').len();
        self.skip(is_space);
        if letters == 0 || !matches!(self.rest.first(), None | Some(b',')) {
            self.rest = start;
            return None;
        }
        Some(text(&start[..letters + padding]))
    }

    fn token(&mut self) -> &'f [u8] {
        self.take(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    }

    fn skip_element(&mut self) {
        while let Some(&byte) = self.rest.first() {
            match byte {
                b',' => return,
                b'"' => drop(self.quoted()),
                _ => self.rest = &self.rest[1..],
            }
        }
    }

    fn skip(&mut self, what: impl Fn(u8) -> bool) {
        self.take(what);
    }

    fn take(&mut self, what: impl Fn(u8) -> bool) -> &'f [u8] {
        let end = self.rest.iter().position(|byte| !what(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers<V: AsRef<[u8]>>(values: &[V]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(value.as_ref()).unwrap());
        }
        headers
    }

    /// Challenges as `Scheme(token68) name=value; name=value`, with a line each.
    fn shown(headers: &HeaderMap) -> String {
        let shown = challenges(headers).into_iter().map(|challenge| {
            let token68 = challenge.token68.map(|token| format!("({token})")).unwrap_or_default();
            let params = challenge.params.iter().map(|(name, value)| format!("{name}={value}"));
            let params = params.collect::<Vec<_>>().join("; ");
            format!("{}{token68} {params}", challenge.scheme).trim_end().to_owned()
        });
        shown.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn reads_challenges() {
        for (field, expected) in [
            // RFC 9110, section 11.6.1
            (
                r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#,
                "Basic realm=simple\nNewauth realm=apps; type=1; title=Login to \"apps\"",
            ),
            // RFC 6750, section 3
            (r#"Bearer realm="example""#, "Bearer realm=example"),
            (
                r#"Bearer realm="example", error="invalid_token", error_description="The access token expired""#,
                "Bearer realm=example; error=invalid_token; error_description=The access token expired",
            ),
            // RFC 9449, sections 7.1 and 9
            (
                r#"DPoP error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof""#,
                "DPoP error=use_dpop_nonce; error_description=Resource server requires nonce in DPoP proof",
            ),
            // RFC 9728, section 5.1
            (
                r#"Bearer resource_metadata="https://resource.example.com/.well-known/oauth-protected-resource""#,
                "Bearer resource_metadata=https://resource.example.com/.well-known/oauth-protected-resource",
            ),
            // RFC 7616, section 3.9.1
            (
                r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256"#,
                "Digest realm=http-auth@example.org; qop=auth, auth-int; algorithm=SHA-256",
            ),
            // Schemes alone, and with a token
            ("Bearer", "Bearer"),
            ("Negotiate, NTLM", "Negotiate\nNTLM"),
            ("Negotiate abc==, Basic realm=x", "Negotiate(abc==)\nBasic realm=x"),
            ("Negotiate a/b+c-d._~", "Negotiate(a/b+c-d._~)"),
            ("Scheme abc=", "Scheme(abc=)"),
            ("Scheme abc=d", "Scheme abc=d"),
            ("Scheme abc==d", "Scheme abc==d"),
            // Space where it may be, and where it should not
            ("  Bearer   realm = \"x\" \t,\terror\t=\tabc  ", "Bearer realm=x; error=abc"),
            ("Bearer\trealm=x", "Bearer realm=x"),
            (r#"Digest realm="a" nonce="b" c=d, Basic"#, "Digest realm=a; nonce=b; c=d\nBasic"),
            // Empty elements
            (",, ,Bearer ,, realm=x,, , ,Basic,", "Bearer realm=x\nBasic"),
            // Letters that mean something elsewhere
            (r#"Bearer a="b, Basic c=\"d\" \\ =", e=f"#, "Bearer a=b, Basic c=\"d\" \\ =; e=f"),
            (r#"Bearer realm="", error=x"#, "Bearer realm=; error=x"),
            // By the grammar, this is a token68.
            ("Bearer realm=, error=x", "Bearer(realm=) error=x"),
            ("Bearer a=b, realm=, error=x", "Bearer a=b; realm=; error=x"),
            ("Bearer scope=https://a.example/b?c", "Bearer scope=https://a.example/b?c"),
            // What is twice is kept, and the first is the one that counts
            ("Bearer error=a, Error=b", "Bearer error=a; Error=b"),
            ("Bearer error=a, Bearer error=b", "Bearer error=a\nBearer error=b"),
            // Malformed
            ("", ""),
            (",", ""),
            ("realm=x", ""),
            ("realm=x, Bearer error=y", "Bearer error=y"),
            ("\"Bearer\" error=x", ""),
            ("Bear(er, Basic realm=x", "Basic realm=x"),
            ("=x, Basic", "Basic"),
            (r#"Bearer realm="x"#, "Bearer realm=x"),
            (r#"Bearer realm="x\"#, "Bearer realm=x"),
            ("Bearer realm=\"x\" junk \"a, b\" junk, error=y", "Bearer realm=x; error=y"),
            ("Bearer error=invalid_token the token expired", "Bearer error=invalid_token"),
            ("Bearer the token expired, error=x", "Bearer error=x"),
            ("Bearer \"the token, expired\", error=x", "Bearer error=x"),
        ] {
            assert_eq!(shown(&headers(&[field])), expected, "{field}");
        }
    }

    #[test]
    fn reads_several_fields_each_for_itself() {
        let several = headers(&["Basic realm=\"open", "error=x", "bearer", "error=invalid_token"]);
        assert_eq!(shown(&several), "Basic realm=open\nbearer");
        assert!(challenges(&HeaderMap::new()).is_empty());
    }

    #[test]
    fn reads_letters_beyond_ascii() {
        let foreign = headers(&[&b"Bearer realm=\"caf\xc3\xa9\", a=\"\xff\", \xff, b=c"[..]]);
        assert_eq!(shown(&foreign), "Bearer realm=caf\u{e9}; a=\u{fffd}; b=c");
    }

    #[test]
    fn tells_what_a_refusal_says() {
        for (fields, expected) in [
            (&[][..], Verdict::Bare),
            (&["Bearer"], Verdict::Bare),
            (&["Basic realm=x"], Verdict::Bare),
            (&["Basic error=insufficient_scope"], Verdict::Bare),
            (&["bearer ERROR=\"invalid_token\""], Verdict::InvalidToken),
            (&["dpop error=invalid_token"], Verdict::InvalidToken),
            (&["Basic realm=x", "Bearer error=invalid_token"], Verdict::InvalidToken),
            (&["DPoP algs=ES256, Bearer error=invalid_token"], Verdict::InvalidToken),
            (&["Bearer error=invalid_token, DPoP error=use_dpop_nonce"], Verdict::InvalidToken),
            (&["Bearer error=insufficient_scope, scope=\"a b\""], Verdict::InsufficientScope),
            (&["Bearer, DPoP error=use_dpop_nonce"], Verdict::Other),
            (&["Bearer error=invalid_request"], Verdict::Other),
            (&["Bearer error=invalid_request, error=invalid_token"], Verdict::Other),
            (&["Bearer realm=\"error=invalid_token\""], Verdict::Bare),
            (&["Basic realm=\"x, Bearer error=invalid_token\""], Verdict::Bare),
        ] {
            assert_eq!(verdict(&headers(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn tells_what_a_token_lacks() {
        for (field, expected) in [
            ("Bearer error=insufficient_scope, scope=\"a b\"", Some(Some("a b"))),
            ("DPoP error=insufficient_scope", Some(None)),
            ("Bearer scope=\"a b\"", None),
            ("Bearer error=invalid_token, scope=a", None),
            ("Basic error=insufficient_scope, scope=a", None),
            ("Bearer error=insufficient_scope, scope=a, DPoP error=invalid_token", None),
        ] {
            let found = scope_that_lacks(&headers(&[field]));
            assert_eq!(found.as_ref().map(Option::as_deref), expected, "{field}");
        }
    }

    #[test]
    fn looks_at_so_much_and_no_more() {
        let many = challenges(&headers(&["a, ".repeat(5_000)]));
        assert_eq!(many.len(), MAX_CHALLENGES);
        let many = challenges(&headers(&vec!["a"; 5_000]));
        assert_eq!(many.len(), MAX_CHALLENGES);
        let many = challenges(&headers(&[format!("a {}", "b=c, ".repeat(3_000))]));
        assert_eq!(many[0].params.len(), MAX_PARAMS);
        let long = challenges(&headers(&[format!("Bearer realm=\"{}\"", "x".repeat(100_000))]));
        assert!(long[0].params[0].1.len() < MAX_FIELD);
    }

    #[test]
    fn the_data_of_a_handshake_is_not_shown() {
        let found = challenges(&headers(&["Negotiate canary=="]));
        assert_eq!(found[0].token68(), Some("canary=="));
        assert!(!format!("{found:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn any_field_is_read(field in "([ -~\t\u{e9}]|[,=\" \\\\]|a|Bearer ){0,80}") {
            let _ = challenges(&headers(&[field]));
        }

        #[test]
        fn what_is_written_is_read(
            written in proptest::collection::vec(
                ("[A-Za-z]{1,4}", proptest::collection::vec(("[a-z]{1,4}", "[ -~]{0,8}"), 0..4)),
                0..4,
            ),
        ) {
            let written: Vec<_> = written
                .into_iter()
                .map(|(scheme, params)| Challenge { scheme, token68: None, params })
                .collect();
            let fields: Vec<_> = written.iter().map(Challenge::to_field).collect();
            prop_assert_eq!(challenges(&headers(&[fields.join(", ")])), written);
        }
    }
}
