//! Whose responses are kept apart from whose.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use palisade_core::Head;

/// Who a response is stored for. Nothing that is stored in one partition is
/// ever looked at for a request of another.
///
/// In the extensions of a request it goes before the strategy of the layer:
///
/// ```
/// use http::Request;
/// use palisade_cache::CachePartition;
///
/// let mut request = Request::get("https://api.example/me").body(())?;
/// request.extensions_mut().insert(CachePartition::named("user-42"));
/// # Ok::<_, http::Error>(())
/// ```
///
/// Its `Debug` shows no name: that may be a secret.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct CachePartition(Kind);

#[derive(Clone, Default, PartialEq, Eq, Hash)]
enum Kind {
    #[default]
    Common,
    Credentials([u64; 2]),
    Named(Arc<str>),
}

pub(crate) static COMMON: CachePartition = CachePartition(Kind::Common);

impl CachePartition {
    /// That of all who have no other one.
    pub fn common() -> Self {
        Self::default()
    }

    /// That of a user, a tenant, or whatever the name stands for.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self(Kind::Named(name.into()))
    }

    /// Whether it was made of credentials, and not said by the user: what is
    /// `public` is for others too, then.
    pub(crate) fn is_of_credentials(&self) -> bool {
        matches!(self.0, Kind::Credentials(_))
    }
}

impl fmt::Debug for CachePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Common => "CachePartition(common)",
            _ => "CachePartition(..)",
        })
    }
}

/// Says which partition a request belongs to.
pub trait PartitionBy {
    /// The partition of a request that carries none itself.
    fn partition(&self, head: Head<'_>) -> CachePartition;
}

impl<P: PartitionBy + ?Sized> PartitionBy for Arc<P> {
    fn partition(&self, head: Head<'_>) -> CachePartition {
        (**self).partition(head)
    }
}

/// One partition for each set of credentials, and the common one for requests
/// without: the default of a private cache.
///
/// Credentials are `Authorization`, `Proxy-Authorization` and `Cookie`, API keys
/// by the names that are usual for them, such as `X-Api-Key`, and all values
/// that are [sensitive](http::HeaderValue::is_sensitive). Of what else tells
/// users apart, such as a field of an API's own, [`partition_fn`] makes a
/// partition. What is in the URI does so by itself.
///
/// A partition is a hash of 128 bits with a key that no other process has. What
/// is marked `public` goes to the common partition.
#[derive(Clone)]
pub struct ByCredentials {
    keys: [RandomState; 2],
}

impl Default for ByCredentials {
    fn default() -> Self {
        Self { keys: [RandomState::new(), RandomState::new()] }
    }
}

impl ByCredentials {
    fn hash(&self, headers: &HeaderMap) -> [u64; 2] {
        let credentials = Credentials(headers);
        [self.keys[0].hash_one(&credentials), self.keys[1].hash_one(&credentials)]
    }
}

impl PartitionBy for ByCredentials {
    fn partition(&self, head: Head<'_>) -> CachePartition {
        if !head.headers.iter().any(is_credential) {
            return CachePartition::common();
        }
        CachePartition(Kind::Credentials(self.hash(head.headers)))
    }
}

impl fmt::Debug for ByCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByCredentials")
    }
}

struct Credentials<'h>(&'h HeaderMap);

impl std::hash::Hash for Credentials<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for (name, value) in self.0.iter().filter(|field| is_credential(*field)) {
            name.hash(state);
            value.as_bytes().hash(state);
        }
    }
}

fn is_credential((name, value): (&HeaderName, &HeaderValue)) -> bool {
    const NAMES: [&str; 11] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "api-key",
        "apikey",
        "x-apikey",
        "x-auth-token",
        "x-access-token",
        "x-goog-api-key",
        "x-auth-key",
    ];
    value.is_sensitive() || NAMES.contains(&name.as_str())
}

/// One partition for all: the default of a shared cache.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnePartition;

impl PartitionBy for OnePartition {
    fn partition(&self, _: Head<'_>) -> CachePartition {
        CachePartition::common()
    }
}

/// Partitions by a function of the request's head.
///
/// ```
/// use http::Request;
/// use palisade_cache::{CachePartition, PartitionBy, partition_fn};
/// use palisade_core::Head;
///
/// let by_tenant = partition_fn(|head: Head<'_>| match head.headers.get("tenant") {
///     Some(tenant) => CachePartition::named(String::from_utf8_lossy(tenant.as_bytes())),
///     None => CachePartition::common(),
/// });
/// let request = Request::get("/").header("tenant", "blue").body(())?;
/// assert_eq!(by_tenant.partition(Head::of(&request)), CachePartition::named("blue"));
/// # Ok::<_, http::Error>(())
/// ```
pub fn partition_fn<F>(partition: F) -> PartitionFn<F>
where
    F: Fn(Head<'_>) -> CachePartition,
{
    PartitionFn(partition)
}

/// Made by [`partition_fn`].
#[derive(Clone, Copy)]
pub struct PartitionFn<F>(F);

impl<F> fmt::Debug for PartitionFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartitionFn(..)")
    }
}

impl<F> PartitionBy for PartitionFn<F>
where
    F: Fn(Head<'_>) -> CachePartition,
{
    fn partition(&self, head: Head<'_>) -> CachePartition {
        (self.0)(head)
    }
}
