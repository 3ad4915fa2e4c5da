use http::Response;

use crate::challenge::scope_that_lacks;

/// In the extensions of a response with 401 or 403: the token was good, but not
/// for what was asked (RFC 6750, section 3.1).
///
/// Another token of the same scope would do no better, so none was fetched. One
/// for what is needed may be had by a [`Credential`](crate::Credential).
///
/// ```
/// use http::Response;
/// use palisade_auth::{Credential, InsufficientScope};
///
/// fn wider<B>(refused: &Response<B>) -> Option<Credential> {
///     let scope = InsufficientScope::of(refused)?.scope()?;
///     Some(Credential::default().scope(scope))
/// }
/// # assert!(wider(&Response::new(())).is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsufficientScope {
    scope: Option<Box<str>>,
}

impl InsufficientScope {
    /// What the extensions of a response say.
    pub fn of<B>(response: &Response<B>) -> Option<&Self> {
        response.extensions().get()
    }

    /// What the token has to be good for, as the server has it, if it says so.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Tells it, if it is so.
    #[cold]
    pub(crate) fn tell<B>(response: &mut Response<B>) {
        if let Some(scope) = scope_that_lacks(response.headers()) {
            let scope = scope.map(String::into_boxed_str);
            response.extensions_mut().insert(Self { scope });
        }
    }
}
