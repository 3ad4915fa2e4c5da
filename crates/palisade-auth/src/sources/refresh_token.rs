mod keeper;
mod login;
mod ongoing;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use palisade_core::{Observer, ObserverSlot};

use self::{
    keeper::{Exchange, Keeper},
    login::Login,
    ongoing::{Ongoing, Request},
};
use super::template::{Template, client_setter, template_setters};
use crate::{
    AuthError, MemoryTokenStore, Moment, Secret, Token, TokenEndpoint, TokenFuture, TokenSource,
    TokenStore, Wanted, endpoint::Grant,
};

/// Tokens for somebody who has logged in: the grant of a refresh token (RFC 6749,
/// section 6). Clones share the login.
///
/// A server may give a new refresh token with each token, and take one that is used
/// twice for a theft (RFC 9700, section 4.14). So the new one is kept in the
/// [store](TokenStore) before the token is handed out; of all processes with one
/// store, one refreshes at a time; and the others take over what it has got.
///
/// - **The server refuses the login**: it is taken out of the store, and the error is
///   one to log in anew, at which a [`Chain`](crate::Chain) goes on to its next
///   source. So it ends, too, where an answer was lost on its way: nobody can tell
///   what was in it.
/// - **The store cannot be read**: that is an error, as another process may have
///   used what is remembered here. It may be tried again, but for a damaged file.
/// - **The store cannot be written**: the token is used, the login goes on in this
///   process, and the observer is told.
///
/// A request for a scope of its own gets a token of its own; the stored one is for
/// the whole login.
///
/// ```
/// # use std::{convert::Infallible, time::{Duration, SystemTime}};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use palisade_auth::{AuthError, MemoryTokenStore, Moment, Wanted};
/// use palisade_auth::{ClientAuth, RefreshToken, TokenEndpoint, TokenSource, TokenStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let now = Moment::new(SystemTime::UNIX_EPOCH, Duration::ZERO);
/// # let client = tower::service_fn(|_: Request<Full<Bytes>>| async move {
/// #     let answer = r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","expires_in":3600,"refresh_token":"next"}"#;
/// #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
/// # });
/// # let store = MemoryTokenStore::new();
/// // `store` is a `FileTokenStore`, say, and `client` any tower HTTP service.
/// let endpoint = TokenEndpoint::new("https://as.example/token", client);
/// let source = RefreshToken::new(endpoint, "tGzv3JOkF0XG5Qx2TlKWIA")
///     .client(ClientAuth::none("cli"))
///     .store(store.clone(), "alice");
///
/// let token = source.fetch(Wanted::first(now)).await?;
/// assert_eq!(token.header(), "Bearer 2YotnFZFEjr1zCsicMWpAA");
/// let (_, kept) = store.load("alice").await?.expect("it is kept");
/// assert_eq!(kept.refresh_token, Some("next".into()));
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// A refresh that has begun is nobody's: it is spawned on the tokio runtime of who
/// began it, and if nobody waits for it any more, its token is for who asks next.
/// Without a runtime, who asks next goes on with it.
///
/// A setter that changes where the login is kept makes a login of its own: set all
/// before the first clone.
#[derive(Clone, Debug)]
#[must_use]
pub struct RefreshToken {
    template: Template,
    keeper: Keeper,
    ongoing: Ongoing,
}

impl RefreshToken {
    /// Tokens of an endpoint, for a login that begins with this refresh token. It is
    /// kept in memory unless there is a [`store`](Self::store).
    pub fn new(endpoint: TokenEndpoint, refresh_token: impl Into<Secret>) -> Self {
        let login = Login::new(Some(refresh_token.into()));
        Self::of(endpoint, Arc::new(MemoryTokenStore::new()), "login".into(), login)
    }

    /// Tokens of an endpoint, for the login that is kept in a store under a name. If
    /// there is none, somebody has to [log in](Self::log_in).
    pub fn stored(
        endpoint: TokenEndpoint,
        store: impl TokenStore,
        name: impl Into<String>,
    ) -> Self {
        Self::of(endpoint, Arc::new(store), name.into().into(), Login::default())
    }

    fn of(
        endpoint: TokenEndpoint,
        store: Arc<dyn TokenStore>,
        name: Arc<str>,
        login: Login,
    ) -> Self {
        let keeper = Keeper {
            store,
            name,
            lock_time: Duration::from_secs(60),
            observer: ObserverSlot::default(),
            login: Arc::new(Mutex::new(login)),
        };
        Self { template: Template::new(endpoint), keeper, ongoing: Ongoing::default() }
    }

    /// Sets where the login is kept, and under which name: one for each login, the
    /// same in all processes, which have to ask for the same scope. What is kept there
    /// goes before the token that was given, which is used where there is nothing, or
    /// nothing that works. Defaults to memory.
    pub fn store(mut self, store: impl TokenStore, name: impl Into<String>) -> Self {
        let login = Login::new(self.keeper.login().given().cloned());
        self.keeper.store = Arc::new(store);
        self.keeper.name = name.into().into();
        self.keeper.login = Arc::new(Mutex::new(login));
        self.ongoing = Ongoing::default();
        self
    }

    /// Sets for how long the lock of the store is waited for, and then held at most:
    /// an answer that takes longer is lost, and the login may be with it. Defaults to
    /// 60 seconds.
    pub fn lock_time(mut self, lock_time: Duration) -> Self {
        self.keeper.lock_time = lock_time;
        self
    }

    /// Sets who is told of what becomes of the [login](palisade_core::Event::Login).
    /// Defaults to nobody.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.keeper.observer = observer.into();
        self
    }

    client_setter!();
    template_setters!();

    /// Keeps a login from now on, in the place of any other one: a token that came
    /// with a refresh token when somebody logged in.
    ///
    /// [`Tokens`](crate::Tokens) go on with the token that they have, which may be that
    /// of another person, until they are [reset](crate::Tokens::reset); and so does a
    /// [`Chain`](crate::Chain) with the source that it has found.
    ///
    /// # Errors
    ///
    /// If it came with none, or if the store fails; then it is not known whether it
    /// is kept.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is either kept or not.
    pub async fn log_in(&self, token: &Token) -> Result<(), AuthError> {
        self.keeper.log_in(token).await
    }

    /// Forgets the login, in the store as well. The server is not told, and
    /// [`Tokens`](crate::Tokens) have to be [reset](crate::Tokens::reset).
    ///
    /// # Errors
    ///
    /// If the store fails; then it is not known whether it is forgotten.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is either forgotten or not.
    pub async fn log_out(&self) -> Result<(), AuthError> {
        self.keeper.log_out().await
    }
}

impl TokenSource for RefreshToken {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        let begin = |request| self.keeper.clone().refresh(self.template.clone(), request);
        Box::pin(self.ongoing.token(Request::new(wanted), begin))
    }

    fn or_observer(&self, observer: &Arc<dyn Observer>) {
        self.keeper.observer.fill(Arc::clone(observer));
    }
}

impl Exchange for Template {
    async fn exchange(
        &self,
        refresh: &Secret,
        scope: Option<&str>,
        now: Moment,
    ) -> Result<Token, AuthError> {
        let mut grant = Grant::new("refresh_token");
        grant.form.secret("refresh_token", refresh.clone());
        self.ask(grant, Wanted::first(now).scope(scope)).await
    }
}
