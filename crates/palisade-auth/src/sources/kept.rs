//! Tokens that are kept outside of the program, and renewed there or not at all.

use std::{sync::Arc, time::Duration};

use crate::{AuthError, NotLoaded, Reason, Recovery, Secret, Token, Wanted, expiry};

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) scheme: Arc<str>,
    pub(super) reread: Option<Duration>,
}

impl Kept {
    pub(super) fn for_good() -> Self {
        Self { scheme: "Bearer".into(), reread: None }
    }

    pub(super) fn for_a_while(reread: Duration) -> Self {
        Self { reread: Some(reread), ..Self::for_good() }
    }

    /// What was read, as a token. The same one that was refused is none.
    pub(super) fn token(&self, secret: Secret, wanted: Wanted<'_>) -> Result<Token, AuthError> {
        let same = wanted.previous.is_some_and(|previous| *previous.secret() == secret);
        if same && wanted.reason == Reason::Refused {
            let message = "the token was refused, and there is no other";
            return Err(AuthError::new(message, Recovery::Reauthenticate));
        }
        let lifetime = expiry::of_jwt(secret.expose(), wanted.now.wall()).or(self.reread);
        let token = Token::new(&self.scheme, secret)?;
        Ok(match lifetime {
            Some(lifetime) => token.expires_in(lifetime, wanted.now),
            None => token,
        })
    }
}

/// Reads what may take a while, beside the runtime if there is one.
pub(super) async fn read<F>(read: F) -> Result<Secret, AuthError>
where
    F: FnOnce() -> Result<Secret, NotLoaded> + Send + 'static,
{
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return Ok(read()?);
    };
    match runtime.spawn_blocking(read).await {
        Ok(read) => Ok(read?),
        Err(ended) => {
            Err(AuthError::new("the runtime ends", Recovery::Retry { after: None })
                .with_source(ended))
        }
    }
}
