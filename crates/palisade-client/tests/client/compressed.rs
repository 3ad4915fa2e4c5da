//! Bodies that come compressed, and those that say so and are not.

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use futures_util::{FutureExt, stream};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE},
};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, channel::Channel};
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_client::{Body, Client, HttpVersions, Kind};
use palisade_core::BoxError;
use proptest::prelude::*;
use tower::{ServiceExt, service_fn};

use crate::servers::{Server, get, text};

const TEXT: &str = "hello, hello, hello";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// What some servers mean by it.
fn raw_deflate(text: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), level);
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A client of an API that answers with this body, in pieces of this size.
fn client(codings: &[&'static str], body: impl Into<Bytes>, piece: usize) -> Client {
    let (codings, body) = (codings.to_vec(), body.into());
    let api = service_fn(move |_| {
        let pieces = (0..body.len()).step_by(piece);
        let pieces =
            pieces.map(|start| body.slice(start..body.len().min(start.saturating_add(piece))));
        let pieces = pieces.map(|piece| Ok::<_, BoxError>(Frame::data(piece))).collect::<Vec<_>>();
        let mut response = Response::new(Body::stream(StreamBody::new(stream::iter(pieces))));
        for coding in &codings {
            let coding = HeaderValue::from_static(coding);
            response.headers_mut().append(CONTENT_ENCODING, coding);
        }
        async { Ok::<_, BoxError>(response) }
    });
    Client::builder().base_url("http://api.example").build_over(api).unwrap()
}

async fn read(coding: &'static str, body: &[u8], piece: usize) -> Result<String, Kind> {
    let response = client(&[coding], body.to_vec(), piece).get("/").send().await.unwrap();
    assert!(!response.headers().contains_key(CONTENT_ENCODING));
    response.text().await.map_err(|error| error.kind())
}

#[tokio::test]
async fn what_is_cut_off_or_goes_on_is_an_error_however_it_comes() {
    let text = TEXT.as_bytes();
    let (gzip, deflate) = (gzip(text), deflate(text));
    let [raw, stored] =
        [Compression::default(), Compression::none()].map(|level| raw_deflate(text, level));
    // Where the sum or the length is that comes last.
    for (coding, whole, sum) in [
        ("gzip", &gzip, Some(gzip.len() - 5)),
        ("deflate", &deflate, Some(deflate.len() - 1)),
        ("deflate", &raw, None),
        ("deflate", &stored, None),
    ] {
        for piece in [1, 2, 7, whole.len() + 100] {
            assert_eq!(read(coding, whole, piece).await.as_deref(), Ok(TEXT), "{coding} {piece}");
            // Nothing at all is an empty body.
            for end in 1..whole.len() {
                let read = read(coding, &whole[..end], piece).await;
                assert_eq!(read, Err(Kind::Body), "{coding} {piece} {end}");
            }
            for more in [&b"\0"[..], b"\n", b"junk that is longer than a trailer", b"\x1f\x8b"] {
                let read = read(coding, &[whole, more].concat(), piece).await;
                assert_eq!(read, Err(Kind::Body), "{coding} {piece} {more:?}");
            }
            if let Some(index) = sum {
                let mut other = whole.clone();
                other[index] ^= 1;
                assert_eq!(read(coding, &other, piece).await, Err(Kind::Body), "{coding} {piece}");
            }
        }
    }
}

// curl and browsers take both.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn deflate_has_a_wrapper_or_none(
        text in prop_oneof!["[ -~]{0,300}", "(hello, ){0,99}"],
        level in 0_u32..=9,
        piece in 1_usize..200,
    ) {
        let raw = raw_deflate(text.as_bytes(), Compression::new(level));
        for body in [raw, deflate(text.as_bytes())] {
            let read = read("deflate", &body, piece).now_or_never().unwrap();
            prop_assert_eq!(read.as_deref(), Ok(&*text));
        }
    }
}

// RFC 1952, section 2.2.
#[tokio::test]
async fn gzip_has_members() {
    let members = [gzip(b"hello, "), gzip(b""), gzip(b"hello, hello")].concat();
    for piece in [1, 7, 1000] {
        assert_eq!(read("gzip", &members, piece).await.as_deref(), Ok(TEXT), "{piece}");
    }
}

#[tokio::test]
async fn what_has_come_is_there_before_the_rest_and_trailers_after_it() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"hello, ").unwrap();
    encoder.flush().unwrap();
    let first = std::mem::take(encoder.get_mut());
    encoder.write_all(b"hello").unwrap();
    let rest = encoder.finish().unwrap();
    let trailers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("1"))]);
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(3);
    let body = Arc::new(Mutex::new(Some(Body::stream(body))));
    let api = service_fn(move |_| {
        let response = Response::builder().header(CONTENT_ENCODING, "gzip");
        let response = response.body(body.lock().unwrap().take().unwrap());
        async { Ok::<_, BoxError>(response?) }
    });
    let client = Client::builder().build_over(api).unwrap();
    let mut body = client.oneshot(get("http://api.example/")).await.unwrap().into_body();
    sender.send_data(first.into()).await.unwrap();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "hello, ");
    assert!(body.frame().now_or_never().is_none());
    sender.send_data(rest.into()).await.unwrap();
    sender.send_trailers(trailers.clone()).await.unwrap();
    drop(sender);
    let rest = body.collect().await.unwrap();
    assert_eq!(rest.trailers(), Some(&trailers));
    assert_eq!(rest.to_bytes(), "hello");
}

