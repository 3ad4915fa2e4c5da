//! Where the protected resource leads to another origin.

use http::{
    StatusCode, Uri,
    header::{LINK, LOCATION},
};
use palisade_auth::{AuthLayer, Tokens};
use palisade_core::{BoxError, Origins};
use tower::{Layer, ServiceExt};

use crate::{
    Scenario,
    fixture::{Fixture, call, get},
};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("redirects and links to another origin", followed),
        Scenario::new("other origins are refused, if so wished", refused),
    ]
}

async fn followed(fixture: Fixture) -> String {
    let client = fixture.with(Tokens::new(fixture.basic()));
    for (path, field) in [("moved", LOCATION), ("page", LINK)] {
        let response = client.clone().oneshot(get(fixture.api(path))).await.unwrap();
        let target = response.headers()[field].to_str().unwrap();
        let target = target.trim_start_matches('<').split('>').next().unwrap();
        let target: Uri = target.parse().unwrap();
        assert_eq!(call(&client, get(target)).await.0, StatusCode::OK);
    }
    let counters = fixture.counters().await;
    assert_eq!((counters.elsewhere(), counters.leaks()), (2, 0));
    format!("{} requests, {} leaks", counters.elsewhere(), counters.leaks())
}

async fn refused(fixture: Fixture) -> String {
    let origins = Origins::new([fixture.issuer()]);
    let layer = AuthLayer::new(Tokens::new(fixture.basic()), origins).fail_outside();
    let target = fixture.elsewhere().parse().unwrap();
    let error: BoxError = layer.layer(fixture.http()).oneshot(get(target)).await.unwrap_err();
    let counters = fixture.counters().await;
    assert_eq!((counters.elsewhere(), counters.token_requests()), (0, 0));
    error.to_string()
}
