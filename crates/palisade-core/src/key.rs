use std::{
    fmt::{self, Debug},
    hash::Hash,
    marker::PhantomData,
};

use http::HeaderName;

use crate::{Endpoint, Head, Target};

/// Says by what requests are told apart: one budget, breaker or limit each.
///
/// A key that is in a map already is found by its borrowed form, so that a
/// look-up allocates nothing.
pub trait KeyBy {
    /// The key as a map owns it.
    type Key: Clone + Debug + Eq + Hash + Send + Sync + 'static;
    /// The key as it is looked up.
    type Ref<'r>: KeyRef<Self::Key>;

    /// The key of a request.
    fn key<'r>(&self, head: Head<'r>) -> Self::Ref<'r>;

    /// What of a key may be told to an [`Observer`](crate::Observer). Defaults
    /// to nothing: a key may be secret.
    fn target<'k>(&self, key: &'k Self::Key) -> Target<'k> {
        let _ = key;
        Target::default()
    }
}

/// The borrowed form of a key. It hashes as the key does.
pub trait KeyRef<K>: Hash {
    /// Whether this is that key.
    fn is(&self, key: &K) -> bool;

    /// The key to store.
    fn to_key(&self) -> K;
}

impl<Q: Hash + Eq + ToOwned + ?Sized> KeyRef<Option<Q::Owned>> for Option<&Q> {
    fn is(&self, key: &Option<Q::Owned>) -> bool {
        *self == key.as_ref().map(std::borrow::Borrow::borrow)
    }

    fn to_key(&self) -> Option<Q::Owned> {
        self.map(ToOwned::to_owned)
    }
}

/// A key that is made for each look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnedKey<K>(pub K);

impl<K: Clone + Eq + Hash> KeyRef<K> for OwnedKey<K> {
    fn is(&self, key: &K) -> bool {
        self.0 == *key
    }

    fn to_key(&self) -> K {
        self.0.clone()
    }
}

/// One for each authority, host and port as they are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAuthority;

impl KeyBy for ByAuthority {
    type Key = Option<String>;
    type Ref<'r> = Option<&'r str>;

    fn key<'r>(&self, head: Head<'r>) -> Self::Ref<'r> {
        head.authority()
    }

    fn target<'k>(&self, key: &'k Self::Key) -> Target<'k> {
        Target::new(None, None, key.as_deref())
    }
}

/// One for each [`Endpoint`], and one for all requests without.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByEndpoint;

impl KeyBy for ByEndpoint {
    type Key = Option<&'static Endpoint>;
    type Ref<'r> = OwnedKey<Self::Key>;

    fn key<'r>(&self, head: Head<'r>) -> Self::Ref<'r> {
        OwnedKey(head.endpoint())
    }

    fn target<'k>(&self, key: &'k Self::Key) -> Target<'k> {
        Target::new(*key, None, None)
    }
}

/// One for each value of a header field, and one for all requests without.
#[derive(Clone, Debug)]
pub struct ByHeader(HeaderName);

impl ByHeader {
    /// Keys by the first field of this name.
    pub fn new(name: HeaderName) -> Self {
        Self(name)
    }
}

impl KeyBy for ByHeader {
    type Key = Option<Vec<u8>>;
    type Ref<'r> = Option<&'r [u8]>;

    fn key<'r>(&self, head: Head<'r>) -> Self::Ref<'r> {
        head.headers.get(&self.0).map(http::HeaderValue::as_bytes)
    }
}

/// One for each value of type `T` in the extensions, and one for all requests
/// without: a tenant, a shard.
#[derive(Clone, Debug)]
pub struct ByExtension<T>(PhantomData<fn() -> T>);

impl<T> Default for ByExtension<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Clone + Debug + Eq + Hash + Send + Sync + 'static> KeyBy for ByExtension<T> {
    type Key = Option<T>;
    type Ref<'r> = Option<&'r T>;

    fn key<'r>(&self, head: Head<'r>) -> Self::Ref<'r> {
        head.extensions.get::<T>()
    }
}

