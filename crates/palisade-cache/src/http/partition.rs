//! Whose responses are kept apart from whose.

use std::{fmt, sync::Arc};

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use palisade_core::{Head, Identity, is_secret};

use super::secret::{Key, Secret};
use crate::wire::{DecodeError, Reader, put_bytes};

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
    Credentials([u8; 16]),
    Named(Arc<str>),
    Bare,
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

    /// That of requests that get no credentials where others have some put on them further
    /// in: those that a redirect leads to another origin, and back from there.
    pub fn without_credentials() -> Self {
        Self(Kind::Bare)
    }

    /// Whether it was made of credentials, and not said by the user: what is
    /// `public` is for others too, then.
    pub(crate) fn is_of_credentials(&self) -> bool {
        matches!(self.0, Kind::Credentials(_))
    }

    /// How many bytes its name has.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Kind::Common | Kind::Credentials(_) | Kind::Bare => 0,
            Kind::Named(name) => name.len(),
        }
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match &self.0 {
            Kind::Common => out.put_u8(0),
            Kind::Credentials(hash) => {
                out.put_u8(1);
                out.put_slice(hash);
            }
            Kind::Named(name) => {
                out.put_u8(2);
                put_bytes(out, name.as_bytes());
            }
            Kind::Bare => out.put_u8(3),
        }
    }

    pub(crate) fn decode(bytes: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self(match bytes.byte()? {
            0 => Kind::Common,
            1 => Kind::Credentials(bytes.array()?),
            2 => {
                let name = bytes.bytes()?;
                Kind::Named(str::from_utf8(&name).map_err(|_| DecodeError::Corrupt)?.into())
            }
            3 => Kind::Bare,
            _ => return Err(DecodeError::Corrupt),
        }))
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
/// Credentials are fields whose names [say so](is_secret), such as `X-Api-Key` and
/// `Private-Token`; and all values that are
/// [sensitive](http::HeaderValue::is_sensitive). Of what else tells users apart,
/// such as the name of a tenant, [`partition_fn`] makes a partition. What is in the
/// URI does so by itself.
///
/// Where credentials are put on requests further in, an [`Identity`] in their
/// extensions says whose they are going to be, and counts as one.
///
/// A partition is a hash of 128 bits, keyed with a [`Secret`]. What is marked
/// `public` goes to the common partition, unless its `Vary` names credentials.
///
/// ```
/// use palisade_cache::{ByCredentials, HttpCacheLayer, MemoryStore, Secret};
///
/// # fn read_secret() -> [u8; 32] { [7; 32] }
/// // The same in all processes that share a store.
/// let secret = Secret::new(read_secret());
/// let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20))
///     .partition(ByCredentials::default().secret(&secret));
/// # let _ = layer;
/// ```
#[derive(Clone)]
#[must_use]
pub struct ByCredentials {
    key: Key,
}

impl Default for ByCredentials {
    fn default() -> Self {
        Self::of(&Secret::random())
    }
}

impl ByCredentials {
    /// Sets what the hashes are keyed with. Defaults to a secret that no other
    /// process has.
    pub fn secret(self, secret: &Secret) -> Self {
        Self::of(secret)
    }

    fn of(secret: &Secret) -> Self {
        Self { key: secret.key("credentials") }
    }

    fn hash(&self, headers: &HeaderMap, identity: Option<&Identity>) -> [u8; 16] {
        let mut hash = self.key.hash();
        if let Some(identity) = identity {
            // No field has this name.
            hash.write_field(b"");
            hash.write_field(identity.name().as_bytes());
        }
        for (name, value) in headers.iter().filter(|field| is_credential(*field)) {
            hash.write_field(name.as_str().as_bytes());
            hash.write_field(value.as_bytes());
        }
        hash.finish()
    }
}

impl PartitionBy for ByCredentials {
    fn partition(&self, head: Head<'_>) -> CachePartition {
        let identity = Identity::of(head.extensions);
        if identity.is_none() && !head.headers.iter().any(is_credential) {
            return CachePartition::common();
        }
        CachePartition(Kind::Credentials(self.hash(head.headers, identity)))
    }
}

impl fmt::Debug for ByCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByCredentials")
    }
}

fn is_credential((name, value): (&HeaderName, &HeaderValue)) -> bool {
    value.is_sensitive() || is_secret(name)
}

/// One partition for all, but for requests whose extensions have an [`Identity`]:
/// the default of a shared cache. Of those, no answer is for anybody else, for
/// what makes it one's own is put on further in.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnePartition;

impl PartitionBy for OnePartition {
    fn partition(&self, head: Head<'_>) -> CachePartition {
        match Identity::of(head.extensions) {
            Some(identity) => CachePartition::named(identity.clone()),
            None => CachePartition::common(),
        }
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
