use std::fmt;

use crate::{AuthError, Token, TokenFuture, TokenSource, Wanted};

/// Gets tokens by a function. What it needs of what is [wanted](Wanted) it has to
/// take before it waits. Of an error it says what can be done about it, by a
/// [`Recovery`](crate::Recovery).
///
/// ```
/// # use std::time::{Duration, SystemTime};
/// # use palisade_auth::{Moment, TokenSource, Wanted};
/// use palisade_auth::{AuthError, Recovery, Token, token_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AuthError> {
/// # async fn ask_the_vault() -> Result<String, std::io::Error> { Ok("s.f00".to_owned()) }
/// # let now = Moment::new(SystemTime::UNIX_EPOCH, Duration::ZERO);
/// let source = token_fn(|wanted| {
///     let now = wanted.now;
///     async move {
///         let token = ask_the_vault().await.map_err(|error| {
///             let later = Recovery::Retry { after: None };
///             AuthError::new("the vault gives no token", later).with_source(error)
///         })?;
///         Ok(Token::bearer(token)?.expires_in(Duration::from_secs(300), now))
///     }
/// });
/// # let token = source.fetch(Wanted::first(now)).await?;
/// # assert_eq!(token.header(), "Bearer s.f00");
/// # Ok(())
/// # }
/// ```
pub fn token_fn<F, R>(fetch: F) -> TokenFn<F>
where
    F: Fn(Wanted<'_>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Token, AuthError>> + Send + 'static,
{
    TokenFn(fetch)
}

/// Made by [`token_fn`].
#[derive(Clone, Copy)]
pub struct TokenFn<F>(F);

impl<F, R> TokenSource for TokenFn<F>
where
    F: Fn(Wanted<'_>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Token, AuthError>> + Send + 'static,
{
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin((self.0)(wanted))
    }
}

impl<F> fmt::Debug for TokenFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenFn(..)")
    }
}
