use crate::rules::lookup::Mode;

/// How a request wants the cache to be used: an extension of the request, with
/// the names of [Fetch](https://fetch.spec.whatwg.org/#concept-request-cache-mode).
///
/// ```
/// use http::Request;
/// use palisade_cache::CacheMode;
///
/// let mut request = Request::get("https://api.example/users").body(())?;
/// request.extensions_mut().insert(CacheMode::Reload);
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheMode {
    /// As HTTP has it.
    #[default]
    Default,
    /// As if there were no cache.
    NoStore,
    /// The response comes from the origin, and is stored.
    Reload,
    /// The origin is asked whether what is stored is still the same.
    NoCache,
    /// What is stored is used, however stale it is.
    ForceCache,
    /// The same, and the origin is not asked at all: what is not stored is a 504.
    OnlyIfCached,
}

impl CacheMode {
    pub(crate) fn rule(self) -> Mode {
        match self {
            Self::Default => Mode::Default,
            Self::NoStore => Mode::NoStore,
            Self::Reload => Mode::Reload,
            Self::NoCache => Mode::NoCache,
            Self::ForceCache => Mode::ForceCache,
            Self::OnlyIfCached => Mode::OnlyIfCached,
        }
    }
}
