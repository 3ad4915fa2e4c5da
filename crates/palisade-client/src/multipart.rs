//! Bodies of several parts: RFC 7578, written as browsers do.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fmt,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body as HttpBody, Frame, SizeHint};
use palisade_core::BoxError;

use crate::{Body, invalid::Invalid};

/// A form whose fields may be files: `multipart/form-data`.
///
/// If all parts are in memory, so is the whole, and a request may be sent
/// again. Else it is read as it is sent; its length is told if the lengths of
/// all parts are known.
///
/// ```
/// use palisade_client::{Multipart, Part};
///
/// let form = Multipart::new()
///     .text("title", "A map")
///     .part("file", Part::from("..").file_name("map.svg").content_type("image/svg+xml"));
/// ```
#[derive(Default)]
#[must_use]
pub struct Multipart {
    parts: Vec<(Cow<'static, str>, Part)>,
}

impl Multipart {
    /// A form without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field of text.
    pub fn text(
        self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let value = match value.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => text.into(),
        };
        self.part(name, Part::from(value))
    }

    /// Adds a field of any kind.
    pub fn part(mut self, name: impl Into<Cow<'static, str>>, part: Part) -> Self {
        self.parts.push((name.into(), part));
        self
    }

    /// The body, and what it says that it is.
    pub(crate) fn finish(self) -> Result<(HeaderValue, Body), Invalid> {
        let boundary = boundary();
        let mut pieces = Pieces::default();
        for (name, part) in self.parts {
            pieces.text(&head(&boundary, &name, &part)?);
            pieces.body(part.body);
            pieces.text("\r\n");
        }
        pieces.text(&format!("--{boundary}--\r\n"));
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let content_type = content_type.try_into().expect("a boundary is of letters and digits");
        Ok((content_type, pieces.finish()))
    }
}

impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(name, _)| name)).finish()
    }
}

/// One field of a [`Multipart`] form.
#[must_use]
pub struct Part {
    body: Body,
    file_name: Option<String>,
    content_type: Option<String>,
}

impl Part {
    /// A field with a body of any kind.
    pub fn new(body: Body) -> Self {
        Self { body, file_name: None, content_type: None }
    }

    /// A field that is read as it is sent, such as a large file: see [`Body::stream`].
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self::new(Body::stream(body))
    }

    /// As [`stream`](Self::stream), of so many bytes. [`Body::stream_with_length`] shows how to
    /// make one of a file, whose name is [`file_name`](Self::file_name).
    pub fn stream_with_length<B>(body: B, length: u64) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self::new(Body::stream_with_length(body, length))
    }

    /// Sets the name of the file that it is. Defaults to none: it is no file.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Sets the media type. Defaults to `application/octet-stream` for a
    /// file, and to none otherwise.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }
}

impl<T: Into<Bytes>> From<T> for Part {
    fn from(bytes: T) -> Self {
        Self::new(bytes.into().into())
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("body", &self.body).finish_non_exhaustive()
    }
}

/// What stands before the body of a part.
fn head(boundary: &str, name: &str, part: &Part) -> Result<String, Invalid> {
    let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"");
    escape(name, &mut head);
    head.push('"');
    if let Some(name) = &part.file_name {
        head.push_str("; filename=\"");
        escape(name, &mut head);
        head.push('"');
    }
    let octets = part.file_name.is_some().then_some("application/octet-stream");
    if let Some(content_type) = part.content_type.as_deref().or(octets) {
        if HeaderValue::from_str(content_type).is_err() {
            let text =
                format!("the content type of the part `{}` is not valid", name.escape_debug());
            return Err(Invalid::new(text));
        }
        head.push_str("\r\nContent-Type: ");
        head.push_str(content_type);
    }
    head.push_str("\r\n\r\n");
    Ok(head)
}

/// As the HTML standard has it, "multipart form data": a name cannot end its
/// quotes, nor its line.
fn escape(name: &str, head: &mut String) {
    for char in name.chars() {
        match char {
            '"' => head.push_str("%22"),
            '\r' => head.push_str("%0D"),
            '\n' => head.push_str("%0A"),
            // NUL ends a name in some servers.
            '\0' => head.push_str("%00"),
            char => head.push(char),
        }
    }
}

/// A line that whoever has made the contents cannot have guessed: SipHash,
/// keyed by the system's randomness.
fn boundary() -> String {
    let random = RandomState::new();
    format!("palisade{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
}

/// A body of what comes one after the other; neighbours in memory are joined.
#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Body>,
    text: Vec<u8>,
}

impl Pieces {
    fn text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn body(&mut self, body: Body) {
        if let Some(bytes) = body.in_memory() {
            self.text.extend_from_slice(bytes);
        } else if !body.is_end_stream() {
            self.pieces.push_back(std::mem::take(&mut self.text).into());
            self.pieces.push_back(body);
        }
    }

    fn finish(mut self) -> Body {
        let last = Body::from(std::mem::take(&mut self.text));
        if self.pieces.is_empty() {
            return last;
        }
        self.pieces.push_back(last);
        Body::stream(Joined { pieces: self.pieces })
    }
}

struct Joined {
    pieces: VecDeque<Body>,
}

impl HttpBody for Joined {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while let Some(piece) = self.pieces.front_mut() {
            match ready!(Pin::new(piece).poll_frame(cx)) {
                // Trailers of a part are none of the whole.
                Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => drop(self.pieces.pop_front()),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut sum = SizeHint::with_exact(0);
        for hint in self.pieces.iter().map(HttpBody::size_hint) {
            let upper = sum.upper().zip(hint.upper()).and_then(|(a, b)| a.checked_add(b));
            let lower = sum.lower().saturating_add(hint.lower());
            sum = SizeHint::new();
            sum.set_lower(lower);
            if let Some(upper) = upper.filter(|upper| lower <= *upper) {
                sum.set_upper(upper);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_form_is_written_as_browsers_do() {
        let form = Multipart::new()
            .text("a\"b\r\nc", "1")
            .text("ü", String::from("x\r\ny"))
            .part("f", Part::from("<svg>").file_name("ma\"p\n.svg").content_type("image/svg+xml"))
            .part("e", Part::new(Body::empty()).file_name("e"));
        let (content_type, body) = form.finish().unwrap();
        let boundary =
            content_type.to_str().unwrap().strip_prefix("multipart/form-data; boundary=");
        let expected = "--B\r\nContent-Disposition: form-data; name=\"a%22b%0D%0Ac\"\r\n\r\n1\r\n\
            --B\r\nContent-Disposition: form-data; name=\"ü\"\r\n\r\nx\r\ny\r\n\
            --B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"ma%22p%0A.svg\"\r\n\
            Content-Type: image/svg+xml\r\n\r\n<svg>\r\n\
            --B\r\nContent-Disposition: form-data; name=\"e\"; filename=\"e\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n\r\n\
            --B--\r\n";
        let expected = expected.replace("--B", &format!("--{}", boundary.unwrap()));
        assert_eq!(body.in_memory().unwrap(), expected.as_bytes());
    }

    #[test]
    fn a_type_cannot_end_its_line() {
        let part = Part::from("x").content_type("text/plain\r\nX-Evil: 1");
        let error = Multipart::new().part("a", part).finish().unwrap_err();
        assert_eq!(error.to_string(), "the content type of the part `a` is not valid");
    }

    #[test]
    fn no_two_boundaries_are_the_same() {
        let boundaries: HashSet<_> = (0..1000).map(|_| boundary()).collect();
        assert_eq!(boundaries.len(), 1000);
    }
}
