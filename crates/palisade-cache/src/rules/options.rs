use http::{HeaderName, StatusCode};

/// What users say of a cache and, by its rules, of a route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'o> {
    /// Whether the cache serves several users. A private one does not obey
    /// `private`, `s-maxage`, `proxy-revalidate` and targeted fields.
    pub(crate) shared: bool,
    /// How long a lasting response lives, whatever it says itself, or if it says
    /// nothing.
    pub(crate) ttl: Option<Ttl>,
    /// How long a response with such a status lives that says nothing itself.
    pub(crate) negative: &'o [(StatusCode, u32)],
    /// For responses that do not say how long they may be served while they are
    /// revalidated, in seconds.
    pub(crate) stale_while_revalidate: u32,
    /// For responses that do not say how long they may be served in place of an
    /// error, in seconds.
    pub(crate) stale_if_error: u32,
    /// Whether `Set-Cookie` is stored. Where it is not, a shared cache takes a
    /// response that sets cookies for personal unless it is `public`.
    pub(crate) set_cookie: bool,
    /// Whether the key has the body of the request in it, so that POST and QUERY
    /// can be stored as GET is.
    pub(crate) keyed_by_body: bool,
    /// Fields that are left out of `Vary`, and such that it is missing.
    pub(crate) vary_ignored: &'o [HeaderName],
    pub(crate) vary_added: &'o [HeaderName],
}

/// A lifetime in seconds that a route has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// In place of what the response says, even of `no-store` and `no-cache`.
    /// What is `private` or for one authorization stays so.
    Force(u32),
    /// Where the response says nothing.
    Default(u32),
    /// At most.
    Cap(u32),
}

impl Options<'_> {
    /// Those of a private cache.
    pub(crate) const PRIVATE: Self = Self {
        shared: false,
        ttl: None,
        negative: &[],
        stale_while_revalidate: 0,
        stale_if_error: 0,
        set_cookie: true,
        keyed_by_body: false,
        vary_ignored: &[],
        vary_added: &[],
    };

    /// Those of a shared cache.
    pub(crate) const SHARED: Self = Self { shared: true, set_cookie: false, ..Self::PRIVATE };
}
