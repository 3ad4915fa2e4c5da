use http::Extensions;

/// In the extensions of a request: it may be sent twice, whatever its method.
///
/// As an `Idempotency-Key`, but for layers alone: who makes a request knows that it
/// does no harm to repeat it, and the server need not know of it.
///
/// ```
/// use http::Request;
/// use palisade_core::Idempotent;
///
/// let mut search = Request::post("https://api.example/search").body(())?;
/// search.extensions_mut().insert(Idempotent);
/// assert!(Idempotent::is(search.extensions()));
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idempotent;

impl Idempotent {
    /// Whether it is in the extensions of a request.
    pub fn is(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }
}