/// Keys by a function of the request's head.
///
/// ```
/// use http::Request;
/// use palisade_core::{Head, KeyBy, KeyRef, key_fn};
///
/// let by_version = key_fn(|head: Head<'_>| head.uri.path().starts_with("/v2/"));
/// let request = Request::get("https://api.example/v2/users").body(())?;
/// assert!(by_version.key(Head::of(&request)).is(&true));
/// # Ok::<_, http::Error>(())
/// ```
pub fn key_fn<K, F>(key: F) -> KeyFn<F>
where
    F: Fn(Head<'_>) -> K,
{
    KeyFn(key)
}

/// Made by [`key_fn`].
#[derive(Clone, Copy)]
pub struct KeyFn<F>(F);

impl<F> Debug for KeyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFn(..)")
    }
}

impl<K, F> KeyBy for KeyFn<F>
where
    F: Fn(Head<'_>) -> K,
    K: Clone + Debug + Eq + Hash + Send + Sync + 'static,
{
    type Key = K;
    type Ref<'r> = OwnedKey<K>;

    fn key<'r>(&self, head: Head<'r>) -> Self::Ref<'r> {
        OwnedKey((self.0)(head))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use http::{HeaderValue, Method, Request};

    use super::*;

    static LIST: Endpoint = Endpoint::new(Method::GET, "/users");

    fn check<K: KeyBy>(by: &K, request: &Request<()>, other: &Request<()>) {
        let hasher = RandomState::new();
        let (found, missed) = (by.key(Head::of(request)), by.key(Head::of(other)));
        let key = found.to_key();
        assert!(found.is(&key));
        assert!(!missed.is(&key));
        assert_eq!(hasher.hash_one(&found), hasher.hash_one(&key), "{key:?}");
        assert_eq!(hasher.hash_one(&missed), hasher.hash_one(missed.to_key()));
    }

    #[test]
    fn borrowed_and_owned_keys_agree() {
        let mut request = Request::get("https://a.example/").body(()).unwrap();
        request.headers_mut().insert("tenant", HeaderValue::from_static("blue"));
        request.extensions_mut().insert(7_u32);
        LIST.put_into(request.extensions_mut());
        let other = Request::get("/users").body(()).unwrap();

        check(&ByAuthority, &request, &other);
        check(&ByEndpoint, &request, &other);
        check(&ByHeader::new(HeaderName::from_static("tenant")), &request, &other);
        check(&ByExtension::<u32>::default(), &request, &other);
        check(&key_fn(|head: Head<'_>| head.uri.path().len()), &request, &other);
    }

    #[test]
    fn a_target_tells_what_may_be_told() {
        let request = Request::get("https://a.example/").header("tenant", "blue");
        let mut request = request.body(()).unwrap();
        LIST.put_into(request.extensions_mut());
        fn target<K: KeyBy>(by: &K, request: &Request<()>) -> String {
            format!("{:?}", by.target(&by.key(Head::of(request)).to_key()))
        }
        let of = |target: Target<'_>| format!("{target:?}");
        assert_eq!(target(&ByAuthority, &request), of(Target::new(None, None, Some("a.example"))));
        assert_eq!(target(&ByEndpoint, &request), of(Target::new(Some(&LIST), None, None)));
        let by_header = ByHeader::new(HeaderName::from_static("tenant"));
        assert_eq!(target(&by_header, &request), of(Target::default()));
    }

    #[test]
    fn a_password_is_no_part_of_a_key() {
        let request = Request::get("https://user:secret@a.example:8443/").body(()).unwrap();
        assert_eq!(ByAuthority.key(Head::of(&request)), Some("a.example:8443"));
    }

    #[test]
    fn a_server_keys_by_the_host_field() {
        let mut request = Request::get("/users").body(()).unwrap();
        request.headers_mut().insert("host", HeaderValue::from_static("a.example"));
        assert_eq!(ByAuthority.key(Head::of(&request)), Some("a.example"));
    }
}
