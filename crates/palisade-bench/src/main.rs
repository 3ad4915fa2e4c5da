//! Prints what the benches find, as tables or as one JSON object a line.

use std::{
    collections::HashMap,
    error::Error,
    net::SocketAddr,
    num::NonZeroU32,
    path::Path,
    process::{Command, Stdio},
};

use clap::Parser;
use palisade_bench::{
    Bench, Caller, Clock, Figures, Footprint, Row, Server, Subject, Turns, Work, benches,
    beside_this_one, failed, figures, instructions, nanoseconds, require_valgrind, send, serve,
    table,
};
use serde_json::{Map, Value};

/// Measures palisade against its peers.
#[derive(Debug, Parser)]
struct Options {
    /// Runs only the benches whose name contains this
    filter: Option<String>,
    /// Prints one JSON object a line instead of tables
    #[arg(long)]
    json: bool,
    /// How often each subject is timed; the median counts
    #[arg(long, value_name = "N", default_value = "51")]
    rounds: NonZeroU32,
    /// Answers requests until its input ends: the server of other processes
    #[arg(long, hide = true)]
    serve: bool,
    /// Sends requests, for who counts its instructions
    #[arg(long, hide = true, num_args = 4, value_names = ["BENCH", "SUBJECT", "SERVER", "REQUESTS"])]
    send: Option<Vec<String>>,
}

/// What the binary `allocations` found, by bench, subject and figure.
struct Counts {
    figures: HashMap<[String; 3], f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    if options.serve {
        return Ok(serve()?);
    }
    if let Some([bench, subject, server, requests]) = options.send.as_deref() {
        return send(bench, subject, server.parse()?, requests.parse()?);
    }
    let filter = options.filter.as_deref();
    let rounds = options.rounds.get();
    let benches: Vec<_> = benches().into_iter().filter(|bench| bench.matches(filter)).collect();
    if benches.iter().any(|bench| matches!(bench.work, Work::Loopback(_))) {
        require_valgrind()?;
    }
    let counts = count(filter)?;

    for bench in &benches {
        let rows = match bench.work {
            Work::Calls(subjects) => calls(bench, &mut subjects(), &counts, Turns::long(rounds))?,
            Work::FewCalls(subjects) => {
                calls(bench, &mut subjects(), &counts, Turns::short(rounds))?
            }
            Work::Tasks(subjects) => tasks(bench, &mut subjects(), Turns::of_tasks(rounds)),
            Work::Loopback(callers) => loopback(bench, callers, &counts, rounds)?,
            Work::Bytes(footprints) => bytes(bench, &footprints(), &counts)?,
            Work::Scene(play) => play(bench.name),
        };
        match options.json {
            true => rows.iter().for_each(|row| println!("{}", row.json())),
            false => println!("{}", table(&rows)),
        }
    }
    Ok(())
}

fn calls(
    bench: &Bench,
    subjects: &mut [Subject],
    counts: &Counts,
    turns: Turns,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let [nanoseconds] = nanoseconds(subjects, turns, [Clock::Thread]);
    let row = |(subject, nanoseconds): (&Subject, f64)| {
        let allocations = counts.get(bench.name, subject.name, "allocs")?;
        Ok(Row {
            bench: bench.name,
            subject: subject.name,
            figures: vec![("ns", nanoseconds), ("allocs", allocations)],
        })
    };
    subjects.iter().zip(nanoseconds).map(row).collect()
}

fn tasks(bench: &Bench, subjects: &mut [Subject], turns: Turns) -> Vec<Row> {
    let [cpu, wall] = nanoseconds(subjects, turns, [Clock::Process, Clock::Wall]);
    let row = |((subject, cpu), wall): ((&Subject, f64), f64)| Row {
        bench: bench.name,
        subject: subject.name,
        figures: vec![("ns", cpu), ("wall_ns", wall)],
    };
    subjects.iter().zip(cpu).zip(wall).map(row).collect()
}

fn loopback(
    bench: &Bench,
    callers: fn(SocketAddr) -> Vec<Caller>,
    counts: &Counts,
    rounds: u32,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let server = Server::start()?;
    // A turn is long, and so there are fewer of them.
    let found = figures(callers, server.address(), rounds.div_ceil(4));
    let mut bare = None;
    let row = |(subject, found): (&'static str, Figures)| {
        let allocations = counts.get(bench.name, subject, "allocs")?;
        let instructions = instructions(bench.name, subject, server.address())?;
        let bare = bare.get_or_insert(instructions);
        let figures = vec![
            ("ns", found.ns),
            ("allocs", allocations),
            ("instructions", instructions),
            ("ir_ratio", instructions / *bare),
            ("cpu_ratio", found.cpu_ratio),
            ("per_second", found.per_second),
            ("rate_ratio", found.rate_ratio),
            ("p50_us", found.p50_us),
            ("p99_us", found.p99_us),
            ("p99_ratio", found.p99_ratio),
        ];
        Ok(Row { bench: bench.name, subject, figures })
    };
    found.into_iter().map(row).collect()
}

fn bytes(
    bench: &Bench,
    footprints: &[Footprint],
    counts: &Counts,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let row = |footprint: &Footprint| {
        let bytes = counts.get(bench.name, footprint.subject, "bytes")?;
        Ok(Row { bench: bench.name, subject: footprint.subject, figures: vec![("bytes", bytes)] })
    };
    footprints.iter().map(row).collect()
}

impl Counts {
    fn get(&self, bench: &str, subject: &str, figure: &str) -> Result<f64, Box<dyn Error>> {
        let count = self.figures.get(&[bench, subject, figure].map(str::to_owned));
        let old = || failed(Path::new("allocations"), &format!("it does not know {subject}"));
        Ok(*count.ok_or_else(old)?)
    }
}

/// Has allocations and bytes counted by the binary `allocations`, which stands beside this one.
fn count(filter: Option<&str>) -> Result<Counts, Box<dyn Error>> {
    let counter = beside_this_one("allocations")?;
    let output = Command::new(&counter)
        .args(filter)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(&counter, &error))?;
    if !output.status.success() {
        return Err(failed(&counter, &output.status).into());
    }

    let mut figures = HashMap::new();
    for line in str::from_utf8(&output.stdout)?.lines() {
        let row: Map<String, Value> = serde_json::from_str(line)?;
        let name = |key| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        for (figure, value) in &row {
            if let Some(value) = value.as_f64() {
                figures.insert([name("bench"), name("subject"), figure.clone()], value);
            }
        }
    }
    Ok(Counts { figures })
}
