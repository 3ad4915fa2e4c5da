//! `cargo xtask interop gateway`: the example as a process, between callers and upstreams.

use clap::Args;
use serde_json::Value;

use super::{
    NODE, NPM, PROMTOOL,
    auth::{PROVIDER, start_server},
};
use crate::run::{Failure, Outcome, Tool, command, output, succeed};

const NGINX: Tool = Tool {
    name: "nginx",
    probe: "nginx -v",
    install: "apt-get install --no-install-recommends nginx-light",
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
    [NODE, NPM, PROVIDER, PROMTOOL, NGINX].iter().try_for_each(Tool::require)?;
    succeed(&mut command(
        "cargo build --quiet --package palisade-tests --example gateway-interop",
    ))?;
    let program = program()?;

    println!("==> gateway");
    let (_server, address) = start_server()?;
    let mut scenarios =
        command("cargo run --quiet --package palisade-tests --example gateway-interop --");
    scenarios.args(&options.scenario);
    succeed(scenarios.env("PALISADE_GATEWAY", program).env("PALISADE_OAUTH", address))
}

/// Builds the gateway, and says where it is: started by cargo, it would not be that which gets the
/// signals.
fn program() -> Outcome<String> {
    let messages = output(&mut command(
        "cargo build --quiet --package palisade-examples --example gateway --message-format json",
    ))?;
    executable(&messages).ok_or_else(|| Failure::new("cargo does not say where the gateway is"))
}

/// The last program that cargo has built.
fn executable(messages: &str) -> Option<String> {
    let mut paths = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(str::to_owned)
    });
    paths.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_program_among_what_cargo_says() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/target/gateway\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages).as_deref(), Some("/target/gateway"));
        assert_eq!(executable("{\"reason\":\"build-finished\",\"success\":true}\n"), None);
    }
}
