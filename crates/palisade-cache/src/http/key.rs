//! Under what responses are stored.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use http::Uri;
use quick_cache::Equivalent;

use super::partition::CachePartition;
use crate::rules::key::{hash_target, same_target};

/// Under what responses are stored: a partition, a URI, and what identifies the
/// body of the request, if that counts.
///
/// URIs are compared as RFC 3986, section 6.2, has it, and in full: no hash
/// stands for them.
#[derive(Clone)]
pub struct CacheKey {
    partition: CachePartition,
    uri: Uri,
    body: Option<u128>,
}

/// A [`CacheKey`] that is looked up. It hashes as that does.
#[derive(Clone, Copy)]
pub struct CacheKeyRef<'k> {
    partition: &'k CachePartition,
    uri: &'k Uri,
    body: Option<u128>,
}

impl CacheKey {
    /// The key of a URI in a partition.
    pub fn new(partition: CachePartition, uri: Uri) -> Self {
        Self { partition, uri, body: None }
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

    /// How it is looked up.
    pub fn borrowed(&self) -> CacheKeyRef<'_> {
        CacheKeyRef { partition: &self.partition, uri: &self.uri, body: self.body }
    }

    pub(crate) fn len(&self) -> usize {
        self.uri.authority().map_or(0, |authority| authority.as_str().len())
            + self.uri.path_and_query().map_or(0, |path| path.as_str().len())
    }
}

impl<'k> CacheKeyRef<'k> {
    pub(crate) fn new(partition: &'k CachePartition, uri: &'k Uri, body: Option<u128>) -> Self {
        Self { partition, uri, body }
    }

    /// The same in another partition.
    pub(crate) fn within(self, partition: &'k CachePartition) -> Self {
        Self { partition, ..self }
    }

    pub(crate) fn is_of_credentials(self) -> bool {
        self.partition.is_of_credentials()
    }

    /// The key to store.
    pub fn to_key(self) -> CacheKey {
        CacheKey { partition: self.partition.clone(), uri: self.uri.clone(), body: self.body }
    }

    fn is(self, other: CacheKeyRef<'_>) -> bool {
        self.body == other.body
            && self.partition == other.partition
            && same_target(self.uri, other.uri)
    }
}

impl Hash for CacheKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.partition.hash(state);
        hash_target(self.uri, state);
        self.body.hash(state);
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
