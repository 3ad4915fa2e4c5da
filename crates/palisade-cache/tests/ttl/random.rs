//! Whatever happens in whatever order, nobody gets an answer that is too old.

use std::{collections::HashMap, pin::Pin, time::Duration};

use palisade_cache::CacheLayer;
use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tower::{Layer, Service};

use crate::support::{Api, End, poll_once};

const TTL: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(u64),
    // Of those who wait.
    Poll(usize),
    Drop(usize),
    Advance(u64),
    Insert(u64),
    Invalidate(u64),
    Clear,
    Fail(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u64).prop_map(Step::Ask),
        6 => any::<usize>().prop_map(Step::Poll),
        2 => any::<usize>().prop_map(Step::Drop),
        4 => (0..4000_u64).prop_map(Step::Advance),
        1 => (0..3_u64).prop_map(Step::Insert),
        1 => (0..3_u64).prop_map(Step::Invalidate),
        1 => Just(Step::Clear),
        1 => any::<bool>().prop_map(Step::Fail),
    ]
}

/// What is known of a call, or of an answer that was inserted.
#[derive(Clone, Copy, Debug)]
struct Source {
    // The number of the step.
    begun: usize,
    landed: Option<Instant>,
}

type Answers = Pin<Box<dyn Future<Output = Result<(u64, usize), crate::support::Down>>>>;

struct Asked {
    request: u64,
    step: usize,
    at: Instant,
    answer: Answers,
}

/// Inserted answers have numbers of their own.
const INSERTED: usize = 1_000_000;

async fn check(steps: Vec<Step>) {
    let api = Api::default();
    api.takes(Duration::from_secs(1));
    let layer = CacheLayer::new(TTL);
    let handle = layer.handle();
    let mut cache = layer.layer(api.watch());
    let mut asked: Vec<Asked> = Vec::new();
    let mut sources: HashMap<usize, Source> = HashMap::new();
    // The step of the last change of each key from outside.
    let mut changed = [0; 3];
    for (step, what) in (1..).zip(steps) {
        let calls = api.calls();
        let mut polled = None;
        match what {
            Step::Ask(request) => {
                let answer: Answers = Box::pin(cache.call(request));
                asked.push(Asked { request, step, at: Instant::now(), answer });
                polled = Some(asked.len() - 1);
            }
            Step::Poll(number) if !asked.is_empty() => polled = Some(number % asked.len()),
            Step::Drop(number) if !asked.is_empty() => {
                drop(asked.remove(number % asked.len()));
            }
            Step::Poll(_) | Step::Drop(_) => {}
            Step::Advance(millis) => advance(Duration::from_millis(millis)).await,
            Step::Insert(request) => {
                let number = INSERTED + step;
                handle.insert(request, (request, number), TTL);
                let landed = Some(Instant::now());
                sources.insert(number, Source { begun: step, landed });
                changed[request as usize] = step;
            }
            Step::Invalidate(request) => {
                handle.invalidate(&request);
                assert_eq!(handle.get(&request), None);
                changed[request as usize] = step;
            }
            Step::Clear => {
                handle.clear();
                changed = [step; 3];
            }
            Step::Fail(fails) => api.end(if fails { End::Fails } else { End::Answers }),
        }
        let Some(number) = polled else { continue };
        let poll = poll_once(&mut asked[number].answer);
        for call in calls + 1..=api.calls() {
            sources.insert(call, Source { begun: step, landed: None });
        }
        let std::task::Poll::Ready(result) = poll else { continue };
        let asked = asked.remove(number);
        let Ok((request, source)) = result else { continue };
        assert_eq!(request, asked.request);
        let source = sources.get_mut(&source).expect("a call or an insert");
        let landed = *source.landed.get_or_insert_with(Instant::now);
        assert!(asked.at < landed + TTL, "too old when it was asked for");
        // The change that was the last when it was asked for is not known any more if there was
        // another one since; who asks after a change gets nothing from before it.
        let change = changed[request as usize];
        if change < asked.step {
            assert!(change <= source.begun, "from before a change: {change} {source:?}");
        }
    }
    let waiting = asked.len();
    assert!(api.alive() <= waiting);
    drop(asked);
    assert_eq!((api.alive(), handle.stats().in_flight), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn nobody_gets_what_is_too_old(steps in proptest::collection::vec(step(), 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(check(steps));
    }
}
