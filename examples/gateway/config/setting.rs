//! Values that make sense, or are no values.

use std::{
    fmt,
    marker::PhantomData,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::{HeaderName, Uri};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// A value as it stands in the file.
#[derive(Clone, Copy)]
enum Raw<'r> {
    Integer(i64),
    Float(f64),
    Text(&'r str),
}

impl<'r> Raw<'r> {
    fn text(self) -> Option<&'r str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Integer(_) | Self::Float(_) => None,
        }
    }

    /// A number and its unit.
    fn measure(self) -> Option<(u64, &'r str)> {
        let text = self.text()?;
        let end = text.bytes().position(|byte| !byte.is_ascii_digit())?;
        let (number, unit) = text.split_at(end);
        Some((number.parse().ok()?, unit.trim_start()))
    }
}

/// What is read from such a value, if it makes sense.
trait Setting: Sized {
    /// What would make sense.
    const EXPECTED: &'static str;

    fn read(raw: Raw<'_>) -> Option<Self>;
}

struct SettingVisitor<T>(PhantomData<T>);

impl<T: Setting> Visitor<'_> for SettingVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        T::read(Raw::Integer(value))
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        T::read(Raw::Float(value)).ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        T::read(Raw::Text(value)).ok_or_else(|| {
            let unexpected = match value.contains('@') {
                // There may be a password before it.
                true => Unexpected::Other("text with an `@`"),
                false => Unexpected::Str(value),
            };
            E::invalid_value(unexpected, &self)
        })
    }
}

macro_rules! deserialize {
    ($($setting:ident),*) => {$(
        impl<'de> Deserialize<'de> for $setting {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(SettingVisitor(PhantomData))
            }
        }
    )*};
}

deserialize!(Address, Count, Field, Prefix, Share, Size, Time, Upstream);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) SocketAddr);

impl Setting for Address {
    const EXPECTED: &'static str = r#"an address such as "127.0.0.1:8080""#;

    fn read(raw: Raw<'_>) -> Option<Self> {
        raw.text()?.parse().ok().map(Self)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) u32);

impl Setting for Count {
    const EXPECTED: &'static str = "a whole number from 1 to 1000000";

    fn read(raw: Raw<'_>) -> Option<Self> {
        let Raw::Integer(count @ 1..=1_000_000) = raw else {
            return None;
        };
        u32::try_from(count).ok().map(Self)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Share(pub(crate) f64);

impl Setting for Share {
    const EXPECTED: &'static str = "a number from 0.0 to 1.0";

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Float(share @ 0.0..=1.0) => Some(Self(share)),
            Raw::Integer(0) => Some(Self(0.0)),
            Raw::Integer(1) => Some(Self(1.0)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Duration);

impl Setting for Time {
    const EXPECTED: &'static str = r#"a time such as "250ms", "5s", "2m" or "1h", up to "24h""#;

    fn read(raw: Raw<'_>) -> Option<Self> {
        let (number, unit) = raw.measure()?;
        let millis = number.checked_mul(match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        })?;
        (1..=86_400_000).contains(&millis).then(|| Self(Duration::from_millis(millis)))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) usize);

impl Setting for Size {
    const EXPECTED: &'static str = r#"a size such as "512B", "64KiB", "10MiB" or "1GiB""#;

    fn read(raw: Raw<'_>) -> Option<Self> {
        let (number, unit) = raw.measure()?;
        let bytes = number.checked_mul(match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        })?;
        usize::try_from(bytes).ok().filter(|bytes| *bytes != 0).map(Self)
    }
}

/// A path of whole segments, without the slash at its end: that of all is empty.
#[derive(Clone, Debug)]
pub(crate) struct Prefix(String);

impl Prefix {
    pub(crate) fn as_str(&self) -> &str {
        match &*self.0 {
            "" => "/",
            prefix => prefix,
        }
    }

    /// What follows the prefix in a path, if that begins with it.
    pub(crate) fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&*self.0)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

impl Setting for Prefix {
    const EXPECTED: &'static str = r#"a path such as "/" or "/orders", without a slash at its end"#;

    fn read(raw: Raw<'_>) -> Option<Self> {
        let text = raw.text()?;
        let path = if text == "/" { "" } else { text };
        let whole = |segment: &str| !matches!(segment, "" | "." | "..");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        let segments = path.strip_prefix('/').map(|path| path.split('/').all(whole));
        (segments.unwrap_or(text == "/") && path.bytes().all(plain)).then(|| Self(path.to_owned()))
    }
}

/// Where requests go. What follows the prefix of the route is joined to its path.
#[derive(Clone, Debug)]
pub(crate) struct Upstream(Uri);

impl Upstream {
    /// Scheme and authority.
    pub(crate) fn origin(&self) -> String {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", self.0.scheme_str().unwrap_or("http"))
    }

    /// Its address for a path and a query, unless they are too long.
    pub(crate) fn join(&self, rest: &str, query: Option<&str>) -> Option<Uri> {
        let base = self.0.path().trim_end_matches('/');
        let slash = if base.is_empty() && rest.is_empty() { "/" } else { "" };
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        let mut parts = self.0.clone().into_parts();
        parts.path_and_query = Some(format!("{base}{rest}{slash}{mark}{query}").try_into().ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Whether nobody else can listen.
    pub(crate) fn is_private(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        self.0.scheme_str() == Some("https") || host == "localhost" || loopback()
    }
}

impl Setting for Upstream {
    const EXPECTED: &'static str = r#"a URL such as "https://orders.example/v1", without a query"#;

    fn read(raw: Raw<'_>) -> Option<Self> {
        let text = raw.text()?;
        let url: Uri = text.parse().ok()?;
        let authority = url.authority()?;
        let plain = !text.contains(['?', '#', '@']) && !authority.host().is_empty();
        (plain && matches!(url.scheme_str(), Some("http" | "https"))).then_some(Self(url))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Field(pub(crate) HeaderName);

impl Setting for Field {
    const EXPECTED: &'static str = r#"the name of a header field, such as "x-api-key""#;

    fn read(raw: Raw<'_>) -> Option<Self> {
        raw.text()?.parse().ok().map(Self)
    }
}
