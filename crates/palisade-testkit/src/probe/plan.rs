//! What a probe can be told to do.

use std::fmt;

use http::StatusCode;

/// The data frames of a whole body.
pub(crate) const CHUNKS: [&str; 2] = ["pali", "sade"];

/// The trailer of a whole body.
pub(crate) const TRAILER: (&str, &str) = ("x-probe-trailer", "end");

/// What a [`Probe`](crate::Probe) does, until it is told otherwise.
///
/// By default it is ready at once and answers at once, with 200 and a whole body.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProbePlan {
    /// How long an instance takes to be ready.
    pub ready: Pace,
    /// Whether readiness then is an error.
    pub ready_fails: bool,
    /// How long a call takes.
    pub pace: Pace,
    /// What the call comes to.
    pub answer: Answer,
    /// Whether the head of the response has another version, two headers of one name, and an extension.
    pub rich: bool,
    /// The body of the response.
    pub payload: Payload,
    /// How long each frame of the body takes.
    pub body_pace: Pace,
}

/// How long something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// Ready when polled.
    #[default]
    AtOnce,
    /// Pending so many times, and woken each time.
    After(u32),
    /// Pending until [`ProbeHandle::release`](crate::ProbeHandle::release).
    Held,
    /// Pending up to four times, differently for each call, so that calls overtake each other.
    Staggered,
}

impl Pace {
    pub(super) fn of_call(self, number: u64) -> Self {
        match self {
            Self::Staggered => Self::After((number.wrapping_mul(3) % 5) as u32),
            pace => pace,
        }
    }
}

/// What a call comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// 200 with the planned body.
    #[default]
    Responds,
    /// This status with the planned body.
    Status(StatusCode),
    /// [`ProbeError::Answer`](crate::ProbeError::Answer).
    Fails,
    /// [`ProbePanic`](crate::ProbePanic) in `Service::call`.
    PanicsInCall,
    /// [`ProbePanic`](crate::ProbePanic) in the future.
    PanicsInPoll,
}

/// The body of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// Two frames of data and trailers; the size of the data is known.
    #[default]
    Whole,
    /// Two frames of data and trailers; the size of the data is unknown.
    Unsized,
    /// Nothing, and known to be.
    Empty,
    /// One frame of data, then [`ProbeError::Body`](crate::ProbeError::Body).
    Fails,
    /// One frame of data, then [`ProbePanic`](crate::ProbePanic).
    Panics,
}

/// Where a probe is at work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Readiness,
    Call,
    Future,
    Body,
}

/// A use of a [`Probe`](crate::Probe) that tower forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offence {
    /// An instance was called that had never said it was ready.
    CalledUnready,
    /// An instance was called again without being polled again.
    CalledTwice,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CalledUnready => "an inner instance was called that had never said it was ready",
            Self::CalledTwice => "an inner instance was called twice after one readiness",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Readiness => "poll_ready",
            Self::Call => "call",
            Self::Future => "poll of the future",
            Self::Body => "poll of the body",
        })
    }
}
