//! What stands in the file.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    time::UNIX_EPOCH,
};

use palisade_core::{SystemClock, WallClock};
use serde_json::{Map, Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::{
    super::{Record, Version},
    error::Problem,
};
use crate::Secret;

/// The form in which it is written. Others are not read.
const FORMAT: u64 = 1;

/// Larger files are none of ours.
const LONGEST: u64 = 16 * 1024 * 1024;

/// All of the file. It is wiped when it is dropped.
pub(super) struct Document {
    root: Value,
}

impl Document {
    /// Reads a file. One that is not there, or empty, has no logins.
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        // Who opens a pipe waits for the other end.
        let opened = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
            true => File::open(path).map(Some),
            false => Ok(None),
        });
        let file = match opened {
            Ok(Some(file)) => file,
            Ok(None) => return Err(Problem::Damaged("is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new()),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Problem::Damaged("is no file"));
        }
        if LONGEST < metadata.len() {
            return Err(Problem::Damaged("is larger than 16 MiB"));
        }
        let length = usize::try_from(metadata.len()).unwrap_or_default();
        // What grew would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(length + 1));
        file.take(LONGEST).read_to_end(&mut text)?;
        Self::parse(&text)
    }

    fn new() -> Self {
        // No number comes again where the file was taken away: the count begins with
        // the milliseconds since 1970.
        let now = SystemClock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let count = u64::try_from(now.as_millis()).unwrap_or_default();
        Self { root: json!({ "format": FORMAT, "count": count, "logins": {} }) }
    }

    fn parse(text: &[u8]) -> Result<Self, Problem> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::new());
        }
        // The error would tell what it found.
        let root = serde_json::from_slice(text).map_err(|_| Problem::Damaged("is no JSON"))?;
        let document = Self { root };
        match document.root.get("format").and_then(Value::as_u64) {
            Some(FORMAT) => {}
            Some(_) => return Err(Problem::Damaged("is of a later version of this program")),
            None => return Err(Problem::Damaged("has no logins of this program")),
        }
        if document.count().is_none() || document.logins().is_none() {
            return Err(Problem::Damaged("lacks its `count` or `logins`"));
        }
        Ok(document)
    }

    fn count(&self) -> Option<u64> {
        self.root.get("count")?.as_u64()
    }

    fn logins(&self) -> Option<&Map<String, Value>> {
        self.root.get("logins")?.as_object()
    }

    /// What is kept under a name.
    pub(super) fn get(&self, name: &str) -> Result<Option<(Version, Record)>, Problem> {
        let Some(login) = self.logins().and_then(|logins| logins.get(name)) else {
            return Ok(None);
        };
        match (login.get("version").and_then(Value::as_u64), read(login)) {
            (Some(version), Some(record)) => Ok(Some((Version(version), record))),
            _ => Err(Problem::Damaged("has a login that makes no sense")),
        }
    }

    /// Puts a record under a name, or none. Says the version.
    pub(super) fn put(&mut self, name: &str, new: Option<&Record>) -> Result<Version, Problem> {
        // Whoever edits the file may have left the count behind.
        let before = self.get(name)?.map_or(0, |(Version(version), _)| version);
        let next = self.count().unwrap_or_default().max(before).checked_add(1);
        let version = next.ok_or(Problem::Damaged("has counted to the end"))?;
        self.root["count"] = version.into();
        let logins = self.root["logins"].as_object_mut().expect("it was read so");
        let Some(record) = new else {
            if let Some(mut gone) = logins.remove(name) {
                wipe(&mut gone);
            }
            return Ok(Version(version));
        };
        let login = logins.entry(name).or_insert_with(|| json!({}));
        let login = login.as_object_mut().expect("it was read so");
        set(login, "version", Some(version.into()));
        for (field, text) in texts(record) {
            set(login, field, text.map(Value::from));
        }
        set(login, "issued_at", record.issued_at.map(Value::from));
        set(login, "expires_at", record.expires_at.map(Value::from));
        Ok(Version(version))
    }

    /// All of it, as text.
    pub(super) fn to_bytes(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        // Once for its length: what grew would leave copies behind.
        let mut length = Count(0);
        serde_json::to_writer_pretty(&mut length, &self.root)?;
        let mut text = Zeroizing::new(Vec::with_capacity(length.0 + 1));
        serde_json::to_writer_pretty(&mut *text, &self.root)?;
        text.push(b'\n');
        Ok(text)
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.root);
    }
}

fn read(login: &Value) -> Option<Record> {
    let login = login.as_object()?;
    // Missing is none; of another type, it makes no sense.
    let text = |field| match login.get(field) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    };
    let number = |field| match login.get(field) {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_u64().map(Some),
    };
    Some(Record {
        refresh_token: text("refresh_token")?.map(Secret::new),
        access_token: text("access_token")?.map(Secret::new),
        token_type: text("token_type")?,
        issued_at: number("issued_at")?,
        expires_at: number("expires_at")?,
        scope: text("scope")?,
    })
}

