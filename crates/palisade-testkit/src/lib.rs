//! Servers that misbehave on purpose, and a clock to wait for them: what palisade's own tests,
//! examples and benchmarks share.

mod clock;
mod refused;
mod sync;

pub use self::{clock::PausedClock, refused::refused_addr};
