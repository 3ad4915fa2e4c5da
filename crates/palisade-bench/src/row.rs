use std::iter;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::subject::BARE;

/// What a bench found about a subject: one line of the output.
#[derive(Clone, Debug)]
pub struct Row {
    pub bench: &'static str,
    pub subject: &'static str,
    pub figures: Vec<(&'static str, f64)>,
}

impl Row {
    /// One JSON object, its keys in the order of the columns.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are JSON")
    }

    fn leading(&self) -> f64 {
        self.figures.first().map_or(f64::NAN, |(_, value)| *value)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("bench", self.bench)?;
        map.serialize_entry("subject", self.subject)?;
        for (key, value) in &self.figures {
            let rounded = rounded(key, *value);
            match rounded.fract() == 0.0 {
                true => map.serialize_entry(key, &(rounded as i64))?,
                false => map.serialize_entry(key, &rounded)?,
            }
        }
        map.end()
    }
}

/// The rows of one bench for a person, compared by their first figure to palisade's.
pub fn table(rows: &[Row]) -> String {
    let Some(header) = rows.first() else {
        return String::new();
    };
    let ours = rows.iter().find(|row| row.subject == "palisade").map(Row::leading);

    let keys = header.figures.iter().map(|(key, _)| (*key).to_owned());
    let header = cells(header.bench.to_owned(), keys, "x palisade".to_owned());
    let body = rows.iter().map(|row| {
        let values = row.figures.iter().map(|(key, value)| format_rounded(key, *value));
        let ratio = match ours {
            Some(ours) if ours > 0.0 && row.subject != BARE => {
                format!("{:.2}", row.leading() / ours)
            }
            _ => "-".to_owned(),
        };
        cells(format!("  {}", row.subject), values, ratio)
    });
    lines(&iter::once(header).chain(body).collect::<Vec<_>>())
}

/// One line: a name, the first figure, the ratio, the other figures.
fn cells(name: String, mut figures: impl Iterator<Item = String>, ratio: String) -> Vec<String> {
    iter::once(name).chain(figures.next()).chain([ratio]).chain(figures).collect()
}

/// Each column is as wide as what is in it, and the names begin where the lines do.
fn lines(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cell = |(column, (cell, width)): (usize, (&String, &usize))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        };
        row.iter().zip(&widths).enumerate().map(cell).chain(["\n".to_owned()]).collect::<String>()
    };
    rows.iter().map(line).collect()
}

fn format_rounded(key: &str, value: f64) -> String {
    let rounded = rounded(key, value);
    match key.ends_with(RATIO) {
        true => format!("{rounded:.2}"),
        false if rounded.fract() == 0.0 => format!("{rounded:.0}"),
        false => format!("{rounded:.1}"),
    }
}

/// How the keys of ratios end.
const RATIO: &str = "_ratio";

/// Rounds ratios to hundredths, and all else to tenths; what rounds to zero is zero, not minus zero.
fn rounded(key: &str, value: f64) -> f64 {
    let parts = match key.ends_with(RATIO) {
        true => 100.0,
        false => 10.0,
    };
    (value * parts).round() / parts + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: &'static str, figures: &[(&'static str, f64)]) -> Row {
        Row { bench: "retry/get-8-headers", subject, figures: figures.to_vec() }
    }

    #[test]
    fn prints_one_object_a_line() {
        for (figures, expected) in [
            (
                [("ns", 136.26), ("allocs", 1.0)].as_slice(),
                r#"{"bench":"retry/get-8-headers","subject":"tower","ns":136.3,"allocs":1}"#,
            ),
            (
                &[("ns", -0.04), ("allocs", -1.0)],
                r#"{"bench":"retry/get-8-headers","subject":"tower","ns":0,"allocs":-1}"#,
            ),
            (
                &[("connections", 20.0)],
                r#"{"bench":"retry/get-8-headers","subject":"tower","connections":20}"#,
            ),
            (
                &[("instructions", 52_800.04), ("cpu_ratio", 1.128)],
                r#"{"bench":"retry/get-8-headers","subject":"tower","instructions":52800,"cpu_ratio":1.13}"#,
            ),
        ] {
            assert_eq!(row("tower", figures).json(), expected);
        }
    }

    #[test]
    fn compares_to_palisade() {
        let rows = [
            row("bare", &[("ns", 600.0), ("allocs", 9.0), ("cpu_ratio", 1.0)]),
            row("palisade", &[("ns", 100.0), ("allocs", 1.0), ("cpu_ratio", 1.166)]),
            row("tower", &[("ns", 250.0), ("allocs", 10.0), ("cpu_ratio", 1.4166)]),
        ];

        assert_eq!(
            table(&rows),
            "\
retry/get-8-headers   ns  x palisade  allocs  cpu_ratio
  bare               600           -       9       1.00
  palisade           100        1.00       1       1.17
  tower              250        2.50      10       1.42
",
        );
    }

    #[test]
    fn compares_to_nobody_without_palisade() {
        assert_eq!(
            table(&[row("tower", &[("connections", 20.0)])]),
            "\
retry/get-8-headers  connections  x palisade
  tower                       20           -
",
        );
        assert_eq!(table(&[]), "");
    }
}
