//! What a request is answered with, once a stored response may be used for it.

use std::time::SystemTime;

use http::{HeaderMap, Method, StatusCode};

use super::{
    conditional,
    partial::Part,
    range::{Asked, Plan, Slice},
};

/// A stored response that may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'s> {
    pub(crate) status: StatusCode,
    pub(crate) head: &'s HeaderMap,
    pub(crate) body: Held<'s>,
    /// When it came, or was last freshened.
    pub(crate) received: SystemTime,
}

/// What is stored of its body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held<'s> {
    /// So many bytes, which are all.
    All(u64),
    Part(&'s Part),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What is stored, as it is.
    Whole,
    /// 304: the client has it.
    NotModified,
    /// 206, with these bytes of the whole.
    Part(Slice),
    /// 416: there are only so many bytes.
    Unsatisfiable(u64),
    /// What is stored is no answer: the origin is asked.
    Forward,
}

impl Answer {
    /// To GET or HEAD, in the order of RFC 9110, section 13.2.2.
    ///
    /// Conditions that are [for the origin](conditional::is_for_the_origin) have
    /// to be looked for before.
    pub(crate) fn of(method: &Method, request: &HeaderMap, stored: &Stored<'_>) -> Self {
        let Stored { status, head, body, received } = *stored;
        if conditional::is_not_modified(request, status, head, received) {
            return Self::NotModified;
        }
        let ranges = *method == Method::GET && Asked::of(request) != Asked::Whole;
        match body {
            // RFC 9110, section 14.2: a range is for GET, and for a success.
            Held::All(length) if ranges && status == StatusCode::OK => {
                match Plan::of(request, head, length, received) {
                    Plan::Whole => Self::Whole,
                    Plan::Part(slice) => Self::Part(slice),
                    Plan::Unsatisfiable => Self::Unsatisfiable(length),
                    Plan::Forward => Self::Forward,
                }
            }
            Held::All(_) => Self::Whole,
            Held::Part(part) if ranges => {
                part.answer(request, head, received).map_or(Self::Forward, Self::Part)
            }
            Held::Part(_) => Self::Forward,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn conditions_go_before_ranges() {
        let part = |first, last| Answer::Part(Slice { first, last });
        const TAG: (&str, &str) = ("if-none-match", "\"a\"");
        const OTHER: (&str, &str) = ("if-none-match", "\"b\"");
        const RANGE: (&str, &str) = ("range", "bytes=0-1");
        for (method, status, request, expected) in [
            (Method::GET, 200, &[][..], Answer::Whole),
            (Method::HEAD, 200, &[], Answer::Whole),
            (Method::GET, 200, &[TAG], Answer::NotModified),
            (Method::HEAD, 200, &[TAG], Answer::NotModified),
            (Method::GET, 200, &[RANGE], part(0, 1)),
            (Method::HEAD, 200, &[RANGE], Answer::Whole),
            (Method::GET, 404, &[RANGE], Answer::Whole),
            (Method::GET, 404, &[TAG], Answer::Whole),
            (Method::GET, 200, &[TAG, RANGE], Answer::NotModified),
            (Method::GET, 200, &[OTHER, RANGE], part(0, 1)),
            (Method::GET, 200, &[("range", "bytes=9-")], Answer::Unsatisfiable(5)),
            (Method::GET, 200, &[("range", "bytes=0-0, 2-2")], Answer::Forward),
            (Method::GET, 200, &[RANGE, ("if-range", "\"b\"")], Answer::Whole),
            (Method::GET, 200, &[RANGE, ("if-range", "\"a\"")], part(0, 1)),
        ] {
            let stored = Stored {
                status: StatusCode::from_u16(status).unwrap(),
                head: &headers(&[("etag", "\"a\"")]),
                body: Held::All(5),
                received: SystemTime::UNIX_EPOCH,
            };
            let answer = Answer::of(&method, &headers(request), &stored);
            assert_eq!(answer, expected, "{method} {status} {request:?}");
        }
    }

    #[test]
    fn a_part_answers_only_who_asks_for_a_part() {
        let head = headers(&[("content-range", "bytes 0-4/10"), ("etag", "\"a\"")]);
        let part = Part::of(&HeaderMap::new(), &head, 5).unwrap();
        let stored = Stored {
            status: StatusCode::PARTIAL_CONTENT,
            head: &head,
            body: Held::Part(&part),
            received: SystemTime::UNIX_EPOCH,
        };
        for (method, request, expected) in [
            (Method::GET, &[][..], Answer::Forward),
            (Method::HEAD, &[("range", "bytes=1-2")], Answer::Forward),
            (Method::GET, &[("range", "bytes=1-2")], Answer::Part(Slice { first: 1, last: 2 })),
            (Method::GET, &[("range", "bytes=1-5")], Answer::Forward),
            (Method::GET, &[("if-none-match", "\"a\"")], Answer::NotModified),
        ] {
            let answer = Answer::of(&method, &headers(request), &stored);
            assert_eq!(answer, expected, "{method} {request:?}");
        }
    }
}
