//! What the configuration file says. What is wrong with it is told by file, line, column and key.

mod setting;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fmt, fs,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_path_to_error::Segment;
use toml::Spanned;

pub(crate) use self::setting::{Address, Count, Field, Prefix, Share, Size, Time, Upstream};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) server: Server,
    #[serde(default)]
    pub(crate) routes: Vec<Route>,
    #[serde(skip)]
    source: Source,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) listen: Address,
    pub(crate) admin: Address,
    /// How many proxies in front of this one are believed what they say of clients.
    pub(crate) trusted_hops: u8,
    /// How long the head of a request may take to come, and a connection may be kept unused.
    pub(crate) header_timeout: Time,
    pub(crate) shutdown_timeout: Time,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) prefix: Spanned<Prefix>,
    pub(crate) upstream: Spanned<Upstream>,
    /// How much of a request's body is taken.
    #[serde(default = "max_body")]
    pub(crate) max_body: Size,
    /// How long all attempts may take together, to the head of the response.
    #[serde(default = "timeout")]
    pub(crate) timeout: Time,
    #[serde(default = "attempt_timeout")]
    pub(crate) attempt_timeout: Time,
    /// How long nothing may come of a response's body.
    #[serde(default = "idle_timeout")]
    pub(crate) idle_timeout: Time,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) cache: Option<Cache>,
    pub(crate) circuit_breaker: Option<CircuitBreaker>,
    pub(crate) retry: Option<Retry>,
    pub(crate) auth: Option<Spanned<Auth>>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RateLimit {
    pub(crate) requests: Count,
    pub(crate) per: Time,
    /// How many may come at once after a pause.
    pub(crate) burst: Spanned<Count>,
    pub(crate) by: By,
}

/// Who shares a limit.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// The requests of one address.
    Client,
    /// All requests of the route.
    Route,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cache {
    pub(crate) size: Size,
    /// For how long an answer is good that does not say so itself.
    pub(crate) default_ttl: Option<Time>,
    pub(crate) stale_while_revalidate: Option<Time>,
    pub(crate) stale_if_error: Option<Time>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CircuitBreaker {
    /// How many calls in a row have to fail.
    pub(crate) failures: Count,
    pub(crate) open_for: Time,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retry {
    pub(crate) attempts: Count,
    /// How many retries each call adds to the budget.
    pub(crate) budget: Share,
    /// How many the budget begins with, and holds at most.
    pub(crate) reserve: Count,
}

/// What shows the upstream who asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Auth {
    Bearer {
        token: Spanned<Secret>,
    },
    ApiKey {
        header: Field,
        key: Spanned<Secret>,
    },
    ClientCredentials {
        token_url: Spanned<String>,
        client_id: String,
        client_secret: Spanned<Secret>,
        scope: Option<String>,
    },
}

/// Where a secret is. It never stands in the configuration.
#[derive(Debug)]
pub(crate) enum Secret {
    Env(String),
    File(PathBuf),
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: Address(SocketAddr::from(([127, 0, 0, 1], 8080))),
            admin: Address(SocketAddr::from(([127, 0, 0, 1], 9090))),
            trusted_hops: 0,
            header_timeout: Time(Duration::from_secs(30)),
            shutdown_timeout: Time(Duration::from_secs(30)),
        }
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        let per = Time(Duration::from_secs(1));
        Self { requests: Count(100), per, burst: Spanned::new(0..0, Count(20)), by: By::Client }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            size: Size(64 << 20),
            default_ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
        }
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { failures: Count(5), open_for: Time(Duration::from_secs(5)) }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: Count(3), budget: Share(0.1), reserve: Count(10) }
    }
}

fn max_body() -> Size {
    Size(1 << 20)
}

fn timeout() -> Time {
    Time(Duration::from_secs(30))
}

fn attempt_timeout() -> Time {
    Time(Duration::from_secs(10))
}

fn idle_timeout() -> Time {
    Time(Duration::from_secs(60))
}

