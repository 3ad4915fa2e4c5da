use palisade_auth::{AuthLayer, Bearer};
use tower::Layer;
use tower_http::auth::AddAuthorizationLayer;

use super::{ours, secret, warm};
use crate::{
    inner::Healthy,
    request,
    subject::{BARE, Subject},
    subjects::huskarl,
};

/// A call whose token is there, and of which nothing is kept. tower-http and the static subject have a
/// token that never changes; neither looks at a clock, and tower-http at nothing.
pub(in crate::benches) fn cached() -> Vec<Subject> {
    let palisade = AuthLayer::new(warm(), ours()).send_once().layer(Healthy);
    let fixed = Bearer::new(secret()).expect("a valid token");
    let fixed = AuthLayer::new(fixed, ours()).layer(Healthy);
    let tower_http = AddAuthorizationLayer::bearer(&secret()).layer(Healthy);
    vec![
        Subject::immediate(BARE, Healthy, request::anonymous),
        Subject::immediate("palisade", palisade, request::anonymous),
        Subject::immediate("palisade-static", fixed, request::anonymous),
        Subject::immediate("tower-http", tower_http, request::anonymous),
        huskarl::cached(&secret(), Healthy, request::anonymous),
    ]
}

/// The same, where head and body are kept in case the token is refused. No peer does that.
pub(in crate::benches) fn replay_copy() -> Vec<Subject> {
    let palisade = AuthLayer::new(warm(), ours()).layer(Healthy);
    vec![
        Subject::immediate(BARE, Healthy, request::anonymous),
        Subject::immediate("palisade", palisade, request::anonymous),
    ]
}
