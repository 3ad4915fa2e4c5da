use std::sync::Arc;

use palisade_core::Observer;

use crate::{Quota, Wait, bucket::Short, clock::Clock};

/// What those in line wait for.
pub(crate) trait Admit {
    /// What all of a layer have in common.
    type Settings: LineSettings;

    /// Whether it is known when what is missing will be there. If not, who gives
    /// something back wakes the first one in line, and all in line have timers
    /// for when they give up.
    const FORESEEN: bool;

    fn new(settings: &Self::Settings) -> Self;

    /// Takes so many, for who finds nobody in line.
    ///
    /// # Errors
    ///
    /// Why they are not there.
    fn take(&self, now: u64, cost: u32) -> Result<(), Short>;

    /// As [`take`](Self::take), for the first one in line.
    fn take_late(&self, now: u64, cost: u32) -> Result<(), Short>;

    /// Why there are not so many after others have taken theirs.
    fn short(&self, before: u64, cost: u32) -> Short;

    /// The quota that has so many last of all, if there are quotas, and it has too
    /// few now.
    fn scarcest(&self, settings: &Self::Settings, now: u64, cost: u32) -> Option<Quota> {
        let _ = (settings, now, cost);
        None
    }

    /// Whether who is refused may have taken something for a moment.
    fn gives_back(&self) -> bool;
}

/// How a line is kept.
pub(crate) trait LineSettings {
    fn wait(&self) -> Wait;

    fn observer(&self) -> Option<&Arc<dyn Observer>>;

    fn clock(&self) -> Clock;
}
