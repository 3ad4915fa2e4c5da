mod writer;

use std::fmt;

use self::writer::Writer;
use crate::{Snapshot, families::write_all};

/// A text format that Prometheus reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// The [text format of Prometheus][text], version 0.0.4.
    ///
    /// [text]: https://prometheus.io/docs/instrumenting/exposition_formats/
    #[default]
    Prometheus,
    /// [OpenMetrics][open], version 1.0.0.
    ///
    /// [open]: https://prometheus.io/docs/specs/om/open_metrics_spec/
    OpenMetrics,
}

impl Format {
    /// The media type, for `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What a client understands that sends this as `Accept`.
    pub fn accepted(accept: &str) -> Self {
        let accepts = |item: &str| {
            let (kind, parameters) = item.split_once(';').unwrap_or((item, ""));
            let declined = parameters.split(';').any(declines);
            kind.trim().eq_ignore_ascii_case("application/openmetrics-text") && !declined
        };
        match accept.split(',').any(accepts) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }
}

/// Whether a parameter is a weight of zero (RFC 9110, section 12.4.2).
fn declines(parameter: &str) -> bool {
    let value = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    value.and_then(|(_, value)| value.trim().parse::<f64>().ok()) == Some(0.0)
}

impl Snapshot {
    /// Writes all of it as text.
    ///
    /// Durations are histograms in seconds, with the bounds that OpenTelemetry
    /// advises for HTTP. Times of attempts have the names and labels of its
    /// semantic conventions, as Prometheus spells them; what these do not know
    /// begins with `palisade_`.
    ///
    /// # Errors
    ///
    /// If `out` fails.
    pub fn write(&self, format: Format, out: impl fmt::Write) -> fmt::Result {
        let mut writer = Writer::new(out, format);
        write_all(self, &mut writer)?;
        writer.finish()
    }

    /// All of it as text: see [`write`](Self::write).
    ///
    /// ```
    /// use palisade_metrics::{Format, Registry};
    ///
    /// let text = Registry::new().snapshot().render(Format::OpenMetrics);
    /// assert!(text.ends_with("# EOF\n"));
    /// ```
    pub fn render(&self, format: Format) -> String {
        let mut text = String::new();
        // A `String` takes all.
        let _ = self.write(format, &mut text);
        text
    }
}
