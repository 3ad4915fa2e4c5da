use std::{
    collections::VecDeque,
    convert::Infallible,
    future::ready,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use palisade_auth::{
    AuthBypass, AuthError, AuthLayer, Bearer, InsufficientScope, Reason, Recovery,
};
use palisade_core::{Origins, find_cause};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Answer, Api, MS, SECOND, Source, URI, get, post};

fn origins() -> Origins {
    Origins::new(["https://api.example"])
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_revoked_is_replaced_and_the_request_sent_again() {
    let (api, source) = (Api::new(), Source::default());
    api.accept(&["t1"]);
    api.challenge("Bearer error=\"invalid_token\"");
    let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
    service.clone().oneshot(get()).await.unwrap();
    api.accept(&["t2"]);
    let response = service.clone().oneshot(post("order 42")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(api.tokens(), ["t1", "t1", "t2"]);
    let received = &api.received()[1..];
    assert!(received.iter().all(|received| received.body == "order 42"));
    assert!(received.iter().map(|received| received.resends).eq([0, 1]));
    assert!(
        received
            .iter()
            .all(|received| received.headers.get_all("authorization").iter().count() == 1)
    );
    assert_eq!(source.reasons(), [Reason::Missing, Reason::Refused]);
}

#[tokio::test(start_paused = true)]
async fn eight_late_refusals_ask_once() {
    let (api, source) = (Api::new(), Source::default());
    api.accept(&["t1"]);
    let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
    service.clone().oneshot(get()).await.unwrap();
    api.accept(&["t2"]);
    // The first six come before the new token does, the last two after it.
    api.delays((0..8).map(|call| Duration::from_millis(100 + 15 * call)));
    let calls: Vec<_> = (0..8)
        .map(|call| {
            let body: &'static str = ["a", "b", "c", "d", "e", "f", "g", "h"][call];
            tokio::spawn(service.clone().oneshot(post(body)))
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(source.asked(), 2, "one at first, and one for all");
    assert_eq!(api.calls(), 1 + 8 + 8);
    for body in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let sent = api.received().into_iter().filter(|received| received.body == body).count();
        assert_eq!(sent, 2, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_older_token_asks_for_none() {
    let (api, source) = (Api::new(), Source::default());
    api.accept(&["t1"]);
    let tokens = source.tokens();
    let service = AuthLayer::new(tokens.clone(), origins()).layer(api.clone());
    service.clone().oneshot(get()).await.unwrap();
    api.accept(&["t2"]);
    api.delays([5 * SECOND]);
    let late = tokio::spawn(service.clone().oneshot(get()));
    sleep(MS).await;
    service.clone().oneshot(get()).await.unwrap();
    assert_eq!(source.asked(), 2);
    assert_eq!(late.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_refusal_stands() {
    let (api, source) = (Api::new(), Source::default());
    api.refusal("no");
    let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
    let response = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "no");
    assert_eq!((api.calls(), source.asked()), (2, 2), "one refresh, one replay");
    for _ in 0..100 {
        advance(90 * MS).await;
        let response = service.clone().oneshot(get()).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!((api.calls(), source.asked()), (102, 2), "no loop");
    advance(10 * SECOND).await;
    service.clone().oneshot(get()).await.unwrap();
    assert_eq!((api.calls(), source.asked()), (104, 3), "later, it may be another reason");
}

#[tokio::test(start_paused = true)]
async fn what_no_token_can_help_stands() {
    for (status, challenge) in [
        (403, "Bearer error=\"insufficient_scope\""),
        (403, "Bearer error=\"invalid_token\""),
        (401, "Bearer error=\"insufficient_scope\""),
        (407, "Bearer error=\"invalid_token\""),
    ] {
        let (api, source) = (Api::new(), Source::default());
        api.status(StatusCode::from_u16(status).unwrap());
        api.challenge(challenge);
        let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
        let response = service.oneshot(get()).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!((api.calls(), source.asked()), (1, 1), "{status} {challenge}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_lacks_is_told() {
    let lacks = r#"Bearer error="insufficient_scope", scope="read write""#;
    for (status, challenge, expected) in [
        (403, lacks, Some(Some("read write"))),
        (401, lacks, Some(Some("read write"))),
        (403, "DPoP error=insufficient_scope", Some(None)),
        (403, "Bearer error=invalid_token, scope=read", None),
        (407, lacks, None),
    ] {
        let api = Api::new();
        api.status(StatusCode::from_u16(status).unwrap());
        api.challenge(challenge);
        let tokens = AuthLayer::new(Source::default().tokens(), origins());
        let once = AuthLayer::new(Bearer::new("abc").unwrap(), origins()).send_once();
        for response in [
            tokens.layer(api.clone()).oneshot(get()).await.unwrap(),
            once.layer(api.clone()).oneshot(get()).await.unwrap(),
        ] {
            let told = InsufficientScope::of(&response);
            assert_eq!(told.map(InsufficientScope::scope), expected, "{status} {challenge}");
        }
        // Of a request that had no credentials of ours, it says nothing.
        let mut request = get();
        request.extensions_mut().insert(AuthBypass);
        let response = tokens.layer(api).oneshot(request).await.unwrap();
        assert_eq!(InsufficientScope::of(&response), None);
    }
}

#[tokio::test(start_paused = true)]
async fn without_another_token_the_request_fails_and_nothing_hammers() {
    let (api, source) = (Api::new(), Source::default());
    let service = AuthLayer::new(source.tokens(), origins()).layer(api.clone());
    source.then(Answer::default());
    source.answer(Answer::fails(Recovery::Reauthenticate));
    let error = service.clone().oneshot(get()).await.unwrap_err();
    let auth = find_cause::<AuthError>(&*error).unwrap();
    assert_eq!(auth.recovery(), Recovery::Reauthenticate);
    for _ in 0..50 {
        assert!(service.clone().oneshot(get()).await.is_err());
    }
    assert_eq!((api.calls(), source.asked()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn sent_once_the_answer_stands_and_the_next_gets_another() {
    let (api, source) = (Api::new(), Source::default());
    api.accept(&["t2"]);
    let service = AuthLayer::new(source.tokens(), origins()).send_once().layer(api.clone());
    let response = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((api.tokens(), source.asked()), (vec!["t1".to_owned(), "t2".to_owned()], 2));
}

/// A body in pieces, which does not clone.
struct Pieces {
    data: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Pieces {
    fn new(count: usize) -> Self {
        let piece = |number| Bytes::from(vec![number as u8; 1000]);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        Self { data: (0..count).map(piece).collect(), trailers: Some(trailers) }
    }

    fn request(count: usize) -> Request<Self> {
        Request::post(URI).body(Self::new(count)).unwrap()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.pop_front().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_streams_is_sent_again_as_it_was() {
    let (api, source) = (Api::new(), Source::default());
    api.accept(&["t2"]);
    let service = AuthLayer::new(source.tokens(), origins()).replay(10_000).layer(api.clone());
    let response = service.clone().oneshot(Pieces::request(10)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let received = api.received();
    let expected: Vec<u8> = (0..10).flat_map(|number| vec![number; 1000]).collect();
    for received in &received {
        assert!(received.body == expected);
        assert_eq!(received.trailers.as_ref().unwrap()["x-sum"], "42");
    }
    assert_eq!(api.tokens(), ["t1", "t2"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_is_sent_once_and_the_token_replaced() {
    let (api, source) = (Api::new(), Source::default());
    api.accept(&["t2"]);
    let service = AuthLayer::new(source.tokens(), origins()).replay(9_999).layer(api.clone());
    let response = service.clone().oneshot(Pieces::request(10)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(api.received()[0].body.len(), 10_000);
    let response = service.clone().oneshot(Pieces::request(10)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(api.tokens(), ["t1", "t2"]);
}

/// The body of a refusal, which tells how it was read.
struct Watched {
    left: usize,
    endless: bool,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    ended: AtomicBool,
    dropped: AtomicBool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.seen.dropped.store(true, Ordering::Relaxed);
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.left.checked_sub(1) {
            _ if self.endless => Poll::Pending,
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024])))))
            }
            None => {
                self.seen.ended.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_read_to_its_end_if_that_is_near() {
    // For each: its length in KiB, whether it never ends, whether its end is
    // reached, and how long the second try waits for that.
    for (left, endless, ended, waits) in
        [(0, false, true, 0), (8, false, true, 0), (9, false, false, 0), (0, true, false, 50)]
    {
        let seen = Arc::new(Seen::default());
        let service = service_fn({
            let seen = Arc::clone(&seen);
            move |_: Request<Full<Bytes>>| {
                let mut response =
                    Response::new(Watched { left, endless, seen: Arc::clone(&seen) });
                match seen.calls.fetch_add(1, Ordering::Relaxed) {
                    0 => *response.status_mut() = StatusCode::UNAUTHORIZED,
                    _ => assert!(seen.dropped.load(Ordering::Relaxed), "it is let go before"),
                }
                ready(Ok::<_, Infallible>(response))
            }
        });
        let service = AuthLayer::new(Source::default().tokens(), origins()).layer(service);
        let before = Instant::now();
        let response = service.oneshot(get()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(seen.ended.load(Ordering::Relaxed), ended, "{left}");
        // Two tokens, of 100 milliseconds each; each timer is good to one.
        let took = before.elapsed();
        assert!((200 + waits) * MS <= took && took <= (210 + waits) * MS, "{left} {took:?}");
    }
}
