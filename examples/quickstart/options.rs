//! What can be set on the command line, and how it is checked.

use std::{fmt, time::Duration};

use clap::{Parser, builder::RangedU64ValueParser};
use http::Uri;
use tokio::{net::TcpStream, time::timeout};

/// Shows what a retry layer buys, on a flaky API or on your own
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Sends GET requests there, in place of the scripted API
    #[arg(long, value_parser = parse_url)]
    pub(crate) url: Option<Uri>,
    /// How many calls each client makes, up to 5000
    #[arg(long, value_name = "N", default_value = "500", value_parser = up_to(5_000))]
    pub(crate) requests: usize,
    /// How many calls are under way at once, up to 200
    #[arg(long, value_name = "N", default_value = "32", value_parser = up_to(200))]
    pub(crate) concurrency: usize,
    /// What the scripted API does is drawn from this number
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, concurrency, seed, .. } = self;
        write!(f, "Calls: {requests}, {concurrency} at a time, to ")?;
        match &self.url {
            Some(url) => write!(f, "{url}"),
            None => write!(f, "a scripted API (seed {seed})"),
        }
    }
}

fn up_to(max: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=max)
}

/// Finds out whether there is a server, without asking it for anything.
pub(crate) async fn connect(url: &Uri) -> Result<(), String> {
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().unwrap_or(80);
    let connecting = TcpStream::connect(format!("{host}:{port}"));
    match timeout(Duration::from_secs(5), connecting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer within 5 seconds".to_owned()),
    }
}

fn parse_url(text: &str) -> Result<Uri, String> {
    const EXAMPLE: &str = "write it as http://127.0.0.1:8000/path";
    let url: Uri = text.parse().map_err(|error| format!("{error}; {EXAMPLE}"))?;
    match url.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err("this example is built without TLS; use an http:// URL".to_owned());
        }
        _ => return Err(format!("it does not begin with http://; {EXAMPLE}")),
    }
    let Some(authority) = url.authority().filter(|authority| !authority.host().is_empty()) else {
        return Err(format!("it names no host; {EXAMPLE}"));
    };
    // What does not fit into a port is not reported as one.
    if authority.port().is_none() && !authority.as_str().ends_with(authority.host()) {
        return Err("the port is not a number from 1 to 65535".to_owned());
    }
    Ok(url)
}
