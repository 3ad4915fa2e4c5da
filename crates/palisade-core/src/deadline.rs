use std::time::Instant;

use http::Extensions;

/// When an answer to a request is of no use any more.
///
/// It travels in the request's extensions, where whoever sets a deadline tells
/// it to those further in. A layer that would have to hold the request up for
/// longer refuses it at once instead.
///
/// The time is that of [`std::time::Instant`]; tokio's has `into_std` for it.
///
/// ```
/// use std::time::{Duration, Instant};
/// use http::Request;
/// use palisade_core::Deadline;
///
/// let mut request = Request::get("https://api.example/users").body(())?;
/// let deadline = Deadline(Instant::now() + Duration::from_secs(5));
/// request.extensions_mut().insert(deadline);
/// assert_eq!(Deadline::of(request.extensions()), Some(deadline));
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// What the extensions of a request say.
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }
}
