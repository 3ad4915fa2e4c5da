//! Credentials below a cache, over real sockets.

use std::future::ready;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http_body_util::Full;
use palisade_auth::{AuthLayer, Credential, Token, TokensByKey, token_fn};
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_core::{Identity, Origins};
use palisade_testkit::{Call, FlakyApi, Plan, Reply, Script};
use tower::{ServiceBuilder, ServiceExt};

use crate::support::{get, http1, read};

/// Says whose token it was sent, which may be kept, and does not say that it differs by that.
fn whose(call: &Call<'_>) -> Reply {
    match call.headers().get(AUTHORIZATION) {
        Some(token) => Reply::ok(Bytes::copy_from_slice(token.as_bytes()))
            .header("cache-control", "max-age=3600"),
        None => Reply::status(401),
    }
}

#[tokio::test]
async fn a_cache_above_keeps_tenants_apart() {
    let api = FlakyApi::start(Script::new().route("/me", Plan::with(whose))).await;
    let tokens = TokensByKey::new(|tenant| {
        let name = tenant.unwrap_or("nobody").to_owned();
        token_fn(move |_| ready(Token::bearer(name.clone()).map_err(Into::into)))
    });
    let client = ServiceBuilder::new()
        .layer(HttpCacheLayer::private(MemoryStore::new(1 << 20)))
        .layer(AuthLayer::new(tokens, Origins::new([api.url("/").to_string()])))
        .service(http1::<Full<Bytes>>());
    // Each has an answer of its own the first time, and the same from the cache then.
    for _ in 0..2 {
        for name in ["red", "blue", "nobody"] {
            let mut request = get(api.url("/me"));
            match name {
                "red" => Credential::tenant("red").put(request.extensions_mut()),
                "blue" => drop(request.extensions_mut().insert(Identity::new("blue"))),
                _ => {}
            }
            let response = client.clone().oneshot(request).await.unwrap();
            assert_eq!(read(response).await.unwrap(), format!("Bearer {name}"));
        }
    }
    assert_eq!(api.stats().requests(), 3);
}
