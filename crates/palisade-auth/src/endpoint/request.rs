use std::{borrow::Cow, collections::HashSet, fmt};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, CONTENT_TYPE},
};
use palisade_core::Idempotent;
use zeroize::Zeroizing;

use crate::{AuthBypass, Moment, Secret};

/// What is sent to a token endpoint: a form, and header fields.
///
/// A [custom](crate::ClientAuth::custom) authentication of clients adds to it.
pub struct TokenRequest {
    uri: Uri,
    now: Moment,
    headers: HeaderMap,
    form: Form,
    idempotent: bool,
}

impl TokenRequest {
    pub(super) fn new(uri: Uri, now: Moment, grant: Grant) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let encoded = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, encoded);
        Self { uri, now, headers, form: grant.form, idempotent: grant.idempotent }
    }

    /// The address of the endpoint.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// When it is sent.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The header fields. What is secret should be marked as sensitive.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Adds a parameter to the form. Nothing shows its value.
    pub fn param(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Secret>) {
        self.form.secret(name, value);
    }

    pub(crate) fn form(&mut self) -> &mut Form {
        &mut self.form
    }

    /// It has what is good for one use: sent twice, it is refused.
    pub(crate) fn only_once(&mut self) {
        self.idempotent = false;
    }

    /// Whether a text has something secret of it, as that of a server that repeats
    /// what it was sent. A part is enough: long texts are cut off, here and there.
    pub(super) fn is_repeated_by(&self, text: &str) -> bool {
        let secrets = self.form.params.iter().filter(|param| param.secret);
        secrets.chain(&self.form.hidden).any(|param| {
            let value = param.value.expose();
            let encoded = form_urlencoded::byte_serialize(value.as_bytes());
            let encoded = Zeroizing::new(encoded.collect::<String>());
            repeats(text, value) || repeats(text, &encoded)
        }) || self.has_field_in(text)
    }

    /// Whether a text has something of a secret field, with or without its scheme.
    fn has_field_in(&self, text: &str) -> bool {
        let secrets = self.headers.values().filter(|value| value.is_sensitive());
        secrets.filter_map(|value| value.to_str().ok()).any(|value| {
            let (_, bare) = value.split_once(' ').unwrap_or(("", value));
            repeats(text, value) || repeats(text, bare)
        })
    }

    pub(super) fn to_http(&self) -> Request<Bytes> {
        let mut request = Request::new(self.form.encode());
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.uri);
        request.headers_mut().clone_from(&self.headers);
        request.extensions_mut().insert(AuthBypass);
        if self.idempotent {
            request.extensions_mut().insert(Idempotent);
        }
        request
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// What a source asks for.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) form: Form,
    /// Whether it does no harm to ask twice.
    pub(crate) idempotent: bool,
}

impl Grant {
    pub(crate) fn new(grant_type: impl Into<Cow<'static, str>>) -> Self {
        let mut form = Form::default();
        form.plain("grant_type", grant_type.into());
        Self { form, idempotent: false }
    }
}

/// Parameters, in order; a name may stand several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    params: Vec<Param>,
    hidden: Vec<Param>,
}

#[derive(Clone, Debug)]
struct Param {
    name: Cow<'static, str>,
    value: Secret,
    secret: bool,
}

impl Form {
    /// Adds what anybody may see.
    pub(crate) fn plain(&mut self, name: &'static str, value: impl Into<String>) {
        let value = Secret::new(value);
        self.params.push(Param { name: name.into(), value, secret: false });
    }

    /// Adds what nobody may see.
    pub(crate) fn secret(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Secret>) {
        let param = Param { name: name.into(), value: value.into(), secret: true };
        self.params.push(param);
    }

    /// Adds what nobody may see, and what does not stand in the form.
    pub(crate) fn hide(&mut self, value: Secret) {
        self.hidden.push(Param { name: "".into(), value, secret: true });
    }

    /// Adds the parameters of another one.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.params.extend(other.params.iter().cloned());
    }

    fn encode(&self) -> Bytes {
        let length = self.params.iter().map(|param| param.name.len() + param.value.expose().len());
        // Most of it needs no escape: what grew would leave copies behind.
        let text = String::with_capacity(3 * length.sum::<usize>() + 2 * self.params.len());
        let mut form = form_urlencoded::Serializer::new(text);
        for Param { name, value, .. } in &self.params {
            form.append_pair(name, value.expose());
        }
        let text = Zeroizing::new(form.finish());
        Bytes::copy_from_slice(text.as_bytes())
    }
}

/// Of a secret that is longer, so much gives too much away.
const PART: usize = 16;
/// As little of one at the end of a text, which may have been cut there.
const START: usize = 4;

fn repeats(text: &str, secret: &str) -> bool {
    let (text, secret) = (text.as_bytes(), secret.as_bytes());
    if secret.is_empty() {
        return false;
    }
    let part = secret.len().min(PART);
    // Each is looked at once, however long they are.
    let parts: HashSet<_> = text.windows(part).collect();
    secret.windows(part).any(|part| parts.contains(part))
        || (START..part).any(|length| text.ends_with(&secret[..length]))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn request(grant: Grant) -> TokenRequest {
        let uri = Uri::from_static("https://as.example/token");
        TokenRequest::new(uri, Moment::new(UNIX_EPOCH, Duration::ZERO), grant)
    }

    #[test]
    fn a_form_is_encoded() {
        let mut request = request(Grant::new("client_credentials"));
        request.form().plain("scope", "a b");
        request.param("p%+", "x&y=\u{e9}");
        assert_eq!(
            request.to_http().body(),
            "grant_type=client_credentials&scope=a+b&p%25%2B=x%26y%3D%C3%A9"
        );
    }

    #[test]
    fn what_may_be_sent_again_is_marked() {
        for (idempotent, once, marked) in
            [(true, false, true), (true, true, false), (false, false, false)]
        {
            let mut request = request(Grant { idempotent, ..Grant::new("x") });
            if once {
                request.only_once();
            }
            let request = request.to_http();
            assert_eq!(request.extensions().get::<Idempotent>().is_some(), marked);
            assert!(request.extensions().get::<AuthBypass>().is_some());
        }
    }

    #[test]
    fn knows_what_a_text_repeats() {
        let mut request = request(Grant::new("refresh_token"));
        request.form().secret("refresh_token", "canary");
        request.form().hide(Secret::new("bird"));
        request.param("long", "abcdefghijklmnopqrstuvwxyz".repeat(30));
        request.form().secret("empty", "");
        request.form().secret("assertion", "0123456789abcdefghijklmnopqrstuvwxyz+/==");
        let mut field = HeaderValue::from_static("Basic bWU6Yw==");
        field.set_sensitive(true);
        request.headers_mut().insert("authorization", field);
        for (text, repeated) in [
            ("token canary is expired", true),
            ("a bird", true),
            ("it was bWU6Yw==", true),
            ("it has 456789abcdefghij in it", true),
            ("it has 456789abcde in it", false),
            ("it is cut: 01234", true),
            ("it was klmnopqrstuvwxyz%2B%2F%3D%3D", true),
            ("refresh_token is expired", false),
            ("", false),
        ] {
            assert_eq!(request.is_repeated_by(text), repeated, "{text}");
        }
        let shown = format!("{request:?} {:?}", request.form);
        assert!(!shown.contains("canary"));
    }
}
