/// What the cache did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheStatus {
    /// It was answered with what is stored.
    Hit,
    /// It was answered with what is stored, although that is stale.
    Stale,
    /// It was answered with what is stored, after the origin said that it is
    /// still the same.
    Revalidated,
    /// It was sent on, and the response may be stored.
    Miss,
    /// It was answered together with another one.
    Collapsed,
    /// It was sent on as if there were no cache: the request wants none, or has a
    /// method for which nothing is stored.
    Bypass,
}

impl CacheStatus {
    /// The name in snake case, as used for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
        }
    }
}
