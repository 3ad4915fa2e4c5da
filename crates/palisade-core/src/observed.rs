use std::sync::{Arc, OnceLock};

use crate::Observer;

/// A layer that tells an observer what it does.
///
/// For who composes layers that others have made, and wants to hear of all that
/// nobody has an ear for.
pub trait Observed {
    /// Tells this observer, if none is set. What clones of the layer share, and
    /// the services that it has made, tell it too: no state is made anew.
    ///
    /// A layer that is in two stacks tells the observer of the one that was first.
    fn or_observer(self, observer: Arc<dyn Observer>) -> Self
    where
        Self: Sized;
}

/// Whom a layer tells what it does: nobody at first.
///
/// It can be filled while it is shared, so that an observer comes to what there is
/// already. A clone has what was there when it was made.
///
/// ```
/// use std::sync::Arc;
/// use palisade_core::{Observer, ObserverSlot};
/// # use palisade_core::{Event, Target};
/// # #[derive(Debug)]
/// # struct Log(&'static str);
/// # impl Observer for Log {
/// #     fn on_event(&self, _: Target<'_>, _: &Event) {}
/// # }
///
/// let slot = ObserverSlot::default();
/// assert!(slot.get().is_none());
/// slot.fill(Arc::new(Log("first")));
/// slot.fill(Arc::new(Log("second")));
/// assert_eq!(format!("{:?}", slot.get()), r#"Some(Log("first"))"#);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ObserverSlot {
    observer: OnceLock<Arc<dyn Observer>>,
}

impl ObserverSlot {
    /// Who is told, if anybody is.
    #[inline]
    pub fn get(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.get()
    }

    /// Tells this observer, unless there is one.
    pub fn fill(&self, observer: Arc<dyn Observer>) {
        // `Err` hands it back: there is one.
        let _ = self.observer.set(observer);
    }
}

/// Tells this observer, and never another one.
impl From<Arc<dyn Observer>> for ObserverSlot {
    fn from(observer: Arc<dyn Observer>) -> Self {
        Self { observer: OnceLock::from(observer) }
    }
}
