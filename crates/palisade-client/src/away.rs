//! What goes to another origin than was asked for, by a redirect: nothing that could be a secret.

use http::{
    Extensions, HeaderMap, HeaderName, Request,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE,
        RANGE, USER_AGENT,
    },
};

use crate::Body;

/// In the extensions of a request: a redirect has led it to another origin, if not back since.
#[derive(Clone, Copy)]
pub(crate) struct Away;

/// What another origin may know. A list of what it must not know would lack the
/// names of all the fields that carry keys.
const HARMLESS: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    RANGE,
    USER_AGENT,
];

impl Away {
    pub(crate) fn is(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }

    /// Takes from a request what another origin must not know. What layers are told stays: it
    /// goes over no wire.
    pub(crate) fn send(request: &mut Request<Body>) {
        let fields = request.headers().iter();
        let harmless =
            fields.filter(|(name, value)| HARMLESS.contains(name) && !value.is_sensitive());
        let kept: HeaderMap = harmless.map(|(name, value)| (name.clone(), value.clone())).collect();
        *request.headers_mut() = kept;
        let extensions = request.extensions_mut();
        Self::mark(extensions);
        // What is answered without credentials is no answer to who asks with them.
        #[cfg(feature = "cache")]
        extensions.insert(palisade_cache::CachePartition::without_credentials());
    }

    /// Tells a service of the user's nothing: nobody knows what it makes of it, and whose
    /// identity it is. A client of this crate gives no credentials either.
    pub(crate) fn forget(extensions: &mut Extensions) {
        extensions.clear();
        Self::mark(extensions);
    }

    /// It gets no credentials, so what is answered says nothing of them.
    fn mark(extensions: &mut Extensions) {
        extensions.insert(Self);
        #[cfg(feature = "auth")]
        extensions.insert(palisade_auth::AuthBypass);
    }
}