#[tokio::test]
async fn what_breaks_off_is_an_error_once() {
    let cut = Bytes::from(gzip(TEXT.as_bytes())).slice(..20);
    let api = service_fn(move |_| {
        let pieces = [Ok(Frame::data(cut.clone())), Err(BoxError::from("broken"))];
        let body = Body::stream(StreamBody::new(stream::iter(pieces)));
        async {
            Ok::<_, BoxError>(Response::builder().header(CONTENT_ENCODING, "gzip").body(body)?)
        }
    });
    let client = Client::builder().build_over(api).unwrap();
    let mut body = client.oneshot(get("http://api.example/")).await.unwrap().into_body();
    let error = loop {
        if let Err(error) = body.frame().await.unwrap() {
            break error;
        }
    };
    assert_eq!(error.to_string(), "broken");
    assert!(body.frame().await.is_none());
}

// RFC 9110, sections 8.4.1 and 8.4.1.3.
#[tokio::test]
async fn codings_have_names_in_any_case() {
    for (coding, body) in [
        ("GZip", gzip(TEXT.as_bytes())),
        ("x-gzip", gzip(TEXT.as_bytes())),
        ("Deflate", deflate(TEXT.as_bytes())),
    ] {
        assert_eq!(read(coding, &body, 100).await.as_deref(), Ok(TEXT), "{coding}");
    }
    // What is not decompressed says what it is.
    for codings in [&["gzip, gzip"][..], &["gzip", "gzip"], &["br"], &["identity"], &[""]] {
        let response = client(codings, TEXT, 100).get("/").send().await.unwrap();
        assert_eq!(response.headers().get_all(CONTENT_ENCODING).iter().count(), codings.len());
        assert_eq!(response.text().await.unwrap(), TEXT, "{codings:?}");
    }
}

// RFC 9110, section 14.2: a range is one of what is sent, and so of what is compressed.
#[tokio::test]
async fn a_part_is_left_as_it_comes() {
    let text = TEXT.as_bytes();
    for (coding, whole) in [("gzip", gzip(text)), ("deflate", deflate(text))] {
        let length = whole.len();
        // A part may be all of it.
        for (first, end) in [(0, 9), (4, length), (0, length)] {
            let part = Bytes::from(whole.clone()).slice(first..end);
            let sent = part.clone();
            let api = service_fn(move |_| {
                let response = Response::builder().status(206).header(CONTENT_ENCODING, coding);
                let range = format!("bytes {first}-{}/{length}", end - 1);
                let response = response.header(CONTENT_RANGE, range);
                let response = response.header(CONTENT_LENGTH, sent.len());
                let response = response.body(Body::from(sent.clone()));
                async { Ok::<_, BoxError>(response?) }
            });
            let client = Client::builder().base_url("http://api.example").build_over(api).unwrap();
            let request = client.get("/").header(ACCEPT_ENCODING, coding);
            let range = format!("bytes={first}-{}", end - 1);
            let response = request.header(RANGE, range).send().await.unwrap();
            assert_eq!(response.headers()[CONTENT_ENCODING], coding);
            assert_eq!(response.headers()[CONTENT_LENGTH], *part.len().to_string());
            assert_eq!(response.bytes().await.unwrap(), part, "{coding} {first} {end}");
        }
    }
}

