//! A variant as bytes: its body as it is, and all else beside it.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::{StoredHead, Variant};
use crate::{
    http::{secret::Secret, store::Stamp},
    rules::{fields::has_room, partial::Part, policy::Policy, vary::Selector},
    wire::{DecodeError, Reader, put_bytes, put_number, put_option, start},
};

const MAGIC: [u8; 4] = *b"PLCH";

/// How HTTP versions are written.
const VERSIONS: [(Version, u8); 5] = [
    (Version::HTTP_09, 9),
    (Version::HTTP_10, 10),
    (Version::HTTP_11, 11),
    (Version::HTTP_2, 20),
    (Version::HTTP_3, 30),
];

impl Variant {
    /// All but the [body](Self::body), as bytes: for a store that keeps nothing
    /// else. The two are kept apart so that a 304 rewrites the head alone.
    ///
    /// What is written holds the header fields and trailers of the response, those of
    /// the request that `Vary` names, and the stamp: keep it as safe as the body. It
    /// begins with a version of the format; other versions of this crate may
    /// write another one, and then read this one as an error.
    pub fn head_to_bytes(&self) -> Bytes {
        let head = &self.head;
        let mut out = BytesMut::with_capacity(128 + head.weight());
        start(&mut out, MAGIC);
        put_number(&mut out, self.body.len() as u64);
        put_number(&mut out, self.stamp.number());
        put_number(&mut out, head.status.as_u16().into());
        let version = VERSIONS.iter().find(|(version, _)| *version == head.version);
        out.put_u8(version.map_or(11, |(_, written)| *written));
        head.policy.encode(&mut out);
        put_option(&mut out, head.part.as_ref(), |out, part| part.encode(out));
        head.selector.encode(&mut out);
        put_fields(&mut out, &head.headers);
        put_option(&mut out, head.trailers.as_ref(), put_fields);
        out.freeze()
    }

    /// Reads what [`head_to_bytes`](Self::head_to_bytes) has written, and puts it on the body
    /// that it was written for.
    ///
    /// The fields are not copied: they keep these bytes in memory.
    ///
    /// # Errors
    ///
    /// Where the bytes are something else, of another version, or corrupt, and
    /// where the body has not the length that it had. That it has the same bytes
    /// is not checked: a store keeps both under one name, and writes them at
    /// once.
    pub fn from_bytes(head: Bytes, body: Bytes) -> Result<Self, DecodeError> {
        let mut bytes = Reader::start(head, MAGIC)?;
        let length = bytes.number(u64::MAX)?;
        let stamp = Stamp::new(bytes.number(u64::MAX)?);
        let head = StoredHead::decode(&mut bytes)?;
        bytes.end()?;
        let held = head.part.map_or(length, |part| part.held().len());
        if length != body.len() as u64 || length != held {
            return Err(DecodeError::Corrupt);
        }
        Ok(Self::new(Arc::new(head), body, stamp))
    }

    /// Which requests it is for, as a keyed hash: of two variants under one key
    /// that have the same, [one takes the place of the
    /// other](crate::Entry::with). The same in all processes that have the
    /// secret.
    pub fn selector_digest(&self, secret: &Secret) -> [u8; 16] {
        let mut out = BytesMut::new();
        self.head.selector.identify(&mut out);
        secret.digest("selector", &out)
    }
}

impl StoredHead {
    fn decode(bytes: &mut Reader) -> Result<Self, DecodeError> {
        let corrupt = DecodeError::Corrupt;
        let status = bytes.number(999)? as u16;
        let status = StatusCode::from_u16(status).map_err(|_| corrupt)?;
        let version = bytes.byte()?;
        let version = VERSIONS.iter().find(|(_, written)| *written == version).ok_or(corrupt)?.0;
        let policy = Policy::decode(bytes)?;
        let part = bytes.option(Part::decode)?;
        // A 206 is a part, and nothing else is. None is on its way to something else.
        if status.is_informational() || part.is_some() != (status == StatusCode::PARTIAL_CONTENT) {
            return Err(corrupt);
        }
        let selector = Selector::decode(bytes)?;
        let (headers, trailers) = (fields(bytes)?, bytes.option(fields)?);
        let received = policy.received().ok_or(corrupt)?;
        Ok(Self { status, version, headers, policy, selector, part, trailers, received })
    }
}

fn put_fields(out: &mut BytesMut, fields: &HeaderMap) {
    put_number(out, fields.len() as u64);
    for (name, value) in fields {
        put_bytes(out, name.as_str().as_bytes());
        out.put_u8(value.is_sensitive().into());
        put_bytes(out, value.as_bytes());
    }
}

fn fields(bytes: &mut Reader) -> Result<HeaderMap, DecodeError> {
    let mut fields = HeaderMap::new();
    for _ in 0..bytes.number(u64::MAX)? {
        let name = HeaderName::from_bytes(&bytes.bytes()?).map_err(|_| DecodeError::Corrupt)?;
        let sensitive = bytes.option(|_| Ok(()))?.is_some();
        let value = HeaderValue::from_maybe_shared(bytes.bytes()?);
        let mut value = value.map_err(|_| DecodeError::Corrupt)?;
        value.set_sensitive(sensitive);
        fields.try_append(name, value).map_err(|_| DecodeError::Corrupt)?;
    }
    if has_room(&fields) { Ok(fields) } else { Err(DecodeError::Corrupt) }
}

