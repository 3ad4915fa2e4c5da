use http::StatusCode;
use palisade_cache::CacheStatus;

use crate::support::{Fields, Origin, ask, client, failure, pass, private, reply};

const TAGGED: Fields<'_> = &[("cache-control", "max-age=1"), ("etag", "\"a\""), ("x", "1")];

#[tokio::test(start_paused = true)]
async fn a_304_freshens_what_is_stored() {
    let update = [("etag", "\"a\""), ("x", "2"), ("x", "3"), ("y", "4")];
    let origin = Origin::of([reply(200, TAGGED, "one"), reply(304, &update, "")]);
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    pass(5).await;
    for status in [CacheStatus::Revalidated, CacheStatus::Hit] {
        let got = client.get("/x", &[]).await;
        assert_eq!((got.cache, got.status, got.text()), (status, StatusCode::OK, "one"));
        assert_eq!(got.headers.get_all("x").iter().collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(got.headers["y"], "4");
    }
    assert_eq!(origin.last()["if-none-match"], "\"a\"");
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_200_to_a_validation_replaces_what_is_stored() {
    let other = [("cache-control", "max-age=60"), ("etag", "\"b\"")];
    let origin = Origin::of([reply(200, TAGGED, "one"), reply(200, &other, "two")]);
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    pass(5).await;
    for status in [CacheStatus::Miss, CacheStatus::Hit] {
        let got = client.get("/x", &[]).await;
        assert_eq!((got.cache, got.text()), (status, "two"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_any_more_is_not_used_any_more() {
    let secret = [("cache-control", "no-store")];
    let origin = Origin::of([reply(200, TAGGED, "one"), reply(200, &secret, "two"), failure()]);
    let client = client(&private().stale_if_error(std::time::Duration::from_secs(99)), &origin);
    client.get("/x", &[]).await;
    pass(5).await;
    assert_eq!(client.get("/x", &[]).await.text(), "two");
    assert!(client.try_send(ask("GET", "/x", &[])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn conditions_of_the_client_are_answered_with_what_is_stored() {
    let fields = [
        ("cache-control", "max-age=9"),
        ("etag", "\"a\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("content-type", "text/plain"),
    ];
    let origin = Origin::of([reply(200, &fields, "one"), reply(304, &[], "")]);
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    for after in [0, 20] {
        pass(after).await;
        for (asked, status) in [
            (("if-none-match", "\"a\""), 304),
            (("if-none-match", "W/\"a\", \"b\""), 304),
            (("if-none-match", "\"b\""), 200),
            (("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"), 304),
            (("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT"), 200),
        ] {
            let got = client.get("/x", &[asked]).await;
            assert_eq!((got.status.as_u16(), got.text().is_empty()), (status, status == 304));
            assert_eq!(got.headers.contains_key("content-type"), status == 200, "{asked:?}");
        }
    }
    assert_eq!(origin.calls(), 2);
    assert_eq!(origin.last()["if-none-match"], "\"a\"");
}

#[tokio::test(start_paused = true)]
async fn a_304_for_another_variant_is_stored_for_this_request_too() {
    let vary = ("vary", "Foo");
    let one = [("cache-control", "max-age=60"), ("etag", "\"a\""), vary];
    let origin = Origin::of([reply(200, &one, "one"), reply(304, &one[..2], "")]);
    let client = client(&private(), &origin);
    assert_eq!(client.get("/x", &[("foo", "1")]).await.text(), "one");
    let got = client.get("/x", &[("foo", "2")]).await;
    assert_eq!((got.status.as_u16(), got.text()), (200, "one"));
    assert_eq!(origin.last()["if-none-match"], "\"a\"");
    for foo in ["1", "2"] {
        assert_eq!(client.get("/x", &[("foo", foo)]).await.cache, CacheStatus::Hit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_of_a_foreign_condition_is_the_clients_own() {
    let origin = Origin::of([reply(304, &[("etag", "\"z\"")], "")]);
    let client = client(&private(), &origin);
    let got = client.get("/x", &[("if-none-match", "\"z\"")]).await;
    assert_eq!(got.status, StatusCode::NOT_MODIFIED);
    assert_eq!(origin.last()["if-none-match"], "\"z\"");
}

#[tokio::test(start_paused = true)]
async fn ranges_are_cut_out_of_what_is_complete() {
    let fields = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
    let origin = Origin::of([reply(200, &fields, "0123456789")]);
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    for (asked, status, text, content_range) in [
        (&[("range", "bytes=0-3")][..], 206, "0123", Some("bytes 0-3/10")),
        (&[("range", "bytes=-2")], 206, "89", Some("bytes 8-9/10")),
        (&[("range", "bytes=7-")], 206, "789", Some("bytes 7-9/10")),
        (&[("range", "bytes=10-")], 416, "", Some("bytes */10")),
        (&[("range", "bytes=0-1"), ("if-range", "\"a\"")], 206, "01", Some("bytes 0-1/10")),
        (&[("range", "bytes=0-1"), ("if-range", "\"b\"")], 200, "0123456789", None),
        (&[("range", "lines=0-1")], 200, "0123456789", None),
    ] {
        let got = client.get("/x", asked).await;
        assert_eq!((got.status.as_u16(), got.text()), (status, text), "{asked:?}");
        let range = got.headers.get("content-range").map(|range| range.to_str().unwrap());
        assert_eq!(range, content_range);
        let length = got.headers.get("content-length").map(|length| length.to_str().unwrap());
        assert!(status == 200 || length == Some(&text.len().to_string()));
    }
    // The one whose unit only the origin may know.
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stored_part_answers_what_it_holds() {
    let fields = [("cache-control", "max-age=60"), ("content-range", "bytes 2-5/10")];
    let origin = Origin::of([reply(206, &fields, "2345"), reply(200, &[], "0123456789")]);
    let client = client(&private(), &origin);
    client.get("/x", &[("range", "bytes=2-5")]).await;
    let got = client.get("/x", &[("range", "bytes=3-4")]).await;
    assert_eq!((got.status.as_u16(), got.text()), (206, "34"));
    assert_eq!(got.headers["content-range"], "bytes 3-4/10");
    assert_eq!(origin.calls(), 1);
    // Who wants more gets it from the origin.
    assert_eq!(client.get("/x", &[]).await.text(), "0123456789");
}

#[tokio::test(start_paused = true)]
async fn head_that_wants_nothing_stored_changes_nothing() {
    let stored = [("cache-control", "max-age=60"), ("etag", "\"a\""), ("x", "1")];
    let other = [("cache-control", "max-age=60"), ("etag", "\"a\""), ("x", "2")];
    let origin = Origin::of([reply(200, &stored, "one"), reply(200, &other, "")]);
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    let got = client.send(ask("HEAD", "/x", &[("cache-control", "no-store")])).await;
    assert_eq!((got.cache, &got.headers["x"]), (CacheStatus::Bypass, &"2".parse().unwrap()));
    let got = client.get("/x", &[]).await;
    assert_eq!((got.cache, &got.headers["x"]), (CacheStatus::Hit, &"1".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_and_updates_what_is_stored() {
    let origin = Origin::of([
        reply(200, &[("cache-control", "max-age=5"), ("etag", "\"a\""), ("x", "1")], "one"),
        reply(200, &[("cache-control", "max-age=60"), ("etag", "\"a\""), ("x", "2")], ""),
        reply(200, &[("cache-control", "max-age=60"), ("etag", "\"b\"")], ""),
        reply(200, &[("cache-control", "max-age=60"), ("etag", "\"b\"")], "two"),
    ]);
    let client = client(&private(), &origin);
    client.get("/x", &[]).await;
    let got = client.send(ask("HEAD", "/x", &[])).await;
    assert_eq!(
        (got.cache, got.text(), got.headers["x"].to_str().unwrap()),
        (CacheStatus::Hit, "", "1")
    );
    pass(10).await;
    client.send(ask("HEAD", "/x", &[])).await;
    let got = client.get("/x", &[]).await;
    assert_eq!(
        (got.cache, got.text(), &got.headers["x"]),
        (CacheStatus::Hit, "one", &"2".parse().unwrap())
    );
    pass(100).await;
    client.send(ask("HEAD", "/x", &[])).await;
    assert_eq!(client.get("/x", &[]).await.text(), "two");
    assert_eq!(origin.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_method_invalidates() {
    let fresh = [("cache-control", "max-age=60")];
    for (method, status, fields, path, calls) in [
        ("POST", 200, &[][..], "/x", 1),
        ("DELETE", 303, &[], "/x", 1),
        ("M-SEARCH", 204, &[], "/x", 1),
        ("PUT", 500, &[], "/x", 0),
        ("POST", 404, &[], "/x", 0),
        ("POST", 201, &[("location", "/x")], "/y", 1),
        ("POST", 201, &[("content-location", "http://a.example/x")], "/y", 1),
        ("POST", 201, &[("location", "http://b.example/x")], "/y", 0),
        ("OPTIONS", 200, &[], "/x", 0),
    ] {
        let origin = Origin::new(move |request| match request.method().as_str() {
            "GET" => reply(200, &fresh, "one"),
            _ => reply(status, fields, ""),
        });
        let client = client(&private(), &origin);
        client.get("/x", &[]).await;
        client.send(ask(method, path, &[])).await;
        let before = origin.calls();
        client.get("/x", &[]).await;
        assert_eq!(origin.calls() - before, calls, "{method} {status} {fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_an_invalidation_is_not_stored() {
    let slow = std::time::Duration::from_secs(5);
    let origin = Origin::new(move |request| match request.method().as_str() {
        "GET" => reply(200, &[("cache-control", "max-age=60")], "old").after(slow),
        _ => reply(200, &[], ""),
    });
    let client = client(&private(), &origin);
    let reader = client.clone();
    let reader = tokio::spawn(async move { reader.get("/x", &[]).await });
    tokio::time::sleep(slow / 2).await;
    client.send(ask("POST", "/x", &[])).await;
    assert_eq!(reader.await.unwrap().text(), "old");
    assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_304_that_says_nothing_of_several_is_forgotten() {
    let origin = Origin::new(|request| match request.headers().get("if-none-match") {
        Some(_) => reply(304, &[], ""),
        None => {
            let foo = request.headers()["foo"].to_str().unwrap();
            let tag = format!("\"{foo}\"");
            let fields = [("cache-control", "max-age=1"), ("vary", "foo"), ("etag", tag.as_str())];
            reply(200, &fields, foo)
        }
    });
    let layer = private();
    let client = client(&layer, &origin);
    client.get("/x", &[("foo", "1")]).await;
    assert_eq!(client.get("/x", &[("foo", "1")]).await.cache, CacheStatus::Hit);
    layer.store().clear();
    // One that is stored is the one that is meant; of two nobody knows.
    for foo in ["1", "2"] {
        let mut request = ask("GET", "/x", &[("foo", foo)]);
        request.extensions_mut().insert(palisade_cache::CacheMode::Reload);
        client.send(request).await;
    }
    pass(5).await;
    assert_eq!(client.get("/x", &[("foo", "3")]).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(client.get("/x", &[("foo", "3")]).await.text(), "3");
}

#[tokio::test(start_paused = true)]
async fn a_stored_part_is_completed() {
    const TAG: (&str, &str) = ("etag", "\"a\"");
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    for (held, first, missing, rest, second, tag, body) in [
        ("01234", "bytes 0-4/10", "bytes=5-", "56789", "bytes 5-9/10", TAG, Some("0123456789")),
        ("56789", "bytes 5-9/10", "bytes=0-4", "01234", "bytes 0-4/10", TAG, Some("0123456789")),
        // The rest is too short, or too long: an error, and nothing is stored.
        ("01234", "bytes 0-4/10", "bytes=5-", "5678", "bytes 5-9/10", TAG, None),
        ("56789", "bytes 5-9/10", "bytes=0-4", "0123456", "bytes 0-4/10", TAG, None),
        // Of something else.
        ("01234", "bytes 0-4/10", "bytes=5-", "56789", "bytes 5-9/10", ("etag", "\"b\""), None),
        ("01234", "bytes 0-4/10", "bytes=5-", "6789", "bytes 6-9/10", TAG, None),
    ] {
        let origin = Origin::of([
            reply(206, &[FRESH, TAG, ("content-range", first), ("x", "1")], held),
            reply(206, &[FRESH, tag, ("content-range", second), ("x", "2")], rest),
            reply(200, &[FRESH, TAG], "whole"),
        ]);
        let client = client(&private(), &origin);
        let range = format!("bytes={}", first[6..].split('/').next().unwrap());
        client.get("/x", &[("range", &range)]).await;
        let got = client.get("/x", &[]).await;
        assert_eq!(origin.last()["range"], missing);
        assert_eq!(origin.last()["if-range"], "\"a\"");
        let text = got.body.as_deref().ok().filter(|_| got.status == StatusCode::OK);
        assert_eq!(text, body, "{got:?}");
        let again = client.get("/x", &[]).await;
        match body {
            Some(body) => {
                assert_eq!((again.cache, again.text()), (CacheStatus::Hit, body));
                assert_eq!(
                    (&again.headers["x"], &again.headers["content-length"]),
                    (&"2".parse().unwrap(), &"10".parse().unwrap())
                );
                assert!(!again.headers.contains_key("content-range"));
            }
            None => assert!(again.cache == CacheStatus::Miss && again.status == StatusCode::OK),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_part_is_completed_by_what_has_the_same_coding() {
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    let range = |range| [FRESH, ("etag", "\"a\""), ("content-range", range)];
    let coded = |fields: [(&'static str, &'static str); 3], coding: Option<&'static str>| {
        let coding = coding.map(|coding| ("content-encoding", coding));
        fields.into_iter().chain(coding).collect::<Vec<_>>()
    };
    for (stored, rest, joined) in [
        (Some("br"), Some("br"), true),
        (Some("br"), None, true),
        (None, None, true),
        (None, Some("br"), false),
        (Some("br"), Some("gzip"), false),
    ] {
        let origin = Origin::of([
            reply(206, &coded(range("bytes 0-4/10"), stored), "01234"),
            reply(206, &coded(range("bytes 5-9/10"), rest), "56789"),
            reply(200, &[FRESH], "whole"),
        ]);
        let client = client(&private(), &origin);
        client.get("/x", &[("range", "bytes=0-4")]).await;
        let got = client.get("/x", &[]).await;
        assert_eq!(got.status == StatusCode::OK, joined, "{stored:?} {rest:?}");
        let again = client.get("/x", &[]).await;
        assert_eq!(again.text(), if joined { "0123456789" } else { "whole" });
        let coding = again.headers.get("content-encoding").map(|coding| coding.to_str().unwrap());
        assert_eq!(coding, stored.filter(|_| joined));
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_is_not_completed() {
    let part = [("cache-control", "max-age=60"), ("content-range", "bytes 0-4/10")];
    for (tag, asks) in [("\"a\"", true), ("W/\"a\"", false)] {
        let first = [part[0], part[1], ("etag", tag)];
        let origin = Origin::of([reply(206, &first, "01234"), reply(200, &part[..1], "new")]);
        let client = client(&private(), &origin);
        client.get("/x", &[("range", "bytes=0-4")]).await;
        assert_eq!(client.get("/x", &[]).await.text(), "new");
        assert_eq!(origin.last().contains_key("range"), asks);
        assert_eq!(client.get("/x", &[]).await.cache, CacheStatus::Hit);
    }
}
