//! Signers by specifications that others have made, which say what comes out.

use std::{
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::UNIX_EPOCH,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use palisade_auth::{AuthError, Recovery, Sign, Signable, Signing};
use sha2::{Digest, Sha256};

type Never = Ready<Result<(), AuthError>>;

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(request: &Signable<'_>, name: &str) -> String {
    request.headers()[name].to_str().unwrap().to_owned()
}

fn put(request: &mut Signable<'_>, name: &'static str, value: impl AsRef<str>) {
    let mut value = HeaderValue::from_str(value.as_ref()).unwrap();
    value.set_sensitive(true);
    request.headers_mut().insert(name, value);
}

/// HTTP message signatures, as in the example of RFC 9421, section B.2.5.
#[derive(Debug)]
pub(crate) struct Rfc9421;

impl Sign for Rfc9421 {
    type Wait = Never;

    fn reads_body(&self) -> bool {
        false
    }

    fn sign(&self, request: &mut Signable<'_>) -> Signing<Never> {
        const KEY: &str = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        let created = request.now().wall().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let params = format!(
            r#"("date" "@authority" "content-type");created={created};keyid="test-shared-secret""#
        );
        let base = format!(
            "\"date\": {}\n\"@authority\": {}\n\"content-type\": {}\n\"@signature-params\": {params}",
            text(request, "date"),
            request.uri().authority().unwrap(),
            text(request, "content-type"),
        );
        let tag = hmac(&BASE64_STANDARD.decode(KEY).unwrap(), base.as_bytes());
        put(request, "signature-input", format!("sig-b25={params}"));
        put(request, "signature", format!("sig-b25=:{}:", BASE64_STANDARD.encode(tag)));
        Signing::Done
    }
}

/// AWS' Signature Version 4, as far as the vectors of its test suite that are used
/// here need it: its session begins with a key that has to be fetched.
#[derive(Debug, Default)]
pub(crate) struct SigV4 {
    pub(crate) keys: Keys,
}

/// The key, and how it is had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    /// None, if it is there from the beginning.
    pub(crate) fetch: Option<Fetch>,
    pub(crate) asked: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fetch {
    Works,
    Fails,
}

impl Sign for SigV4 {
    type Wait = Never;

    fn sign(&self, request: &mut Signable<'_>) -> Signing<Never> {
        if self.keys.fetch.is_some() && self.keys.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            let failed = || AuthError::new("no key", Recovery::Retry { after: None });
            return Signing::Wait(ready(match self.keys.fetch {
                Some(Fetch::Fails) => Err(failed()),
                _ => Ok(()),
            }));
        }
        let host = request.uri().authority().unwrap().to_string();
        put(request, "host", host);
        put(request, "x-amz-date", "20150830T123600Z");
        let names: Vec<_> = ["content-type", "host", "x-amz-date"]
            .into_iter()
            .filter(|name| request.headers().contains_key(*name))
            .collect();
        let fields: String =
            names.iter().map(|name| format!("{name}:{}\n", text(request, name))).collect();
        let (signed, payload) = (
            names.join(";"),
            match request.body().sha256() {
                Some(digest) => hex(digest),
                None => {
                    put(request, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
                    "UNSIGNED-PAYLOAD".to_owned()
                }
            },
        );
        let canonical = format!(
            "{}\n{}\n{}\n{fields}\n{signed}\n{payload}",
            request.method(),
            request.uri().path(),
            request.uri().query().unwrap_or_default(),
        );
        let scope = "20150830/us-east-1/service/aws4_request";
        let digest = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n20150830T123600Z\n{scope}\n{digest}");
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        for part in scope.split('/') {
            key = hmac(&key, part.as_bytes());
        }
        let signature = hex(&hmac(&key, to_sign.as_bytes()));
        let field = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed}, Signature={signature}"
        );
        put(request, "authorization", field);
        Signing::Done
    }
}

/// What a proof of DPoP needs of a layer (RFC 9449): method, address, token and the
/// last nonce of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proof {
    nonce: Arc<Mutex<String>>,
}

impl Sign for Proof {
    type Wait = Never;

    fn reads_body(&self) -> bool {
        false
    }

    fn sign(&self, request: &mut Signable<'_>) -> Signing<Never> {
        let token = request.headers().get("authorization");
        let token = token.map_or("none", |value| value.to_str().unwrap());
        let nonce = self.nonce.lock().unwrap().clone();
        let proof = format!("{} {} {token} {nonce}", request.method(), request.uri());
        put(request, "dpop", proof);
        Signing::Done
    }

    fn hears_answers(&self) -> bool {
        true
    }

    fn answered(&self, uri: &Uri, _: StatusCode, headers: &HeaderMap) {
        assert_eq!(uri.host(), Some("api.example"));
        if let Some(nonce) = headers.get("dpop-nonce") {
            *self.nonce.lock().unwrap() = nonce.to_str().unwrap().to_owned();
        }
    }
}
