//! Every peer counts and times requests as its documentation shows, and keeps what it counts in
//! memory: an exporter of Prometheus that nobody scrapes, a reader of OpenTelemetry that nobody reads.

pub(super) mod layers;
pub(super) mod observer;
pub(super) mod record;
