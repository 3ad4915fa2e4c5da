//! Clones and services of one layer share its state.

use tower_layer::Layer;

use super::{Sharing, Subject, drive::Verdict};
use crate::probe::{Probe, ProbeError, ProbeHandle};

/// State that is shared is not made anew, so nothing is allocated for it.
pub(super) fn check<L, E>(layer: &dyn Fn() -> L) -> Verdict
where
    L: Layer<Probe<E>, Service: Subject>,
    E: From<ProbeError>,
{
    let handle = ProbeHandle::new();
    let layer = layer();
    let probe = handle.probe();
    // `Bytes` allocates for its first clone.
    let service = layer.layer(handle.probe());
    let _clone = service.clone();

    let (_route, allocations) = measured(|| layer.layer(probe));
    if allocations != 0 {
        return Err(format!(
            "Layer::layer allocates {allocations} times, so makes state of its own"
        ));
    }
    let (_clone, allocations) = measured(|| service.clone());
    if allocations != 0 {
        return Err(format!(
            "a clone of the service allocates {allocations} times, so copies state"
        ));
    }
    Ok(())
}

/// Asks the test, which knows what the state is.
pub(super) async fn observe<L>(layer: &dyn Fn() -> L, shares: &Sharing<'_, L::Service>) -> Verdict
where
    L: Layer<Probe, Service: Subject>,
{
    let handle = ProbeHandle::new();
    let shared = layer();
    let (one, other) = (shared.layer(handle.probe()), shared.layer(handle.probe()));
    if !shares(one, other, handle).await {
        return Err("two services of one layer do not share their state".to_owned());
    }
    let handle = ProbeHandle::new();
    let service = layer().layer(handle.probe());
    match shares(service.clone(), service, handle).await {
        true => Ok(()),
        false => Err("a clone does not share the state of its service".to_owned()),
    }
}

/// The result and the number of allocations made for it.
pub(super) fn measured<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let mut done = None;
    let info = allocation_counter::measure(|| done = Some(work()));
    (done.expect("the work was done"), info.count_total)
}
