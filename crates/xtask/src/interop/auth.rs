//! `cargo xtask interop auth`: credentials of an OAuth server that others have made.

use clap::Args;
use serde_json::Value;

use super::{NODE, NPM, server::Server};
use crate::run::{Outcome, Tool, command, succeed};

pub(super) const PROVIDER: Tool = Tool {
    name: "oidc-provider",
    probe: "npm ls --prefix tests/oauth",
    install: "npm ci --prefix tests/oauth",
};

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Runs the scenarios alone whose names have this in them
    #[arg(long, value_name = "TEXT")]
    scenario: Option<String>,
}

/// # Errors
///
/// Fails when a scenario does, or when a tool is missing.
pub(crate) fn run(options: &Options) -> Outcome {
    [NODE, NPM, PROVIDER].iter().try_for_each(Tool::require)?;
    succeed(&mut command("cargo build --quiet --package palisade-tests --example auth-interop"))?;

    if options.scenario.is_none() {
        println!("==> OAuth server, by itself");
        succeed(&mut command("node --no-warnings --test-reporter=dot tests/oauth/selftest.mjs"))?;
    }
    println!("==> OAuth, scenarios");
    let (_server, address) = start_server()?;
    let mut scenarios =
        command("cargo run --quiet --package palisade-tests --example auth-interop --");
    succeed(scenarios.args(&options.scenario).env("PALISADE_OAUTH", address))
}

/// Starts the OAuth server, and says where it is.
pub(super) fn start_server() -> Outcome<(Server, String)> {
    Server::start(&mut command("node --no-warnings tests/oauth/server.mjs"), address)
}

/// Where the server is: all of the line, if it is that.
fn address(line: &str) -> Option<String> {
    let written: Value = serde_json::from_str(line).ok()?;
    written.get("issuer")?;
    Some(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_the_server_is() {
        let line = r#"{"issuer":"http://127.0.0.1:1"}"#;
        assert_eq!(address(&format!("{line}\n")).as_deref(), Some(line));
        for line in ["", "\n", "{}", "Error: EADDRINUSE"] {
            assert_eq!(address(line), None);
        }
    }
}