impl Config {
    /// Reads the file. Secrets in files are looked for beside it.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| {
            ConfigError(format!(
                "{}: {error}; name a file that can be read, or try `--demo`",
                path.display()
            ))
        })?;
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        Self::parse(path.display().to_string(), text, base)
    }

    pub(crate) fn parse(name: String, text: String, base: PathBuf) -> Result<Self, ConfigError> {
        let source = Source { name, text, base };
        let syntax = |error: toml::de::Error| {
            source.error(error.span().unwrap_or_default(), "", error.message())
        };
        let deserializer = toml::Deserializer::parse(&source.text).map_err(syntax)?;
        let mut config: Self = serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let key = key_of(error.path());
            let error = error.into_inner();
            source.error(error.span().unwrap_or_default(), &key, error.message())
        })?;
        config.source = source;
        config.check()?;
        Ok(config)
    }

    /// What no value shows alone.
    fn check(&self) -> Result<(), ConfigError> {
        if self.routes.is_empty() {
            let what = "there is none: add `[[routes]]` with a `prefix` and an `upstream`";
            return Err(self.error(0..0, "routes", what));
        }
        let mut seen = BTreeMap::new();
        for (index, route) in self.routes.iter().enumerate() {
            let prefix = route.prefix.get_ref().as_str();
            if let Some(first) = seen.insert(prefix, index) {
                let what = format!("`{prefix}` is that of routes[{first}]: change one of them");
                return Err(self.error(
                    route.prefix.span(),
                    &format!("routes[{index}].prefix"),
                    what,
                ));
            }
            let upstream = route.upstream.get_ref();
            if route.auth.is_some() && !upstream.is_private() {
                let key = format!("routes[{index}].upstream");
                let what = "credentials go over plain http to this machine alone: write `https`";
                return Err(self.error(route.upstream.span(), &key, what));
            }
        }
        Ok(())
    }

    pub(crate) fn error(
        &self,
        span: Range<usize>,
        key: &str,
        what: impl fmt::Display,
    ) -> ConfigError {
        self.source.error(span, key, what)
    }

    /// The secret, without the line break at its end.
    pub(crate) fn secret(
        &self,
        secret: &Spanned<Secret>,
        key: &str,
    ) -> Result<String, ConfigError> {
        let fail = |what: String| self.error(secret.span(), key, what);
        let (value, place) = match secret.get_ref() {
            Secret::Env(name) => {
                let value = env::var(name).map_err(|_| {
                    fail(format!("the environment has no `{name}`: set it, and start again"))
                })?;
                (value, format!("`{name}`"))
            }
            Secret::File(path) => {
                let path = self.source.base.join(path);
                let value = fs::read_to_string(&path).map_err(|error| {
                    fail(format!("cannot read the secret in {}: {error}", path.display()))
                })?;
                (value, path.display().to_string())
            }
        };
        match value.trim_end_matches(['\r', '\n']) {
            "" => Err(fail(format!("{place} is empty: put the secret there"))),
            value => Ok(value.to_owned()),
        }
    }
}

/// The key as it would be written in a path through the file.
fn key_of(path: &serde_path_to_error::Path) -> String {
    let mut key = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => key += &format!("[{index}]"),
            // How `Spanned` looks from inside.
            Segment::Map { key: name } if name.starts_with("$__") => {}
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                let dot = if key.is_empty() { "" } else { "." };
                key += &format!("{dot}{name}");
            }
            Segment::Unknown => {}
        }
    }
    key
}

/// The file that a configuration was read from.
#[derive(Debug, Default)]
struct Source {
    name: String,
    text: String,
    base: PathBuf,
}

impl Source {
    fn error(&self, span: Range<usize>, key: &str, what: impl fmt::Display) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        let colon = if key.is_empty() { "" } else { ": " };
        ConfigError(format!("{}:{line}:{column}: {key}{colon}{what}", self.name))
    }
}

/// What is wrong, where, and what to do.
#[derive(Debug)]
pub(crate) struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ConfigError {}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`{ env = \"NAME\" }` or `{ file = \"PATH\" }`")
    }

    // What stands there may be the secret, so it is not quoted.
    fn visit_str<E: de::Error>(self, _: &str) -> Result<Secret, E> {
        Err(E::custom(
            "a secret does not belong in this file: write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Place {
            Env(String),
            File(PathBuf),
        }

        Ok(match Place::deserialize(MapAccessDeserializer::new(map))? {
            Place::Env(name) => Secret::Env(name),
            Place::File(path) => Secret::File(path),
        })
    }
}
