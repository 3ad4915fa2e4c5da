use std::net::SocketAddr;

use crate::{footprint::Footprint, loopback::Caller, row::Row, subject::Subject};

/// One question to all the subjects it makes sense for.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    pub name: &'static str,
    pub work: Work,
}

#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Calls that never wait: how many nanoseconds and allocations does one take?
    Calls(fn() -> Vec<Subject>),
    /// The same in turns so short that a service is at the end what it was at the beginning.
    FewCalls(fn() -> Vec<Subject>),
    /// Calls of many tasks on several threads: how many nanoseconds of all processors does one take,
    /// and how many on the clock?
    Tasks(fn() -> Vec<Subject>),
    /// Requests to a server in another process: what do they take of the processor, of memory and of
    /// time?
    Loopback(fn(SocketAddr) -> Vec<Caller>),
    /// Things that are kept: how many bytes does each hold?
    Bytes(fn() -> Vec<Footprint>),
    /// A scene, played once by each subject, which brings its own figures.
    Scene(fn(&'static str) -> Vec<Row>),
}

impl Bench {
    /// Is this bench asked for?
    pub fn matches(&self, filter: Option<&str>) -> bool {
        filter.is_none_or(|filter| self.name.contains(filter))
    }
}
