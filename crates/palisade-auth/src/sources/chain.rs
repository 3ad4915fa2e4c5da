use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use palisade_core::Observer;

use crate::{AuthError, Recovery, Token, TokenFuture, TokenSource, Wanted};

/// Several sources, of which the first one that can be used is used: such as a
/// login, or else the program itself.
///
/// It goes on to the next one where somebody has to log in anew or to set something
/// right ([`Recovery::Reauthenticate`], [`Recovery::FixRequest`]); not where a server
/// merely fails. The one that gave a token is asked first from then on, and after it
/// the others in turn, until a [`reset`](Self::reset). If none gives one, the error is
/// that of the first source.
///
/// Clones remember together.
///
/// ```
/// # use std::time::{Duration, SystemTime};
/// # use palisade_auth::{AuthError, Moment, Wanted};
/// use palisade_auth::{FromEnv, FromFile, TokenSource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AuthError> {
/// # let now = Moment::new(SystemTime::UNIX_EPOCH, Duration::ZERO);
/// # // Cargo sets it.
/// # const NAME: &str = "CARGO_PKG_NAME";
/// let source = FromFile::new("/no/such/file").or(FromEnv::new(NAME));
///
/// let token = source.fetch(Wanted::first(now)).await?;
/// assert_eq!(token.secret().expose(), "palisade-auth");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Chain {
    sources: Vec<Arc<dyn TokenSource>>,
    winner: Arc<AtomicUsize>,
}

impl Chain {
    /// The source to ask first.
    pub fn new(source: impl TokenSource) -> Self {
        Self { sources: vec![Arc::new(source)], winner: Arc::default() }
    }

    /// Adds the source to ask next.
    pub fn or(mut self, source: impl TokenSource) -> Self {
        self.sources.push(Arc::new(source));
        // What others remember is not of this list.
        self.winner = Arc::default();
        self
    }

    /// Asks the first source first again, as after somebody has logged in anew.
    pub fn reset(&self) {
        self.winner.store(0, Ordering::Relaxed);
    }

    async fn first_usable(&self, wanted: Wanted<'_>) -> Result<Token, AuthError> {
        let winner = self.winner.load(Ordering::Relaxed);
        let mut failed: Option<(usize, AuthError)> = None;
        for index in (winner..self.sources.len()).chain(0..winner) {
            let error = match self.sources[index].fetch(wanted).await {
                Ok(token) => {
                    self.winner.store(index, Ordering::Relaxed);
                    return Ok(token);
                }
                Err(error) => error,
            };
            match error.recovery() {
                Recovery::Reauthenticate | Recovery::FixRequest => {}
                _ => return Err(error),
            }
            if failed.as_ref().is_none_or(|(first, _)| index < *first) {
                failed = Some((index, error));
            }
        }
        let (_, error) = failed.expect("a chain has a source");
        Err(error)
    }
}

impl TokenSource for Chain {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(self.first_usable(wanted))
    }

    fn or_observer(&self, observer: &Arc<dyn Observer>) {
        self.sources.iter().for_each(|source| source.or_observer(observer));
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Chain");
        shown.field("sources", &self.sources.len()).field("winner", &self.winner);
        shown.finish_non_exhaustive()
    }
}
