use http::Extensions;

/// How often a request was sent before.
///
/// It travels in the request's extensions. What sends a request again, for
/// whatever reason (a retry, a redirect, new credentials), counts that there;
/// what is inside of it reads how often that was, as for OpenTelemetry's
/// `http.request.resend_count`. A request that is sent once carries nothing.
///
/// A layer that sends the request of its caller again counts on from what that
/// carries. Of what layers inside of it sent meanwhile, it does not know.
///
/// ```
/// use http::Request;
/// use palisade_core::Attempt;
///
/// let mut request = Request::get("https://api.example/users").body(())?;
/// assert_eq!(Attempt::of(request.extensions()).resends(), 0);
///
/// // It was answered with 503, and is sent again.
/// Attempt::count_resend(request.extensions_mut());
/// assert_eq!(Attempt::of(request.extensions()).resends(), 1);
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    resends: u32,
}

impl Attempt {
    /// What the extensions of a request say; the first attempt, if they say
    /// nothing.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// Counts that the request with these extensions is sent once more.
    pub fn count_resend(extensions: &mut Extensions) {
        let resends = Self::of(extensions).resends.saturating_add(1);
        extensions.insert(Self { resends });
    }

    /// How often the request was sent before: zero for the first attempt.
    pub fn resends(self) -> u32 {
        self.resends
    }
}
