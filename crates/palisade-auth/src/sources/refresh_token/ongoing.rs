//! A refresh that is nobody's: once it has begun, it is brought to its end.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, future::Shared};
use tokio::{runtime::Handle, time::Instant};

use super::login;
use crate::{AuthError, Moment, Recovery, Secret, Token, Wanted};

/// What a token is wanted for, by somebody who may be gone before it comes.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) scope: Option<String>,
    pub(super) previous: Option<Secret>,
    now: Moment,
    start: Instant,
}

impl Request {
    pub(super) fn new(wanted: Wanted<'_>) -> Self {
        Self {
            scope: wanted.scope.map(str::to_owned),
            previous: wanted.previous.map(|previous| previous.secret().clone()),
            now: wanted.now,
            start: Instant::now(),
        }
    }

    /// What it is now, after it may have waited.
    pub(super) fn now(&self) -> Moment {
        let passed = self.start.elapsed();
        let wall = self.now.wall().checked_add(passed).unwrap_or_else(|| self.now.wall());
        Moment::new(wall, self.now.steady().saturating_add(passed))
    }
}

/// The refresh that is on its way, or whose token nobody has come for. Clones share
/// it.
///
/// A server that rotates refresh tokens may have taken back the old one: a refresh
/// that is dropped before its answer is read and kept has lost the login.
#[derive(Clone, Default)]
pub(super) struct Ongoing {
    refresh: Arc<Mutex<Option<Refresh>>>,
}

#[derive(Clone)]
struct Refresh {
    scope: Option<String>,
    future: Shared<Boxed>,
}

type Boxed = Pin<Box<dyn Future<Output = Result<Token, AuthError>> + Send>>;

impl Ongoing {
    /// Waits for the refresh that is on its way, or begins one.
    pub(super) async fn token<F>(
        &self,
        request: Request,
        begin: impl Fn(Request) -> F,
    ) -> Result<Token, AuthError>
    where
        F: Future<Output = Result<Token, AuthError>> + Send + 'static,
    {
        loop {
            let (refresh, own) = self.join(&request, &begin);
            let result = refresh.future.clone().await;
            self.end(&refresh);
            // What was on its way may be for another scope, or the very token that
            // does not do.
            if own || refresh.suits(&request, &result) {
                return result;
            }
        }
    }

    fn join<F>(&self, request: &Request, begin: impl Fn(Request) -> F) -> (Refresh, bool)
    where
        F: Future<Output = Result<Token, AuthError>> + Send + 'static,
    {
        let mut slot = self.slot();
        if let Some(refresh) = slot.as_ref().filter(|refresh| refresh.is_of_use(request)) {
            return (refresh.clone(), false);
        }
        let future = AssertUnwindSafe(begin(request.clone())).catch_unwind();
        let future = future.map(|done| done.unwrap_or_else(|_| Err(panicked())));
        let refresh = Refresh { scope: request.scope.clone(), future: future.boxed().shared() };
        *slot = Some(refresh.clone());
        drop(slot);
        refresh.launch();
        (refresh, true)
    }

    /// Its token is taken: nobody else gets it from here.
    fn end(&self, refresh: &Refresh) {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|other| other.future.ptr_eq(&refresh.future)) {
            *slot = None;
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Refresh>> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refresh {
    /// Has it polled by the runtime, if there is one; else whoever waits next goes on
    /// with it.
    ///
    /// STYLE.md, rule 18, has no layer spawn. This has to be finished all the same.
    fn launch(&self) {
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.future.clone().map(drop));
        }
    }

    /// It has to be waited for, or has come to what does.
    fn is_of_use(&self, request: &Request) -> bool {
        match self.future.peek() {
            None => true,
            // Who waited for it is gone; by now it may work.
            Some(Err(_)) => false,
            Some(result @ Ok(token)) => {
                let age = token.asked().map(|asked| request.now().since(asked));
                let lasts =
                    token.lifetime().zip(age).is_none_or(|(life, age)| login::lasts(life, age));
                lasts && self.suits(request, result)
            }
        }
    }

    fn suits(&self, request: &Request, result: &Result<Token, AuthError>) -> bool {
        let same = |token: &Token| request.previous.as_ref() == Some(token.secret());
        self.scope == request.scope && !result.as_ref().is_ok_and(same)
    }
}

/// The text of a panic is not for others.
fn panicked() -> AuthError {
    AuthError::new("the refresh panicked", Recovery::Retry { after: None })
}

impl fmt::Debug for Ongoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ongoing").field("any", &self.slot().is_some()).finish()
    }
}
