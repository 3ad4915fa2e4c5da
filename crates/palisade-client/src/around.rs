use std::{sync::Arc, time::Duration};

use palisade_core::{Observed, Observer};

use crate::stack::Layers;

/// What a layer learns of the stack that it comes into, once all of that is known.
pub(crate) struct Around {
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) total: Option<Duration>,
    pub(crate) attempt: Option<Duration>,
}

/// Puts a layer into its place.
pub(crate) type Put = Box<dyn FnOnce(&mut Layers, &Around) + Send + Sync>;

impl Around {
    /// The layer, telling the observer of the stack if it has none of its own.
    pub(crate) fn observed<L: Observed>(&self, layer: L) -> L {
        match &self.observer {
            Some(observer) => layer.or_observer(Arc::clone(observer)),
            None => layer,
        }
    }

    /// The layer, observed, and starting nothing that cannot end within the time of a
    /// call.
    #[cfg(feature = "retry")]
    pub(crate) fn retry<C, Q, K, G, M, T>(
        &self,
        layer: palisade_retry::RetryLayer<palisade_retry::Rules<C, Q, K, G, M, T>>,
    ) -> palisade_retry::RetryLayer<palisade_retry::Rules<C, Q, K, G, M, T>>
    where
        palisade_retry::Rules<C, Q, K, G, M, T>: Clone,
    {
        let layer = self.observed(layer);
        match self.total {
            Some(total) => layer.outer_deadline(total),
            None => layer,
        }
    }
}
