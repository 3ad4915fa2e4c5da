//! All layers, in every order: what holds whatever stands around what.
//!
//! Between every two layers of a stack there is a [tap](tap), and each layer has its
//! instruments: metrics, a limiter, a breaker, an observer. So what each layer says can be held
//! against what went in above it and came out below it, wherever it stands.

mod bottom;
mod callers;
mod documented;
mod pairs;
mod random;
mod reply;
mod stack;
mod tap;
mod technique;
