use std::{fmt, sync::Arc};

use http::Extensions;

/// On whose behalf a request is sent: a user, a tenant, whatever the name stands
/// for.
///
/// It travels in the request's extensions, set by whoever knows. What puts
/// credentials on a request further in may choose them by it, and what keeps
/// answers further out can keep them apart, before there are any credentials to
/// tell by.
///
/// Its `Debug` shows no name: that may be a secret.
///
/// ```
/// use http::Request;
/// use palisade_core::Identity;
///
/// let mut request = Request::get("https://api.example/users").body(())?;
/// request.extensions_mut().insert(Identity::new("acme"));
/// assert_eq!(Identity::of(request.extensions()).map(Identity::name), Some("acme"));
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Arc<str>);

impl Identity {
    /// Somebody of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// What the extensions of a request say.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl From<Identity> for Arc<str> {
    fn from(identity: Identity) -> Self {
        identity.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_told_by_its_name_and_does_not_show_it() {
        let mut extensions = Extensions::new();
        assert_eq!(Identity::of(&extensions), None);
        extensions.insert(Identity::new("acme"));
        assert_eq!(Identity::of(&extensions), Some(&Identity::new(String::from("acme"))));
        assert_ne!(Identity::of(&extensions), Some(&Identity::new("Acme")));
        assert_eq!(format!("{extensions:?}{:?}", Identity::new("acme")).matches("acme").count(), 0);
    }
}
