//! How bytes become a value, and what is told where they do not.

use std::{borrow::Cow, error::Error, fmt};

use http::{HeaderMap, header};
use palisade_core::ErrorKind;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Where and why a body did not decode.
///
/// Its text names the place and the types, and quotes no value; map keys are
/// part of the place. What serde said, values included, is [`detail`](Self::detail).
pub struct DecodeError {
    path: String,
    line: usize,
    column: usize,
    text: Cow<'static, str>,
    detail: String,
    category: Option<Category>,
}

impl DecodeError {
    /// The path of the value that did not decode, such as `items[3].id`;
    /// `.` is the whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The line at which it was found, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column at which it was found, counted from 1 in bytes.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Why, with the value that was found. It may hold secrets.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether the body ended too early.
    pub fn is_truncated(&self) -> bool {
        self.category == Some(Category::Eof)
    }

    pub(crate) fn place(&self) -> impl fmt::Display {
        let Self { path, line, column, .. } = self;
        format!("`{path}` (line {line}, column {column})")
    }

    /// A body that is no text.
    pub(crate) fn not_utf8(valid: usize) -> Self {
        let text = "body is not UTF-8";
        Self::plain(text, valid + 1)
    }

    fn empty() -> Self {
        Self::plain("body is empty", 0)
    }

    fn plain(text: &'static str, column: usize) -> Self {
        Self {
            path: ".".to_owned(),
            line: 1,
            column,
            text: Cow::Borrowed(text),
            detail: text.to_owned(),
            category: None,
        }
    }

    fn new(path: String, error: &serde_json::Error) -> Self {
        let detail = error.to_string();
        let text = match error.classify() {
            Category::Data => without_value(&detail),
            // The parser's own words.
            _ => detail.split(" at line ").next().unwrap_or_default().to_owned().into(),
        };
        let (line, column) = (error.line(), error.column());
        Self { path, line, column, text, detail, category: Some(error.classify()) }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError")
            .field("path", &self.path)
            .field("line", &self.line)
            .field("column", &self.column)
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.category? {
            // As if the connection had been closed: another try may have it whole.
            Category::Eof => Some(&ErrorKind::Closed),
            Category::Syntax => Some(&ErrorKind::Protocol),
            Category::Data | Category::Io => None,
        }
    }
}

/// Decodes JSON in one pass. Only if that fails, the same bytes are read
/// again by a decoder that keeps the path, which takes half as long again.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let bytes = without_bom(bytes);
    if bytes.is_empty() {
        // What may be absent is absent: `Option<T>` and `()`.
        return serde_json::from_slice(b"null").map_err(|_| DecodeError::empty());
    }
    serde_json::from_slice(bytes).map_err(|error| locate::<T>(bytes, &error))
}

#[cold]
fn locate<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> DecodeError {
    let mut decoder = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut decoder) {
        Err(error) => DecodeError::new(error.path().to_string(), error.inner()),
        // The value is whole; what follows it is wrong.
        Ok(_) => DecodeError::new(".".to_owned(), error),
    }
}

/// RFC 8259, section 8.1: a byte order mark may be ignored.
pub(crate) fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// What serde says of data, without the data.
fn without_value(detail: &str) -> Cow<'static, str> {
    let detail = detail.rsplit_once(" at line ").map_or(detail, |(text, _)| text);
    for start in ["missing field `", "duplicate field `", "invalid length "] {
        if detail.starts_with(start) {
            return detail.to_owned().into();
        }
    }
    for start in ["invalid type: ", "invalid value: ", "unknown variant ", "unknown field "] {
        let Some(found) = detail.strip_prefix(start) else { continue };
        let Some((found, expected)) = found.rsplit_once(", expected ") else { continue };
        let kind = found.split(['`', '"']).next().unwrap_or_default().trim_end();
        let start = start.trim_end();
        let gap = if kind.is_empty() { "" } else { " " };
        return format!("{start}{gap}{kind}, expected {expected}").into();
    }
    // Words of the type's own `Deserialize`, which may quote anything.
    Cow::Borrowed("invalid value")
}

/// Whether a body may be JSON, by its `Content-Type`; if not, what it is.
pub(crate) fn check_type(headers: &HeaderMap) -> Result<(), Option<String>> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().map_err(|_| None)?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    if !is_json(essence) {
        let known = essence.len() <= 80
            && essence.bytes().all(|b| b.is_ascii_alphanumeric() || b"/+-._".contains(&b));
        return Err(known.then(|| essence.to_ascii_lowercase()));
    }
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    match charset {
        // RFC 8259, section 8.1: it is UTF-8, whatever else is said.
        Some(charset) if !is_utf8(charset) => {
            Err(Some(format!("{} in another charset than UTF-8", essence.to_ascii_lowercase())))
        }
        _ => Ok(()),
    }
}

