use std::{fmt, sync::Arc, time::Duration};

use palisade_core::{Event, Observer, ObserverSlot, Target};
use palisade_settings::Random;

use crate::{Clock, CoarseClock, RefreshWindow, Token, TokenSource, rules::Limits};

/// What tokens are kept fresh by.
#[derive(Clone)]
pub(crate) struct Settings {
    // Not a parameter: it is asked once for each token, with a boxed future, and
    // so the type of tokens says nothing of where they come from.
    pub(crate) source: Arc<dyn TokenSource>,
    pub(crate) scope: Option<Box<str>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) window: RefreshWindow,
    pub(crate) limits: Limits,
    pub(crate) default_lifetime: Option<Duration>,
    pub(crate) observer: ObserverSlot,
    // As the source: called once for each token.
    pub(crate) on_change: Vec<Arc<OnChange>>,
    pub(crate) random: Arc<Random>,
}

pub(crate) type OnChange = dyn Fn(&Token) + Send + Sync;

impl Settings {
    pub(crate) fn new(source: Arc<dyn TokenSource>) -> Self {
        Self {
            source,
            scope: None,
            clock: Arc::new(CoarseClock),
            window: RefreshWindow::default(),
            limits: Limits { load_timeout: Duration::from_secs(30), serve_expired: Duration::ZERO },
            default_lifetime: Some(Duration::from_secs(3600)),
            observer: ObserverSlot::default(),
            on_change: Vec::new(),
            random: Arc::new(Random::from_entropy()),
        }
    }

    pub(crate) fn tell(&self, result: &'static str, took: Duration) {
        if let Some(observer) = self.observer.get() {
            // A token is of no request.
            observer.on_event(Target::default(), &Event::Refreshed { result, took });
        }
    }

    /// Tells this observer, and has the source tell it, where nobody is told.
    pub(crate) fn or_observer(&self, observer: &Arc<dyn Observer>) {
        self.observer.fill(Arc::clone(observer));
        self.source.or_observer(observer);
    }

    pub(crate) fn changed(&self, token: &Token) {
        for on_change in &self.on_change {
            on_change(token);
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("clock", &self.clock)
            .field("window", &self.window)
            .field("limits", &self.limits)
            .field("default_lifetime", &self.default_lifetime)
            .field("observer", &self.observer)
            .finish_non_exhaustive()
    }
}
