use std::fmt;

use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

/// What a server says went wrong: problem details, RFC 9457.
///
/// Members of the wrong type are as if they were not there (section 3.1), so
/// that a careless server still tells what it can.
///
/// ```
/// use palisade_client::Problem;
///
/// let json = r#"{"title": "Out of credit", "status": "403", "balance": 30}"#;
/// let problem: Problem = serde_json::from_str(json)?;
/// assert_eq!(problem.title(), Some("Out of credit"));
/// assert_eq!(problem.status(), None);
/// assert_eq!(problem.member::<u32>("balance"), Some(30));
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Problem {
    members: Map<String, Value>,
}

impl Problem {
    /// The type of problem: a URI reference. Defaults to `about:blank`.
    pub fn type_uri(&self) -> &str {
        self.text("type").unwrap_or("about:blank")
    }

    /// What the type is called.
    pub fn title(&self) -> Option<&str> {
        self.text("title")
    }

    /// The status that the server meant to send. Proxies may change the one that came.
    pub fn status(&self) -> Option<StatusCode> {
        let status = self.members.get("status")?.as_u64()?;
        StatusCode::from_u16(u16::try_from(status).ok()?).ok()
    }

    /// What went wrong this time.
    pub fn detail(&self) -> Option<&str> {
        self.text("detail")
    }

    /// Which occurrence it is: a URI reference.
    pub fn instance(&self) -> Option<&str> {
        self.text("instance")
    }

    /// A member by its name, if it is there and of the type.
    pub fn member<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.members.get(name)?).ok()
    }

    /// All members as one type, if they are that.
    pub fn members<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(&self.members).ok()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    /// The problem that an answer holds, if it says that it does.
    pub(crate) fn of(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next()?.trim();
        if !essence.eq_ignore_ascii_case("application/problem+json") {
            return None;
        }
        serde_json::from_slice(crate::decode::without_bom(body)).ok()
    }
}

impl<'de> Deserialize<'de> for Problem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { members: Map::deserialize(deserializer)? })
    }
}

/// Details may hold secrets.
impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem").field("status", &self.status()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn problem(content_type: &'static str, body: &str) -> Option<Problem> {
        let value = HeaderValue::from_static(content_type);
        Problem::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]), body.as_bytes())
    }

    #[test]
    fn members_of_the_wrong_type_are_left_out() {
        let json =
            r#"{"type":7,"title":["x"],"status":"x","detail":{},"instance":null,"more":[1]}"#;
        let problem = problem("application/problem+json; charset=utf-8", json).unwrap();
        assert_eq!(problem.type_uri(), "about:blank");
        assert_eq!((problem.title(), problem.status(), problem.detail()), (None, None, None));
        assert_eq!(problem.instance(), None);
        assert_eq!(problem.member::<Vec<u8>>("more"), Some(vec![1]));
        assert_eq!(problem.member::<String>("more"), None);
    }

    #[test]
    fn a_status_that_is_none_is_left_out() {
        for status in ["99", "1000", "-1", "70000", "4.5", "null"] {
            let json = format!("{{\"status\":{status}}}");
            let problem = problem("application/problem+json", &json).unwrap();
            assert_eq!(problem.status(), None, "{status}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_problem() {
        for body in ["", "[]", "null", "<html>", "{\"a\":1"] {
            assert_eq!(problem("application/problem+json", body), None, "{body}");
        }
        assert_eq!(problem("application/json", "{}"), None);
    }
}
