//! The table between threads, in every order of their steps.

use shuttle::{sync::Arc, thread};

use super::Table;

#[test]
fn who_puts_in_the_same_finds_the_same() {
    shuttle::check_random(
        || {
            let table = Arc::new(Table::new(2));
            let threads: Vec<_> = [1, 2, 1, 3]
                .into_iter()
                .map(|key: u64| {
                    let table = Arc::clone(&table);
                    // All meet at one place.
                    thread::spawn(move || {
                        let place = table.find_or_insert(0, |there| *there == key, || key);
                        place.map(|place| (key, place))
                    })
                })
                .collect();
            let found = threads.into_iter().filter_map(|thread| thread.join().unwrap());
            for (key, place) in found {
                assert_eq!(table.get(place), Some(&key));
            }
            let mut all: Vec<_> = table.iter().map(|(_, key)| *key).collect();
            all.sort_unstable();
            let held = all.len();
            all.dedup();
            assert!(all.len() == held && held <= 2, "{all:?}");
            assert_eq!(table.taken.load(crate::sync::Ordering::Relaxed), held);
        },
        5000,
    );
}
