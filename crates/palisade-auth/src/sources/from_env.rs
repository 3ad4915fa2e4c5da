use std::{path::PathBuf, sync::Arc};

use super::kept::{Kept, read};
use crate::{NotLoaded, Secret, TokenFuture, TokenSource, Wanted};

/// A token in a variable of the environment, or in a `.env` file.
///
/// It is used until it is refused, or until it expires, if it is a JSON Web Token
/// that says when.
#[derive(Clone, Debug)]
#[must_use]
pub struct FromEnv {
    place: Arc<Place>,
    kept: Kept,
}

#[derive(Clone, Debug)]
struct Place {
    name: String,
    file: Option<PathBuf>,
}

impl FromEnv {
    /// The token in a variable.
    pub fn new(name: impl Into<String>) -> Self {
        let place = Arc::new(Place { name: name.into(), file: None });
        Self { place, kept: Kept::for_good() }
    }

    /// Sets the scheme of the token. Defaults to `Bearer`.
    pub fn scheme(mut self, scheme: &str) -> Self {
        self.kept.scheme = scheme.into();
        self
    }

    /// Sets a `.env` file to look into if the variable is not set: see
    /// [`Secret::from_dotenv`]. Defaults to none.
    pub fn or_dotenv(mut self, path: impl Into<PathBuf>) -> Self {
        Arc::make_mut(&mut self.place).file = Some(path.into());
        self
    }
}

impl Place {
    fn load(&self) -> Result<Secret, NotLoaded> {
        let found = Secret::from_env(&self.name);
        match &self.file {
            Some(file) if found.is_err() => Secret::from_dotenv(file, &self.name),
            _ => found,
        }
    }
}

impl TokenSource for FromEnv {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        let place = Arc::clone(&self.place);
        Box::pin(async move {
            let secret = read(move || place.load()).await?;
            self.kept.token(secret, wanted)
        })
    }
}
