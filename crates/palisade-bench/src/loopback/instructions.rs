use std::{
    error::Error,
    io,
    net::SocketAddr,
    process::{Command, Output},
};

use crate::{bench::Work, benches::benches, programs};

/// How many requests each of two runs sends. What both do once falls out of their difference.
const FEW: u32 = 1_280;
const MANY: u32 = 7_680;

/// How many instructions a request takes in the client's process, the kernel's not among them: the
/// difference of two runs of `palisade-bench --send` under callgrind.
///
/// # Errors
///
/// If one of them fails.
pub fn instructions(bench: &str, subject: &str, server: SocketAddr) -> Result<f64, Box<dyn Error>> {
    let few = run(bench, subject, server, FEW)?;
    let many = run(bench, subject, server, MANY)?;
    Ok((many - few) / f64::from(MANY - FEW))
}

/// # Errors
///
/// If there is no valgrind.
pub fn require_valgrind() -> Result<(), String> {
    valgrind(Command::new("valgrind").arg("--version")).map(drop)
}

/// Sends so many requests of a subject of a bench to a server.
///
/// # Errors
///
/// If there is no such subject.
pub fn send(
    bench: &str,
    subject: &str,
    server: SocketAddr,
    requests: u32,
) -> Result<(), Box<dyn Error>> {
    let bench = benches().into_iter().find(|known| known.name == bench);
    let Some(Work::Loopback(callers)) = bench.map(|bench| bench.work) else {
        return Err("no such bench over loopback".into());
    };
    let caller = callers(server).into_iter().find(|caller| caller.name == subject);
    caller.ok_or("no such subject")?.call(requests);
    Ok(())
}

fn run(
    bench: &str,
    subject: &str,
    server: SocketAddr,
    requests: u32,
) -> Result<f64, Box<dyn Error>> {
    let program = programs::beside_this_one("palisade-bench")?;
    let output = valgrind(
        Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&program)
            .args(["--send", bench, subject, &server.to_string(), &requests.to_string()]),
    )?;
    let says = String::from_utf8_lossy(&output.stderr);
    match collected(&says) {
        Some(collected) if output.status.success() => Ok(collected),
        _ => Err(programs::failed(&program, &says).into()),
    }
}

fn valgrind(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "valgrind is missing: apt-get install valgrind".to_owned(),
        _ => format!("valgrind: {error}"),
    })
}

/// What callgrind counted, by what it says at its end.
fn collected(says: &str) -> Option<f64> {
    let count = says.lines().find_map(|line| line.split_once("Collected : "))?.1;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_callgrind_counted() {
        for (says, expected) in [
            ("==7== Events    : Ir\n==7== Collected : 193843\n==7== \n", Some(193_843.0)),
            ("==7== Events    : Ir\n", None),
            ("Collected : nothing", None),
            ("", None),
        ] {
            assert_eq!(collected(says), expected, "{says}");
        }
    }
}
