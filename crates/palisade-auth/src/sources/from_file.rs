use std::{path::PathBuf, sync::Arc, time::Duration};

use super::kept::{Kept, read};
use crate::{Secret, TokenFuture, TokenSource, Wanted};

/// A token that somebody else keeps fresh in a file, as Kubernetes does. The space
/// around it, such as the line break at the end, is left out.
///
/// The file is read again before the token expires, if it is a JSON Web Token that
/// says when; or else after a while; and when the token was refused.
#[derive(Clone, Debug)]
#[must_use]
pub struct FromFile {
    path: Arc<PathBuf>,
    kept: Kept,
}

impl FromFile {
    /// The token in a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: Arc::new(path.into()), kept: Kept::for_a_while(Duration::from_secs(5 * 60)) }
    }

    /// Sets the scheme of the token. Defaults to `Bearer`.
    pub fn scheme(mut self, scheme: &str) -> Self {
        self.kept.scheme = scheme.into();
        self
    }

    /// Sets for how long a token is used that does not say when it expires, before
    /// the file is read again. Defaults to 5 minutes.
    pub fn reread_after(mut self, delay: Duration) -> Self {
        self.kept.reread = Some(delay);
        self
    }
}

impl TokenSource for FromFile {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        let path = Arc::clone(&self.path);
        Box::pin(async move {
            let secret = read(move || Secret::from_file(&*path)).await?;
            self.kept.token(secret, wanted)
        })
    }
}
