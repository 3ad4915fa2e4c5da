use palisade_auth::{AuthLayer, Authenticator, Bearer, Credential, Token, Tokens, TokensByKey};
use palisade_core::Origins;
use palisade_testkit::{contract, probe_request};
use tower::ServiceExt;

use crate::support::{Source, clock};

/// What is primed lives for an hour by default, and a contract takes longer.
fn tokens() -> Tokens {
    let tokens = Tokens::new(Source::default()).clock(clock()).default_lifetime(None);
    tokens.prime(Token::bearer("primed").unwrap()).unwrap();
    tokens
}

/// Requests of the contract go over plain http.
fn layer<A: Authenticator>(authenticator: A) -> AuthLayer<A> {
    AuthLayer::new(authenticator, Origins::any()).allow_plain_http()
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    contract!(layer(tokens()).send_once())
        .shares(|one, other, _| async move {
            one.oneshot(probe_request(1)).await.is_ok()
                && other.oneshot(probe_request(1)).await.is_ok()
        })
        .check()
        .await;
    contract!(layer(Bearer::new("abc").unwrap())).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_what_a_second_try_is_made_of() {
    // The copy of the head, and the box that it is kept in.
    contract!(layer(tokens())).allocations(2).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_where_nothing_is_put_on() {
    contract!(AuthLayer::new(tokens(), Origins::new(["https://else.example"]))).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_a_token_for_each_key() {
    let keyed = || {
        let tokens = TokensByKey::new(|_| Source::default()).clock(clock()).default_lifetime(None);
        let nobody = tokens.tokens(&Credential::default()).unwrap();
        nobody.prime(Token::bearer("primed").unwrap()).unwrap();
        tokens
    };
    contract!(layer(keyed()).send_once()).check().await;
}
