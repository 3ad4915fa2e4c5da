//! A token for each tenant, or for each scope.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, LazyLock, Weak},
    time::Duration,
};

use http::{Extensions, Request, Response, header::AUTHORIZATION};
use palisade_core::{Identity, KeyRef, Observer, ObserverSlot};
use palisade_keyed::{BoundedMap, Bounds, Evict};

use super::{Settings, Tokens, slot::in_nanos, wait::Wait};
use crate::{
    Applied, AuthError, Authenticator, Clock, Recovery, RefreshWindow, Refused, Stamp, Token,
    TokenFuture, TokenSource, Wanted,
    fixed::put,
    sync::{Mutex, MutexGuard, lock},
};

/// Which credentials a request gets from [`TokensByKey`].
///
/// [`put`](Self::put) says so in the extensions of the request, and whose it is
/// as its [`Identity`], which others read. A cache further out does: it sees a
/// request before there are any credentials, and without would answer one tenant
/// with what is for another. One that is inserted by itself is an error.
///
/// ```
/// use http::Request;
/// use palisade_auth::Credential;
/// use palisade_core::Identity;
///
/// let mut request = Request::get("https://api.example/users").body(())?;
/// Credential::tenant("acme").scope("users:read").put(request.extensions_mut());
/// assert_eq!(Identity::of(request.extensions()), Some(&Identity::new("acme")));
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Credential {
    tenant: Option<Arc<str>>,
    scope: Option<Arc<str>>,
    token: Option<Token>,
}

impl Credential {
    /// Those of a tenant. Defaults to the name of the request's [`Identity`], and
    /// else to no tenant.
    pub fn tenant(tenant: impl Into<Arc<str>>) -> Self {
        Self { tenant: Some(tenant.into()), ..Self::default() }
    }

    /// Sets what they have to be good for. Defaults to what the source asks for.
    pub fn scope(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// This token, whatever becomes of it.
    pub fn token(token: Token) -> Self {
        Self { token: Some(token), ..Self::default() }
    }

    /// Puts it into the extensions of a request, and its tenant there as the
    /// [`Identity`] of the request. A token stands for an identity of its own,
    /// unless there is one already.
    pub fn put(self, extensions: &mut Extensions) {
        if let Some(tenant) = &self.tenant {
            extensions.insert(Identity::new(Arc::clone(tenant)));
        }
        if let Some(token) = self.token.as_ref().filter(|_| Identity::of(extensions).is_none()) {
            extensions.insert(identity_of(token));
        }
        extensions.insert(Chosen(self));
    }

    fn key<'k>(&'k self, identity: Option<&'k Identity>) -> KeyOf<'k> {
        let tenant = self.tenant.as_deref().or_else(|| identity.map(Identity::name));
        KeyOf { tenant, scope: self.scope.as_deref() }
    }
}

/// As with [`Identity`], the name of a tenant may be a secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// One that was [put](Credential::put) there, so that the identity is there too.
#[derive(Clone)]
struct Chosen(Credential);

/// Whom a token stands for: a hash of it that no other process makes.
fn identity_of(token: &Token) -> Identity {
    static KEYS: LazyLock<[RandomState; 2]> =
        LazyLock::new(|| [RandomState::new(), RandomState::new()]);
    let text = token.header().as_bytes();
    let [high, low] = [0, 1].map(|half| KEYS[half].hash_one(text));
    Identity::new(format!("token {high:016x}{low:016x}"))
}

/// Keeps a token fresh for each tenant and scope that requests ask for. Clones
/// share them.
///
/// Which those are, the [`Credential`] in the extensions of a request says, and
/// the [`Identity`] there. A request without gets the token of no tenant.
///
/// There are only so many; a token that was not asked for in a long time makes
/// room for another one, but never while somebody waits for it. Where there is
/// no room, the request fails.
///
/// ```
/// use palisade_auth::{Token, TokenFuture, TokenSource, TokensByKey, Wanted};
///
/// struct Tenant(Option<String>);
///
/// impl TokenSource for Tenant {
///     fn fetch<'a>(&'a self, _: Wanted<'a>) -> TokenFuture<'a> {
///         let token = format!("token-of-{}", self.0.as_deref().unwrap_or("nobody"));
///         Box::pin(async { Ok(Token::bearer(token).expect("it can be a token")) })
///     }
/// }
///
/// let tokens = TokensByKey::new(|tenant| Tenant(tenant.map(str::to_owned))).max_keys(100);
/// ```
#[derive(Clone)]
#[must_use]
pub struct TokensByKey {
    inner: Arc<Inner>,
}

struct Inner {
    // Called once for each key that is new, as a source is for each token.
    source: Arc<SourceOf>,
    // Its source is that of nobody.
    template: Settings,
    // Whom the sources tell that have nobody else: only one who was given by default.
    default_observer: ObserverSlot,
    bounds: Bounds,
    map: BoundedMap<Key, Tokens>,
    // The same by the number of the slot, for refusals.
    slots: Mutex<Slots>,
}

/// Does not keep what it knows.
#[derive(Default)]
struct Slots {
    known: HashMap<u64, Weak<super::Inner>>,
    // When those that are gone are looked for.
    full: usize,
}

impl Slots {
    fn add(&mut self, tokens: &Tokens) {
        if self.full <= self.known.len() {
            self.known.retain(|_, tokens| tokens.strong_count() > 0);
            self.full = (2 * self.known.len()).max(64);
        }
        self.known.insert(tokens.inner.slot.id(), Arc::downgrade(&tokens.inner));
    }

