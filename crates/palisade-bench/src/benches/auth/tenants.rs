use std::{cell::Cell, sync::Arc};

use http::Request;
use palisade_auth::{AuthLayer, Credential, TokensByKey};
use palisade_core::Identity;
use tower::Layer;

use super::{Daily, ours};
use crate::{
    inner::{Body, Healthy},
    request,
    subject::{BARE, Subject, at_once},
};

const TENANTS: usize = 100;

/// A call for one of a hundred tenants, whose tokens are there. How the name comes in is no part of it.
pub(in crate::benches) fn calls() -> Vec<Subject> {
    let tokens = TokensByKey::new(|_| Daily);
    for tenant in names() {
        let tokens = tokens.tokens(&Credential::tenant(tenant)).expect("there is room");
        at_once(tokens.warm_up()).expect("it comes at once");
    }
    let palisade = AuthLayer::new(tokens, ours()).send_once().layer(Healthy);
    vec![
        Subject::immediate(BARE, Healthy, requests()),
        Subject::immediate("palisade", palisade, requests()),
    ]
}

fn requests() -> impl FnMut() -> Request<Body> {
    let (names, next): (Vec<_>, _) = (names().collect(), Cell::new(0));
    move || {
        next.set((next.get() + 1) % TENANTS);
        let mut request = request::anonymous();
        request.extensions_mut().insert(Identity::new(Arc::clone(&names[next.get()])));
        request
    }
}

fn names() -> impl Iterator<Item = Arc<str>> {
    (0..TENANTS).map(|tenant| format!("tenant-{tenant}").into())
}
