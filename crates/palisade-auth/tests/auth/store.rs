//! What stores promise.

use std::{error::Error, fs, path::Path, sync::Arc, time::Duration};

use futures_util::FutureExt;
use palisade_auth::{FileTokenStore, MemoryTokenStore, Record, TokenFileError, TokenStore};

use crate::{directory::Directory, lease_store::LeaseStore};

const CANARY: &str = "canary-in-a-coal-mine";
const LONGEST: Duration = Duration::from_secs(5);

fn login(refresh_token: &str) -> Record {
    let mut record = Record::default();
    record.refresh_token = Some(refresh_token.into());
    record
}

fn file_error<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> &'a TokenFileError {
    error.downcast_ref().expect("it is of the file")
}

/// All stores, each with a second one that keeps the same.
fn stores(directory: &Directory) -> Vec<[Arc<dyn TokenStore>; 2]> {
    let memory = MemoryTokenStore::new();
    let file = || FileTokenStore::new(directory.file("tokens.json"));
    let lease = LeaseStore::default();
    vec![
        [Arc::new(memory.clone()), Arc::new(memory)],
        [Arc::new(file()), Arc::new(file())],
        [Arc::new(lease.clone()), Arc::new(lease)],
    ]
}

#[tokio::test]
async fn only_who_knows_what_is_there_replaces_it() {
    let directory = Directory::new();
    for [one, other] in stores(&directory) {
        assert_eq!(one.load("alice").await.unwrap(), None);
        assert!(one.swap("alice", None, None).await.unwrap().is_some());
        let first = one.swap("alice", None, Some(&login("r1"))).await.unwrap();
        assert_eq!(other.load("alice").await.unwrap(), first.map(|first| (first, login("r1"))));
        assert_eq!(other.load("bob").await.unwrap(), None);

        assert_eq!(other.swap("alice", None, Some(&login("x"))).await.unwrap(), None);
        let second = other.swap("alice", first, Some(&login("r2"))).await.unwrap();
        assert!(first < second);
        assert_eq!(one.swap("alice", first, Some(&login("x"))).await.unwrap(), None);
        assert_eq!(one.swap("alice", first, None).await.unwrap(), None);
        assert_eq!(one.load("alice").await.unwrap(), second.map(|second| (second, login("r2"))));
    }
}

#[tokio::test]
async fn a_version_never_comes_again() {
    let directory = Directory::new();
    for [one, other] in stores(&directory) {
        let first = one.swap("alice", None, Some(&login("r1"))).await.unwrap();
        let gone = one.swap("alice", first, None).await.unwrap();
        assert!(first < gone);
        assert_eq!(other.load("alice").await.unwrap(), None);
        let second = other.swap("alice", None, Some(&login("r1"))).await.unwrap();
        assert!(gone < second);
        assert_eq!(one.swap("alice", first, None).await.unwrap(), None);
    }
}

