use std::fmt;

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Admits all calls and watches how they end.
    Closed,
    /// Refuses all calls until its time is over.
    Open,
    /// Admits a few calls to see whether the service works again.
    HalfOpen,
    /// Admits a share of the calls that grows, after the service has recovered.
    RampUp,
    /// Refuses all calls until it is [reset](crate::CircuitBreakerHandle::reset).
    ForcedOpen,
    /// Admits all calls and counts nothing until it is
    /// [reset](crate::CircuitBreakerHandle::reset).
    Disabled,
}

impl State {
    /// The state's name in snake case, as used for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::RampUp => "ramp_up",
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
