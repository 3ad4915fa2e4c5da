//! Under what responses are stored.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    sync::LazyLock,
};

use bytes::{BufMut, Bytes, BytesMut};
use foldhash::fast::RandomState;
use http::{Uri, uri::Authority};
use quick_cache::Equivalent;

use super::{partition::CachePartition, secret::Secret};
use crate::{
    rules::key::{hash_target, normal, of_normal, same_target},
    wire::{DecodeError, Reader, put_bytes, put_option, start},
};

const MAGIC: [u8; 4] = *b"PLCK";

/// Under what responses are stored: a partition, a URI, what identifies the body
/// of the request, if that counts, and whether a shared cache has stored it.
///
/// What a private cache stores is not found by a shared one, although they have
/// one store. URIs are compared as RFC 3986, section 6.2, has it, and in full: no
/// hash stands for them.
#[derive(Clone)]
pub struct CacheKey {
    partition: CachePartition,
    uri: Uri,
    body: Option<u128>,
    shared: bool,
    // Of the URI, which takes the longest: several maps are asked for one request.
    hash: u64,
}

/// A [`CacheKey`] that is looked up. It hashes as that does.
#[derive(Clone, Copy)]
pub struct CacheKeyRef<'k> {
    partition: &'k CachePartition,
    uri: &'k Uri,
    body: Option<u128>,
    shared: bool,
    hash: u64,
}

/// Keyed like this, URIs are hashed once for all maps.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

fn hash_of(uri: &Uri) -> u64 {
    let mut hasher = HASHER.build_hasher();
    hash_target(uri, &mut hasher);
    hasher.finish()
}

/// A URI that is written as it is, in a buffer of its own.
fn copied(uri: &Uri) -> Option<Uri> {
    let (scheme, colon) = uri.scheme_str().map_or(("", ""), |scheme| (scheme, "://"));
    let authority = uri.authority().map_or("", Authority::as_str);
    let (mark, query) = uri.query().map_or(("", ""), |query| ("?", query));
    let written = [scheme, colon, authority, uri.path(), mark, query].concat();
    Uri::from_maybe_shared(Bytes::from(written)).ok()
}

impl CacheKey {
    /// The key of a URI in a partition of a private cache.
    pub fn new(partition: CachePartition, uri: Uri) -> Self {
        let hash = hash_of(&uri);
        Self { partition, uri, body: None, shared: false, hash }
    }

    /// The same in a shared cache.
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written. Its URI is in normal
    /// form.
    ///
    /// # Errors
    ///
    /// Where the bytes are something else, of another version, or corrupt.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut bytes = Reader::start(bytes, MAGIC)?;
        let shared = bytes.option(|_| Ok(()))?.is_some();
        let partition = CachePartition::decode(&mut bytes)?;
        let body = bytes.option(|bytes| Ok(u128::from_le_bytes(bytes.array()?)))?;
        let written = [bytes.bytes()?, bytes.bytes()?, bytes.bytes()?];
        bytes.end()?;
        let uri = of_normal(&written).ok_or(DecodeError::Corrupt)?;
        let hash = hash_of(&uri);
        Ok(Self { partition, uri, body, shared, hash })
    }

    /// The partition.
    pub fn partition(&self) -> &CachePartition {
        &self.partition
    }

    /// The URI, as it was written by whoever asked for it.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// What identifies the body of the request, if that counts.
    pub fn body(&self) -> Option<u128> {
        self.body
    }

    /// Whether it is one of a shared cache.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// The key in full: the same bytes for keys that are equal, and others for
    /// others.
    ///
    /// They show the URI, and the name of a partition that has one.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        start(&mut out, MAGIC);
        out.put_u8(self.shared.into());
        self.partition.encode(&mut out);
        put_option(&mut out, self.body, |out, body| out.put_slice(&body.to_le_bytes()));
        normal(&self.uri).iter().for_each(|part| put_bytes(&mut out, part.as_bytes()));
        out.freeze()
    }

    /// A short name for it that shows nothing, and is the same in all processes
    /// that have the secret.
    ///
    /// A store that looks for it keeps the key [in full](Self::to_bytes) beside
    /// what it finds, and compares that.
    pub fn digest(&self, secret: &Secret) -> [u8; 16] {
        secret.digest("key", &self.to_bytes())
    }

    /// How it is looked up.
    pub fn borrowed(&self) -> CacheKeyRef<'_> {
        let Self { ref partition, ref uri, body, shared, hash } = *self;
        CacheKeyRef { partition, uri, body, shared, hash }
    }

    /// The same with a URI of its own: as it came, it keeps the buffer alive that
    /// it was read into.
    pub(crate) fn compacted(&self) -> Self {
        let Self { ref partition, ref uri, body, shared, hash } = *self;
        let copy = copied(uri).filter(|copy| same_target(copy, uri));
        let uri = copy.unwrap_or_else(|| uri.clone());
        Self { partition: partition.clone(), uri, body, shared, hash }
    }

    /// How many bytes it takes beside its fixed size.
    pub(crate) fn len(&self) -> usize {
        self.partition.len()
            + self.uri.authority().map_or(0, |authority| authority.as_str().len())
            + self.uri.path_and_query().map_or(0, |path| path.as_str().len())
    }
}

impl<'k> CacheKeyRef<'k> {
    pub(crate) fn new(
        partition: &'k CachePartition,
        uri: &'k Uri,
        body: Option<u128>,
        shared: bool,
    ) -> Self {
        Self { partition, uri, body, shared, hash: hash_of(uri) }
    }

    /// The same in another partition.
    pub(crate) fn within(self, partition: &'k CachePartition) -> Self {
        Self { partition, ..self }
    }