    fn find(&self, slot: u64) -> Option<Tokens> {
        let inner = self.known.get(&slot)?.upgrade()?;
        Some(Tokens { inner })
    }
}

type SourceOf = dyn Fn(Option<&str>) -> Arc<dyn TokenSource> + Send + Sync;

impl TokensByKey {
    /// Keeps tokens of the sources that a function makes for each tenant, and
    /// for none. It is called once for each key, and must not panic.
    ///
    /// A tenant with two scopes has two keys, and a key that made room comes
    /// again. So the function should hand out clones of one
    /// [`RefreshToken`](crate::RefreshToken) for a tenant, or such with a
    /// [store](crate::RefreshToken::store) for all: two that begin with the same
    /// refresh token use it twice, which a server that rotates them takes for a
    /// theft.
    pub fn new<S: TokenSource>(source: impl Fn(Option<&str>) -> S + Send + Sync + 'static) -> Self {
        let source: Arc<SourceOf> = Arc::new(move |tenant| Arc::new(source(tenant)));
        let bounds = Bounds { most: 1024, idle: in_nanos(Duration::from_secs(3600)) };
        Self::of(source, Settings::new(Arc::new(Nobody)), bounds)
    }

    /// Sets how many tokens there are at most. Defaults to 1024.
    pub fn max_keys(self, most: usize) -> Self {
        self.bounded(|bounds| bounds.most = most)
    }

    /// Sets after how long a token that nobody asks for may go. Defaults to an
    /// hour.
    pub fn max_idle(self, idle: Duration) -> Self {
        self.bounded(|bounds| bounds.idle = in_nanos(idle))
    }

    /// Sets when a token is refreshed, as for [`Tokens::refresh_window`].
    pub fn refresh_window(self, window: RefreshWindow) -> Self {
        self.set(|settings| settings.window = window)
    }

    /// Sets for how long a source is waited for, as for
    /// [`Tokens::load_timeout`]. Defaults to 30 seconds.
    pub fn load_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.limits.load_timeout = timeout)
    }

    /// Sets the lifetime of tokens that come without, as for
    /// [`Tokens::default_lifetime`]. Defaults to an hour.
    pub fn default_lifetime(self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.set(|settings| settings.default_lifetime = lifetime.into())
    }

    /// Sets for how long a token is used after it has expired, as for
    /// [`Tokens::serve_expired`]. Defaults to not at all.
    pub fn serve_expired(self, longest: Duration) -> Self {
        self.set(|settings| settings.limits.serve_expired = longest)
    }

    /// Sets the clock. Defaults to [`CoarseClock`](crate::CoarseClock).
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        self.set(|settings| settings.clock = Arc::new(clock))
    }

    /// Sets who is told of [refreshes](palisade_core::Event::Refreshed). Defaults
    /// to nobody. It must not panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|settings| settings.observer = observer.into())
    }

    /// The tokens of a credential, to [warm up](Tokens::warm_up) or to
    /// [reset](Tokens::reset): they stay for as long as you have them. Nothing, if
    /// there is no room, or if it is a token itself.
    pub fn tokens(&self, credential: &Credential) -> Option<Tokens> {
        match credential.token {
            None => self.look(&credential.key(None), Tokens::clone),
            Some(_) => None,
        }
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.inner.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.inner.map.is_empty()
    }

    fn of(source: Arc<SourceOf>, template: Settings, bounds: Bounds) -> Self {
        let map = BoundedMap::new(bounds);
        let (default_observer, slots) = (ObserverSlot::default(), Mutex::default());
        let inner = Inner { source, template, default_observer, bounds, map, slots };
        Self { inner: Arc::new(inner) }
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut template = self.inner.template.clone();
        change(&mut template);
        Self::of(Arc::clone(&self.inner.source), template, self.inner.bounds)
    }

    fn bounded(self, change: impl FnOnce(&mut Bounds)) -> Self {
        let mut bounds = self.inner.bounds;
        change(&mut bounds);
        Self::of(Arc::clone(&self.inner.source), self.inner.template.clone(), bounds)
    }

    #[inline]
    fn look<R>(&self, key: &KeyOf<'_>, look: impl FnOnce(&Tokens) -> R) -> Option<R> {
        let now = || in_nanos(self.inner.template.clock.now().steady());
        self.inner.map.look_or_insert(key, |key| self.make(key), now, look)
    }

    #[cold]
    fn make(&self, key: &Key) -> Tokens {
        let mut settings = self.inner.template.clone();
        settings.source = (self.inner.source)(key.tenant.as_deref());
        if let Some(observer) = self.inner.default_observer.get() {
            settings.source.or_observer(observer);
        }
        settings.scope.clone_from(&key.scope);
        let tokens = Tokens::of(settings);
        self.slots().add(&tokens);
        tokens
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        lock(&self.inner.slots)
    }
}

