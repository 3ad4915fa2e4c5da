mod flight;
mod keyed;
mod settings;
mod slot;
mod wait;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, header::AUTHORIZATION};
use palisade_core::Observer;

use self::{
    flight::Flight,
    settings::Settings,
    slot::{Invalidated, Slot, Taken},
};
use crate::{
    Applied, AuthError, Authenticator, Clock, Moment, RefreshWindow, Refused, Stamp, Token,
    TokenSource,
    challenge::{Verdict, verdict},
    fixed::put,
    window::Life,
};

pub use self::{
    keyed::{Credential, TokensByKey},
    wait::Wait,
};

/// Keeps a token of a [`TokenSource`] fresh. Clones share it.
///
/// A request that finds it fresh takes it without a lock. In the
/// [window](RefreshWindow) before it expires, one request has another one
/// fetched in the background; all go on with the old one, also while the source
/// fails. Only where there is no token that can be used do requests wait, all
/// for the same one, or fail.
///
/// What failed is not tried again at once: after what may pass with growing
/// delays up to 30 seconds, or as long as the source asks for, up to an hour;
/// after what does not pass, such as a wrong secret, once a minute. Requests
/// without a token fail at once meanwhile.
///
/// ```
/// use std::time::Duration;
/// use palisade_auth::{AuthError, Token, TokenFuture, TokenSource, Tokens, Wanted};
///
/// struct Vault;
///
/// impl TokenSource for Vault {
///     fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
///         Box::pin(async move {
///             let token = Token::bearer("t0ps3cret").expect("it can be a token");
///             Ok(token.expires_in(Duration::from_secs(300), wanted.now))
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AuthError> {
/// let tokens = Tokens::new(Vault);
/// // While the program starts, so that the first request need not wait.
/// tokens.warm_up().await?;
/// assert_eq!(tokens.token().await?.secret().expose(), "t0ps3cret");
/// # Ok(())
/// # }
/// ```
///
/// # Runtime
///
/// A token that is being fetched is nobody's: whoever began and whoever waits
/// may be dropped. It is spawned on the tokio runtime of who began, whose timer
/// has to be enabled: a server that rotates refresh tokens may have taken back
/// the old one, so a refresh that began has to be finished. Without a runtime it
/// is polled by those who wait, and not bounded in time. If the runtime ends
/// first, who waits on another one goes on with it, or begins anew.
///
/// A setter makes tokens of their own: set all before the first clone.
#[derive(Clone)]
#[must_use]
pub struct Tokens {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    settings: Arc<Settings>,
    slot: Arc<Slot<Flight>>,
}

impl Tokens {
    /// Keeps a token of this source.
    pub fn new(source: impl TokenSource) -> Self {
        Self::of(Settings::new(Arc::new(source)))
    }

    /// Sets when a token is refreshed. Defaults to what is derived from its
    /// lifetime: see [`RefreshWindow`].
    pub fn refresh_window(self, window: RefreshWindow) -> Self {
        self.set(|settings| settings.window = window)
    }

    /// Sets for how long the source is waited for. After that it has failed, and
    /// its future is dropped. Defaults to 30 seconds.
    pub fn load_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.limits.load_timeout = timeout)
    }

    /// Sets the lifetime of tokens that come without; with `None`, they are used
    /// until they are refused. Defaults to an hour.
    pub fn default_lifetime(self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.set(|settings| settings.default_lifetime = lifetime.into())
    }

    /// Sets for how long a token is used after it has expired, if there is no
    /// other: for servers that are less strict than their token endpoint is
    /// reliable. Defaults to not at all.
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

    /// Adds a function that is called with each token that the source gives,
    /// once it is in use. It should be quick, as requests may wait for it.
    pub fn on_change(self, on_change: impl Fn(&Token) + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.on_change.push(Arc::new(on_change)))
    }

    /// A token that can be used now.
    ///
    /// # Errors
    ///
    /// If there is none, and the source gives none.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves the token on its way to all others.
    pub async fn token(&self) -> Result<Token, AuthError> {
        loop {
            let now = self.now();
            if let Some(fresh) = self.inner.slot.fresh(now) {
                return Ok(fresh.held().token.clone());
            }
            match self.take(now) {
                Ok(token) => return Ok(token.token.clone()),
                Err(Absent::Wait(wait)) => wait.await?,
                Err(Absent::Failed(error)) => return Err(error),
            }
        }
    }

    /// Waits until there is a token that can be used.
    ///
    /// # Errors
    ///
    /// If there is none, and the source gives none.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves the token on its way to all others.
    pub async fn warm_up(&self) -> Result<(), AuthError> {
        self.token().await.map(drop)
    }

    /// Uses this token from now on, one of an earlier run, say, or of a login.
    /// What has failed is forgotten.
    ///
    /// # Errors
    ///
    /// If it has expired already.
    pub fn prime(&self, token: Token) -> Result<(), AuthError> {
        let now = self.now();
        let alive = self.inner.settings.life(token, now, now)?;
        self.replace(Some(alive));
        Ok(())
    }

    /// Forgets the token and what has failed: the next request has another one
    /// fetched. One that is being fetched is not used.
    pub fn reset(&self) {
        self.replace(None);
    }

    fn replace(&self, token: Option<(Token, Life)>) {
        if let Some(flight) = self.inner.slot.replace(token) {
            flight.give_up();
        }
    }

    fn of(settings: Settings) -> Self {
        // Zero is of those that never change.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let slot = Arc::new(Slot::new(NEXT.fetch_add(1, Ordering::Relaxed)));
        Self { inner: Arc::new(Inner { settings: Arc::new(settings), slot }) }
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.inner.settings);
        change(&mut settings);
        Self::of(settings)
    }

    fn now(&self) -> Moment {
        self.inner.settings.clock.now()
    }

    /// What to do where the token is not fresh.
    #[cold]
    fn take(&self, now: Moment) -> Result<Arc<slot::Held>, Absent> {
        let Inner { settings, slot } = &*self.inner;
        let begin = |begin| Flight::new(Arc::clone(settings), Arc::downgrade(slot), begin);
        match slot.take(now, settings.limits, begin) {
            Taken::Use(held) => Ok(held),
            Taken::UseAndRefresh(held, flight) => {
                flight.launch();
                Ok(held)
            }
            Taken::Join(join) => Err(Absent::Wait(Wait::new(Arc::clone(&self.inner), join))),
            Taken::Fail(error) => Err(Absent::Failed(error)),
        }
    }

    #[cold]
    fn apply_late<B>(&self, request: &mut Request<B>, now: Moment) -> Applied<Wait> {
        match self.take(now) {
            Ok(held) => self.put(request, &held),
            Err(Absent::Wait(wait)) => Applied::Wait(wait),
            Err(Absent::Failed(error)) => Applied::Failed(error),
        }
    }

    #[inline]
    fn put<B>(&self, request: &mut Request<B>, held: &slot::Held) -> Applied<Wait> {
        match put(request, &AUTHORIZATION, held.token.header()) {
            Applied::Done(_) => Applied::Done(Stamp::new(self.inner.slot.id(), held.generation)),
            other => other,
        }
    }
}

