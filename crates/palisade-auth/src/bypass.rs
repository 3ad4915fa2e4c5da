/// In the extensions of a request: [`AuthLayer`](crate::AuthLayer) passes it on
/// as it is.
///
/// For requests that get a token through the client that wants one: they would
/// wait for themselves.
///
/// ```
/// use http::Request;
/// use palisade_auth::AuthBypass;
///
/// let mut request = Request::post("https://login.example/token").body(())?;
/// request.extensions_mut().insert(AuthBypass);
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthBypass;
