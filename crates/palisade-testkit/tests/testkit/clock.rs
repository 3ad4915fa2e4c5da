use std::time::{Duration, SystemTime};

use palisade_core::WallClock;
use palisade_testkit::PausedClock;

#[tokio::test(start_paused = true)]
async fn moves_with_paused_time_alone() {
    let clock = PausedClock::starting_at(SystemTime::UNIX_EPOCH);
    let copy = clock;
    assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
    for second in 1..=3 {
        tokio::time::advance(Duration::from_secs(1)).await;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        assert_eq!(clock.now(), now);
        assert_eq!(copy.now(), now);
    }
}
