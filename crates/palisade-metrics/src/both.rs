use palisade_core::{Event, Observer, Target};

/// Two observers as one: each is told everything, the first one first.
///
/// For more of them, put one into another.
///
/// ```
/// use std::sync::Arc;
/// use palisade_core::{Event, Observer, Target};
/// use palisade_metrics::{Both, Registry};
///
/// let (mine, ours) = (Registry::new(), Registry::new());
/// let observer: Arc<dyn Observer> = Arc::new(Both(mine.clone(), ours.observer()));
/// // A layer is given the observer, and tells it of a change.
/// # let event = Event::Breaker { from: "closed", to: "open", reason: "failure_rate", generation: 1 };
/// # observer.on_event(Target::default(), &event);
/// assert_eq!(mine.snapshot().breakers[0].state, "open");
/// assert_eq!(ours.snapshot().breakers[0].state, "open");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Both<A, B>(pub A, pub B);

impl<A: Observer, B: Observer> Observer for Both<A, B> {
    fn on_event(&self, target: Target<'_>, event: &Event) {
        self.0.on_event(target, event);
        self.1.on_event(target, event);
    }
}