/// How long the body is that a head was written for.
#[cfg(any(test, feature = "__fuzz"))]
pub(crate) fn body_len(head: Bytes) -> Option<u64> {
    Reader::start(head, MAGIC).and_then(|mut bytes| bytes.number(u64::MAX)).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::{Method, Uri};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        http::fuzz_stored_head,
        rules::{admission::admit, options::Options, policy::Exchange},
    };

    type Fields<'f> = &'f [(&'f str, &'f str)];

    fn map(fields: Fields<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let (name, sensitive) =
                name.strip_prefix('!').map_or((*name, false), |name| (name, true));
            let mut value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            value.set_sensitive(sensitive);
            headers.append(HeaderName::try_from(name).unwrap(), value);
        }
        headers
    }

    /// What would be stored of a response to this request.
    fn variant(status: u16, request: Fields<'_>, response: Fields<'_>, body: &str) -> Variant {
        let (request, response) = (map(request), map(response));
        let received = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
        let status = StatusCode::from_u16(status).unwrap();
        let exchange = Exchange {
            method: &Method::GET,
            uri: &Uri::from_static("http://a.example/x"),
            request: &request,
            status,
            response: &response,
            asked: received,
            received,
        };
        let admitted = admit(&exchange, &Options::PRIVATE).unwrap();
        let part = Part::of(&request, &response, body.len() as u64);
        let head = StoredHead {
            status,
            version: Version::HTTP_2,
            headers: response,
            policy: admitted.policy,
            selector: admitted.selector,
            part: part.filter(|_| status == StatusCode::PARTIAL_CONTENT),
            trailers: (status == StatusCode::NOT_FOUND).then(|| map(&[("x-sum", "9")])),
            received,
        };
        Variant::new(Arc::new(head), Bytes::copy_from_slice(body.as_bytes()), Stamp::new(1000))
    }

    fn some() -> [Variant; 4] {
        let languages = [("accept-language", "en, de;q=0.5"), ("foo", "a,  b")];
        let vary = ("vary", "Foo, Accept-Language, Bar");
        let max_age = ("cache-control", "max-age=60, stale-if-error=9");
        let range = ("content-range", "bytes 2-4/9");
        [
            variant(200, &[], &[max_age], ""),
            variant(
                404,
                &languages,
                &[max_age, vary, ("content-language", "en"), ("!x-a", "1"), ("x-a", "\u{e9}")],
                "hello",
            ),
            variant(206, &[("range", "bytes=2-4")], &[max_age, range, ("etag", "\"a\"")], "xyz"),
            variant(
                206,
                &[("range", "bytes=-7")],
                &[max_age, ("content-range", "bytes 2-8/*")],
                "x",
            ),
        ]
    }

    #[test]
    fn all_of_a_head_is_there_again() {
        for stored in some() {
            let (bytes, body) = (stored.head_to_bytes(), stored.body().clone());
            let read = Variant::from_bytes(bytes.clone(), body).unwrap();
            let (one, other) = (&*stored.head, &*read.head);
            assert_eq!((one.status, one.version), (other.status, other.version));
            assert_eq!((&one.headers, &one.trailers), (&other.headers, &other.trailers));
            let sensitive = |head: &StoredHead| {
                head.headers.values().map(HeaderValue::is_sensitive).collect::<Vec<_>>()
            };
            assert_eq!(sensitive(one), sensitive(other));
            assert_eq!((one.policy, one.part), (other.policy, other.part));
            assert_eq!((&one.selector, one.received), (&other.selector, other.received));
            // How it was written matters as well: what is written the same is not read.
            assert_eq!(one.selector.len(), other.selector.len());
            assert_eq!((stored.stamp(), stored.weight()), (read.stamp(), read.weight()));
            assert_eq!(read.head_to_bytes(), bytes);
            let secret = Secret::new([1; 32]);
            assert_eq!(stored.selector_digest(&secret), read.selector_digest(&secret));
        }
    }

    #[test]
    fn fields_stay_where_they_were_read() {
        let [_, stored, ..] = some();
        let bytes = stored.head_to_bytes();
        let all = bytes.as_ptr_range();
        let read = Variant::from_bytes(bytes, stored.body().clone()).unwrap();
        let mut values = read.head().headers().values();
        assert!(values.all(|value| all.contains(&value.as_bytes().as_ptr())));
    }

    #[test]
    fn which_requests_it_is_for_does_not_depend_on_how_they_are_written() {
        let secret = Secret::new([1; 32]);
        let digest = |request| {
            let response = &[("cache-control", "max-age=60"), ("vary", "Accept-Language, Foo")];
            variant(200, request, response, "").selector_digest(&secret)
        };
        let of = digest(&[("accept-language", "en, de"), ("foo", "1")]);
        for (request, same) in [
            (&[("accept-language", "de , en"), ("foo", " 1")][..], true),
            (&[("foo", "1"), ("accept-language", "EN"), ("accept-language", "de")], true),
            (&[("accept-language", "en"), ("foo", "1")], false),
            (&[("accept-language", "en, de"), ("foo", "2")], false),
            (&[("accept-language", "en, de")], false),
            (&[("accept-language", "en, de"), ("foo", "")], false),
        ] {
            assert_eq!(digest(request) == of, same, "{request:?}");
        }
        assert_ne!(
            variant(200, &[], &[("cache-control", "max-age=60")], "").selector_digest(&secret),
            of
        );
    }

    #[test]
    fn what_is_no_head_is_an_error_that_says_why() {
        let [stored, _, part, _] = some();
        let bytes = stored.head_to_bytes();
        let changed = |at: usize, byte: u8| {
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            Bytes::from(changed)
        };
        let longer = Bytes::from([&bytes, &b"x"[..]].concat());
        for (head, body, error) in [
            (Bytes::new(), "", DecodeError::Foreign),
            (changed(0, b'Q'), "", DecodeError::Foreign),
            (changed(4, 0), "", DecodeError::Version(0)),
            (changed(4, 2), "", DecodeError::Version(2)),
            (bytes.slice(..bytes.len() - 1), "", DecodeError::Corrupt),
            (longer, "", DecodeError::Corrupt),
            (bytes.clone(), "of another one", DecodeError::Corrupt),
            (part.head_to_bytes(), "xy", DecodeError::Corrupt),
        ] {
            let read = Variant::from_bytes(head, Bytes::from(body));
            assert_eq!(read.err(), Some(error));
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn every_truncation_is_an_error_and_no_changed_bit_panics() {
        for stored in some() {
            let bytes = stored.head_to_bytes();
            for length in 0..bytes.len() {
                let read = Variant::from_bytes(bytes.slice(..length), stored.body().clone());
                assert!(read.is_err(), "{length}");
            }
            for bit in 0..8 * bytes.len() {
                let mut changed = bytes.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                fuzz_stored_head(&changed);
            }
        }
    }

    #[test]
    fn a_head_that_says_it_is_huge_takes_no_memory() {
        let [stored, ..] = some();
        let bytes = stored.head_to_bytes();
        let info = allocation_counter::measure(|| {
            for at in 5..bytes.len() {
                let mut changed = bytes[..at].to_vec();
                changed.extend_from_slice(&[0xff; 9]);
                changed.push(1);
                let _ = Variant::from_bytes(Bytes::from(changed), Bytes::new());
            }
        });
        assert!(info.bytes_max < 16 << 10, "{} bytes", info.bytes_max);
    }

    #[test]
    fn version_1_is_written_like_this() {
        let expected: [&[u8]; 4] = [
            b"PLCH\x01\x00\xe8\x07\xc8\x01\x14\xfb\xa0\xf1\xc2\xb14\x00<\x00\t\x00\x00\x00\x00\
              \x01\rcache-control\x00\x1cmax-age=60, stale-if-error=9\x00",
            b"PLCH\x01\x05\xe8\x07\x94\x03\x14\xfb\xa0\xf1\xc2\xb14\x00<\x00\t\x00\x00\x03\x03\
              foo\x01\x03a,b\x0faccept-language\x02\nde,\x01\xf4en,\x03\xe8\x03bar\x00\x01\x02en\
              \x01\x0cen, de;q=0.5\x05\rcache-control\x00\x1cmax-age=60, stale-if-error=9\x04var\
              y\x00\x19Foo, Accept-Language, Bar\x10content-language\x00\x02en\x03x-a\x01\x011\
              \x03x-a\x00\x02\xc3\xa9\x01\x01\x05x-sum\x00\x019",
            b"PLCH\x01\x03\xe8\x07\xce\x01\x14\xfb\xa0\xf1\xc2\xb14\x00<\x00\t\x08\x01\x01\x01\
              \x02\x01\x04\x02\x04\x04\x01\t\x00\x00\x03\rcache-control\x00\x1cmax-age=60, stale\
              -if-error=9\rcontent-range\x00\x0bbytes 2-4/9\x04etag\x00\x03\"a\"\x00",
            b"PLCH\x01\x01\xe8\x07\xce\x01\x14\xfb\xa0\xf1\xc2\xb14\x00<\x00\t\x00\x01\x01\x00\
              \x07\x02\x08\x02\x00\x00\x00\x02\rcache-control\x00\x1cmax-age=60, stale-if-error=\
              9\rcontent-range\x00\x0bbytes 2-8/*\x00",
        ];
        for (stored, expected) in some().iter().zip(expected) {
            let written = stored.head_to_bytes();
            assert_eq!(written, expected, "{}", written.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_stored_head(&bytes);
            fuzz_stored_head(&[&b"PLCH\x01"[..], &bytes].concat());
        }

        #[test]
        fn no_changes_panic(
            index in 0..4_usize,
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = some()[index].head_to_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            fuzz_stored_head(&bytes);
        }
    }
}
