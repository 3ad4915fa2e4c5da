//! Prints what the benches find, as tables or as one JSON object a line.

use std::{
    collections::HashMap,
    env,
    error::Error,
    num::NonZeroU32,
    process::{Command, Stdio},
};

use clap::Parser;
use palisade_bench::{
    Bench, Clock, Footprint, Row, Subject, Turns, Work, benches, nanoseconds, table,
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
}

/// What helps when the binary `allocations` is not there, or older than this one.
const BUILD: &str = "cargo build --release --bins";

/// What the binary `allocations` found, by bench, subject and figure.
struct Counts {
    figures: HashMap<[String; 3], f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let filter = options.filter.as_deref();
    let rounds = options.rounds.get();
    let counts = count(filter)?;

    for bench in benches().iter().filter(|bench| bench.matches(filter)) {
        let rows = match bench.work {
            Work::Calls(subjects) => calls(bench, &mut subjects(), &counts, Turns::long(rounds))?,
            Work::FewCalls(subjects) => {
                calls(bench, &mut subjects(), &counts, Turns::short(rounds))?
            }
            Work::Tasks(subjects) => tasks(bench, &mut subjects(), Turns::of_tasks(rounds)),
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
        Ok(*count.ok_or_else(|| format!("nobody counts for {subject}: {BUILD}"))?)
    }
}

/// Has allocations and bytes counted by the binary `allocations`, which stands beside this one.
fn count(filter: Option<&str>) -> Result<Counts, Box<dyn Error>> {
    let counter =
        env::current_exe()?.with_file_name(format!("allocations{}", env::consts::EXE_SUFFIX));
    let output = Command::new(&counter)
        .args(filter)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}: {BUILD}", counter.display()))?;
    if !output.status.success() {
        return Err(format!("{}: {}", counter.display(), output.status).into());
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
