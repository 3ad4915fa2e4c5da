//! Calls whose breakers others would like to have the place of.

use palisade_core::{KeyFn, Outcome, key_fn};

use super::*;
use crate::{
    State,
    model::{check, thread},
};

type Key = fn(Head<'_>) -> String;

/// One place, and breakers that open at the first failure.
fn keyed() -> Keyed<KeyFn<Key>> {
    let by: Key = |head| head.uri.path().to_owned();
    let template = Template::new(Arc::new(Settings::new(Trip::consecutive(1))));
    Keyed::by(key_fn(by)).max_keys(1).renew(&template)
}

/// A call of this key; nothing, if it goes without a breaker.
fn call(keyed: &Keyed<KeyFn<Key>>, key: &str, outcome: Outcome) -> Option<usize> {
    let lease = keyed.lease(&Request::get(key).body(()).unwrap())?;
    if let Ok(permit) = lease.try_acquire() {
        permit.record(outcome);
    }
    Some(identity(&lease))
}

fn identity(handle: &CircuitBreakerHandle) -> usize {
    std::ptr::from_ref(handle.shared()).addr()
}

#[test]
fn a_call_that_opens_its_breaker_leaves_it_where_it_is_found() {
    check(|| {
        let keyed = keyed();
        let breakers = Breakers::of(keyed.clone());
        let others = [("/a", Outcome::Failed), ("/b", Outcome::Success)].map(|(key, outcome)| {
            let keyed = keyed.clone();
            thread::spawn(move || call(&keyed, key, outcome))
        });
        let mine = call(&keyed, "/a", Outcome::Failed);
        let [theirs, _] = others.map(|other| other.join().unwrap());

        let found = breakers.get(&"/a".to_owned());
        for counted in [mine, theirs].into_iter().flatten() {
            let found = found.as_ref().expect("it is open");
            assert_eq!(found.state(), State::Open);
            assert_eq!(identity(found), counted);
        }
        assert!(breakers.all().len() <= 1);
        assert_eq!(breakers.len(), breakers.all().len());
    });
}

#[test]
fn a_handle_in_somebodys_hands_is_of_the_breaker_that_calls_ask() {
    check(|| {
        let keyed = keyed();
        let breakers = Breakers::of(keyed.clone());
        call(&keyed, "/a", Outcome::Success).unwrap();
        let flood = keyed.clone();
        let flood = thread::spawn(move || call(&flood, "/b", Outcome::Success));
        let person = breakers.get(&"/a".to_owned());
        person.as_ref().inspect(|handle| handle.force_open());
        flood.join().unwrap();
        if let Some(handle) = person {
            let asked = keyed.lease(&Request::get("/a").body(()).unwrap()).unwrap();
            assert_eq!(identity(&asked), identity(&handle));
            assert!(asked.try_acquire().is_err());
        }
    });
}
