//! `cargo xtask interop`: what others make of what we write and do.

mod auth;
mod cache;
mod gateway;
mod server;
mod verdict;

use std::{collections::BTreeSet, fs};

use clap::{Args, Subcommand};

use crate::run::{Failure, Outcome, Tool, command, feed, output, succeed};

const PROMTOOL: Tool = Tool {
    name: "promtool",
    probe: "promtool --version",
    install: "apt-get install --no-install-recommends prometheus",
};

const NODE: Tool = Tool {
    name: "node",
    probe: "node --version",
    install: "apt-get install --no-install-recommends nodejs",
};

const NPM: Tool = Tool {
    name: "npm",
    probe: "npm --version",
    install: "apt-get install --no-install-recommends npm",
};

const RULES: &str = "contrib/prometheus/palisade.rules.yml";
const SCRATCH_DIR: &str = "target/interop";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The one part to check, instead of all
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// What Prometheus makes of a scrape in either format, and of the alerts
    Metrics,
    /// What the HTTP working group's suite of cache tests makes of the cache
    Cache(cache::Options),
    /// What an OAuth server makes of the requests for tokens, and of the tokens
    Auth(auth::Options),
    /// What callers, upstreams, an OAuth server and Prometheus make of the example gateway
    Gateway(gateway::Options),
}

/// # Errors
///
/// Fails at the first thing that others do not take, or when a tool is missing.
pub(crate) fn run(options: &Options) -> Outcome {
    match &options.part {
        Some(Part::Metrics) => metrics(),
        Some(Part::Cache(options)) => cache::run(options),
        Some(Part::Auth(options)) => auth::run(options),
        Some(Part::Gateway(options)) => gateway::run(options),
        None => {
            metrics()?;
            cache::run(&cache::Options::default())?;
            auth::run(&auth::Options::default())?;
            gateway::run(&gateway::Options::default())
        }
    }
}

fn metrics() -> Outcome {
    PROMTOOL.require()?;

    println!("==> Prometheus' text");
    let text = scrape("prometheus")?;
    feed(&mut command("promtool check metrics"), &text)?;

    println!("==> OpenMetrics");
    let text = scrape("open-metrics")?;
    let (file, blocks) = (format!("{SCRATCH_DIR}/scrape.txt"), format!("{SCRATCH_DIR}/blocks"));
    // What is there already is added to.
    let _ = fs::remove_dir_all(SCRATCH_DIR);
    let written =
        fs::create_dir_all(SCRATCH_DIR).and_then(|()| fs::write(&file, with_timestamps(&text)));
    written.map_err(|error| Failure::new(format!("cannot write {file}: {error}")))?;
    succeed(&mut command(&format!(
        "promtool tsdb create-blocks-from --quiet openmetrics {file} {blocks}"
    )))?;

    println!("==> alerts");
    succeed(&mut command(&format!("promtool check rules {RULES}")))
}

/// What is exported in this format.
fn scrape(format: &str) -> Outcome<String> {
    let text = output(&mut command(&format!(
        "cargo run --quiet --package palisade-tests --example scrape -- {format}"
    )))?;
    // promtool has nothing against families without samples, nor against no text at all.
    let empty = empty_families(&text);
    match text.is_empty() || !empty.is_empty() {
        false => Ok(text),
        true => Err(Failure::new(format!("nothing of these is in the text: {empty:?}"))),
    }
}

/// The families that no sample belongs to.
fn empty_families(text: &str) -> Vec<&str> {
    let end = |line: &str| line.find(['{', ' ']).unwrap_or(line.len());
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples: BTreeSet<&str> = samples.map(|line| &line[..end(line)]).collect();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let has_sample = |family: &&str| {
        let suffixes = ["", "_total", "_bucket"];
        suffixes.iter().any(|suffix| samples.contains(&*format!("{family}{suffix}")))
    };
    families.filter(|family| !has_sample(family)).collect()
}

/// Each sample at one and the same time: promtool reads no others.
fn with_timestamps(text: &str) -> String {
    let stamped = text.lines().map(|line| match line.starts_with('#') {
        true => format!("{line}\n"),
        false => format!("{line} 1700000000\n"),
    });
    stamped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE a counter\na_total{x=\"y z\"} 1\n# TYPE b gauge\n# TYPE c histogram\n\
                        c_bucket{le=\"+Inf\"} 0\n# EOF\n";

    #[test]
    fn finds_families_without_samples() {
        assert_eq!(empty_families(TEXT), ["b"]);
        assert_eq!(empty_families("# TYPE a gauge\na 1\n"), [""; 0]);
    }

    #[test]
    fn stamps_samples_alone() {
        let stamped = with_timestamps(TEXT);

        assert_eq!(stamped.matches(" 1700000000\n").count(), 2);
        assert!(stamped.contains("a_total{x=\"y z\"} 1 1700000000\n"));
        assert!(stamped.ends_with("# EOF\n"));
    }
}
