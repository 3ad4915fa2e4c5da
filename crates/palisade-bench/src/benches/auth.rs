//! Every token lives for a day, so that none has to be refreshed.

pub(super) mod calls;
pub(super) mod cold;
pub(super) mod tenants;

use std::time::Duration;

use palisade_auth::{Token, TokenFuture, TokenSource, Tokens, Wanted};
use palisade_core::Origins;

use crate::subject::at_once;

/// As long as a short JSON Web Token.
const TOKEN_LEN: usize = 400;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn secret() -> String {
    "x".repeat(TOKEN_LEN)
}

fn ours() -> Origins {
    Origins::new(["https://api.example"])
}

/// Tokens, of which there is one already.
fn warm() -> Tokens {
    let tokens = Tokens::new(Daily);
    at_once(tokens.warm_up()).expect("it comes at once");
    tokens
}

/// Gives a token at once.
#[derive(Debug)]
struct Daily;

impl TokenSource for Daily {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(async move { Ok(token(wanted)) })
    }
}

fn token(wanted: Wanted<'_>) -> Token {
    Token::bearer(secret()).expect("a valid token").expires_in(DAY, wanted.now)
}