impl Authenticator for TokensByKey {
    /// Tokens that are there already, and their sources, go on telling nobody.
    fn or_observer(&self, observer: &Arc<dyn Observer>) {
        self.inner.template.observer.fill(Arc::clone(observer));
        self.inner.default_observer.fill(Arc::clone(observer));
    }

    type Wait = Wait;

    #[inline]
    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Wait> {
        let now = self.inner.template.clock.now();
        let (extensions, none) = (request.extensions(), Credential::default());
        let credential = match extensions.get() {
            Some(Chosen(credential)) => credential,
            None if extensions.get::<Credential>().is_some() => {
                return Applied::Failed(inserted());
            }
            None => &none,
        };
        if let Some(token) = &credential.token {
            let value = token.header().clone();
            return put(request, &AUTHORIZATION, &value);
        }
        let found = self.look(&credential.key(Identity::of(extensions)), |tokens| {
            match tokens.inner.slot.fresh(now) {
                Some(fresh) => {
                    let held = fresh.held();
                    let stamp = Stamp::new(tokens.inner.slot.id(), held.generation);
                    Ok((held.token.header().clone(), stamp))
                }
                None => Err(tokens.clone()),
            }
        });
        match found {
            Some(Ok((value, stamp))) => match put(request, &AUTHORIZATION, &value) {
                Applied::Done(_) => Applied::Done(stamp),
                other => other,
            },
            Some(Err(tokens)) => tokens.apply_late(request, now),
            None => Applied::Failed(crowded()),
        }
    }

    fn refused<B>(&self, stamp: Stamp, response: &Response<B>) -> Refused<Wait> {
        if stamp == Stamp::FIXED {
            return Refused::Final;
        }
        let found = self.slots().find(stamp.slot());
        match found {
            Some(tokens) => tokens.refused(stamp, response),
            // It made room for others: there will be another one.
            None => Refused::Replay,
        }
    }
}

impl fmt::Debug for TokensByKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokensByKey")
            .field("settings", &self.inner.template)
            .field("bounds", &self.inner.bounds)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: Option<Box<str>>,
    scope: Option<Box<str>>,
}

#[derive(Hash)]
struct KeyOf<'k> {
    tenant: Option<&'k str>,
    scope: Option<&'k str>,
}

impl KeyRef<Key> for KeyOf<'_> {
    fn is(&self, key: &Key) -> bool {
        self.tenant == key.tenant.as_deref() && self.scope == key.scope.as_deref()
    }

    fn to_key(&self) -> Key {
        Key { tenant: self.tenant.map(Into::into), scope: self.scope.map(Into::into) }
    }
}

impl Evict for Tokens {
    fn may_go(&self, _: u64) -> bool {
        // Who waits for it has it.
        Arc::strong_count(&self.inner) == 1 && !self.inner.slot.is_busy()
    }
}

/// Stands in the template for the sources that are made.
struct Nobody;

impl TokenSource for Nobody {
    fn fetch<'a>(&'a self, _: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(async { Err(AuthError::new("there is no source", Recovery::Fatal)) })
    }
}

#[cold]
fn inserted() -> AuthError {
    let message = "a credential was inserted by itself: use `Credential::put`, so that caches \
                   know whose the request is";
    AuthError::new(message, Recovery::FixRequest)
}

#[cold]
fn crowded() -> AuthError {
    let what = "more credentials are being fetched than there is room for";
    AuthError::new(what, Recovery::Retry { after: None })
}
