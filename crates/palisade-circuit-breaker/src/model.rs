//! Runs a model in other orders of its threads' steps, with loom or with shuttle.
//!
//! loom tries them all, and what weak memory makes of them; but it remembers the
//! last access to a word alone, and so takes some orders for ones that it has
//! tried. shuttle forgets none, tries as many as it is told to, and knows no
//! weak memory. So a model that both can run is run by both.

#[cfg(palisade_loom)]
pub(crate) use self::with_loom::{bounded, check};
#[cfg(palisade_shuttle)]
pub(crate) use self::with_shuttle::{check, check as bounded};
#[cfg(palisade_loom)]
pub(crate) use loom::{sync::Arc, thread};
#[cfg(palisade_shuttle)]
pub(crate) use shuttle::{sync::Arc, thread};

#[cfg(palisade_loom)]
mod with_loom {
    use loom::model::Builder;

    pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
        loom::model(model);
    }

    /// Three threads have too many orders to try them all: those in which a
    /// thread is interrupted thrice.
    pub(crate) fn bounded(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }
}

#[cfg(palisade_shuttle)]
mod with_shuttle {
    use std::sync::Arc;

    use shuttle::{
        Config, Runner,
        scheduler::{PctScheduler, RandomScheduler, Scheduler},
    };

    const ORDERS: usize = 5000;
    /// How many interruptions it takes to find what is wrong, at a guess.
    const DEPTH: usize = 3;

    /// One thread after the other at random, and then one for as long as it can
    /// but for a few interruptions. What fails prints how to try it again.
    pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
        let model = Arc::new(model);
        run(RandomScheduler::new(ORDERS), Arc::clone(&model));
        run(PctScheduler::new(DEPTH, ORDERS), model);
    }

    fn run(scheduler: impl Scheduler + 'static, model: Arc<impl Fn() + Send + Sync + 'static>) {
        let mut config = Config::new();
        // That it knows no weak memory.
        config.silence_warnings = true;
        Runner::new(scheduler, config).run(move || model());
    }
}
