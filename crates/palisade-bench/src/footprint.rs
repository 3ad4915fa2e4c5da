use std::fmt;

/// Something that is made and kept, to see how many bytes it holds.
pub struct Footprint {
    pub subject: &'static str,
    make: Box<dyn FnMut(Allocated) -> i64>,
}

/// Does what it is given to do, and says how many bytes more are allocated then.
pub type Allocated = fn(&mut dyn FnMut()) -> i64;

impl Footprint {
    pub(crate) fn new<T>(subject: &'static str, mut make: impl FnMut() -> T + 'static) -> Self {
        let make = move |allocated: Allocated| {
            // The first one may bring along what a thread has once and for all.
            drop(make());
            let mut made = None;
            allocated(&mut || made = Some(make()))
        };
        Self { subject, make: Box::new(make) }
    }

    /// How many bytes it holds on the heap.
    pub fn bytes(&mut self, allocated: Allocated) -> i64 {
        (self.make)(allocated)
    }
}

impl fmt::Debug for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Footprint").field("subject", &self.subject).finish_non_exhaustive()
    }
}