    /// The same for a request without a body.
    pub(crate) fn without_body(self) -> Self {
        Self { body: None, ..self }
    }

    pub(crate) fn has_body(self) -> bool {
        self.body.is_some()
    }

    pub(crate) fn is_of_credentials(self) -> bool {
        self.partition.is_of_credentials()
    }

    /// The key to store.
    pub fn to_key(self) -> CacheKey {
        let Self { partition, uri, body, shared, hash } = self;
        CacheKey { partition: partition.clone(), uri: uri.clone(), body, shared, hash }
    }

    fn is(self, other: CacheKeyRef<'_>) -> bool {
        self.hash == other.hash
            && self.body == other.body
            && self.shared == other.shared
            && self.partition == other.partition
            && same_target(self.uri, other.uri)
    }
}

impl Hash for CacheKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.partition.hash(state);
        state.write_u64(self.hash);
        self.body.hash(state);
        self.shared.hash(state);
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.borrowed().is(other.borrowed())
    }
}

impl Eq for CacheKey {}

impl Equivalent<CacheKey> for CacheKeyRef<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        self.is(key.borrowed())
    }
}

/// Paths, queries and user names may be secret: they are left out.
impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrowed().fmt(f)
    }
}

impl fmt::Debug for CacheKeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheKey")
            .field("partition", self.partition)
            .field("host", &self.uri.host())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::{ByCredentials, PartitionBy, fuzz_key};

    fn key(partition: CachePartition, uri: &str) -> CacheKey {
        CacheKey::new(partition, uri.parse().unwrap())
    }

    fn of_user(secret: &Secret, user: &str) -> CachePartition {
        let request = http::Request::get("/").header("authorization", user).body(()).unwrap();
        let partitions = ByCredentials::default().secret(secret);
        partitions.partition(palisade_core::Head::of(&request))
    }

    fn some() -> [CacheKey; 6] {
        let (common, secret) = (CachePartition::common(), Secret::new([7; 32]));
        let with_body =
            CacheKey { body: Some(1 << 120), ..key(common.clone(), "http://a.example/q") };
        [
            key(common.clone(), "HTTP://me@A.example:80?q"),
            key(common.clone(), "http://a.example/x").shared(),
            key(CachePartition::named("\u{e9}"), "https://a.example:8443/x%20y?z=1"),
            key(of_user(&secret, "a"), "/x"),
            key(common, "a.example:443"),
            with_body,
        ]
    }

    #[test]
    fn a_key_is_written_and_read_in_full() {
        for (at, one) in some().iter().enumerate() {
            let read = CacheKey::from_bytes(one.to_bytes()).unwrap();
            assert!(read == *one && read.is_shared() == one.is_shared());
            assert_eq!(read.to_bytes(), one.to_bytes());
            for (other_at, other) in some().iter().enumerate() {
                assert_eq!(one.to_bytes() == other.to_bytes(), at == other_at);
                let secret = Secret::new([1; 32]);
                assert_eq!(one.digest(&secret) == other.digest(&secret), at == other_at);
            }
        }
    }

    #[test]
    fn keys_that_are_equal_are_written_the_same() {
        let [one, other] = ["http://a.example?q", "HTTP://A.example:080/?q"]
            .map(|uri| key(CachePartition::common(), uri));
        assert_eq!(one.to_bytes(), other.to_bytes());
    }

    #[test]
    fn credentials_have_one_partition_with_one_secret() {
        let [one, same, other] = [[1; 32], [1; 32], [2; 32]].map(Secret::new);
        assert!(of_user(&one, "a") == of_user(&same, "a"));
        assert!(of_user(&one, "a") != of_user(&one, "b"));
        assert!(of_user(&one, "a") != of_user(&other, "a"));
    }

    #[test]
    fn version_1_is_written_like_this() {
        let expected: [&[u8]; 6] = [
            b"PLCK\x01\x00\x00\x00\x04http\x0cme@a.example\x03/?q",
            b"PLCK\x01\x01\x00\x00\x04http\ta.example\x02/x",
            b"PLCK\x01\x00\x02\x02\xc3\xa9\x00\x05https\x0ea.example:8443\n/x%20y?z=1",
            b"PLCK\x01\x00\x01\x0c\xec\xb7HIr\xa7\x98>\x08\xb2Ns\xec_\xf3\x00\x00\x00\x02/x",
            b"PLCK\x01\x00\x00\x00\x00\ra.example:443\x01/",
            b"PLCK\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\
              \x04http\ta.example\x02/q",
        ];
        for (key, expected) in some().iter().zip(expected) {
            assert_eq!(key.to_bytes(), expected, "{}", key.to_bytes().escape_ascii());
        }
    }

    #[test]
    fn what_is_no_key_is_an_error_that_says_why() {
        let bytes = some()[2].to_bytes();
        for length in 0..bytes.len() {
            let error = CacheKey::from_bytes(bytes.slice(..length)).unwrap_err();
            assert_eq!(error == DecodeError::Foreign, length < 4);
        }
        for (at, byte, error) in [
            (3, b'H', DecodeError::Foreign),
            (4, 9, DecodeError::Version(9)),
            (5, 2, DecodeError::Corrupt),
        ] {
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            assert_eq!(CacheKey::from_bytes(changed.into()).unwrap_err(), error);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            index in 0..6_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..99),
        ) {
            fuzz_key(&[&b"PLCK\x01"[..], &bytes].concat());
            let mut changed = some()[index].to_bytes().to_vec();
            let at = at.index(changed.len());
            changed[at] = byte;
            fuzz_key(&changed);
        }
    }
}
