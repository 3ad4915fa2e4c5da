//! People who log in: on a page that agrees to all, and on a device.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{
    Request, StatusCode, Uri,
    header::{COOKIE, LOCATION, SET_COOKIE},
};
use http_body_util::Full;
use palisade_auth::{
    CodeFlow, DeviceFlow, MemoryTokenStore, Recovery, RefreshToken, Token, Tokens,
};
use tokio::join;

use crate::{
    Scenario,
    clock::Later,
    fixture::{Fixture, call, get},
};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("a login in a browser", browser),
        Scenario::new("a login that the browser did not begin", wrong_state),
        Scenario::new("a login that another server answers", wrong_issuer),
        Scenario::new("a login that the server refuses", refused),
        Scenario::new("a login on a device", device),
        Scenario::new("a login on a device that is denied", denied),
    ]
}

const SCOPE: &str = "openid offline_access read";

fn code(fixture: &Fixture) -> CodeFlow {
    let page = format!("{}/auth", fixture.issuer());
    CodeFlow::new(fixture.endpoint(), &page, fixture.client("native").id())
        .issuer(fixture.issuer())
        .scope(SCOPE)
        // Without it, there is no refresh token.
        .param("prompt", "consent")
}

/// Follows redirects as a browser does, with cookies, up to the port of the program, and
/// says where it is sent there.
async fn browse(fixture: &Fixture, url: &str) -> String {
    let http = fixture.http();
    let mut cookies = BTreeMap::new();
    let mut at = url.to_owned();
    while !at.contains("/callback?") {
        let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::get(&at).header(COOKIE, pairs.join("; "));
        let response = http.request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{at}");
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            cookies.insert(name.to_owned(), value.to_owned());
        }
        let location = response.headers()[LOCATION].to_str().unwrap();
        at = match location.starts_with('/') {
            true => format!("{}{location}", fixture.issuer()),
            false => location.to_owned(),
        };
    }
    at
}

/// What the program shows at an address of its own.
async fn show(fixture: &Fixture, address: &str) -> StatusCode {
    let request = get(address.parse::<Uri>().unwrap());
    fixture.http().request(request).await.unwrap().status()
}

/// The token works, and is renewed after it was revoked.
async fn lives(fixture: &Fixture, token: Token) -> String {
    let client = fixture.client("native").auth();
    let source = RefreshToken::stored(fixture.endpoint(), MemoryTokenStore::new(), "me");
    let source = source.client(client);
    source.log_in(&token).await.unwrap();
    let clock = Later::new();
    let tokens = Tokens::new(source).clock(clock.clone());
    tokens.prime(token).unwrap();
    let service = fixture.with(tokens);
    for round in 0..2 {
        let (status, echo) = call(&service, get(fixture.api("echo"))).await;
        assert_eq!((status, echo["account"].as_str()), (StatusCode::OK, Some("alice")), "{round}");
        // One that is refused so young is not replaced.
        clock.advance(Duration::from_secs(60));
        fixture.revoke_access().await;
    }
    // The second call was sent again.
    assert_eq!(fixture.counters().await.calls(), 3);
    "alice, and the token was renewed once".to_owned()
}

async fn browser(fixture: Fixture) -> String {
    let login = code(&fixture).begin().await.unwrap();
    let page = async {
        let address = browse(&fixture, login.url()).await;
        show(&fixture, &address).await
    };
    let (token, shown) = join!(login.token(), page);
    assert_eq!(shown, StatusCode::OK);
    lives(&fixture, token.unwrap()).await
}

async fn wrong_state(fixture: Fixture) -> String {
    let login = code(&fixture).begin().await.unwrap();
    let other = code(&fixture).begin().await.unwrap();
    let page = async {
        // The code of another login, such as that of an attacker.
        let foreign = browse(&fixture, other.url()).await;
        let own = browse(&fixture, login.url()).await;
        let (_, foreign) = foreign.split_once('?').unwrap();
        let (base, _) = own.split_once('?').unwrap();
        let refused = show(&fixture, &format!("{base}?{foreign}")).await;
        let requests = fixture.counters().await.token_requests();
        (refused, requests, show(&fixture, &own).await)
    };
    let (token, seen) = join!(login.token(), page);
    assert_eq!(seen, (StatusCode::BAD_REQUEST, 0, StatusCode::OK));
    token.unwrap();
    "refused, and the right one taken".to_owned()
}

async fn wrong_issuer(fixture: Fixture) -> String {
    let login = code(&fixture).issuer("https://other.example").begin().await.unwrap();
    let page = async {
        let address = browse(&fixture, login.url()).await;
        show(&fixture, &address).await
    };
    let (error, shown) = join!(login.token(), page);
    let error = error.unwrap_err();
    assert_eq!((error.recovery(), shown), (Recovery::Fatal, StatusCode::BAD_REQUEST));
    assert_eq!(fixture.counters().await.token_requests(), 0);
    error.to_string()
}

async fn refused(fixture: Fixture) -> String {
    let login = code(&fixture).param("max_age", "-1").begin().await.unwrap();
    let page = async {
        let address = browse(&fixture, login.url()).await;
        show(&fixture, &address).await
    };
    let (error, shown) = join!(login.token(), page);
    let error = error.unwrap_err();
    assert_eq!(shown, StatusCode::BAD_REQUEST);
    assert_eq!(error.recovery(), Recovery::FixRequest);
    error.to_string()
}

fn on_device(fixture: &Fixture) -> DeviceFlow {
    let device_endpoint = format!("{}/device/auth", fixture.issuer());
    let client = fixture.client("native").auth();
    DeviceFlow::new(fixture.endpoint(), &device_endpoint, client).scope(SCOPE)
}

async fn device(fixture: Fixture) -> String {
    let login = on_device(&fixture).begin().await.unwrap();
    assert!(login.verification_uri().starts_with(fixture.issuer()));
    fixture.device(login.user_code(), true).await;
    lives(&fixture, login.token().await.unwrap()).await
}

async fn denied(fixture: Fixture) -> String {
    let login = on_device(&fixture).begin().await.unwrap();
    fixture.device(login.user_code(), false).await;
    let error = login.token().await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::Reauthenticate);
    error.to_string()
}
