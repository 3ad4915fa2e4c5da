//! Stacks of any layers in any order.

use palisade_testkit::Random;
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::runtime::Builder;

use super::{bottom::World, pairs::demands, stack::Stack, technique::Technique};

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::with_cases(128)
    })]
    #[test]
    fn random_stacks(
        techniques in vec(select(&Technique::ALL[..]), 2..=10),
        seed in any::<u64>(),
        calls in 1..20_u32,
        is_patient in any::<bool>(),
        panics in any::<bool>(),
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let world = World::in_memory(seed, panics, demands(&techniques));
            let stack = Stack::new(&techniques, &world);
            for _ in 0..2 {
                stack.run(&world, calls, is_patient).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_stacks_over_sockets() {
    for seed in 0..24 {
        let mut random = Random::seeded(seed);
        let mut draw = |of: usize| random.number() as usize % of;
        let length = 3 + draw(8);
        let techniques: Vec<_> =
            (0..length).map(|_| Technique::ALL[draw(Technique::ALL.len())]).collect();
        let world = World::over_sockets(seed, demands(&techniques), draw(2) == 0).await;
        Stack::new(&techniques, &world).run(&world, 8, draw(2) == 0).await;
    }
}
