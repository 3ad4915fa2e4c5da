//! Whatever the origin sends, and whoever reads it how: all of it, or an error.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use palisade_cache::{CacheStatus, HttpCacheLayer, MemoryStore};
use proptest::prelude::*;
use tower::ServiceExt;

use crate::support::{Origin, Step, ask, client, clock, reply};

/// The largest body that is stored.
const MOST: usize = 64;

#[derive(Clone, Debug)]
struct Sent {
    chunks: Vec<(u8, bool)>,
    fails: bool,
    says_length: bool,
}

#[derive(Clone, Copy, Debug)]
struct Reader {
    comes: u8,
    pause: u8,
    leaves_after: u8,
}

fn sent() -> impl Strategy<Value = Sent> {
    let chunks = proptest::collection::vec((0..40_u8, any::<bool>()), 0..6);
    (chunks, any::<bool>(), any::<bool>()).prop_map(|(chunks, fails, says_length)| Sent {
        chunks,
        fails,
        says_length,
    })
}

fn reader() -> impl Strategy<Value = Reader> {
    (0..6_u8, 0..3_u8, 0..12_u8).prop_map(|(comes, pause, leaves_after)| Reader {
        comes,
        pause,
        leaves_after,
    })
}

fn millis(count: u8) -> Duration {
    Duration::from_millis(count.into())
}

async fn check(sent: Sent, readers: Vec<Reader>) {
    let whole: Vec<u8> = sent
        .chunks
        .iter()
        .enumerate()
        .flat_map(|(at, (len, _))| vec![at as u8; (*len).into()])
        .collect();
    let mut at = 0;
    let mut steps = Vec::new();
    for (len, waits) in &sent.chunks {
        if *waits {
            steps.push(Step::Wait(millis(1)));
        }
        let end = at + usize::from(*len);
        steps.push(Step::Chunk(Bytes::copy_from_slice(&whole[at..end])));
        at = end;
    }
    if sent.fails {
        steps.push(Step::Fail);
    }
    let length = whole.len().to_string();
    let fields = [("cache-control", "max-age=600"), ("content-length", &length)];
    let fields = if sent.says_length { &fields[..] } else { &fields[..1] };
    let origin = Origin::of([reply(200, fields, "").body(steps)]);
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20).max_body(MOST as u64));
    let layer = layer.clock(clock());
    let client = client(&layer, &origin);

    let mut all = tokio::task::JoinSet::new();
    for reader in readers {
        let (client, whole) = (client.clone(), whole.clone());
        all.spawn(async move {
            tokio::time::sleep(millis(reader.comes)).await;
            let response = client.service.oneshot(ask("GET", "/x", &[])).await.unwrap();
            let mut body = response.into_body();
            let mut read = Vec::new();
            for _ in 0..reader.leaves_after {
                match body.frame().await {
                    Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap()),
                    Some(Err(_)) => return,
                    None => {
                        assert_eq!(read, whole);
                        assert!(!sent.fails);
                        return;
                    }
                }
                assert!(whole.starts_with(&read));
                tokio::time::sleep(millis(reader.pause)).await;
            }
        });
    }
    for result in all.join_all().await {
        let () = result;
    }
    // Nothing is left but, maybe, what was complete.
    assert_eq!(origin.alive(), 0);
    assert!(format!("{layer:?}").contains("Flights { keys: 0 }"), "{layer:?}");
    let got = client.get("/x", &[]).await;
    assert!(got.cache != CacheStatus::Hit || !sent.fails && whole.len() <= MOST);
    assert_eq!(got.body.is_ok(), !sent.fails);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn who_reads_gets_all_or_an_error(
        sent in sent(), readers in proptest::collection::vec(reader(), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(check(sent, readers));
    }
}
