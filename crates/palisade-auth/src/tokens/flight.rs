//! A token on its way: one future for all who wait for it, and nobody's.

use std::{
    any::Any,
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::Shared};
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    settings::Settings,
    slot::{Begin, Landed, Landing, Slot},
};
use crate::{AuthError, Recovery, Token, Wanted, window::Life};

/// Waits for a token. Clones wait for the same one; any of them that is polled
/// brings it nearer.
#[derive(Clone)]
pub(crate) struct Flight {
    future: Shared<Boxed>,
    orphaned: Arc<AtomicBool>,
    given_up: Shared<oneshot::Receiver<()>>,
    give_up: Arc<Mutex<Option<oneshot::Sender<()>>>>,
}

type Boxed = Pin<Box<dyn Future<Output = Result<(), AuthError>> + Send>>;

impl Flight {
    /// Nothing happens before it is polled.
    pub(crate) fn new(settings: Arc<Settings>, slot: Weak<Slot<Self>>, begin: Begin) -> Self {
        let orphaned = Arc::new(AtomicBool::new(false));
        let flown = fly(settings, slot, begin, Arc::clone(&orphaned));
        // A clock may panic, and all who wait must not.
        let flown = AssertUnwindSafe(flown).catch_unwind();
        let flown = flown.map(|flown| flown.unwrap_or_else(|panic| Err(panicked(&*panic))));
        let (give_up, given_up) = oneshot::channel();
        Self {
            future: flown.boxed().shared(),
            orphaned,
            given_up: given_up.shared(),
            give_up: Arc::new(Mutex::new(Some(give_up))),
        }
    }

    /// Has it polled by the runtime, if there is one, whoever else polls it.
    ///
    /// STYLE.md, rule 18, has no layer spawn. A refresh must be finished all the
    /// same, once it began: a server that rotates refresh tokens may have taken
    /// back the old one, and if the new one is dropped unread the login is lost.
    pub(crate) fn launch(&self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(Driver { flight: self.clone(), ended: false }.run());
        // One that had ended before takes nothing. What fails then has failed, or who
        // waits would begin anew without end.
        self.orphaned.store(false, Ordering::Relaxed);
    }

    /// Tells all who wait to look again: what is on its way is not for them any more.
    pub(crate) fn give_up(&self) {
        let give_up = self.give_up.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(give_up) = give_up {
            // Nobody may wait.
            let _ = give_up.send(());
        }
    }

    /// Ready where it was given up.
    pub(crate) fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.given_up.poll_unpin(cx).map(drop)
    }
}

impl Future for Flight {
    type Output = Result<(), AuthError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.poll_unpin(cx)
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// What a runtime polls.
struct Driver {
    flight: Flight,
    ended: bool,
}

impl Driver {
    async fn run(mut self) {
        // Who waits is told.
        let _flown = (&mut self.flight).await;
        self.ended = true;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The runtime ended first. What is left may go on, if it needs nothing
        // of that runtime; if it fails, that says nothing of the source.
        if !self.ended {
            self.flight.orphaned.store(true, Ordering::Relaxed);
        }
    }
}

async fn fly(
    settings: Arc<Settings>,
    slot: Weak<Slot<Flight>>,
    begin: Begin,
    orphaned: Arc<AtomicBool>,
) -> Result<(), AuthError> {
    let began = begin.now;
    let fetched = AssertUnwindSafe(fetch(&settings, &begin)).catch_unwind().await;
    let fetched = fetched.unwrap_or_else(|panic| Err(panicked(&*panic)));
    let now = settings.clock.now();
    let landing = match fetched.and_then(|token| settings.life(token, began, now)) {
        Ok((token, life)) => Landing::Token(token, life),
        Err(_) if orphaned.load(Ordering::Relaxed) => Landing::Lost,
        Err(error) => Landing::Failed(error),
    };
    // Without a slot nobody waits any more.
    let Some(slot) = slot.upgrade() else {
        return Ok(());
    };
    match slot.land(begin.number, begin.epoch, landing, now, settings.random.unit()) {
        Landed::Stored(held) => {
            quietly(|| settings.tell("fetched", now.since(began)));
            quietly(|| settings.changed(&held.token));
            Ok(())
        }
        Landed::Failed(error) => {
            quietly(|| settings.tell(result(&error), now.since(began)));
            Err(error)
        }
        // Who waited looks again.
        Landed::Nothing => Ok(()),
    }
}

/// Calls who is told of it. A panic there changes nothing for who waits.
fn quietly(told: impl FnOnce()) {
    let _panicked = std::panic::catch_unwind(AssertUnwindSafe(told));
}

async fn fetch(settings: &Settings, begin: &Begin) -> Result<Token, AuthError> {
    let wanted = Wanted::first(begin.now).scope(settings.scope.as_deref());
    let wanted = match &begin.previous {
        Some(previous) => wanted.instead_of(previous, begin.reason),
        None => wanted,
    };
    let fetched = settings.source.fetch(wanted);
    // Without a runtime there is no timer.
    match Handle::try_current() {
        Ok(_) => match tokio::time::timeout(settings.limits.load_timeout, fetched).await {
            Ok(fetched) => fetched,
            Err(_) => Err(late()),
        },
        Err(_) => fetched.await,
    }
}

impl Settings {
    /// How long a token lives that was asked for at a moment.
    pub(crate) fn life(
        &self,
        token: Token,
        asked: crate::Moment,
        now: crate::Moment,
    ) -> Result<(Token, Life), AuthError> {
        let from = token.asked().unwrap_or(asked);
        let Some(lifetime) = token.lifetime().or(self.default_lifetime) else {
            return Ok((token, Life::endless(from)));
        };
        if lifetime <= now.since(from) {
            let what = "the token had expired when it came";
            return Err(AuthError::new(what, Recovery::Retry { after: None }));
        }
        let life = Life::new(from, lifetime, &self.window, self.random.unit());
        Ok((token, life))
    }
}

#[cold]
pub(crate) fn late() -> AuthError {
    AuthError::new("the token did not come in time", Recovery::Retry { after: None })
}

/// The text of a panic is not for others: it may tell what was being read.
#[cold]
fn panicked(_: &(dyn Any + Send)) -> AuthError {
    AuthError::new("the token source panicked", Recovery::Retry { after: None })
}

fn result(error: &AuthError) -> &'static str {
    match error.recovery() {
        Recovery::Retry { .. } => "retry",
        Recovery::Reauthenticate => "reauthenticate",
        Recovery::FixRequest => "fix_request",
        Recovery::Fatal => "fatal",
    }
}
