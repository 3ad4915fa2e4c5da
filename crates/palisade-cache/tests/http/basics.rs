use palisade_cache::CacheStatus;

use crate::support::{Origin, chunk, client, private, reply};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test(start_paused = true)]
async fn a_response_is_stored_and_used() {
    let origin = Origin::of([reply(200, &[FRESH], "one").body([chunk("o"), chunk("ne")])]);
    let client = client(&private(), &origin);
    for (status, age) in [(CacheStatus::Miss, None), (CacheStatus::Hit, Some("7"))] {
        let got = client.get("/x", &[]).await;
        assert_eq!((got.text(), got.cache), ("one", status));
        assert_eq!(got.headers.get("age").map(|age| age.to_str().unwrap()), age);
        crate::support::pass(7).await;
    }
    assert_eq!(origin.calls(), 1);
}
