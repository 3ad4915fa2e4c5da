//! What keyed hashes are keyed with.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
};

use siphasher::sip128::{Hasher128, SipHasher24};

/// What the processes that share a store have to agree on, and nobody else may
/// know: with it, users are told apart by hashes of their credentials, and
/// requests by those of their bodies.
///
/// Who knows it can make credentials or bodies that have the hash of others, and
/// so be answered with what is theirs; and can try out which credentials a hash
/// is made of. So take 32 bytes of a source that is meant for keys, keep them
/// where other keys are kept, and not in the store. With another secret, nothing
/// is found that was stored before.
#[derive(Clone)]
pub struct Secret {
    keys: [[u8; 16]; 2],
}

impl Secret {
    /// A secret that all processes know.
    pub fn new(bytes: [u8; 32]) -> Self {
        let half = |from: usize| std::array::from_fn(|index| bytes[from + index]);
        Self { keys: [half(0), half(16)] }
    }

    /// A secret that no other process has.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
        }
        Self::new(bytes)
    }

    /// The key for one purpose: hashes for another one say nothing of its.
    pub(crate) fn key(&self, purpose: &str) -> Key {
        // One after the other, so that equal halves do not make up for each other.
        let [first, second] = &self.keys;
        let inner = SipHasher24::new_with_key(first).hash(purpose.as_bytes()).as_bytes();
        Key(SipHasher24::new_with_key(second).hash(&inner).as_bytes())
    }

    pub(crate) fn digest(&self, purpose: &str, bytes: &[u8]) -> [u8; 16] {
        let mut hash = self.key(purpose).hash();
        hash.write(bytes);
        hash.finish()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A key for one purpose.
#[derive(Clone)]
pub(crate) struct Key([u8; 16]);

impl Key {
    pub(crate) fn hash(&self) -> KeyedHash {
        KeyedHash(SipHasher24::new_with_key(&self.0))
    }
}

/// A hash of 128 bits, which is the same on all machines.
pub(crate) struct KeyedHash(SipHasher24);

impl KeyedHash {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// With the length before it, so that no two lists of them are written alike.
    pub(crate) fn write_field(&mut self, bytes: &[u8]) {
        self.write(&(bytes.len() as u64).to_le_bytes());
        self.write(bytes);
    }

    pub(crate) fn finish(&self) -> [u8; 16] {
        self.0.finish128().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_and_each_half_of_the_secret_counts() {
        let digest = |at: usize, purpose: &str| {
            let mut bytes = [0; 32];
            bytes[at] = 1;
            Secret::new(bytes).digest(purpose, b"x")
        };
        let digests = [
            digest(0, "a"),
            digest(0, "b"),
            digest(15, "a"),
            digest(31, "a"),
            Secret::new([0; 32]).digest("a", b"x"),
            Secret::new([1; 32]).digest("a", b"x"),
        ];
        for (index, one) in digests.iter().enumerate() {
            assert!(digests[index + 1..].iter().all(|other| one != other));
        }
        assert_eq!(digest(0, "a"), digests[0]);
        let [one, other] = [Secret::random(), Secret::random()];
        assert_ne!(one.digest("a", b"x"), other.digest("a", b"x"));
        assert_eq!(format!("{one:?}"), "Secret(..)");
    }

    #[test]
    fn what_is_hashed_stays_the_same() {
        let secret = Secret::new(std::array::from_fn(|index| index as u8));
        let expected = [15, 98, 114, 134, 142, 8, 45, 10, 149, 214, 159, 156, 213, 110, 57, 175];
        assert_eq!(secret.digest("key", b"abc"), expected);
    }
}