#[tokio::test]
async fn one_at_a_time_has_the_lock() {
    let directory = Directory::new();
    for [one, other] in stores(&directory) {
        let held = one.lock("alice", LONGEST).await.unwrap();
        // Another login is another lock.
        drop(other.lock("bob", LONGEST).await.unwrap());
        let mut waits = other.lock("alice", LONGEST);
        assert!((&mut waits).now_or_never().is_none());
        drop(held);
        drop(waits.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_waited_for_no_longer_than_was_said() {
    let directory = Directory::new();
    for [one, other] in stores(&directory) {
        let _held = one.lock("alice", 2 * LONGEST).await.unwrap();
        let start = tokio::time::Instant::now();
        let error = other.lock("alice", LONGEST).await.unwrap_err();
        assert!(LONGEST <= start.elapsed() && start.elapsed() < 2 * LONGEST, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_who_is_gone_ends_with_its_time() {
    let store = LeaseStore::default();
    std::mem::forget(store.lock("alice", LONGEST).await.unwrap());
    assert!(store.lock("alice", LONGEST / 2).await.is_err());
    drop(store.lock("alice", LONGEST).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_no_longer_waits_does_not_have_the_lock() {
    let directory = Directory::new();
    for [one, other] in stores(&directory) {
        for polls in 0..20 {
            let held = one.lock("alice", LONGEST).await.unwrap();
            let waits = other.lock("alice", LONGEST);
            drop(tokio::time::timeout(Duration::from_millis(polls), waits).await);
            drop(held);
            let mut waits = one.lock("alice", LONGEST);
            drop((&mut waits).now_or_never());
            drop(waits);
            drop(one.lock("alice", LONGEST).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "they are to meet")]
async fn of_all_that_write_at_once_one_wins() {
    let directory = Directory::new();
    for [one, other] in stores(&directory) {
        let before = one.swap("alice", None, Some(&login("r"))).await.unwrap();
        let tasks = [&one, &other, &one, &other].map(Arc::clone).map(|store| {
            tokio::spawn(async move {
                let new = login("next");
                store.swap("alice", before, Some(&new)).await.unwrap().is_some()
            })
        });
        let mut winners = 0;
        for task in tasks {
            winners += u32::from(task.await.unwrap());
        }
        assert_eq!(winners, 1);
    }
}

#[test]
fn works_without_a_runtime() {
    let directory = Directory::new();
    // All but that of leases, which is of the tests.
    for [one, other] in stores(&directory).into_iter().take(2) {
        let done = |store: &Arc<dyn TokenStore>| {
            let store = Arc::clone(store);
            async move {
                let _lock = store.lock("alice", LONGEST).await.unwrap();
                store.swap("alice", None, Some(&login("r1"))).await.unwrap()
            }
        };
        assert!(done(&one).now_or_never().expect("nobody else has it").is_some());
        assert_eq!(done(&other).now_or_never().expect("nobody else has it"), None);
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_told_and_left_alone() {
    let directory = Directory::new();
    let path = directory.file("tokens.json");
    let store = FileTokenStore::new(&path);
    for text in [CANARY, r#"{"refresh_token":"canary-in-a-coal-mine"}"#, r#"{"format":9}"#] {
        fs::write(&path, text).unwrap();
        let errors = [
            store.load("alice").await.unwrap_err(),
            store.swap("alice", None, Some(&login("r"))).await.unwrap_err(),
            store.swap("alice", None, None).await.unwrap_err(),
        ];
        for error in errors {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(&*path.to_string_lossy()), "{shown}");
            assert!(shown.contains("move it away"), "{shown}");
            assert!(!shown.contains(CANARY), "{shown}");
            assert!(file_error(&*error).is_damaged());
            assert_eq!(file_error(&*error).path(), path);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_used_is_an_error() {
    let directory = Directory::new();
    fs::write(directory.file("file"), "").unwrap();
    let store = FileTokenStore::new(directory.file("file").join("tokens.json"));
    for error in [
        store.load("alice").await.unwrap_err(),
        store.swap("alice", None, Some(&login(CANARY))).await.unwrap_err(),
        store.lock("alice", LONGEST).await.unwrap_err(),
    ] {
        assert!(!file_error(&*error).is_damaged());
        assert!(error.source().is_some());
    }
    let store = FileTokenStore::new(directory.path());
    assert!(store.load("alice").await.is_err());
    assert!(store.swap("alice", None, Some(&login(CANARY))).await.is_err());
}

#[tokio::test]
async fn makes_the_directory_and_takes_an_empty_file() {
    let directory = Directory::new();
    let path = directory.file("a/b/tokens.json");
    let store = FileTokenStore::new(&path);
    assert_eq!(store.load("alice").await.unwrap(), None);
    assert!(store.swap("alice", None, Some(&login("r"))).await.unwrap().is_some());
    fs::write(&path, "").unwrap();
    assert!(store.swap("alice", None, Some(&login("r"))).await.unwrap().is_some());
}

#[tokio::test]
async fn what_a_killed_process_left_behind_is_no_hindrance() {
    let directory = Directory::new();
    let path = directory.file("tokens.json");
    let store = FileTokenStore::new(&path);
    let first = store.swap("alice", None, Some(&login("r1"))).await.unwrap();
    // It was ended while it wrote: half of the next file is there, and nobody's lock.
    fs::write(directory.file("tokens.json.tmp"), r#"{"format":1,"cou"#).unwrap();
    assert_eq!(store.load("alice").await.unwrap(), first.map(|first| (first, login("r1"))));
    let _lock = store.lock("alice", LONGEST).await.unwrap();
    assert!(store.swap("alice", first, Some(&login("r2"))).await.unwrap().is_some());
    assert!(!directory.file("tokens.json.tmp").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn its_owner_alone_can_read_it() {
    use std::os::unix::fs::PermissionsExt;

    let directory = Directory::new();
    let path = directory.file("own/tokens.json");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let store = FileTokenStore::new(&path);
    let first = store.swap("alice", None, Some(&login("r1"))).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&directory.file("own")), 0o700);
    assert_eq!(mode(&directory.file("own/tokens.json.lock")), 0o600);
    // What was made by another one becomes so.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    store.swap("alice", first, Some(&login("r2"))).await.unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[cfg(unix)]
#[tokio::test]
async fn follows_a_link_and_leaves_it() {
    use std::os::unix::fs::symlink;

    let directory = Directory::new();
    let (path, link) = (directory.file("tokens.json"), directory.file("link.json"));
    let store = FileTokenStore::new(&link);
    symlink(&path, &link).unwrap();
    let error = store.load("alice").await.unwrap_err();
    assert!(error.to_string().contains("a link to a file that is not there"), "{error}");

    fs::write(&path, "").unwrap();
    let version = store.swap("alice", None, Some(&login("r1"))).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let direct = FileTokenStore::new(&path);
    assert_eq!(direct.load("alice").await.unwrap(), version.map(|version| (version, login("r1"))));
    // By either way, it is one lock.
    let _held = direct.lock("alice", LONGEST).await.unwrap();
    assert!(store.lock("alice", Duration::ZERO).await.is_err());

    // None that another one may have put there is followed in order to write.
    let victim = directory.file("victim");
    symlink(&victim, directory.file("tokens.json.bob.lock")).unwrap();
    assert!(store.lock("bob", LONGEST).await.is_err());
    symlink(&victim, directory.file("tokens.json.tmp")).unwrap();
    assert!(store.swap("alice", version, Some(&login("r2"))).await.unwrap().is_some());
    assert!(!victim.exists());
}

#[tokio::test]
async fn nothing_shows_what_is_kept() {
    let directory = Directory::new();
    let memory = MemoryTokenStore::new();
    let file = FileTokenStore::new(directory.file("tokens.json"));
    let mut record = login(CANARY);
    record.access_token = Some(CANARY.into());
    memory.swap("alice", None, Some(&record)).await.unwrap();
    file.swap("alice", None, Some(&record)).await.unwrap();
    let lock = file.lock("alice", LONGEST).await.unwrap();
    let shown = format!("{record:?} {memory:?} {file:?} {lock:?}");
    assert!(!shown.contains(CANARY), "{shown}");
}
