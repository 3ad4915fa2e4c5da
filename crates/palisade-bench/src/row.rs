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
            let tenths = tenths(*value);
            match tenths.fract() == 0.0 {
                true => map.serialize_entry(key, &(tenths as i64))?,
                false => map.serialize_entry(key, &tenths)?,
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
    let header = cells(header.bench, keys, "x palisade".to_owned());
    let body = rows.iter().map(|row| {
        let values = row.figures.iter().map(|(_, value)| format_tenths(*value));
        let ratio = match ours {
            Some(ours) if ours > 0.0 && row.subject != BARE => {
                format!("{:.2}", row.leading() / ours)
            }
            _ => "-".to_owned(),
        };
        cells(&format!("  {}", row.subject), values, ratio)
    });
    iter::once(header).chain(body).collect()
}

/// One line: a name, the first figure, the ratio, the other figures.
fn cells(name: &str, mut figures: impl Iterator<Item = String>, ratio: String) -> String {
    let numbers: String = figures
        .next()
        .into_iter()
        .chain([ratio])
        .chain(figures)
        .map(|cell| format!("{cell:>14}"))
        .collect();
    format!("{name:<32}{numbers}\n")
}

fn format_tenths(value: f64) -> String {
    let tenths = tenths(value);
    match tenths.fract() == 0.0 {
        true => format!("{tenths:.0}"),
        false => format!("{tenths:.1}"),
    }
}

/// Rounds to tenths; what rounds to zero is zero, not minus zero.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0 + 0.0
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
        ] {
            assert_eq!(row("tower", figures).json(), expected);
        }
    }

    #[test]
    fn compares_to_palisade() {
        let rows = [
            row("bare", &[("ns", 600.0), ("allocs", 9.0)]),
            row("palisade", &[("ns", 100.0), ("allocs", 1.0)]),
            row("tower", &[("ns", 250.0), ("allocs", 10.0)]),
        ];

        assert_eq!(
            table(&rows),
            "\
retry/get-8-headers                         ns    x palisade        allocs
  bare                                     600             -             9
  palisade                                 100          1.00             1
  tower                                    250          2.50            10
",
        );
    }

    #[test]
    fn compares_to_nobody_without_palisade() {
        assert_eq!(
            table(&[row("tower", &[("connections", 20.0)])]),
            "\
retry/get-8-headers                connections    x palisade
  tower                                     20             -
",
        );
        assert_eq!(table(&[]), "");
    }
}
