use palisade_settings::{InvalidSetting, literal};

use crate::{LimitAlgorithm, Sample};

/// A limit that stays until somebody [sets](crate::ConcurrencyLimiter::set_limit)
/// another. The default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    limit: usize,
}

impl Fixed {
    /// So many in flight.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn new(limit: usize) -> Self {
        literal(Self::try_new(limit))
    }

    /// As [`new`](Self::new), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_new(limit: usize) -> Result<Self, InvalidSetting> {
        match limit {
            0 => Err(InvalidSetting::new(
                "a limit of zero lets nothing go: write 1 for one request after the other",
            )),
            limit => Ok(Self { limit }),
        }
    }
}

impl LimitAlgorithm for Fixed {
    const LEARNS: bool = false;

    fn limit(&self) -> usize {
        self.limit
    }

    fn record(&mut self, _: &Sample) {}

    fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }
}