/// Why there is no token.
enum Absent {
    Wait(Wait),
    Failed(AuthError),
}

impl Authenticator for Tokens {
    fn or_observer(&self, observer: &Arc<dyn Observer>) {
        self.inner.settings.or_observer(observer);
    }

    type Wait = Wait;

    #[inline]
    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Wait> {
        let now = self.now();
        match self.inner.slot.fresh(now) {
            Some(fresh) => self.put(request, fresh.held()),
            None => self.apply_late(request, now),
        }
    }

    fn refused<B>(&self, stamp: Stamp, response: &Response<B>) -> Refused<Wait> {
        let slot = &self.inner.slot;
        if stamp.slot() != slot.id() {
            return Refused::Final;
        }
        let (Verdict::InvalidToken | Verdict::Bare) = verdict(response.headers()) else {
            return Refused::Final;
        };
        let now = self.now();
        match slot.invalidate(stamp.generation(), now) {
            Invalidated::Young => Refused::Final,
            Invalidated::Replaced => Refused::Replay,
            Invalidated::Now => match self.take(now) {
                Ok(_) => Refused::Replay,
                Err(Absent::Wait(wait)) => Refused::Wait(wait),
                // No other is to be had for now: the answer stands.
                Err(Absent::Failed(_)) => Refused::Final,
            },
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}
