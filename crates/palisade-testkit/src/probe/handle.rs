//! What the probes of one contract share.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{Offence, Pace, Place, Probe, ProbePlan, ProbeRequest};

/// Tells all [`Probe`]s made from it what to do, and counts what is left of them.
#[derive(Clone, Default)]
pub struct ProbeHandle {
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Debug, Default)]
struct Ledger {
    plan: ProbePlan,
    ids: u64,
    calls: u64,
    instances: usize,
    futures: usize,
    bodies: usize,
    permits: usize,
    capacity: Option<usize>,
    offences: Vec<Offence>,
    // What was received, where somebody wants to know.
    requests: Option<Vec<ProbeRequest>>,
    visitor: Option<Visitor>,
    // The last waker of each thing that waits.
    waiting: Vec<(u64, Waker)>,
}

/// Comes in while a probe is at work.
struct Visitor(Box<dyn FnMut(Place) + Send>);

impl ProbeHandle {
    /// A handle whose probes follow the default [`ProbePlan`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A probe that is not ready until it is polled.
    pub fn probe<E, M>(&self) -> Probe<E, M> {
        Probe::new(self)
    }

    /// Sets what the probes do from now on.
    pub fn set(&self, plan: ProbePlan) {
        self.lock().plan = plan;
    }

    /// Sets how many instances may be ready or at work at once. Defaults to any number.
    pub fn capacity(&self, capacity: usize) {
        self.lock().capacity = Some(capacity);
    }

    /// Lets go of all that is [`Pace::Held`], and wakes it.
    pub fn release(&self) {
        let mut ledger = self.lock();
        let plan = &mut ledger.plan;
        for pace in [&mut plan.ready, &mut plan.pace, &mut plan.body_pace] {
            if *pace == Pace::Held {
                *pace = Pace::AtOnce;
            }
        }
        drop(ledger);
        self.wake();
    }

    /// How many calls have arrived.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Keeps a copy of each request that arrives from now on.
    ///
    /// Not done by default: the copy keeps alive what a layer puts into the request.
    pub fn record(&self) {
        self.lock().requests = Some(Vec::new());
    }

    /// The requests that have arrived since [`record`](Self::record), attempts of one call included.
    pub fn requests(&self) -> Vec<ProbeRequest> {
        self.lock().requests.clone().unwrap_or_default()
    }

    /// How many probes are alive.
    pub fn instances(&self) -> usize {
        self.lock().instances
    }

    /// How many futures of probes are alive.
    pub fn futures(&self) -> usize {
        self.lock().futures
    }

    /// How many response bodies of probes are alive.
    pub fn bodies(&self) -> usize {
        self.lock().bodies
    }

    /// How the probes were misused.
    pub fn offences(&self) -> Vec<Offence> {
        self.lock().offences.clone()
    }

    /// Calls this from within all that probes do from now on, but not from within itself.
    ///
    /// Has to be ended by [`dismiss`](Self::dismiss): what the visitor holds may hold the probes.
    pub(crate) fn admit(&self, visitor: impl FnMut(Place) + Send + 'static) {
        self.lock().visitor = Some(Visitor(Box::new(visitor)));
    }

    pub(crate) fn dismiss(&self) {
        let visitor = self.lock().visitor.take();
        // Without the lock: with the visitor, probes may be dropped.
        drop(visitor);
    }

    pub(super) fn at_work(&self, place: Place) {
        let Some(mut visitor) = self.lock().visitor.take() else {
            return;
        };
        (visitor.0)(place);
        self.lock().visitor = Some(visitor);
    }

    pub(super) fn plan(&self) -> ProbePlan {
        self.lock().plan
    }

    pub(crate) fn next_id(&self) -> u64 {
        let mut ledger = self.lock();
        ledger.ids += 1;
        ledger.ids
    }

    pub(super) fn count_call(&self, request: &ProbeRequest) -> u64 {
        let mut ledger = self.lock();
        if let Some(requests) = &mut ledger.requests {
            uncounted(|| requests.push(request.clone()));
        }
        ledger.calls += 1;
        ledger.calls
    }

    pub(super) fn report(&self, offence: Offence) {
        uncounted(|| self.lock().offences.push(offence));
    }

    /// Waits at `pace`; `waited` counts the polls so far.
    pub(super) fn wait(&self, pace: Pace, id: u64, waited: &mut u32, cx: &Context<'_>) -> Poll<()> {
        match pace {
            Pace::After(polls) if *waited < polls => {
                *waited += 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Pace::Held => {
                self.register(id, cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Takes a permit, which is `None` if there is no limit.
    pub(super) fn take_permit(&self, id: u64, cx: &Context<'_>) -> Poll<Option<Permit>> {
        let mut ledger = self.lock();
        let Some(capacity) = ledger.capacity else {
            return Poll::Ready(None);
        };
        if ledger.permits < capacity {
            ledger.permits += 1;
            let handle = self.clone();
            return Poll::Ready(Some(Permit { handle }));
        }
        drop(ledger);
        self.register(id, cx);
        Poll::Pending
    }

    fn register(&self, id: u64, cx: &Context<'_>) {
        uncounted(|| {
            let mut ledger = self.lock();
            ledger.waiting.retain(|(other, _)| *other != id);
            ledger.waiting.push((id, cx.waker().clone()));
        });
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ProbeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProbeHandle").field(&*self.lock()).finish()
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").finish_non_exhaustive()
    }
}

/// What can be left behind.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Instance,
    Future,
    Body,
}

/// Counts itself as alive.
pub(super) struct Live {
    handle: ProbeHandle,
    kind: Kind,
}

impl Live {
    pub(super) fn new(handle: &ProbeHandle, kind: Kind) -> Self {
        let handle = handle.clone();
        *count(&mut handle.lock(), kind) += 1;
        Self { handle, kind }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        *count(&mut self.handle.lock(), self.kind) -= 1;
    }
}

fn count(ledger: &mut Ledger, kind: Kind) -> &mut usize {
    match kind {
        Kind::Instance => &mut ledger.instances,
        Kind::Future => &mut ledger.futures,
        Kind::Body => &mut ledger.bodies,
    }
}

/// The right to be ready and to work, given back on drop.
pub(super) struct Permit {
    handle: ProbeHandle,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.handle.lock().permits -= 1;
        self.handle.wake();
    }
}

/// Runs the probe's own work, whose allocations are not the layer's.
pub(super) fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    let mut done = None;
    allocation_counter::opt_out(|| done = Some(work()));
    done.expect("the work was done")
}