// Such an origin has but what is compressed, and asks nobody whether that is wanted.
#[tokio::test]
async fn who_asks_for_the_whole_after_a_part_can_read_it() {
    let whole = Bytes::from(gzip(TEXT.as_bytes()));
    let length = whole.len();
    let api = service_fn(move |request: Request<Body>| {
        let response = Response::builder().header(CONTENT_ENCODING, "gzip").header(ETAG, "\"a\"");
        let response = response.header("cache-control", "max-age=60");
        let range = |first: usize, end| {
            let range = format!("bytes {first}-{}/{length}", end - 1);
            (206, Some(range), whole.slice(first..end))
        };
        let (status, range, body) = match request.headers().get(RANGE) {
            Some(asked) if asked == "bytes=0-8" => range(0, 9),
            Some(asked) if asked == "bytes=0-" => range(0, length),
            Some(asked) if asked == "bytes=9-" => range(9, length),
            Some(asked) => panic!("nobody asks for {asked:?}"),
            None => (200, None, whole.clone()),
        };
        let mut response = response.status(status);
        if let Some(range) = range {
            response = response.header(CONTENT_RANGE, range);
        }
        async { Ok::<_, BoxError>(response.body(Body::from(body))?) }
    });
    for range in ["bytes=0-8", "bytes=0-"] {
        let cache = HttpCacheLayer::private(MemoryStore::new(1 << 20));
        let client = Client::builder().base_url("http://api.example").cache(cache);
        let client = client.build_over(api.clone()).unwrap();
        let part = client.get("/").header(RANGE, range).send().await.unwrap();
        assert_eq!(part.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(part.bytes().await.unwrap()[..2], [0x1f, 0x8b]);
        for _ in 0..2 {
            let response = client.get("/").send().await.unwrap();
            assert!(!response.headers().contains_key(CONTENT_ENCODING));
            assert_eq!(response.text().await.unwrap(), TEXT, "{range}");
        }
    }
}

// RFC 9110, section 9.3.2: who asks so wants to know how long it is.
#[tokio::test]
async fn what_has_no_body_says_what_it_would_be() {
    let fields = |status: u16| {
        let response = Response::builder().status(status).header(CONTENT_ENCODING, "gzip");
        response.header(CONTENT_LENGTH, "5000").body(Full::default()).unwrap()
    };
    let server = Server::start(move |seen| fields(if seen.method == "HEAD" { 200 } else { 304 }));
    let url = server.await.url("/");
    for versions in [HttpVersions::Http1, HttpVersions::Http2] {
        let client = Client::builder().no_proxy().http_versions(versions).build().unwrap();
        for method in [Method::HEAD, Method::GET] {
            let request = Request::builder().method(&method).uri(&url);
            let response = client.clone().oneshot(request.body(Body::empty()).unwrap()).await;
            let response = response.unwrap();
            assert_eq!(response.headers()[CONTENT_ENCODING], "gzip", "{method} {versions:?}");
            // hyper's server leaves it away from a 304.
            let length = response.headers().get(CONTENT_LENGTH);
            assert!(length.is_some_and(|it| it == "5000") || method == Method::GET, "{length:?}");
            assert_eq!(text(response).await.unwrap(), "");
        }
    }
}

#[tokio::test]
async fn what_head_says_of_a_compressed_body_leaves_the_stored_one() {
    for validator in [Some("\"a\""), None] {
        let api = service_fn(move |request: Request<Body>| {
            let body = Bytes::from(gzip(TEXT.as_bytes()));
            let mut response = Response::builder().header(CONTENT_ENCODING, "gzip");
            response = response.header("cache-control", "max-age=60");
            response = response.header(CONTENT_LENGTH, body.len());
            if let Some(tag) = validator {
                response = response.header(ETAG, tag);
            }
            let head = request.method() == Method::HEAD;
            let body = if head { Body::empty() } else { Body::from(body) };
            async { Ok::<_, BoxError>(response.body(body)?) }
        });
        let asked = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&asked);
        let api = api.map_request(move |request: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            request
        });
        let cache = HttpCacheLayer::private(MemoryStore::new(1 << 20));
        let client = Client::builder().base_url("http://api.example").cache(cache);
        let client = client.build_over(api).unwrap();
        let whole = || async { client.get("/").send().await.unwrap().text().await.unwrap() };
        assert_eq!(whole().await, TEXT);
        // A cache that has the body answers that itself, unless it is told not to.
        let head = client.head("/").header("cache-control", "no-cache");
        let head = head.send().await.unwrap();
        assert!(head.headers().contains_key(CONTENT_LENGTH));
        assert_eq!(whole().await, TEXT);
        assert_eq!(asked.load(Ordering::Relaxed), 2, "{validator:?}");
    }
}

#[tokio::test]
async fn who_asks_for_a_part_asks_for_none_of_what_is_compressed() {
    let api = service_fn(|request: Request<Body>| async move {
        let asked = request.headers().get(ACCEPT_ENCODING);
        let asked = asked.map_or("nothing", |asked| asked.to_str().unwrap()).to_owned();
        Ok::<_, BoxError>(Response::new(Body::from(asked)))
    });
    let client = Client::builder().base_url("http://api.example").build_over(api).unwrap();
    for (fields, expected) in [
        (&[][..], "gzip, deflate"),
        (&[(RANGE, "bytes=0-4")], "identity"),
        (&[(RANGE, "bytes=0-4"), (ACCEPT_ENCODING, "gzip")], "gzip"),
        (&[(ACCEPT_ENCODING, "br")], "br"),
    ] {
        let request = fields
            .iter()
            .fold(client.get("/"), |request, (name, value)| request.header(name.clone(), *value));
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), expected);
    }
}

#[test]
fn what_swells_takes_no_more_memory_than_the_limit_has_it() {
    const LIMIT: usize = 1 << 20;
    let member = gzip(&vec![0; 1 << 20]);
    // A gibibyte in a piece.
    let client = client(&["gzip"], member.repeat(1 << 10), usize::MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let read = async {
        let response = client.get("/").send().await.unwrap();
        let error = response.lenient().body_limit(LIMIT).json::<u32>().await.unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);
    };
    let taken = allocation_counter::measure(|| runtime.block_on(read));
    assert!(taken.bytes_max < 3 * LIMIT as u64, "{} bytes", taken.bytes_max);
}
