use std::{fmt, sync::Arc};

use http::{HeaderMap, Method, StatusCode, Uri};

use crate::{AuthError, Clock, Moment};

/// Signs requests: HMAC in the way of one API, AWS' SigV4, a proof of DPoP.
///
/// What is known is signed at once; a key that has to be fetched first is waited for
/// by a future that has a name. Each attempt is signed anew, with the time that it is
/// then.
///
/// ```
/// use std::future::Ready;
/// use hmac::{Hmac, KeyInit, Mac};
/// use http::HeaderValue;
/// use palisade_auth::{AuthError, Secret, Sign, Signable, Signing};
/// use sha2::Sha256;
///
/// /// Signs method, path and body with a key that both sides know.
/// #[derive(Debug)]
/// struct Hmac256(Secret);
///
/// impl Sign for Hmac256 {
///     type Wait = Ready<Result<(), AuthError>>;
///
///     fn sign(&self, request: &mut Signable<'_>) -> Signing<Self::Wait> {
///         let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose().as_bytes())
///             .expect("keys have any length");
///         let (method, path) = (request.method(), request.uri().path());
///         mac.update(format!("{method}\n{path}\n").as_bytes());
///         if let Some(digest) = request.body().sha256() {
///             mac.update(digest);
///         }
///         let tag = mac.finalize().into_bytes();
///         let text: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
///         let value = HeaderValue::try_from(text).expect("it has visible letters alone");
///         request.headers_mut().insert("x-signature", value);
///         Signing::Done
///     }
/// }
///
/// # use std::convert::Infallible;
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use palisade_auth::{SignLayer, SignedBody};
/// use palisade_core::Origins;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), palisade_core::BoxError> {
/// # let server = service_fn(|request: Request<SignedBody<Full<Bytes>>>| async move {
/// #     Ok::<_, Infallible>(Response::new(request.headers()["x-signature"].clone()))
/// # });
/// let origins = Origins::new(["https://api.example"]);
/// let client = ServiceBuilder::new()
///     .layer(SignLayer::new(Hmac256("k3y".into()), origins))
///     .service(server);
///
/// let request = Request::post("https://api.example/orders").body(Full::from("one"))?;
/// let response = client.oneshot(request).await?;
/// # let signature = response.into_body();
/// assert_eq!(signature, "7dd0f4679d4e0ab657904e380783e13754e24725e551fa5c6695051343f22ab6");
/// # Ok(())
/// # }
/// ```
pub trait Sign: Send + Sync + 'static {
    /// Waits until there is a key, or another one.
    type Wait: Future<Output = Result<(), AuthError>> + Send + 'static;

    /// Whether bodies are signed, too. If not, they are passed on unread, and any
    /// may stream. Defaults to true.
    fn reads_body(&self) -> bool {
        true
    }

    /// Signs a request: adds header fields to it. It is called a second time for a
    /// request that has waited, and so should set fields rather than add to them.
    fn sign(&self, request: &mut Signable<'_>) -> Signing<Self::Wait>;

    /// Whether [`answered`](Self::answered) is to be called. Defaults to false.
    fn hears_answers(&self) -> bool {
        false
    }

    /// Looks at the answer to a request, such as for a nonce that the next signature
    /// has to carry (RFC 9449, section 8). Defaults to nothing.
    ///
    /// It is called before the answer is handed on, so that a layer outside that
    /// sends the request again finds it signed by what was learned.
    fn answered(&self, uri: &Uri, status: StatusCode, headers: &HeaderMap) {
        let _ = (uri, status, headers);
    }
}

impl<S: Sign + ?Sized> Sign for Arc<S> {
    type Wait = S::Wait;

    fn reads_body(&self) -> bool {
        (**self).reads_body()
    }

    fn sign(&self, request: &mut Signable<'_>) -> Signing<Self::Wait> {
        (**self).sign(request)
    }

    fn hears_answers(&self) -> bool {
        (**self).hears_answers()
    }

    fn answered(&self, uri: &Uri, status: StatusCode, headers: &HeaderMap) {
        (**self).answered(uri, status, headers);
    }
}

/// What became of a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Signing<W> {
    /// It is signed.
    Done,
    /// There is no key yet: wait, and sign again.
    Wait(W),
    /// It cannot be signed.
    Failed(AuthError),
}

/// What a signer is shown of a request, and where it puts the signature.
pub struct Signable<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a mut HeaderMap,
    pub(super) body: BodyDigest,
    pub(super) clock: &'a dyn Clock,
}

impl Signable<'_> {
    /// The method.
    pub fn method(&self) -> &Method {
        self.method
    }

    /// The target, as it stands in the request.
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// The header fields. What is added further on, such as `Host` by most clients,
    /// is not among them.
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// The header fields, for the signature. It should be marked as sensitive.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers
    }

    /// What is known of the body.
    pub fn body(&self) -> BodyDigest {
        self.body
    }

    /// What time it is, by the clock of the layer.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }
}

impl fmt::Debug for Signable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signable").field("method", self.method).finish_non_exhaustive()
    }
}

/// What is known of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyDigest {
    /// The SHA-256 of all of it.
    Sha256([u8; 32]),
    /// Nothing: it streams, and may be sent
    /// [unsigned](crate::SignLayer::allow_unsigned_bodies), or the signer does not
    /// [read bodies](Sign::reads_body).
    Unread,
}

impl BodyDigest {
    /// The SHA-256 of the body, if it was read.
    pub fn sha256(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Sha256(digest) => Some(digest),
            Self::Unread => None,
        }
    }
}

/// The body may be guessed, and its digest compared.
impl fmt::Debug for BodyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256(_) => "Sha256(..)",
            Self::Unread => "Unread",
        })
    }
}
