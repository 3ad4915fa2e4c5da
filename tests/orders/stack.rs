//! Layers around each other, with a tap between every two.

use std::{
    fmt,
    sync::{Arc, Mutex},
    thread,
};

use tokio::{task::JoinSet, time::timeout};

use super::{
    bottom::{World, pass},
    callers::{Report, Wish, call},
    tap::{Boxed, Counts, Tap},
    technique::{Instrument, Technique},
};

/// A stack of layers, outermost first.
pub(crate) struct Stack {
    techniques: Vec<Technique>,
    top: Boxed,
    // One more than there are layers: above each, and below the last one.
    taps: Vec<Arc<Mutex<Counts>>>,
    instruments: Vec<Instrument>,
    report: Arc<Report>,
}

impl Stack {
    pub(crate) fn new(techniques: &[Technique], world: &World) -> Self {
        let (mut top, counts) = Tap::around(world.bottom());
        let (mut taps, mut instruments) = (vec![counts], Vec::new());
        for technique in techniques.iter().rev() {
            let (service, instrument) = technique.around(top, world);
            let counts;
            (top, counts) = Tap::around(service);
            taps.push(counts);
            instruments.push(instrument);
        }
        taps.reverse();
        instruments.reverse();
        let report = Arc::default();
        Self { techniques: techniques.to_vec(), top, taps, instruments, report }
    }

    /// A clone that was asked for nothing yet.
    pub(crate) fn client(&self) -> Boxed {
        self.top.clone()
    }

    /// What has passed above the first layer, below it, and so on.
    pub(crate) fn counts(&self) -> Vec<Counts> {
        self.taps.iter().map(|tap| tap.lock().unwrap().clone()).collect()
    }

    /// Waits until nothing is left of any call.
    async fn rest(&self, world: &World) {
        for _ in 0..10_000 {
            if self.counts().iter().all(|counts| counts.open == 0) {
                return;
            }
            pass(world.unit()).await;
        }
        panic!("something is left of a call");
    }

    /// Calls it until all is well again.
    async fn recover(&self, world: &World) {
        for _ in 0..1000 {
            pass(3 * world.unit()).await;
            let [own, other] = [false, true].map(|foreign| Wish::plain(world, foreign));
            let (own, _) = (
                call(self.client(), own, &self.report).await,
                call(self.client(), other, &self.report).await,
            );
            if own && self.instruments.iter().all(Instrument::is_well) {
                return;
            }
        }
        panic!("it does not recover");
    }

    /// As many calls at once as all limits let through.
    async fn burst(&self, world: &World) {
        // What was used of a rate is there again.
        pass(3 * world.unit()).await;
        let room = self.instruments.iter().map(Instrument::room).min();
        let room = room.unwrap_or(super::technique::LIMIT);
        world.gate().close(room);
        let mut calls = JoinSet::new();
        for _ in 0..room {
            let (client, report, wish) =
                (self.client(), Arc::clone(&self.report), Wish::plain(world, false));
            calls.spawn(async move { call(client, wish, &report).await });
        }
        let all = timeout(world.patience(3600), calls.join_all()).await;
        let all = all.expect("of what a limit lets through at once, something is missing");
        assert!(all.iter().all(|well| *well), "{:?}", self.report);
        world.gate().open();
    }

    /// Lets so many calls go through a storm, and as many as it has room for when that is over, and
    /// looks at what everybody has seen.
    pub(crate) async fn run(&self, world: &World, calls: u32, is_patient: bool) {
        let _shown = Shown(self);
        world.script().storm(true);
        let mut storm = JoinSet::new();
        for _ in 0..calls {
            let (client, report, wish) =
                (self.client(), Arc::clone(&self.report), Wish::random(world, is_patient));
            storm.spawn(async move { call(client, wish, &report).await });
        }
        let end = timeout(world.patience(36_000), storm.join_all()).await;
        end.expect("some calls do not end");
        world.script().storm(false);
        self.rest(world).await;
        self.check(world);

        self.recover(world).await;
        self.burst(world).await;
        self.rest(world).await;
        self.check(world);
    }

    fn check(&self, world: &World) {
        let counts = self.counts();
        for (instrument, around) in self.instruments.iter().zip(counts.windows(2)) {
            instrument.check(&around[0], &around[1]);
        }
        assert_eq!(counts[0].calls, self.report.calls());
        let (sent, arrived) = (counts[counts.len() - 1].clone(), world.script().arrived());
        match world.is_in_memory() {
            // A call that is never polled does nothing.
            true => assert!(sent.calls - sent.dropped <= arrived && arrived <= sent.calls),
            false => assert!(arrived <= sent.calls),
        }
        if sent.is_calm() && sent.errors() == 0 {
            assert_eq!(arrived, sent.calls);
        }
        world.check_uploads();
        assert_eq!(world.script().offences(), [""; 0]);
        assert_eq!(self.report.offences(), [""; 0]);
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.techniques)?;
        let counts = self.counts();
        writeln!(f, "{:?}", counts[0])?;
        for ((technique, instrument), counts) in
            self.techniques.iter().zip(&self.instruments).zip(&counts[1..])
        {
            writeln!(f, "  {technique:?}: {instrument:?}\n{counts:?}")?;
        }
        Ok(())
    }
}

/// Shows the stack of a test that fails.
struct Shown<'a>(&'a Stack);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{:?}", self.0);
        }
    }
}
