//! How a login is refreshed where others may refresh it as well.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use palisade_core::{BoxError, Event, ObserverSlot, Target, find_cause};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::{
    login::{Attempt, Login, Need, Next, Overtaken, record_of},
    ongoing::Request,
};
use crate::{
    AuthError, Moment, Record, Recovery, Secret, StoreLock, Token, TokenFileError, TokenStore,
    Version,
};

/// Asks for a token with a refresh token.
pub(super) trait Exchange: Send + Sync + 'static {
    fn exchange(
        &self,
        refresh: &Secret,
        scope: Option<&str>,
        now: Moment,
    ) -> impl Future<Output = Result<Token, AuthError>> + Send;
}

/// A login, and where it is kept. Clones share it.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) name: Arc<str>,
    pub(super) lock_time: Duration,
    pub(super) observer: ObserverSlot,
    pub(super) login: Arc<Mutex<Login>>,
}

/// As many tokens as are tried: one that is kept, that of a peer who was quicker,
/// and the one that was given.
const ATTEMPTS: usize = 3;
/// How often another one may be quicker to write, although this one has the lock.
const OVERWRITES: usize = 100;

impl Keeper {
    /// Gets a token: the one that another one has got in the meantime, or a new one,
    /// whose refresh token is kept before anybody sees it.
    pub(super) async fn refresh<E: Exchange>(
        self,
        exchange: E,
        request: Request,
    ) -> Result<Token, AuthError> {
        let _lock = match self.lock().await {
            Ok(lock) => lock,
            Err(error) => return self.adopt(&request).await.ok_or(error),
        };
        // Who hangs must not keep all others waiting for ever.
        let until = Instant::now().checked_add(self.lock_time);
        let mut refused = Vec::new();
        let mut verdict = None;
        for _ in 0..ATTEMPTS {
            let kept = self.load().await?;
            let next = self.login().next(kept, &need(&request, &refused));
            let attempt = match next {
                Next::Adopt(token) => return Ok(self.adopted(token)),
                Next::Ask(attempt) => attempt,
                Next::Lost => break,
            };
            let scope = request.scope.as_deref();
            let asked = exchange.exchange(&attempt.refresh, scope, request.now());
            match before(until, asked).await {
                Ok(token) => {
                    self.keep(&attempt, &token, request.scope.is_some()).await;
                    return Ok(token);
                }
                Err(error) if error.recovery() == Recovery::Reauthenticate => {
                    self.take_away(&attempt).await;
                    refused.push(attempt.refresh);
                    verdict = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        self.tell("lost");
        Err(verdict.unwrap_or_else(no_login))
    }

    /// Keeps a login from now on.
    pub(super) async fn log_in(&self, token: &Token) -> Result<(), AuthError> {
        if token.renewal().is_none() {
            let what = "the login came without a refresh token";
            return Err(AuthError::new(what, Recovery::FixRequest));
        }
        self.overwrite(Some(&record_of(token))).await
    }

    /// Keeps no login from now on.
    pub(super) async fn log_out(&self) -> Result<(), AuthError> {
        self.overwrite(None).await
    }

    async fn overwrite(&self, record: Option<&Record>) -> Result<(), AuthError> {
        let _lock = self.lock().await?;
        for _ in 0..OVERWRITES {
            let version = self.load().await?.map(|(version, _)| version);
            if self.store.swap(&self.name, version, record).await.map_err(unwritable)?.is_some() {
                // What is there now is looked at as that of another one.
                *self.login() = Login::default();
                return Ok(());
            }
        }
        let message = "others write the login again and again";
        Err(AuthError::new(message, Recovery::Retry { after: None }))
    }

    /// What others have got, for who cannot get the lock.
    async fn adopt(&self, request: &Request) -> Option<Token> {
        let kept = self.load().await.ok()?;
        let token = self.login().adopt(kept.as_ref(), &need(request, &[]))?;
        Some(self.adopted(token))
    }

    fn adopted(&self, token: Token) -> Token {
        self.tell("adopted");
        token
    }

    /// Writes what came. If it cannot be written, it is known here alone, and the
    /// token is good all the same.
    async fn keep(&self, attempt: &Attempt, token: &Token, scoped: bool) {
        let record = self.login().renewed(attempt, token, scoped);
        match self.write(attempt.version, &record).await {
            Ok(true) => self.tell("renewed"),
            Ok(false) => self.tell("overtaken"),
            Err(_) => {
                self.login().not_saved(record);
                self.tell("unsaved");
            }
        }
    }

    /// Whether it was written. Nothing is, if another one has logged in.
    async fn write(&self, mut old: Option<Version>, record: &Record) -> Result<bool, BoxError> {
        for _ in 0..ATTEMPTS {
            if let Some(version) = self.store.swap(&self.name, old, Some(record)).await? {
                self.login().saved(version);
                return Ok(true);
            }
            let kept = self.store.load(&self.name).await?;
            if self.login().overtaken(kept.as_ref(), record) == Overtaken::Leave {
                break;
            }
            old = None;
        }
        Ok(false)
    }

    /// Takes away what the server refuses, if another one has not replaced it.
    async fn take_away(&self, attempt: &Attempt) {
        if !self.login().refused(attempt) {
            return;
        }
        if self.store.swap(&self.name, attempt.version, None).await.is_err() {
            self.tell("unsaved");
        }
    }

    async fn lock(&self) -> Result<StoreLock, AuthError> {
        let locked = self.store.lock(&self.name, self.lock_time).await;
        locked.map_err(|error| failed("the token store gives no lock", error))
    }

    async fn load(&self) -> Result<Option<(Version, Record)>, AuthError> {
        let loaded = self.store.load(&self.name).await;
        // Whoever goes on with what it remembers may use a token for the second time,
        // and lose the login of all.
        loaded.map_err(|error| failed("the token store cannot be read", error))
    }

    pub(super) fn login(&self) -> MutexGuard<'_, Login> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: &'static str) {
        if let Some(observer) = self.observer.get() {
            // A login is of no request.
            observer.on_event(Target::default(), &Event::Login { change });
        }
    }
}

/// Waits no longer than that, if there is a runtime that can tell.
async fn before(
    until: Option<Instant>,
    asked: impl Future<Output = Result<Token, AuthError>>,
) -> Result<Token, AuthError> {
    match until {
        Some(until) if Handle::try_current().is_ok() => {
            timeout_at(until, asked).await.unwrap_or_else(|_| Err(late()))
        }
        _ => asked.await,
    }
}

fn late() -> AuthError {
    AuthError::new("the token endpoint did not answer in time", Recovery::Retry { after: None })
}

fn need<'a>(request: &'a Request, refused: &'a [Secret]) -> Need<'a> {
    Need {
        now: request.now(),
        previous: request.previous.as_ref(),
        scoped: request.scope.is_some(),
        refused,
    }
}

fn no_login() -> AuthError {
    AuthError::new("nobody is logged in", Recovery::Reauthenticate)
}

fn unwritable(error: BoxError) -> AuthError {
    failed("the token store cannot be written", error)
}

fn failed(message: &'static str, error: BoxError) -> AuthError {
    let said = find_cause::<AuthError>(&*error).map(AuthError::recovery);
    let damaged = find_cause::<TokenFileError>(&*error).is_some_and(TokenFileError::is_damaged);
    let recovery = match said {
        Some(recovery) => recovery,
        None if damaged => Recovery::Fatal,
        None => Recovery::Retry { after: None },
    };
    AuthError::new(message, recovery).with_source(error)
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("name", &self.name)
            .field("lock_time", &self.lock_time)
            .field("observer", &self.observer)
            .finish_non_exhaustive()
    }
}
