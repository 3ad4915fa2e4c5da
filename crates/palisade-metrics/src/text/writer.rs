use std::fmt::{self, Write};

use crate::{
    Format, Times,
    families::{Family, Kind, Labels, Sink},
    histogram::BOUNDS,
};

/// Writes families of series.
pub(crate) struct Writer<W> {
    out: W,
    format: Format,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W, format: Format) -> Self {
        Self { out, format }
    }

    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &Labels<'_>,
        last: Option<(&'static str, &str)>,
        value: impl fmt::Display,
    ) -> fmt::Result {
        write!(self.out, "{name}{suffix}")?;
        let given = labels.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let mut begin = '{';
        for (name, value) in given.chain(last) {
            write!(self.out, "{begin}{name}=\"")?;
            escape(value, &mut self.out)?;
            self.out.write_char('"')?;
            begin = ',';
        }
        if begin == ',' {
            self.out.write_char('}')?;
        }
        writeln!(self.out, " {value}")
    }

    pub(crate) fn finish(mut self) -> fmt::Result {
        match self.format {
            Format::OpenMetrics => self.out.write_str("# EOF\n"),
            Format::Prometheus => Ok(()),
        }
    }
}

impl<W: Write> Sink for Writer<W> {
    fn family(&mut self, family: &Family) -> fmt::Result {
        let Family { name, kind, help } = family;
        // OpenMetrics names the family, Prometheus the sample.
        let total = match self.format {
            Format::Prometheus => family.suffix(),
            Format::OpenMetrics => "",
        };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(self.out, "# HELP {name}{total} {help}")?;
        writeln!(self.out, "# TYPE {name}{total} {kind}")?;
        match family.unit() {
            Some(unit) if self.format == Format::OpenMetrics => {
                writeln!(self.out, "# UNIT {name} {unit}")
            }
            _ => Ok(()),
        }
    }

    fn value(&mut self, family: &Family, labels: &Labels<'_>, value: u64) -> fmt::Result {
        self.sample(family.name, family.suffix(), labels, None, value)
    }

    fn times(&mut self, family: &Family, labels: &Labels<'_>, times: &Times) -> fmt::Result {
        let count = times.count();
        for bound in BOUNDS {
            let within = times.count_within(std::time::Duration::from_nanos(bound));
            let bound = bound as f64 / 1e9;
            let bound = match self.format {
                // A float there always has a point.
                Format::OpenMetrics => format!("{bound:?}"),
                Format::Prometheus => format!("{bound}"),
            };
            self.sample(family.name, "_bucket", labels, Some(("le", &bound)), within)?;
        }
        self.sample(family.name, "_bucket", labels, Some(("le", "+Inf")), count)?;
        self.sample(family.name, "_sum", labels, None, times.sum().as_secs_f64())?;
        self.sample(family.name, "_count", labels, None, count)
    }
}

/// Both formats escape the same three characters in the value of a label.
fn escape(value: &str, out: &mut impl Write) -> fmt::Result {
    value.chars().try_for_each(|c| match c {
        '\\' => out.write_str("\\\\"),
        '"' => out.write_str("\\\""),
        '\n' => out.write_str("\\n"),
        c => out.write_char(c),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = String::new();
        escape("a \"b\"\\\nc", &mut text).unwrap();
        assert_eq!(text, "a \\\"b\\\"\\\\\\nc");
    }
}
