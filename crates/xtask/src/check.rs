//! `cargo xtask check`: every gate that is not a test, the fast ones first.

use std::time::Instant;

use crate::{
    arrows,
    run::{Outcome, Tool, command, succeed},
};

const TOOLS: [Tool; 4] = [
    Tool { name: "rustfmt", probe: "cargo fmt --version", install: "rustup component add rustfmt" },
    Tool {
        name: "clippy",
        probe: "cargo clippy --version",
        install: "rustup component add clippy",
    },
    Tool {
        name: "cargo-hack",
        probe: "cargo hack --version",
        install: "cargo install --locked cargo-hack",
    },
    Tool {
        name: "cargo-deny",
        probe: "cargo deny --version",
        install: "cargo install --locked cargo-deny",
    },
];

/// # Errors
///
/// Fails at the first gate that does not hold, or before all of them when a tool is missing.
pub(crate) fn run() -> Outcome {
    TOOLS.iter().try_for_each(Tool::require)?;

    step("format", || {
        cargo("fmt --all --check")?;
        cargo("fmt --manifest-path crates/palisade-bench/Cargo.toml --check")?;
        cargo("fmt --manifest-path crates/palisade-fuzz/Cargo.toml --check")
    })?;
    step("arrows", arrows::run)?;
    // Advisories are left out: deny.toml says why.
    step("dependencies", || cargo("deny check bans licenses sources"))?;
    step("clippy, all features", || {
        cargo("clippy --workspace --all-targets --all-features -- -D warnings")
    })?;
    // One package at a time from here: built together, each gets the features that another needs.
    step("clippy, no default features", || {
        cargo("hack clippy --ignore-private --no-default-features --all-targets -- -D warnings")
    })?;
    // Without tests, and so without what only they switch on. The facade passes features on: two
    // that get into each other's way do so where they are.
    step("clippy, feature powerset", || {
        cargo(
            "hack clippy --ignore-private --exclude palisade --feature-powerset --depth 2 -- -D warnings",
        )?;
        cargo("hack clippy --package palisade --each-feature -- -D warnings")
    })?;
    step("docs", || {
        let mut doc = command("cargo doc --workspace --all-features --no-deps");
        succeed(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    // Each has its own lock file, which is to be committed as well.
    step("benches", || {
        cargo(
            "clippy --locked --manifest-path crates/palisade-bench/Cargo.toml --all-targets -- -D warnings",
        )?;
        cargo("test --locked --quiet --manifest-path crates/palisade-bench/Cargo.toml --lib")
    })?;
    step("fuzz targets", || {
        cargo(
            "clippy --locked --manifest-path crates/palisade-fuzz/Cargo.toml --all-targets -- -D warnings",
        )
    })
}

fn step(name: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    println!("==> {name}");
    #[expect(clippy::disallowed_methods, reason = "no test waits for this")]
    let start = Instant::now();
    work()?;
    println!("    {name}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(arguments: &str) -> Outcome {
    succeed(&mut command(&format!("cargo {arguments}")))
}
