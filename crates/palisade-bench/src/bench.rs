use crate::{row::Row, subject::Subject};

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
    /// A scene over real sockets, played once by each subject, which brings its own figures.
    Scene(fn(&'static str) -> Vec<Row>),
}

impl Bench {
    /// Is this bench asked for?
    pub fn matches(&self, filter: Option<&str>) -> bool {
        filter.is_none_or(|filter| self.name.contains(filter))
    }
}
