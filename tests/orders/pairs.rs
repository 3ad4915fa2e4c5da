//! Every two layers, in both orders, and each around another one of its kind.

use super::{bottom::World, stack::Stack, technique::Technique};

fn pairs() -> impl Iterator<Item = [Technique; 2]> {
    let all = Technique::ALL;
    all.into_iter().flat_map(move |outer| all.map(|inner| [outer, inner]))
}

/// Whether it is what its demand for tokens is for.
pub(crate) fn demands(techniques: &[Technique]) -> bool {
    techniques.contains(&Technique::Auth)
}

#[tokio::test(start_paused = true)]
async fn every_pair_in_both_orders() {
    for (seed, pair) in (0..).zip(pairs()) {
        // Either all callers are patient, so that all counts are exact, or some go away or panic.
        let (is_patient, panics) = (seed % 2 == 0, seed % 2 == 1);
        let world = World::in_memory(seed, panics, demands(&pair));
        Stack::new(&pair, &world).run(&world, 12, is_patient).await;
    }
}

#[tokio::test]
async fn pairs_in_both_orders_over_sockets() {
    // A seventh of them, which has each outside and inside of some.
    for (seed, pair) in (0..).zip(pairs()).step_by(7) {
        let world = World::over_sockets(seed, demands(&pair), seed % 2 == 1).await;
        Stack::new(&pair, &world).run(&world, 8, seed % 3 == 0).await;
    }
}
