use std::sync::{Arc, OnceLock};

use http::Request;
use palisade_circuit_breaker::{CircuitBreakerHandle, Scope, Template};
use palisade_core::{ByAuthority, Outcome, Target};
use tower::Layer;
use tower_service::Service;

use super::{
    CALLS, PalisadeLayer, failsafe_by_time,
    keyed::{HOSTS, uri},
    palisade_by_count, palisade_by_time, recloser_by_count, resilience_by_count,
    resilience_by_time,
};
use crate::{
    footprint::Footprint,
    inner::{Body, Healthy},
    request,
    subject::at_once,
    subjects::{failsafe, recloser},
};

/// One more breaker over the last hundred calls, beside what all breakers of a layer share.
pub(in crate::benches) fn count() -> Vec<Footprint> {
    let palisade = template(palisade_by_count());
    let resilience = resilience_by_count().build().expect("a valid breaker");
    vec![
        Footprint::new("palisade", move || called_handle(&palisade)),
        Footprint::new("tower-resilience", move || called(resilience.layer(Healthy))),
        Footprint::new("recloser", || called(recloser::service(recloser_by_count(), Healthy))),
    ]
}

/// One more breaker over the last 10 seconds, with a hundred calls in them.
///
/// `tower-resilience` grows with the calls, 24 bytes each.
pub(in crate::benches) fn time() -> Vec<Footprint> {
    let palisade = template(palisade_by_time());
    let resilience = resilience_by_time().build().expect("a valid breaker");
    vec![
        Footprint::new("palisade", move || called_handle(&palisade)),
        Footprint::new("tower-resilience", move || called(resilience.layer(Healthy))),
        Footprint::new("failsafe", || called(failsafe::service(failsafe_by_time(), Healthy))),
    ]
}

/// A layer with breakers for 10,000 hosts, their names and all.
pub(in crate::benches) fn keyed() -> Vec<Footprint> {
    vec![Footprint::new("palisade", || {
        let layer = palisade_by_count().keyed(ByAuthority);
        let mut service = layer.layer(Healthy);
        for host in 0..HOSTS {
            at_once(service.call(request::get_of(&uri(host)))).expect("an answer");
        }
        assert_eq!(layer.breakers().len(), HOSTS as usize, "every host has a breaker");
        service
    })]
}

fn called<S: Service<Request<Body>>>(mut service: S) -> S {
    for _ in 0..CALLS {
        assert!(at_once(service.call(request::get())).is_ok(), "a breaker opens by successes");
    }
    service
}

fn called_handle(template: &Template) -> CircuitBreakerHandle {
    let breaker = template.breaker(Target::default());
    for _ in 0..CALLS {
        breaker.try_acquire().expect("it is closed").record(Outcome::Success);
    }
    breaker
}

/// What a layer makes its breakers by.
fn template(layer: PalisadeLayer) -> Template {
    let seen = Seen::default();
    let template = Arc::clone(&seen.template);
    let _layer = layer.scope(seen);
    template.get().expect("a layer shows it to its scope").clone()
}

/// Keeps the template, and has no breakers.
#[derive(Debug, Default)]
struct Seen {
    template: Arc<OnceLock<Template>>,
}

impl Scope for Seen {
    type Lease = ();

    fn renew(self, template: &Template) -> Self {
        self.template.get_or_init(|| template.clone());
        self
    }

    fn leased<'a>(&'a self, (): &'a ()) -> Option<&'a CircuitBreakerHandle> {
        None
    }

    fn known(&self) -> Option<&CircuitBreakerHandle> {
        None
    }
}