/// RFC 8259, section 11, and the suffix of RFC 6839, section 3.1.
fn is_json(essence: &str) -> bool {
    let ends = |suffix: &str| {
        let start = essence.len().checked_sub(suffix.len());
        let end = start.and_then(|start| essence.get(start..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    essence.eq_ignore_ascii_case("application/json") || (essence.contains('/') && ends("+json"))
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Color {
        Red,
        Blue,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only decoded")]
    struct Item {
        id: u32,
        color: Option<Color>,
    }

    #[derive(Debug, Deserialize)]
    struct Page {
        #[expect(dead_code, reason = "only decoded")]
        items: Vec<Item>,
    }

    fn failed(json: &str) -> DecodeError {
        decode::<Page>(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_path_is_exact() {
        for (json, path, text) in [
            (
                r#"{"items":[{"id":1},{"id":"s3cret"}]}"#,
                "items[1].id",
                "invalid type: string, expected u32",
            ),
            (r#"{"items":[{"id":-77}]}"#, "items[0].id", "invalid value: integer, expected u32"),
            (r#"{"items":[{"color":"red"}]}"#, "items[0]", "missing field `id`"),
            (r#"{"items":7}"#, "items", "invalid type: integer, expected a sequence"),
            (
                r#"{"items":[{"id":1,"color":"s3cret, expected x"}]}"#,
                "items[0].color",
                "unknown variant, expected `red` or `blue`",
            ),
            (
                r#"{"items":[{"id":1,"s3cret":2}]}"#,
                "items[0].s3cret",
                "unknown field, expected `id` or `color`",
            ),
            (r#"{"items":[]} x"#, ".", "trailing characters"),
            (r#"{"items":[{"id":1}"#, "items", "EOF while parsing a list"),
            ("<html>", ".", "expected value"),
            (
                "{\"items\":[{\"id\":1,\"color\":\"\\ud800\"}]}",
                "items[0].color",
                "unexpected end of hex escape",
            ),
        ] {
            let error = failed(json);
            assert_eq!((error.path(), error.to_string().as_str()), (path, text), "{json}");
            assert!(!format!("{error:?}").replace(path, "").contains("s3cret"), "{error:?}");
        }
    }

    #[test]
    fn line_and_column_are_those_of_the_value() {
        let error = failed("{\n  \"items\": [\n    {\"id\": null}\n  ]\n}");
        assert_eq!((error.line(), error.column()), (3, 15));
    }

    #[test]
    fn the_second_pass_says_what_the_first_did() {
        let deep = "[".repeat(200);
        for json in [deep.as_str(), "\u{0}", "{\"items\":[]}\u{0}", "nul", "\"\\u0000", "{\"a\":1"]
        {
            let first = serde_json::from_slice::<serde_json::Value>(json.as_bytes()).unwrap_err();
            let error = decode::<serde_json::Value>(json.as_bytes()).unwrap_err();
            assert_eq!(error.detail(), first.to_string(), "{json:?}");
        }
    }

    #[test]
    fn words_of_a_type_are_not_repeated() {
        #[derive(Debug)]
        struct Never;
        impl<'de> Deserialize<'de> for Never {
            fn deserialize<D: serde::Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
                let text = String::deserialize(decoder)?;
                Err(serde::de::Error::custom(format!("cannot take {text}")))
            }
        }
        let error = decode::<Never>(b"\"s3cret\"").unwrap_err();
        assert_eq!(error.to_string(), "invalid value");
        assert!(error.detail().contains("s3cret"));
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        assert_eq!(decode::<u8>(b"\xEF\xBB\xBF7").unwrap(), 7);
        let utf16: Vec<u8> = "\u{feff}7".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(decode::<u8>(&utf16).is_err());
    }

    #[test]
    fn what_may_be_absent_is_absent() {
        assert_eq!(decode::<Option<u8>>(b"").unwrap(), None);
        assert_eq!(decode::<Option<u8>>(b"\xEF\xBB\xBF").unwrap(), None);
        decode::<()>(b"").unwrap();
        assert_eq!(decode::<u8>(b"").unwrap_err().to_string(), "body is empty");
    }

    #[test]
    fn of_two_equal_keys_the_type_decides() {
        let json = br#"{"id":1,"id":2}"#;
        assert_eq!(decode::<BTreeMap<String, u8>>(json).unwrap()["id"], 2);
        assert_eq!(decode::<Item>(json).unwrap_err().to_string(), "duplicate field `id`");
    }

    #[test]
    fn json_is_known_by_its_type() {
        for (value, result) in [
            ("application/json", Ok(())),
            ("Application/JSON; charset=UTF-8", Ok(())),
            ("application/problem+json", Ok(())),
            ("application/vnd.api+json;charset=\"utf-8\"", Ok(())),
            ("text/html; charset=utf-8", Err(Some("text/html"))),
            ("application/jsonp", Err(Some("application/jsonp"))),
            ("json", Err(Some("json"))),
            ("te<xt>/html", Err(None)),
            (
                "application/json; charset=utf-16",
                Err(Some("application/json in another charset than UTF-8")),
            ),
        ] {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(
                check_type(&headers),
                result.map_err(|found| found.map(str::to_owned)),
                "{value}"
            );
        }
        assert_eq!(check_type(&HeaderMap::new()), Ok(()));
    }
}