fn texts(record: &Record) -> [(&'static str, Option<&str>); 4] {
    [
        ("refresh_token", record.refresh_token.as_ref().map(Secret::expose)),
        ("access_token", record.access_token.as_ref().map(Secret::expose)),
        ("token_type", record.token_type.as_deref()),
        ("scope", record.scope.as_deref()),
    ]
}

fn set(login: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    let before = match value {
        Some(value) => login.insert(field.to_owned(), value),
        None => login.remove(field),
    };
    if let Some(mut before) = before {
        wipe(&mut before);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Counts what is written.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Document, &'static str> {
        Document::parse(text.as_bytes()).map_err(|problem| match problem {
            Problem::Damaged(what) => what,
            _ => "other",
        })
    }

    fn login() -> Record {
        Record {
            refresh_token: Some("r".into()),
            access_token: Some("a".into()),
            token_type: Some("Bearer".into()),
            issued_at: Some(1),
            expires_at: Some(2),
            scope: Some("x y".into()),
        }
    }

    #[test]
    fn what_is_put_is_there_again() {
        for record in [login(), Record::default()] {
            let mut document = Document::new();
            let version = document.put("alice", Some(&record)).unwrap();
            let again = Document::parse(&document.to_bytes().unwrap()).ok().unwrap();
            assert_eq!(again.get("alice").ok(), Some(Some((version, record))));
            assert_eq!(again.get("bob").ok(), Some(None));
        }
    }

    #[test]
    fn no_version_comes_again() {
        let mut document = parsed(r#"{"format":1,"count":5,"logins":{}}"#).unwrap();
        assert_eq!(document.put("alice", Some(&login())).ok(), Some(Version(6)));
        assert_eq!(document.put("alice", None).ok(), Some(Version(7)));
        assert_eq!(document.get("alice").ok(), Some(None));
        assert_eq!(document.put("alice", Some(&login())).ok(), Some(Version(8)));
        let text = r#"{"format":1,"count":5,"logins":{"alice":{"version":8}}}"#;
        assert_eq!(parsed(text).unwrap().put("alice", None).ok(), Some(Version(9)));
        let full = format!(r#"{{"format":1,"count":{},"logins":{{}}}}"#, u64::MAX);
        assert!(parsed(&full).unwrap().put("alice", None).is_err());
    }

    #[test]
    fn what_is_of_others_stays() {
        let text = r#"{"format":1,"count":5,"note":"mine","logins":{
            "alice":{"version":2,"label":{"x":[1]},"access_token":"old"},"bob":{"version":3}}}"#;
        let mut document = parsed(text).unwrap();
        let record = Record { access_token: None, ..login() };
        document.put("alice", Some(&record)).unwrap();
        assert_eq!(document.root["note"], "mine");
        assert_eq!(document.root["logins"]["alice"]["label"], json!({ "x": [1] }));
        assert_eq!(document.root["logins"]["alice"].get("access_token"), None);
        assert_eq!(document.get("bob").ok(), Some(Some((Version(3), Record::default()))));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, what) in [
            ("", None),
            (" \n", None),
            ("{", Some("is no JSON")),
            ("\u{feff}{}", Some("is no JSON")),
            ("[]", Some("has no logins of this program")),
            (r#"{"token":"x"}"#, Some("has no logins of this program")),
            (r#"{"format":"1"}"#, Some("has no logins of this program")),
            (r#"{"format":2}"#, Some("is of a later version of this program")),
            (r#"{"format":1,"count":1}"#, Some("lacks its `count` or `logins`")),
            (r#"{"format":1,"count":-1,"logins":{}}"#, Some("lacks its `count` or `logins`")),
        ] {
            assert_eq!(parsed(text).err(), what, "{text}");
        }
        for login in [
            "7",
            "{}",
            r#"{"version":"1"}"#,
            r#"{"version":1,"refresh_token":7}"#,
            r#"{"version":1,"expires_at":"soon"}"#,
            r#"{"version":1,"expires_at":-1}"#,
        ] {
            let text = format!(r#"{{"format":1,"count":1,"logins":{{"alice":{login}}}}}"#);
            assert!(parsed(&text).unwrap().get("alice").is_err(), "{login}");
        }
    }

    /// JSON that may be one of ours, or nearly.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3_u64).prop_map(Value::from),
            Just(Value::from(u64::MAX)),
            Just(Value::from(-1)),
            ".{0,3}".prop_map(Value::from),
        ];
        let name = prop_oneof![
            Just("format"),
            Just("count"),
            Just("logins"),
            Just("alice"),
            Just("version"),
            Just("refresh_token"),
            Just("expires_at"),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| {
                    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_that_a_file_holds_makes_it_panic(logins in json(), count in json(), any in json()) {
            for root in [json!({ "format": 1, "count": count, "logins": logins }), any] {
                let Ok(mut document) = Document::parse(root.to_string().as_bytes()) else {
                    continue;
                };
                let before = document.get("alice").ok();
                if let Ok(version) = document.put("alice", Some(&login())) {
                    prop_assert!(before.flatten().is_none_or(|(before, _)| before < version));
                    let again = Document::parse(&document.to_bytes().unwrap()).ok().unwrap();
                    prop_assert_eq!(again.get("alice").ok(), Some(Some((version, login()))));
                }
            }
        }
    }
}
