//! Whatever happens in whatever order, nobody who is polled when it is woken
//! waits for ever.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use palisade_cache::{BoxTask, CacheLayer, background_fn};
use proptest::prelude::*;
use tokio::time::advance;
use tower::{Layer, Service};

use crate::support::{Api, End, lock};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(u64),
    // Polls those who were woken.
    Run,
    Drop(usize),
    // It is not polled any more.
    Freeze(usize),
    Advance(u64),
    Insert(u64),
    Invalidate(u64),
    End(End),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_u64).prop_map(Step::Ask),
        4 => Just(Step::Run),
        2 => any::<usize>().prop_map(Step::Drop),
        3 => any::<usize>().prop_map(Step::Freeze),
        4 => (0..8000_u64).prop_map(Step::Advance),
        1 => (0..2_u64).prop_map(Step::Insert),
        1 => (0..2_u64).prop_map(Step::Invalidate),
        2 => prop_oneof![Just(End::Answers), Just(End::Fails), Just(End::Panics)]
            .prop_map(Step::End),
    ]
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Task {
    poll: Box<dyn FnMut(&mut Context<'_>) -> bool>,
    woken: Arc<Flag>,
    frozen: bool,
}

impl Task {
    fn new(future: impl Future + 'static) -> Self {
        let mut future = Box::pin(future);
        let poll = Box::new(move |cx: &mut Context<'_>| future.as_mut().poll(cx).is_ready());
        Self { poll, woken: Arc::new(Flag(AtomicBool::new(true))), frozen: false }
    }

    /// Polls it if it was woken; says whether it is over.
    fn run(&mut self) -> bool {
        if self.frozen || !self.woken.0.swap(false, Ordering::SeqCst) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        let poll = || (self.poll)(&mut Context::from_waker(&waker));
        // A panic of the service is an end too.
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or(true)
    }
}

async fn check(steps: Vec<Step>, in_background: bool, single: bool) {
    let api = Api::default();
    api.takes(SECOND);
    let spawned: Arc<Mutex<Vec<BoxTask>>> = Arc::default();
    let queue = Arc::clone(&spawned);
    let layer = CacheLayer::new(10 * SECOND)
        .stale_while_revalidate(10 * SECOND)
        .stale_if_error(30 * SECOND)
        .early_refresh(2.0)
        .seed(7)
        .single_flight(single);
    let (handle, mut ask): (_, Box<dyn FnMut(u64) -> Task>) = match in_background {
        true => {
            let layer = layer.background(background_fn(move |task| lock(&queue).push(task)));
            let (handle, mut cache) = (layer.handle(), layer.layer(api.watch()));
            (handle, Box::new(move |request| Task::new(cache.call(request))))
        }
        false => {
            let (handle, mut cache) = (layer.handle(), layer.layer(api.watch()));
            (handle, Box::new(move |request| Task::new(cache.call(request))))
        }
    };
    let mut tasks: Vec<Task> = Vec::new();
    let run = |tasks: &mut Vec<Task>| {
        tasks.retain_mut(|task| !task.run());
        tasks.extend(lock(&spawned).drain(..).map(Task::new));
    };
    for step in steps {
        match step {
            Step::Ask(request) => tasks.push(ask(request)),
            Step::Run => run(&mut tasks),
            Step::Drop(number) if !tasks.is_empty() => {
                drop(tasks.remove(number % tasks.len()));
            }
            Step::Freeze(number) if !tasks.is_empty() => {
                let number = number % tasks.len();
                tasks[number].frozen = true;
            }
            Step::Drop(_) | Step::Freeze(_) => {}
            Step::Advance(millis) => advance(Duration::from_millis(millis)).await,
            Step::Insert(request) => handle.insert(request, (request, 0), SECOND),
            Step::Invalidate(request) => drop(handle.invalidate(&request)),
            Step::End(end) => api.end(end),
        }
    }
    // Those who are polled come to an end without the others, and then those as well.
    for thaws in [false, true] {
        for task in &mut tasks {
            task.frozen &= !thaws;
        }
        for _ in 0..200 {
            run(&mut tasks);
            advance(SECOND / 2).await;
        }
        let waiting = tasks.iter().filter(|task| !task.frozen).count();
        assert_eq!(waiting, 0, "thawed: {thaws}");
    }
    assert_eq!((tasks.len(), api.alive(), handle.stats().in_flight), (0, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nobody_waits_for_ever(
        steps in proptest::collection::vec(step(), 0..60),
        in_background in any::<bool>(),
        single in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(check(steps, in_background, single));
    }
}
