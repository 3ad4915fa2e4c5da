use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, SystemTime},
};

use palisade_auth::{Clock, Moment, Reason, Recovery, RefreshWindow, Token, Tokens};
use palisade_testkit::RecordingObserver;
use tokio::time::{Instant, advance, sleep};

use crate::support::{Answer, MS, Outcome, SECOND, Source};

async fn text(tokens: &Tokens) -> String {
    tokens.token().await.unwrap().secret().expose().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_ask_once() {
    let source = Source::default();
    let tokens = source.tokens();
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { text(&tokens).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "t1");
    }
    assert_eq!((source.asked(), source.most()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_began_may_go_at_any_time() {
    for polls in 0..12 {
        let source = Source::default();
        let tokens = source.tokens();
        let waiting = tokio::spawn({
            let tokens = tokens.clone();
            async move {
                sleep(MS).await;
                text(&tokens).await
            }
        });
        {
            let mut leader = pin!(tokens.token());
            for _ in 0..polls {
                let waker = Waker::noop();
                let _ = leader.as_mut().poll(&mut Context::from_waker(waker));
                sleep(10 * MS).await;
            }
        }
        assert_eq!(waiting.await.unwrap(), "t1", "{polls} polls");
        assert_eq!((source.asked(), source.finished()), (1, 1), "{polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn what_began_is_finished_without_anybody() {
    let source = Source::default();
    let tokens = source.tokens();
    {
        let mut leader = pin!(tokens.token());
        assert!(leader.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    drop(tokens);
    sleep(SECOND).await;
    assert_eq!(source.finished(), 1, "the login is kept");
}

#[test]
fn a_runtime_that_ends_takes_nothing_with_it() {
    let source = Source::answering(Answer::default().after(50 * MS));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tokens = Tokens::new(source.clone());
    let (first, second) = (runtime(), runtime());
    // It begins on the first, and somebody waits on the second.
    let mut waiting = Box::pin({
        let tokens = tokens.clone();
        async move { text(&tokens).await }
    });
    first.block_on(async {
        tokio::spawn({
            let tokens = tokens.clone();
            async move { tokens.warm_up().await }
        });
        tokio::task::yield_now().await;
    });
    assert_eq!(source.asked(), 1);
    second.block_on(async {
        let waker = Waker::noop();
        assert!(waiting.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    });
    drop(first);
    let got = second.block_on(waiting);
    assert_eq!(got, format!("t{}", source.asked()));
    assert!(source.asked() <= 2);
}

#[test]
fn without_a_runtime_who_waits_does_the_work() {
    struct Ready;
    impl palisade_auth::TokenSource for Ready {
        fn fetch<'a>(&'a self, _: palisade_auth::Wanted<'a>) -> palisade_auth::TokenFuture<'a> {
            Box::pin(async {
                let mut yielded = false;
                std::future::poll_fn(|cx| match std::mem::replace(&mut yielded, true) {
                    true => std::task::Poll::Ready(()),
                    false => {
                        cx.waker().wake_by_ref();
                        std::task::Poll::Pending
                    }
                })
                .await;
                Ok(Token::bearer("t1").unwrap())
            })
        }
    }
    let tokens = Tokens::new(Ready);
    let mut token = pin!(tokens.token());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(token.as_mut().poll(&mut cx).is_pending());
    assert!(token.as_mut().poll(&mut cx).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_source_may_pass() {
    let source = Source::default();
    source.then(Answer { result: Outcome::Panics, ..Answer::default() });
    let tokens = source.tokens();
    let waiting = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.token().await }
    });
    let error = tokens.token().await.unwrap_err();
    assert_eq!(error.to_string(), "the token source panicked");
    assert!(matches!(error.recovery(), Recovery::Retry { .. }));
    assert!(waiting.await.unwrap().is_err());
    sleep(SECOND).await;
    assert_eq!(text(&tokens).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn is_refreshed_while_the_old_one_serves() {
    let source = Source::answering(Answer::lifetime(100 * SECOND).after(5 * SECOND));
    let tokens = source.tokens().refresh_window(RefreshWindow::before(30 * SECOND));
    tokens.warm_up().await.unwrap();
    // Asked for five seconds ago; the jitter is ten at most.
    advance(54 * SECOND).await;
    assert_eq!(text(&tokens).await, "t1");
    advance(SECOND).await;
    tokio::task::yield_now().await;
    assert_eq!(source.asked(), 1, "it is fresh for 60 seconds at least");
    advance(11 * SECOND).await;
    for _ in 0..10 {
        let before = Instant::now();
        assert_eq!(text(&tokens).await, "t1");
        assert_eq!(before.elapsed(), Duration::ZERO, "nobody waits");
        tokio::task::yield_now().await;
    }
    assert_eq!(source.asked(), 2, "one goes for all");
    sleep(6 * SECOND).await;
    assert_eq!(text(&tokens).await, "t2");
    assert_eq!(source.reasons(), [Reason::Missing, Reason::Expiring]);
}

#[tokio::test(start_paused = true)]
async fn the_last_part_is_waited_in_but_not_for_long() {
    let source = Source::answering(Answer::lifetime(100 * SECOND).after(Duration::ZERO));
    let tokens = source.tokens();
    tokens.warm_up().await.unwrap();
    source.answer(Answer::lifetime(100 * SECOND).after(20 * SECOND));
    advance(92 * SECOND).await;
    let before = Instant::now();
    assert_eq!(text(&tokens).await, "t1");
    assert_eq!(before.elapsed(), 7 * SECOND, "a second is left for the request");
    assert_eq!(text(&tokens).await, "t1");
    assert_eq!(before.elapsed(), 7 * SECOND, "the others do not wait again");
    advance(SECOND).await;
    assert_eq!(text(&tokens).await, "t2");
    assert_eq!(before.elapsed(), 20 * SECOND, "there is no other now");
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_can_be_used_is_used_while_the_source_fails() {
    let source = Source::answering(Answer::lifetime(1000 * SECOND).after(Duration::ZERO));
    let tokens = source.tokens();
    tokens.warm_up().await.unwrap();
    source.answer(Answer::transient().after(Duration::ZERO));
    let end = Instant::now() + 998 * SECOND;
    while Instant::now() < end {
        assert_eq!(text(&tokens).await, "t1");
        advance(100 * MS).await;
    }
    // From 360 s before the end at the earliest: ever longer, 15 s on average.
    assert!((10..80).contains(&source.asked()), "{}", source.asked());
    advance(2 * SECOND).await;
    assert!(tokens.token().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn fails_at_once_while_the_source_rests() {
    let after = Some(7 * SECOND);
    let source = Source::answering(Answer::fails(Recovery::Retry { after }));
    let tokens = source.tokens();
    assert_eq!(tokens.token().await.unwrap_err().retry_after(), after);
    for _ in 0..100 {
        let before = Instant::now();
        let error = tokens.token().await.unwrap_err();
        assert!(error.retry_after() <= after && before.elapsed().is_zero());
    }
    assert_eq!(source.asked(), 1);
    source.answer(Answer::default());
    advance(7 * SECOND).await;
    assert_eq!(text(&tokens).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_is_probed_once_a_minute() {
    for recovery in [Recovery::Reauthenticate, Recovery::FixRequest, Recovery::Fatal] {
        let source = Source::answering(Answer::fails(recovery));
        let tokens = source.tokens();
        for _ in 0..600 {
            assert_eq!(tokens.token().await.unwrap_err().recovery(), recovery);
            advance(SECOND).await;
        }
        assert!((9..=11).contains(&source.asked()), "{}", source.asked());
        tokens.reset();
        source.answer(Answer::default());
        assert!(tokens.token().await.is_ok(), "a reset forgets it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_comes_too_late_is_none() {
    for (lifetime, after) in [(0, 0), (5, 5), (5, 6)] {
        let answer = Answer::lifetime(lifetime * SECOND).after(after * SECOND);
        let source = Source::answering(answer);
        let tokens = source.tokens();
        let error = tokens.token().await.unwrap_err();
        assert_eq!(error.to_string(), "the token had expired when it came");
        assert!(tokens.token().await.is_err());
        assert_eq!(source.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_has_failed() {
    let source = Source::answering(Answer::default().after(3600 * SECOND));
    let tokens = source.tokens().load_timeout(5 * SECOND);
    let before = Instant::now();
    let error = tokens.token().await.unwrap_err();
    assert_eq!(error.to_string(), "the token did not come in time");
    assert!(before.elapsed() < 6 * SECOND);
    source.answer(Answer::default());
    advance(SECOND).await;
    assert_eq!(text(&tokens).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn a_token_without_lifetime_has_that_which_is_set() {
    let source = Source::answering(Answer { lifetime: None, ..Answer::default() });
    let (hourly, endless) = (source.tokens(), source.tokens().default_lifetime(None));
    hourly.warm_up().await.unwrap();
    endless.warm_up().await.unwrap();
    advance(3600 * SECOND).await;
    assert_eq!(text(&endless).await, "t2");
    assert_eq!(text(&hourly).await, "t3");
    advance(1_000_000_000 * SECOND).await;
    assert_eq!(text(&endless).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn a_short_token_does_not_loop() {
    let source = Source::answering(Answer::lifetime(SECOND).after(Duration::ZERO));
    let tokens = source.tokens();
    for _ in 0..1000 {
        tokens.warm_up().await.unwrap();
        advance(10 * MS).await;
    }
    // Ten seconds: once each 600 milliseconds at most.
    assert!((9..=17).contains(&source.asked()), "{}", source.asked());
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_serves_for_as_long_as_is_set() {
    let source = Source::answering(Answer::lifetime(100 * SECOND).after(Duration::ZERO));
    let tokens = source.tokens().serve_expired(50 * SECOND);
    tokens.warm_up().await.unwrap();
    source.answer(Answer::transient().after(Duration::ZERO));
    advance(140 * SECOND).await;
    assert_eq!(text(&tokens).await, "t1");
    advance(40 * SECOND).await;
    assert!(tokens.token().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_primed_is_used() {
    let source = Source::answering(Answer::default().after(SECOND));
    let tokens = source.tokens();
    let waiting = tokio::spawn({
        let tokens = tokens.clone();
        async move { text(&tokens).await }
    });
    tokio::task::yield_now().await;
    tokens.prime(Token::bearer("primed").unwrap()).unwrap();
    assert_eq!(text(&tokens).await, "primed");
    assert_eq!(waiting.await.unwrap(), "primed", "what was on its way came too late");
    assert_eq!(text(&tokens).await, "primed");
    tokens.reset();
    assert_eq!(text(&tokens).await, "t2");

    let long_ago = Moment::new(SystemTime::UNIX_EPOCH, Duration::ZERO);
    let expired = Token::bearer("expired").unwrap().expires_in(SECOND, long_ago);
    assert!(tokens.prime(expired).is_err());
    assert_eq!(text(&tokens).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn tells_of_each_refresh() {
    let recorder = Arc::new(RecordingObserver::new());
    let changes = Arc::new(Mutex::new(Vec::new()));
    let source = Source::default();
    source.then(Answer::transient());
    let tokens = source.tokens().observer(recorder.clone()).on_change({
        let changes = Arc::clone(&changes);
        move |token| changes.lock().unwrap().push(token.secret().expose().to_owned())
    });
    assert!(tokens.token().await.is_err());
    advance(SECOND).await;
    tokens.warm_up().await.unwrap();
    let events = recorder.take().into_iter().map(|recorded| recorded.event);
    let expected = |result| format!("Refreshed {{ result: {result:?}, took: 100ms }}");
    assert_eq!(events.collect::<Vec<_>>(), [expected("retry"), expected("fetched")]);
    assert_eq!(*changes.lock().unwrap(), ["t2"]);
}

/// Two clocks that are set by hand.
#[derive(Clone, Debug, Default)]
struct ByHand {
    wall: Arc<AtomicU64>,
    steady: Arc<AtomicU64>,
}

impl Clock for ByHand {
    fn now(&self) -> Moment {
        let of = |clock: &AtomicU64| Duration::from_secs(clock.load(Ordering::Relaxed));
        Moment::new(SystemTime::UNIX_EPOCH + of(&self.wall), of(&self.steady))
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_keeps_no_dead_token() {
    let start = 1_000_000;
    // For each: how far the time of day and the steady clock go on, and whether
    // the token, which lives for 1000 seconds, is still the old one.
    for (wall, steady, old) in [
        (500, 500, true),
        // Suspended for five hours.
        (18_000, 0, false),
        // The time of day was set forward by an hour, and back.
        (3600, 1, false),
        (-3600, 500, true),
        (-3600, 1000, false),
    ] {
        let clock = ByHand::default();
        clock.wall.store(start, Ordering::Relaxed);
        clock.steady.store(start, Ordering::Relaxed);
        let source = Source::answering(Answer::lifetime(1000 * SECOND));
        let tokens = Tokens::new(source).clock(clock.clone());
        tokens.warm_up().await.unwrap();
        clock.wall.store(start.saturating_add_signed(wall), Ordering::Relaxed);
        clock.steady.store(start + steady, Ordering::Relaxed);
        let expected = if old { "t1" } else { "t2" };
        assert_eq!(text(&tokens).await, expected, "{wall} {steady}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_debug_shows_a_token() {
    let tokens = Source::named("canary").tokens();
    tokens.warm_up().await.unwrap();
    let token = tokens.token().await.unwrap();
    for shown in [format!("{tokens:?}"), format!("{token:?}"), format!("{:?}", token.header())] {
        assert!(!shown.contains("canary"), "{shown}");
    }
}
